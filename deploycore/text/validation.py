"""Describe invalid values for the person who entered them.

pydantic's messages are for programmers: they name Python types and show regular expressions. Only
this module translates its errors, by their type, so that none of its text reaches a user. Messages
of validators in deploycore or a plugin are kept, because their authors wrote them for people.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, PydanticUserError, ValidationError
from pydantic_core import SchemaError

from deploycore.text.suggestions import did_you_mean

__all__ = ["NAME_PATTERN", "Problem", "describe_problems", "describe_unusable", "find_problems"]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
_PATTERNS = {
    NAME_PATTERN: "have up to 63 letters, digits, dots, dashes and underscores, and begin with a"
    " letter or a digit",
    r"^[^\x00\n\r]+$": "be a single line",
    r"^[^\x00]*$": "not contain NUL characters",
    "^[1-5][0-9]{2}(?:-[1-5][0-9]{2})?$": "be a status such as 200, or a range such as 200-299",
    r"^[0-9a-f]{40}(?:[0-9a-f]{24})?$": "be the full hash of a commit",
}
_IS_MISSING = "is missing"
_IS_UNKNOWN = "is not known here"
_DATE = "be a date, such as 2026-11-24"
_DATE_TIME = "be a date and time, such as 2026-11-24T10:15:00Z"
_DURATION = "be a duration, such as PT90S"
_TIME = "be a time of day, such as 10:15:00"
_UUID = "be a UUID"
_URL = "be an absolute URL"
_NUMBER = "be a number"
_WHOLE = "be a whole number"
_TEXT = "be text"
_BYTES = "be bytes"
_LIST = "be a list"
_MAPPING = "be a mapping"
_ITEMS_MOST = "have at most {max_length} items"
_ITEMS_LEAST = "have at least {min_length} items"

# The text for each type of pydantic's errors. Braces are filled from the error's context: with
# values of the model, never with the given value.
_SHOULD = {
    "arguments_type": _MAPPING,
    "bool_parsing": "be true or false",
    "bool_type": "be true or false",
    "bytes_too_long": "have at most {max_length} bytes",
    "bytes_too_short": "have at least {min_length} bytes",
    "bytes_type": _BYTES,
    "bytes_invalid_encoding": "be bytes in a known encoding",
    "complex_str_parsing": _NUMBER,
    "complex_type": _NUMBER,
    "dataclass_exact_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "date_from_datetime_inexact": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_future": "be a date in the future",
    "date_parsing": _DATE,
    "date_past": "be a date in the past",
    "date_type": _DATE,
    "datetime_from_date_parsing": _DATE_TIME,
    "datetime_future": "be in the future",
    "datetime_object_invalid": _DATE_TIME,
    "datetime_parsing": _DATE_TIME,
    "datetime_past": "be in the past",
    "datetime_type": _DATE_TIME,
    "deque_type": _LIST,
    "decimal_max_digits": "have at most {max_digits} digits",
    "decimal_max_places": "have at most {decimal_places} digits after the decimal point",
    "decimal_parsing": _NUMBER,
    "decimal_type": _NUMBER,
    "decimal_whole_digits": "have at most {whole_digits} digits before the decimal point",
    "dict_type": _MAPPING,
    "enum": "be {expected}",
    "finite_number": "be a finite number",
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "fraction_parsing": _NUMBER,
    "fraction_type": _NUMBER,
    "frozen_dict_type": _MAPPING,
    "frozen_set_type": _LIST,
    "greater_than": "be greater than {gt}",
    "greater_than_equal": "be {ge} or more",
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": "be a smaller number",
    "int_type": _WHOLE,
    "invalid_key": "have text as its keys",
    "is_instance_of": "be of another type",
    "is_subclass_of": "be of another type",
    "iterable_type": _LIST,
    "iteration_error": _LIST,
    "json_invalid": "be valid JSON",
    "json_type": "be a text that contains JSON",
    "less_than": "be less than {lt}",
    "less_than_equal": "be {le} or less",
    "list_type": _LIST,
    "literal_error": "be {expected}",
    "mapping_type": _MAPPING,
    "missing_sentinel_error": "be left out",
    "model_attributes_type": _MAPPING,
    "model_type": _MAPPING,
    "multiple_of": "be a multiple of {multiple_of}",
    "named_tuple_type": _LIST,
    "none_required": "be left out",
    "set_item_not_hashable": "be a text or a number",
    "set_type": _LIST,
    "string_not_ascii": "contain only ASCII characters",
    "string_pattern_mismatch": "have another form",
    "string_sub_type": _TEXT,
    "string_too_long": "have at most {max_length} characters",
    "string_too_short": "have at least {min_length} characters",
    "string_type": _TEXT,
    "string_unicode": "be valid Unicode text",
    "time_delta_parsing": _DURATION,
    "time_delta_type": _DURATION,
    "time_parsing": _TIME,
    "time_type": _TIME,
    "timezone_aware": "have an offset from UTC, such as Z or +02:00",
    "timezone_naive": "have no offset from UTC",
    "timezone_offset": "have another offset from UTC",
    "too_long": _ITEMS_MOST,
    "too_short": _ITEMS_LEAST,
    "tuple_type": _LIST,
    "union_tag_invalid": "be {expected_tags}",
    "url_parsing": _URL,
    "url_scheme": "be a URL with the scheme {expected_schemes}",
    "url_syntax_violation": _URL,
    "url_too_long": "be a URL of at most {max_length} characters",
    "url_type": _URL,
    "uuid_parsing": _UUID,
    "uuid_type": _UUID,
    "uuid_version": "be a UUID of version {expected_version}",
}
_IS = {
    "extra_forbidden": _IS_UNKNOWN,
    "missing": _IS_MISSING,
    "missing_argument": _IS_MISSING,
    "missing_keyword_only_argument": _IS_MISSING,
    "missing_positional_only_argument": _IS_MISSING,
    "union_tag_not_found": _IS_MISSING,
    "unexpected_keyword_argument": _IS_UNKNOWN,
    "unexpected_positional_argument": _IS_UNKNOWN,
}
_AUTHORS = frozenset({"value_error", "assertion_error"})
_NOT_VALID = "is not valid"


class Problem:
    """A problem with the value in one place.

    Attributes:
        path: The names of fields and keys, and the positions in lists, that lead to the value.
        said: The problem, without the value, such as ``should be a number``.
    """

    def __init__(self, path: tuple[str, ...], said: str) -> None:
        self.path = path
        self.said = said

    def text(self, separator: str) -> str:
        """Return the place and the problem, such as ``steps/build/0: should be text``."""
        place = separator.join(self.path)
        return f"{place}: {self.said}" if place else self.said


def describe_unusable(error: PydanticUserError | SchemaError) -> str:
    """Return in one line why a model cannot be used: pydantic does not support a field of it."""
    if isinstance(error, PydanticUserError):
        return error.message.splitlines()[0]
    lines = [line.strip().removeprefix("SchemaError: ") for line in str(error).splitlines()]
    return " ".join(line for line in lines if not line.startswith("Error building"))


def describe_problems(
    error: ValidationError, expected: Any, values: object, *, separator: str = "."
) -> str:
    """Describe all problems in one line, a clause for each place; see ``find_problems``."""
    found = find_problems(error, expected, values)
    return "; ".join(problem.text(separator) for problem in found)


def find_problems(error: ValidationError, expected: Any, values: object) -> list[Problem]:
    """Translate a validation error.

    Args:
        error: The error that pydantic raised.
        expected: The model, or another type, that the values were validated against.
        values: The values that were validated. They are used to distinguish fields from pydantic's
            own names, and for suggestions. The result quotes none of them.

    Returns:
        One problem for each place, in the order of the error.
    """
    said: dict[tuple[str, ...], list[str]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        kind, context = detail["type"], detail.get("ctx", {})
        types, value, path = _walk(expected, values, detail["loc"])
        if kind in ("union_tag_invalid", "union_tag_not_found"):
            discriminator = str(context.get("discriminator", "")).strip("'")
            if discriminator.isidentifier():
                path = (*path, discriminator)
                value = value.get(discriminator) if isinstance(value, Mapping) else None
        clause = _clause(kind, context, detail["msg"]) + _suggestion(
            kind, context, path, types, value
        )
        clauses = said.setdefault(path, [])
        if clause not in clauses:
            clauses.append(clause)
    return [Problem(path, _alternatives(clauses)) for path, clauses in said.items()]


def _clause(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind in _AUTHORS:
        text = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
        return text.strip().removesuffix(".") or _NOT_VALID
    if kind in _IS:
        return _IS[kind]
    if kind == "string_pattern_mismatch" and context.get("pattern") in _PATTERNS:
        return f"should {_PATTERNS[context['pattern']]}"
    if kind in ("string_too_short", "too_short", "bytes_too_short") and context["min_length"] == 1:
        return "should not be empty"
    if kind in _SHOULD:
        filled = _SHOULD[kind].format_map(_Declared(context))
        return "should " + re.sub(r"\b1 (item|character|digit|byte)s\b", r"1 \1", filled)
    # An author's own error type, a PydanticCustomError, has a message for people.
    return message.removesuffix(".") if kind not in _pydantics_types() else _NOT_VALID


class _Declared(dict[str, Any]):
    """Return an error's context, with a general phrase for each missing key."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        super().__init__()
        for name, value in context.items():
            is_whole = isinstance(value, float) and value.is_integer()
            self[name] = int(value) if is_whole else value

    def __missing__(self, key: str) -> str:
        return "another value"


