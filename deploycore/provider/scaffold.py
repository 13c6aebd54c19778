"""Create the distribution of a new plugin from a template that deploycore contains.

There is a template for providers and one for observers. Each is a distribution that works unchanged
for an imaginary host or service with the name Acme. There is no template language: names are
replaced, and everything else is copied.
"""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Literal

from deploycore.disk.removal import remove_tree
from deploycore.errors import ConfigurationError
from deploycore.provider.entry_points import (
    CONTRACT_GROUP,
    OBSERVER_GROUP,
    PROVIDER_GROUP,
    SANDBOX_GROUP,
    distribution_name,
    entry_points_by_name,
)
from deploycore.provider.registry import normalise_kind

__all__ = ["PluginTemplate", "render_template", "template_directory"]

PluginTemplate = Literal["provider", "observer"]

_KIND = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LONGEST_KIND = 30
_DIRECTORIES: dict[PluginTemplate, str] = {
    "provider": "_template",
    "observer": "_observer_template",
}
_GROUPS: dict[PluginTemplate, tuple[str, ...]] = {
    "provider": (PROVIDER_GROUP, SANDBOX_GROUP, CONTRACT_GROUP),
    "observer": (OBSERVER_GROUP,),
}
_NOT_COPIED = re.compile(r"__pycache__|\.(mypy|pytest|ruff)_cache|\.venv|dist|.*\.egg-info")


@dataclass(frozen=True)
class _Names:
    """The forms in which a kind appears in the files of the template."""

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
        """Return a text in which Acme's names are replaced."""
        text = re.sub(r"(?<=deploycore_)acme|\bacme(?=_)", self.snake, text)
        text = re.sub(r"(?<![A-Za-z])Acme(?=[A-Z])|(?<=[a-z])Acme", self.pascal, text)
        text = re.sub(r"\bAcme\b", self.words, text)
        return re.sub(r"\bacme\b", self.kind, text)


def template_directory(template: PluginTemplate = "provider") -> Path:
    """Return the directory of a template, in an installed deploycore or in its source tree.

    Raises:
        ConfigurationError: The directory does not exist.
    """
    package = Path(str(files("deploycore")))
    name = _DIRECTORIES[template]
    for place in (package / name, package.parent / "plugins" / name):
        if (place / "pyproject.toml").is_file():
            return place
    raise ConfigurationError(
        f"This installation of deploycore lacks the template for {template}s.",
        hint="Reinstall deploycore from a wheel or a complete source tree.",
    )


def render_template(
    kind: str, directory: Path | None = None, *, template: PluginTemplate = "provider"
) -> Path:
    """Create the distribution of a new provider or observer.

    Args:
        kind: The kind, such as ``my-host``, or the name of the distribution, such as
            ``deploycore-my-host``. It is normalized.
        directory: The new or empty directory to write to (default: ``deploycore-<kind>`` in the
            current directory).
        template: The template.

    Returns:
        The directory. It is created only if all files could be written.

    Raises:
        ConfigurationError: The name is invalid or already used, or the directory is not empty or
            cannot be written.
    """
    kind = _usable(kind, template)
    target = (directory if directory is not None else Path(f"deploycore-{kind}")).absolute()
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ConfigurationError(
                f"The directory {target} already exists and is not empty.",
                hint="Choose another directory: --dir DIRECTORY.",
                directory=str(target),
            )
        _write(_Names(kind), template_directory(template), target)
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        return target
    raise ConfigurationError(
        f"The directory {target} cannot be written: {reason}.",
        hint="Choose another directory: --dir DIRECTORY.",
        directory=str(target),
    )


def _usable(name: str, template: PluginTemplate) -> str:
    """Return the kind for a name.

    Raises:
        ConfigurationError: The name is invalid or already used. The hint suggests another name, if
            there is one.
    """
    kind = _without_prefix(normalise_kind(name))
    problem, rule = _problem(kind, template)
    if not problem:
        return kind
    suggested = _suggestion(name)
    fits = bool(suggested) and suggested != kind and not _problem(suggested, template)[0]
    options = "--observer " if template == "observer" else ""
    hint = f"Use {suggested!r} instead: deploycore plugin new {options}{suggested}. "
    hint = hint if fits else ""
    raise ConfigurationError(problem.format(name=name), hint=hint + rule)


def _problem(kind: str, template: PluginTemplate) -> tuple[str, str]:
    """Return what is wrong with a kind, and the rule for it; both are empty if nothing is wrong."""
    article = "An" if template == "observer" else "A"
    if not _KIND.fullmatch(kind) or len(kind) > _LONGEST_KIND or kind == "deploycore":
        return (
            f"{article} {template} cannot be named {{name!r}}.",
            "A name consists of letters (a to z), digits and hyphens. It starts with a letter, and"
            f" has {_LONGEST_KIND} characters at most.",
        )
    if kind.startswith("test"):
        return (
            f"{article} {template} cannot be named {{name!r}}: pytest would collect its classes as"
            " tests.",
            "Choose a name that does not begin with 'test'.",
        )
    if owner := _owner_of(kind, template):
        noun = "name" if template == "observer" else "kind"
        return (
            f"The {noun} {kind!r} is used by {owner}, which is installed here.",
            "Choose another name, or change that distribution.",
        )
    return "", ""


def _owner_of(kind: str, template: PluginTemplate) -> str:
    """Return the installed distribution that has this kind, or the name that it would get."""
    for group in _GROUPS[template]:
        for point in entry_points_by_name(group).get(kind, ()):
            return distribution_name(point)
    try:
        return str(distribution(f"deploycore-{kind}").metadata["Name"])
    except PackageNotFoundError:
        return ""


def _without_prefix(kind: str) -> str:
    """Return the kind in a name: ``deploycore-my-host`` is the distribution of ``my-host``."""
    while kind.startswith("deploycore-"):
        kind = kind.removeprefix("deploycore-")
    return kind


def _suggestion(name: str) -> str:
    """Return the valid name that is closest to this one; empty if no letter is left."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    kind = _without_prefix(re.sub("[^a-z0-9]+", "-", plain).strip("-"))
    while (shorter := kind.removeprefix("test").lstrip("-0123456789")) != kind:
        kind = shorter
    return kind[:_LONGEST_KIND].rstrip("-")


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
        if target.is_dir():  # a process may use the directory, so it is not replaced
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
