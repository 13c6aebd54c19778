"""Bitbucket's query language for filtering and sorting lists, for the operators in use here.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#filtering
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from deploycore.testing.messages import Request
from deploycore_bitbucket.sandbox.messages import refuse

__all__ = ["Fields", "filtered", "ordered"]

T = TypeVar("T")
Value = str | bool
Predicate = Callable[[T], bool]
Fields = Mapping[str, Callable[[T], Value]]

_TOKEN = re.compile(
    r"""\s*(?: (?P<string>"(?:[^"\\]|\\.)*")
             | (?P<operator>!=|!~|=|~)
             | (?P<parenthesis>[()])
             | (?P<word>[A-Za-z_][\w.]*) )""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS: dict[str, bool] = {"true": True, "false": False}


class InvalidQuery(ValueError):
    """The query is malformed, or names a field that cannot be queried."""


def filtered(rows: Sequence[T], request: Request, fields: Fields[T]) -> Sequence[T]:
    """Keep the rows that match the parameter ``q``.

    An example is ``name ~ "shop" AND (is_private = true OR slug != "x")``. ``AND`` takes
    precedence over ``OR``; ``~`` and ``!~`` ignore upper and lower case.

    Raises:
        Refusal: The query is malformed, or a field or an operator is invalid (400).
    """
    text = request.query.get("q")
    if not text:
        return rows
    try:
        keep = _Parser(text, fields).read()
    except InvalidQuery as error:
        raise refuse(400, f"Invalid query: {error}") from None
    return [row for row in rows if keep(row)]


def ordered(rows: Sequence[T], request: Request, fields: Fields[T]) -> Sequence[T]:
    """Sort by the field of the parameter ``sort``, descending if its name starts with ``-``.

    Raises:
        Refusal: The field does not exist (400).
    """
    text = request.query.get("sort")
    if not text:
        return rows
    name = text.removeprefix("-")
    try:
        read = _field(name, fields)
    except InvalidQuery as error:
        raise refuse(400, f"Invalid sort: {error}") from None

    def key(row: T) -> tuple[object, ...]:
        # Bitbucket is known to sort only names of branches in natural order.
        found = str(read(row))
        return tuple(natural(found)) if len(fields) == 1 else (found,)

    return sorted(rows, key=key, reverse=text.startswith("-"))


def natural(text: str) -> list[tuple[bool, int, str]]:
    """Return a sort key with which ``branch10`` follows ``branch2``."""
    parts = re.findall(r"\d+|\D+", text)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


class _Parser(Generic[T]):
    """A parser by recursive descent: expression = all-of (OR all-of)*; all-of = term (AND
    term)*."""

    def __init__(self, text: str, fields: Fields[T]) -> None:
        self._tokens = [*_tokens(text), ("end", "")]
        self._fields = fields

    def read(self) -> Predicate[T]:
        predicate = self._any_of()
        self._expect("end")
        return predicate

    def _any_of(self) -> Predicate[T]:
        choices = [self._all_of()]
        while self._accept_word("OR"):
            choices.append(self._all_of())
        return lambda row: any(choice(row) for choice in choices)

    def _all_of(self) -> Predicate[T]:
        terms = [self._term()]
        while self._accept_word("AND"):
            terms.append(self._term())
        return lambda row: all(term(row) for term in terms)

    def _term(self) -> Predicate[T]:
        if self._tokens[0] == ("parenthesis", "("):
            self._tokens.pop(0)
            inner = self._any_of()
            if self._expect("parenthesis") != ")":
                raise InvalidQuery("A parenthesis is not closed.")
            return inner
        read = _field(self._expect("word"), self._fields)
        operator = self._expect("operator")
        return _comparison(read, operator, self._value())

    def _value(self) -> Value:
        kind, text = self._tokens.pop(0)
        if kind == "string":
            return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
        if kind == "word" and text.lower() in _CONSTANTS:
            return _CONSTANTS[text.lower()]
        raise InvalidQuery(f"A value was expected before {text!r}.")

    def _accept_word(self, word: str) -> bool:
        kind, text = self._tokens[0]
        if kind != "word" or text.upper() != word:
            return False
        self._tokens.pop(0)
        return True

    def _expect(self, kind: str) -> str:
        found, text = self._tokens.pop(0)
        if found != kind:
            raise InvalidQuery(f"{kind} was expected before {text!r}.")
        return text


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise InvalidQuery(f"What stands at {position} cannot be read.")
        yield match.lastgroup, match[match.lastgroup]
        position = match.end()


def _field(name: str, fields: Fields[T]) -> Callable[[T], Value]:
    if name not in fields:
        raise InvalidQuery(f"There is no field {name!r}.")
    return fields[name]


def _comparison(read: Callable[[T], Value], operator: str, value: Value) -> Predicate[T]:
    if operator == "=":
        return lambda row: read(row) == value
    if operator == "!=":
        return lambda row: read(row) != value
    if not isinstance(value, str):
        raise InvalidQuery(f"{operator} compares text.")
    wanted, contained = value.casefold(), operator == "~"
    return lambda row: (wanted in str(read(row)).casefold()) == contained