def _pydantics_types() -> Collection[str]:
    from pydantic_core.core_schema import ErrorType

    return get_args(ErrorType)


def _alternatives(clauses: Sequence[str]) -> str:
    """Join the problems that several members of a union report for one value."""
    first, *others = clauses
    if others and all(each.startswith("should be ") for each in clauses):
        return ", or ".join([first, *(each.removeprefix("should be ") for each in others)])
    return ", or ".join(clauses)


def _suggestion(
    kind: str,
    context: Mapping[str, Any],
    path: tuple[str, ...],
    types: Sequence[Any],
    value: object,
) -> str:
    meant = ""
    if kind == "extra_forbidden" and path:
        meant = did_you_mean(path[-1], _field_names(types))
    elif kind in ("literal_error", "enum", "union_tag_invalid") and isinstance(value, str):
        declared = str(context.get("expected") or context.get("expected_tags") or "")
        meant = did_you_mean(value, re.findall(r"'([^']*)'", declared))
    return f" ({meant.strip()})" if meant else ""


def _field_names(types: Iterable[Any]) -> Iterator[str]:
    for each in types:
        if _is_model(each):
            yield from _names(each)


def _names(model: type[BaseModel]) -> Iterator[str]:
    """Return the names of a model's fields in input: aliases if there are any."""
    return (field.alias or name for name, field in model.model_fields.items())


