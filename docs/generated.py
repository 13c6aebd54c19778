"""What the site takes from the code besides docstrings: commands, exit codes and errors.

A page says ``% generated: NAME`` where it wants one of them. Signatures of models are made
here too, as their authors wrote them: pydantic's own show how a field is checked.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

from deploycore import errors
from deploycore.cli import COMMANDS, EXIT_CODES

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


def _fill_in(_app: Sphinx, _page: str, source: list[str]) -> None:
    parts = {"commands": _commands, "errors": _errors, "exit codes": _exit_codes}
    source[0] = _MARKER.sub(lambda marker: parts[marker[1]](), source[0])


def _commands() -> str:
    """Each command in the order of ``deploycore --help``, as Typer documents applications."""
    done = subprocess.run(  # noqa: S603
        [
            *(sys.executable, "-m", "typer", str(Path(__file__).with_name("command_line.py"))),
            *("utils", "docs", "--name", "deploycore"),
        ],
        capture_output=True,
        text=True,
        check=True,
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
