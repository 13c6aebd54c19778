"""What the site takes from the code besides docstrings: commands, exit codes and errors.

A page says ``% generated: NAME`` where it wants one of them. Signatures of models are made
here too, as their authors wrote them: pydantic's own show how a field is checked.

The sources of the reference are in ``docs/reference_sources``. ``docs/reference`` holds the same
pages rendered as Markdown (see ``render.py``), for people who read them on a git host.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

import typer.cli
from error_places import error_places
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation
from typer.testing import CliRunner

from deploycore import errors
from deploycore.cli import COMMANDS, EXIT_CODES

SOURCES = Path(__file__).with_name("reference_sources")

_MARKER = re.compile(r"^% generated: (.+)$", re.MULTILINE)


def import_for_annotations() -> None:
    """Import what loaded modules import for type checkers alone, so that annotations resolve."""
    loaded = [module for name, module in sys.modules.items() if name.startswith("deploycore")]
    for module in loaded:
        for statement in ast.parse(inspect.getsource(module)).body:
            if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
                imports = compile(ast.Module(statement.body, []), module.__name__, "exec")
                with suppress(ModuleNotFoundError):  # _typeshed is there for checkers alone
                    exec(imports, vars(module))  # noqa: S102


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls to add this."""
    app.connect("source-read", _fill_in)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-docstring", _no_type_before_a_colon, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill_in(_app: Sphinx, page: str, source: list[str]) -> None:
    folder, _, name = page.partition("/")
    if folder == "reference":
        source[0] = (SOURCES / f"{name}.md").read_text()
    parts = {
        "commands": _commands,
        "error messages": _error_messages,
        "errors": _errors,
        "exit codes": _exit_codes,
        "rest": _rest,
    }
    source[0] = _MARKER.sub(lambda marker: parts[marker[1]](), source[0])


def _commands() -> str:
    """Each command in the order of ``deploycore --help``, as Typer documents applications."""
    program = str(Path(__file__).with_name("command_line.py"))
    done = CliRunner().invoke(
        typer.cli.app, [program, "utils", "docs", "--name", "deploycore"], catch_exceptions=False
    )
    _, *sections = re.split(r"(?m)^(?=## )", done.stdout)
    places = {f"## `deploycore {command}`": place for place, command in enumerate(COMMANDS)}
    return "".join(sorted(sections, key=lambda section: places[section.partition("\n")[0]]))


def _exit_codes() -> str:
    return _table(("exit code", "meaning"), ((str(code), EXIT_CODES[code]) for code in EXIT_CODES))


def _errors() -> str:
    found = [getattr(errors, name) for name in errors.__all__]
    rows = (
        (f"{{exc}}`~deploycore.errors.{error.__name__}`", f"`{error.code}`", str(error.exit_code))
        for error in sorted(found, key=lambda error: (error.exit_code, error.__name__))
    )
    return _table(("error", "`code`", "exit code"), rows)


def _error_messages() -> str:
    """The sentence and the hint of each place that raises, by the folder it is in."""
    sections: dict[str, list[tuple[str, str, str]]] = {}
    for place in error_places():
        folder, _, _ = place.key.partition("::")[0].rpartition("/")
        row = (f"`{place.error}`", _plain(place.message), _plain(place.hint))
        if place.message.strip("…"):
            sections.setdefault(folder, []).append(row)
    parts = (
        f"## `{folder}`\n\n{_table(('error', 'message', 'what to do'), iter(rows))}"
        for folder, rows in sections.items()
    )
    return "\n\n".join(parts)


def _plain(text: str) -> str:
    """Text in which Markdown finds no markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", text.replace("\n", " "))


def _rest() -> str:
    """Each operation of the server's API, from its OpenAPI document."""
    from deploycore.server.openapi import openapi_document

    document = openapi_document()
    operations = (
        _operation(path, method, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    )
    schemas = document["components"]["schemas"]
    models = (_model(name, schema) for name, schema in schemas.items() if "properties" in schema)
    return "\n\n".join(["## Operations", *operations, "## Models", *models])


def _operation(path: str, method: str, described: dict[str, Any]) -> str:
    role = described.get("x-role")
    lines = [f"### {method.upper()} {path}".replace("{", "\\{"), described["summary"]]
    if "description" in described:
        lines.append(described["description"])
    lines.append(f"Role: `{role}`." if role else "No token is asked for.")
    parameters = [
        (f"`{each['name']}`", each["in"], f"`{_type(each['schema'])}`", each["description"])
        for each in described["parameters"]
    ]
    if parameters:
        lines.append(_table(("parameter", "in", "type", "meaning"), iter(parameters)))
    if "requestBody" in described:
        [media_type] = described["requestBody"]["content"].values()
        lines.append(f"Takes {_type(media_type['schema'])}.")
    answers = (
        (status, each["description"], ", ".join(_contents(each["content"])))
        for status, each in described["responses"].items()
    )
    lines.append(_table(("answer", "meaning", "with"), answers))
    return "\n\n".join(lines)


def _contents(content: dict[str, Any]) -> Iterator[str]:
    for media_type, described in content.items():
        is_json = media_type.partition("+")[2] == "json" or media_type == "application/json"
        yield _type(described["schema"]) if is_json else f"`{media_type}`"


def _model(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = (
        (
            f"`{field}`",
            f"`{_type(described)}`",
            "yes" if field in required else "",
            described.get("description", ""),
        )
        for field, described in schema["properties"].items()
    )
    table = _table(("field", "type", "required", "meaning"), rows)
    return f"### {name}\n\n{schema['description']}\n\n{table}"


def _type(schema: dict[str, Any]) -> str:
    """A type in few words, for a table."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(map(_type, schema[several]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(map(json.dumps, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "anything")


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _signature(
    _app: Sphinx, kind: str, _name: str, subject: Any, _options: Any, written: str | None, _: Any
) -> tuple[str, None] | None:
    if kind == "class" and issubclass(subject, BaseModel):
        return f"(*, {', '.join(_fields(subject))})", None
    if kind == "class" and getattr(subject, "_is_protocol", False):
        return "", None
    if kind == "class" and written and "<factory>" in written:
        return written.replace("<factory>", "..."), None
    return None


def _no_type_before_a_colon(
    _app: Sphinx, kind: str, _name: str, _subject: Any, _options: Any, lines: list[str]
) -> None:
    """Keep napoleon, which comes next, from reading ``What it is: more`` as a type and a text."""
    if kind in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # a comment, in which there is no colon


def _fields(model: type[BaseModel]) -> Iterator[str]:
    types = get_type_hints(model)
    for name, field in model.model_fields.items():
        shown = f"{name}: {stringify_annotation(types[name], 'smart')}"
        default = field.get_default(call_default_factory=True, validated_data={})
        yield shown if default is PydanticUndefined else f"{shown} = {default!r}"
