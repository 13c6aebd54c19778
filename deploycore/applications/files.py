"""Files of applications, which people keep under version control: read, compare and write them.

YAML or TOML, by the file's name::

    applications:
      shop:
        provider: work
        repository: acme/shop
        ref: main
        target: /srv/shop

Such a file contains no secrets, only references to them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from deploycore.applications.application import Application, parse_application
from deploycore.distribution import documentation_page
from deploycore.errors import ConfigurationError

__all__ = [
    "MOST_BYTES",
    "Change",
    "compare",
    "decode_declaration",
    "decode_fields",
    "parse_declaration",
    "read_declaration",
    "render_declaration",
    "render_fields",
]

_TOP = "applications"
MOST_BYTES = 16 * 1024 * 1024
"""Maximum size of a file in bytes: 10,000 applications of 1,600 bytes each."""
_HINT = f"See the format of the file: {documentation_page('applications.md')}"


@dataclass(frozen=True)
class Change:
    """The change of an application.

    Attributes:
        fields: The previous and the new value of each field that differs, by the field's path;
            ``None`` if it is not set.
    """

    application: str
    kind: Literal["create", "change", "unchanged"]
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def read_declaration(path: Path) -> list[Application]:
    """Read the applications in a file.

    Args:
        path: Its name ends with ``.yaml``, ``.yml`` or ``.toml``.

    Raises:
        ConfigurationError: The file cannot be read or is invalid. The message has the path of each
            invalid value, such as ``applications/shop/steps/build/0``.
    """
    kind = path.suffix.lower()
    if kind not in (".yaml", ".yml", ".toml"):
        raise ConfigurationError(
            f"{path} is not a YAML or TOML file.",
            hint="Name it .yaml, .yml or .toml; or give - to read standard input.",
        )
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Check the path, and whether you may read the file.",
        ) from None
    return decode_declaration(data, str(path), "toml" if kind == ".toml" else "yaml")


def decode_declaration(
    data: bytes, name: str, kind: Literal["yaml", "toml"] | None = None
) -> list[Application]:
    """Parse the applications in a file's content.

    Args:
        name: The name of the file, for messages.
        kind: The format; ``None`` to detect it from the first line.

    Raises:
        ConfigurationError: As for ``read_declaration``.
    """
    if kind is None:
        kind = "toml" if _is_toml(data) else "yaml"
    if len(data) > MOST_BYTES:
        raise ConfigurationError(
            f"{name} is larger than {MOST_BYTES:,} bytes.",
            hint="Split it into several files, and apply each: applications that a file does not"
            " name stay as they are.",
        )
    try:
        text = data.decode()
        values = tomllib.loads(text) if kind == "toml" else _yaml(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        problem = _said(error)
    else:
        try:
            return parse_declaration(values)
        except ConfigurationError as error:
            error.message = f"{name}: {error.message}"
            error.args = (error.message,)
            raise
    raise ConfigurationError(f"{name} is not {kind.upper()}: {problem}", hint=_HINT)


def _is_toml(data: bytes) -> bool:
    """Whether the first line with content is one of TOML, which cannot be a key in YAML."""
    lines = (line.strip() for line in data.splitlines())
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    return re.match(rb"""\[|[\w."'-]+\s*=""", first) is not None


def _said(error: Exception) -> str:
    """Describe what is wrong and where, without the line's content, which may be secret."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        return f"{error.problem or error.context}{where}"
    if isinstance(error, yaml.YAMLError | RecursionError | UnicodeDecodeError):
        return " ".join(type(error).__name__.split("."))
    return " ".join(str(error).split())[:200]


def parse_declaration(values: Any) -> list[Application]:
    """Return the applications in the parsed content of a file.

    Raises:
        ConfigurationError: The content is invalid.
    """
    if not isinstance(values, Mapping) or set(values) != {_TOP}:
        raise ConfigurationError(
            f"It must have {_TOP!r} at the top level, and nothing else.", hint=_HINT
        )
    found = values[_TOP]
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise ConfigurationError(
            f"{_TOP}: must be a mapping of application names to applications.", hint=_HINT
        )
    return [_application(name, fields) for name, fields in found.items()]


def render_declaration(applications: Iterable[Application]) -> str:
    """Return a file in YAML, from which ``read_declaration`` reads the same applications."""
    described = {each.name: _fields(each) for each in applications}
    return yaml.safe_dump({_TOP: described}, sort_keys=False, allow_unicode=True, width=90)


def decode_fields(text: str) -> dict[str, Any]:
    """Read the fields of one application from YAML or JSON, without validation.

    Raises:
        ConfigurationError: The text is neither, or not a mapping.
    """
    try:
        values = _yaml(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        problem = _said(error)
    else:
        if isinstance(values, dict) and all(isinstance(key, str) for key in values):
            return values
        problem = "it must be a mapping of fields to values."
    raise ConfigurationError(f"The declaration is not valid YAML: {problem}", hint=_HINT)


def render_fields(fields: Mapping[str, Any]) -> str:
    """Return the fields of one application as YAML, which ``decode_fields`` reads."""
    return yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=90)


def compare(before: Application | None, after: Application) -> Change:
    """Return what would change if ``after`` replaced the current definition."""
    was, is_next = dict(_leaves(_fields(before) if before else {})), dict(_leaves(_fields(after)))
    fields = {
        path: (was.get(path), is_next.get(path))
        for path in sorted(was.keys() | is_next.keys())
        if was.get(path) != is_next.get(path)
    }
    if before is None:
        return Change(after.name, "create", fields)
    return Change(after.name, "change" if fields else "unchanged", fields)


def _fields(application: Application) -> dict[str, Any]:
    values = application.as_dict()
    del values["name"]
    return values


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value that is not a mapping, with its path. Lists are compared as a whole, and so
    are empty mappings: ``auto_deploy: {}`` has a meaning."""
    if not isinstance(value, Mapping) or (path and not value):
        yield path, value
        return
    for key, below in value.items():
        yield from _leaves(below, f"{path}/{key}" if path else str(key))


def _application(name: str, fields: Any) -> Application:
    where = f"{_TOP}/{name}"
    if not isinstance(fields, Mapping):
        raise ConfigurationError(
            f"{where}: must be a mapping.",
            hint="Write the fields of the application below its name, one per line, as"
            f" FIELD: VALUE. {_HINT}",
        )
    if "name" in fields:
        raise ConfigurationError(
            f"{where}/name: is not a known field; the key above it is the name.", hint=_HINT
        )
    return parse_application({**fields, "name": name}, where=where)


class _Loader(yaml.SafeLoader):
    """A loader that rejects duplicate keys in a mapping, as YAML requires (YAML 1.2, 3.2.1.3)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key_node.tag != "tag:yaml.org,2002:merge" and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} appears twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _yaml(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506  a subclass of the safe one