def _walk(
    expected: Any, values: object, location: Sequence[int | str]
) -> tuple[Sequence[Any], object, tuple[str, ...]]:
    """Follow an error's location through types and values at once.

    pydantic adds names of its own between those of fields: the tag or the type of a union's
    member, ``function-after[…]``, ``[key]``. They are not part of the path.

    Returns:
        The types that the container of the last part may have, the value there, and the path.
    """
    types = within = _members(expected)
    path: list[str] = []
    value: Any = values
    for part in location:
        if isinstance(part, int) and not isinstance(value, Mapping):
            listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
            value = value[part] if listed and part < len(value) else None
        elif _leads_on(part, types, value):
            value = value.get(part) if isinstance(value, Mapping) else None
        else:
            if _is_tag(part, types):
                types = [each for each in types if _is_model(each) and part in _tags(each)]
            continue
        path.append(str(part))
        within, types = types, [below for each in types for below in _below(each, part)]
    return within, value, tuple(path)


def _leads_on(part: int | str, types: Sequence[Any], value: object) -> bool:
    """Whether a part of a location is a field or a key, and not a name of pydantic's."""
    if _is_tag(part, types):
        return False
    if Any in types or any(_is_model(each) and part in set(_names(each)) for each in types):
        return True
    return isinstance(value, Mapping) and part in value


def _is_tag(part: int | str, types: Iterable[Any]) -> bool:
    """Whether a part of a location selects one of a union's models."""
    models = [each for each in types if _is_model(each)]
    return len(models) > 1 and any(part in _tags(each) for each in models)


def _tags(model: type[BaseModel]) -> Iterator[object]:
    yield model.__name__
    for field in model.model_fields.values():
        if get_origin(field.annotation) is Literal:
            yield from get_args(field.annotation)


def _members(annotation: Any) -> list[Any]:
    """Return the types that a value may have: a union's members, without ``Annotated``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [member for each in get_args(annotation) for member in _members(each)]
    return [annotation]


def _below(container: Any, part: int | str) -> list[Any]:
    if _is_model(container):
        fields = zip(_names(container), container.model_fields.values(), strict=True)
        return [
            each for name, field in fields if name == part for each in _members(field.annotation)
        ]
    arguments = [each for each in get_args(container) if each is not Ellipsis]
    return _members(arguments[-1]) if arguments else []


def _is_model(candidate: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)
