"""Where deploycore and its plugins raise errors, read from the source.

The tests hold this against ``tests/error_places.tsv``, which says how each place was provoked. The
page of error messages is made from both.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploycore import errors

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "tests" / "error_places.tsv"
"""A line a place: its key, a test that provokes it, and whether its hint was followed."""

_REFUSALS = {"Refusal", "ConfirmationRequired"}
_CLASSES = {*errors.__all__} | _REFUSALS
_NAMES = rf"\b(?:{'|'.join(sorted(_CLASSES))})"
_NAMED = re.compile(rf"{_NAMES}(?:\(|\s+if\b)")
_CHOSEN = re.compile(rf"{_NAMES}\s+if\b")
_LEFT_OUT = ("deploycore/testing/", "plugins/_template/", "plugins/_observer_template/")


@dataclass(frozen=True)
class Place:
    """A call that makes an error.

    Attributes:
        key: The file, the function, the class, and a number where the function has several.
        message: The sentence, with the names of what is filled in.
        hint: The same; empty where there is none, or where it comes from elsewhere.
        lines: The first and the last line of the call.
    """

    key: str
    error: str
    message: str
    hint: str
    lines: tuple[int, int]


def error_places(root: Path = ROOT) -> Iterator[Place]:
    """All places, by file and line."""
    return iter(_places(root))


@cache
def _places(root: Path) -> tuple[Place, ...]:
    return tuple(
        each
        for name, text in _sources(root)
        if _NAMED.search(text)
        for each in _places_in(name, text)
    )


@cache
def _sources(root: Path) -> tuple[tuple[str, str], ...]:
    """The name and the text of each module."""
    paths = sorted([*root.glob("deploycore/**/*.py"), *root.glob("plugins/*/*/**/*.py")])
    names = ((path.relative_to(root).as_posix(), path) for path in paths)
    return tuple(
        (name, path.read_text())
        for name, path in names
        if not name.startswith(_LEFT_OUT) and "/tests/" not in name and "/sandbox/" not in name
    )


@cache
def texts(root: Path = ROOT) -> tuple[tuple[str, int, str], ...]:
    """The file, the line and the text of each string that is no docstring and has a space.

    What foreign words are compared with is left out: it is read, and never said.
    """
    return tuple(_texts(root))


def _texts(root: Path) -> Iterator[tuple[str, int, str]]:
    for name, text in _sources(root):
        nodes = list(ast.walk(ast.parse(text)))
        left_out = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        left_out |= {id(each) for node in nodes for each in _compared(node)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                left_out |= {id(each) for each in node.values}
            elif not isinstance(node, ast.Constant) or id(node) in left_out:
                continue
            said = _text(node)
            if " " in said:
                yield name, node.lineno, said


def _compared(node: ast.AST) -> Iterator[ast.AST]:
    """The texts that something is compared with, as in ``startswith`` and ``in``."""
    match node:
        case ast.Call(func=ast.Attribute(attr="startswith" | "endswith"), args=compared):
            pass
        case ast.Compare(left=left, comparators=others):
            compared = [left, *others]
        case _:
            return
    for each in compared:
        yield each
        if isinstance(each, ast.Tuple | ast.List | ast.Set):
            yield from each.elts


def record() -> dict[str, tuple[str, str]]:
    """Of each recorded key the test and what is known of the hint."""
    lines = [line.split("\t") for line in RECORD.read_text().splitlines()]
    return {key: (test, hint) for key, test, hint in lines}


def _places_in(file: str, text: str) -> Iterator[Place]:
    counts: Counter[str] = Counter()
    for function, call, error in _calls(text):
        base = f"{file}::{function}::{error}"
        counts[base] += 1
        key = base if counts[base] == 1 else f"{base}#{counts[base]}"
        hint = next((each.value for each in call.keywords if each.arg == "hint"), None)
        at = 2 if error == "Refusal" else 0  # after its status and its code
        message = _text(call.args[at]) if len(call.args) > at else ""
        lines = (call.lineno, call.end_lineno or call.lineno)
        yield Place(key, error, message, "" if hint is None else _text(hint), lines)


def _calls(text: str) -> Iterator[tuple[str, ast.Call, str]]:
    """The function, the call and the class of each call that makes an error.

    Only statements and expressions with a line that names a class are looked into, unless a
    variable stands for one.
    """
    named = [text.count("\n", 0, each.start()) + 1 for each in _NAMED.finditer(text)]
    has_aliases = _CHOSEN.search(text) is not None
    todo: list[tuple[ast.AST, str, dict[str, str]]] = [(ast.parse(text), "", {})]
    while todo:
        node, function, aliases = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".strip(".")
            if has_aliases:
                aliases = {**aliases, **_aliases(node)}
        elif isinstance(node, ast.Call):
            name = ""
            if isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            name = aliases.get(name, name)
            if name in _CLASSES:
                yield function, node, name
        children = [(each, function, aliases) for each in ast.iter_child_nodes(node)]
        todo += [each for each in reversed(children) if aliases or _has_line(each[0], named)]


def _has_line(node: ast.AST, numbers: list[int]) -> bool:
    """Whether one of some line numbers, in order, is in a piece of source."""
    if not isinstance(node, ast.stmt | ast.expr):  # the others need not know their lines
        return True
    place = bisect_left(numbers, node.lineno)
    return place < len(numbers) and numbers[place] <= (node.end_lineno or node.lineno)


def _aliases(definition: ast.AST) -> dict[str, str]:
    """Variables of a function that stand for one class or another: ``kind = A if … else B``."""
    return {
        node.targets[0].id: ast.unparse(node.value.body)
        for node in ast.walk(definition)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.IfExp)
        and ast.unparse(node.value.body) in _CLASSES
    }


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(each) for each in values)
        case ast.FormattedValue(value=ast.Constant(value=str(text))):
            return text
        case ast.FormattedValue(value=value):
            return f"{{{_name(value)}}}"
        case ast.IfExp(body=body, orelse=orelse):
            return " / ".join(filter(None, (_text(body), _text(orelse))))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case _:
            return "…"


def _name(node: ast.expr) -> str:
    """What stands for an expression that is filled in."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_")
        case ast.Call(args=[first, *_]):
            return _name(first)
        case ast.Call(func=inner) | ast.Subscript(value=inner) | ast.BoolOp(values=[inner, *_]):
            return _name(inner)
        case _:
            return "…"
