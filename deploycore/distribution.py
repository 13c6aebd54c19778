"""Facts about the installed distribution: how to install it with an extra, where its documentation
is, and where to report a fault. Hints use them, so that the commands and pages in hints exist."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["documentation_page", "install_command", "report_hint"]

_NAME = "deploycore"


def install_command(extra: str = "") -> str:
    """Return the command that installs deploycore again, with an extra if one is given.

    It uses the directory or wheel that deploycore was installed from, if that is recorded, and
    otherwise the package index.

    Source: the "Direct URL Origin" specification of PyPA, ``direct_url.json``.
    """
    origin, is_editable = _origin()
    requirement = (origin or _NAME) + (f"[{extra}]" if extra else "")
    return shlex.join(["pip", "install", *(["-e"] if is_editable else []), requirement])


def documentation_page(name: str) -> str:
    """Return the path of a page of the documentation on this machine.

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
    """Return the next step after a fault of deploycore itself.

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
    from importlib import metadata  # the import takes 15 ms, and only errors need it

    try:
        urls = metadata.metadata(_NAME).get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return ""
    labelled = (url.partition(",") for url in urls)
    return next((url.strip() for label, _, url in labelled if label.lower() == "issues"), "")


def _origin() -> tuple[str, bool]:
    """Return the local directory or file that deploycore was installed from, and whether the
    installation is editable."""
    from importlib import metadata
    from urllib.request import url2pathname

    try:
        direct = json.loads(metadata.distribution(_NAME).read_text("direct_url.json") or "{}")
        parts = urlsplit(direct.get("url", ""))
        is_editable = bool(direct.get("dir_info", {}).get("editable"))
    except (metadata.PackageNotFoundError, ValueError, AttributeError, OSError):
        return "", False
    return (url2pathname(parts.path), is_editable) if parts.scheme == "file" else ("", False)
