"""Where deploycore and its plugins raise errors, read from the source.

The tests hold this against ``tests/error_places.tsv``, which says how each place was provoked. The
page of error messages is made from both.
"""

from __future__ import annotations

import ast
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
_WITH_TEXT = (ast.Call, ast.Compare, ast.Constant, ast.Expr, ast.JoinedStr)
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
    # No tree is kept: the garbage collector would look at millions of nodes again and again.
    return tuple(
        each
        for name, source in _sources(root)
        if any(error in source for error in _CLASSES)
        for each in _places_in(name, ast.parse(source))
    )


def _sources(root: Path) -> Iterator[tuple[str, str]]:
    for path in sorted([*root.glob("deploycore/**/*.py"), *root.glob("plugins/*/*/**/*.py")]):
        name = path.relative_to(root).as_posix()
        if not name.startswith(_LEFT_OUT) and "/tests/" not in name and "/sandbox/" not in name:
            yield name, path.read_text()


@cache
def texts(root: Path = ROOT) -> tuple[tuple[str, int, str], ...]:
    """The file, the line and the text of each string that is no docstring and has a space.

    What foreign words are compared with is left out: it is read, and never said.
    """
    return tuple(_texts(root))


def _texts(root: Path) -> Iterator[tuple[str, int, str]]:
    for name, source in _sources(root):
        nodes = [each for each in ast.walk(ast.parse(source)) if isinstance(each, _WITH_TEXT)]
        left_out = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        left_out |= {id(each) for node in nodes for each in _compared(node)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                left_out |= {id(each) for each in node.values}
            elif not isinstance(node, ast.Constant) or id(node) in left_out:
                continue
            text = _text(node)
            if " " in text:
                yield name, node.lineno, text


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


def _places_in(file: str, tree: ast.Module) -> Iterator[Place]:
    counts: Counter[str] = Counter()
    for function, call, error in _calls(tree, "", {}, has_aliases=bool(_aliases(tree))):
        base = f"{file}::{function}::{error}"
        counts[base] += 1
        key = base if counts[base] == 1 else f"{base}#{counts[base]}"
        hint = next((each.value for each in call.keywords if each.arg == "hint"), None)
        at = 2 if error == "Refusal" else 0  # after its status and its code
        message = _text(call.args[at]) if len(call.args) > at else ""
        lines = (call.lineno, call.end_lineno or call.lineno)
        yield Place(key, error, message, "" if hint is None else _text(hint), lines)


def _calls(
    node: ast.AST, function: str, aliases: dict[str, str], *, has_aliases: bool
) -> Iterator[tuple[str, ast.Call, str]]:
    for child in ast.iter_child_nodes(node):
        inside, known = function, aliases
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = f"{function}.{child.name}".strip(".")
            known = {**aliases, **_aliases(child)} if has_aliases else aliases
        if isinstance(child, ast.Call):
            name = ""
            if isinstance(child.func, ast.Name | ast.Attribute):
                name = child.func.id if isinstance(child.func, ast.Name) else child.func.attr
            name = known.get(name, name)
            if name in _CLASSES:
                yield inside, child, name
        yield from _calls(child, inside, known, has_aliases=has_aliases)


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
