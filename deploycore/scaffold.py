"""A new provider's distribution, made from the template that ships with deploycore.

The template is a distribution that works as it is, for an imaginary host named Acme. There is
no template language: names are replaced, and all else is copied.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from deploycore.errors import ConfigurationError
from deploycore.registry import PROVIDER_GROUP, entry_points_by_name, normalise_kind
from deploycore.removal import remove_tree

__all__ = ["render_template", "template_directory"]

_KIND = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LONGEST_KIND = 30
_NOT_COPIED = re.compile(r"__pycache__|\.(mypy|pytest|ruff)_cache|\.venv|dist|.*\.egg-info")


@dataclass(frozen=True)
class _Names:
    """The forms that a kind takes in the template's files."""

    kind: str

    @property
    def snake(self) -> str:
        return self.kind.replace("-", "_")

    @property
    def words(self) -> str:
        return self.kind.replace("-", " ").title()

    @property
    def pascal(self) -> str:
        return self.words.replace(" ", "")

    def replaced(self, text: str) -> str:
        """The text with Acme's names replaced by these."""
        text = re.sub(r"(?<=deploycore_)acme|\bacme(?=_)", self.snake, text)
        text = re.sub(r"(?<![A-Za-z])Acme(?=[A-Z])|(?<=[a-z])Acme", self.pascal, text)
        text = re.sub(r"\bAcme\b", self.words, text)
        return re.sub(r"\bacme\b", self.kind, text)


def template_directory() -> Path:
    """Where the template lies: within an installed deploycore, or in its source tree.

    Raises:
        ConfigurationError: It is in neither place.
    """
    package = Path(str(files("deploycore")))
    for place in (package / "_template", package.parent / "plugins" / "_template"):
        if (place / "pyproject.toml").is_file():
            return place
    raise ConfigurationError(
        "This installation of deploycore lacks the template for providers.",
        hint="Reinstall deploycore from a wheel or a complete source tree.",
    )


def render_template(kind: str, directory: Path | None = None) -> Path:
    """Write a distribution for a new provider.

    Args:
        kind: What the provider is called, such as ``my-host``; its spelling is normalised.
        directory: Where to; by default ``deploycore-<kind>`` in the current directory. Must not
            exist, or be empty.

    Returns:
        The directory; nothing is there before all of it could be written.

    Raises:
        ConfigurationError: The name won't do or is taken, or the directory is in use or can't
            be written.
    """
    kind = _usable(kind)
    target = (directory if directory is not None else Path(f"deploycore-{kind}")).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(
            f"The directory {target} already exists and is not empty.",
            hint="Choose another directory: --dir DIRECTORY.",
            directory=str(target),
        )
    try:
        _write(_Names(kind), template_directory(), target)
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        return target
    raise ConfigurationError(
        f"The directory {target} cannot be written: {reason}.",
        hint="Choose another directory: --dir DIRECTORY.",
        directory=str(target),
    )


def _usable(kind: str) -> str:
    normalised = normalise_kind(kind)
    if not _KIND.fullmatch(normalised) or len(normalised) > _LONGEST_KIND:
        raise ConfigurationError(
            f"A provider cannot be named {kind!r}.",
            hint="Use at most 30 letters, digits and hyphens, and begin with a letter.",
        )
    if normalised.startswith("test"):
        raise ConfigurationError(
            f"A provider cannot be named {kind!r}: pytest would collect its classes as tests.",
            hint="Choose a name that does not begin with 'test'.",
        )
    points = entry_points_by_name(PROVIDER_GROUP).get(normalised, ())
    if points:
        owner = points[0].dist.name if points[0].dist else "another distribution"
        raise ConfigurationError(
            f"The kind {normalised!r} is used by {owner}, which is installed here.",
            hint="Choose another name, or change that distribution.",
        )
    return normalised


def _write(names: _Names, template: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        rendered = scratch / "rendered"
        for source in _sources(template):
            destination = rendered / names.replaced(str(source.relative_to(template)))
            destination.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text(encoding="utf-8")
            destination.write_text(names.replaced(text), encoding="utf-8")
        if target.is_dir():  # somebody may be in it, so it stays the directory that it is
            for entry in rendered.iterdir():
                entry.rename(target / entry.name)
        else:
            rendered.rename(target)
    finally:
        remove_tree(scratch)


def _sources(directory: Path) -> Iterator[Path]:
    for entry in sorted(directory.iterdir()):
        if _NOT_COPIED.fullmatch(entry.name):
            continue
        if entry.is_dir():
            yield from _sources(entry)
        else:
            yield entry
