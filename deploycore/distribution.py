"""What the installed distribution knows of itself: how to extend it, where its pages are, and
where to report a fault. Hints use it, so that what they name is there.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["documentation_page", "install_command", "report_hint"]

_NAME = "deploycore"


def install_command(extra: str = "") -> str:
    """The command that installs deploycore again, with an extra if one is named.

    It names the directory or wheel that deploycore was installed from, where that is recorded,
    and the package index otherwise.

    Source: the "Direct URL Origin" specification of PyPA, ``direct_url.json``.
    """
    origin, is_editable = _origin()
    requirement = (origin or _NAME) + (f"[{extra}]" if extra else "")
    return shlex.join(["pip", "install", *(["-e"] if is_editable else []), requirement])


def documentation_page(name: str) -> str:
    """Where a page of the documentation is on this machine.

    Args:
        name: Its path below ``docs``: ``applications.md``.

    Returns:
        The absolute path of the page, in a wheel or in a clone.
    """
    package = Path(__file__).parent
    for place in (package / "_docs", package.parent / "docs"):
        if (place / name).is_file():
            return str(place / name)
    return f"docs/{name}"


def report_hint() -> str:
    """What to do about a fault of deploycore itself.

    It names the address that the distribution's metadata has under ``Issues`` (in
    ``pyproject.toml``: ``[project.urls]``), if there is one.
    """
    address = _issues_address()
    if address:
        return f"This is a bug in deploycore or a plugin. Report it with this message: {address}"
    return (
        "This is a bug in deploycore or a plugin. Report it, with this message, to the"
        " administrator of this installation, or to the source that you installed it from."
    )


def _issues_address() -> str:
    from importlib import metadata  # takes 15 ms, and only errors name what it finds

    try:
        urls = metadata.metadata(_NAME).get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return ""
    labelled = (url.partition(",") for url in urls)
    return next((url.strip() for label, _, url in labelled if label.lower() == "issues"), "")


def _origin() -> tuple[str, bool]:
    """The local directory or file that deploycore was installed from, and whether editable."""
    from importlib import metadata
    from urllib.request import url2pathname

    try:
        direct = json.loads(metadata.distribution(_NAME).read_text("direct_url.json") or "{}")
        parts = urlsplit(direct.get("url", ""))
        is_editable = bool(direct.get("dir_info", {}).get("editable"))
    except (metadata.PackageNotFoundError, ValueError, AttributeError, OSError):
        return "", False
    return (url2pathname(parts.path), is_editable) if parts.scheme == "file" else ("", False)
