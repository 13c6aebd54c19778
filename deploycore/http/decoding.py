"""From a host's JSON to models of it, believing nothing.

What is missing or of another type than the host documents is an ``UnexpectedAnswer`` that names
the place, never the value: an answer may hold what must not be shown.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from deploycore.errors import UnexpectedAnswer
from deploycore.validation import find_problems

__all__ = ["AnswerModel", "parse_answer"]

T = TypeVar("T")
_SHOWN_PROBLEMS = 3

_adapter: Callable[[Any], TypeAdapter[Any]] = lru_cache(maxsize=256)(TypeAdapter)


class AnswerModel(BaseModel):
    """The base for models of a host's JSON: only the fields that are read, in strict types.

    Fields that the model does not name are passed over, so that a host may add some.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", strict=True, hide_input_in_errors=True, defer_build=True
    )


def parse_answer(expected: type[T], value: object, *, what: str) -> T:
    """Read decoded JSON as a model of it, or as a list of some.

    Args:
        expected: An :class:`AnswerModel`, ``list[…]`` of one, or a plain type.
        value: What :meth:`HttpClient.get_json` gave.
        what: What it should be, for the error: ``a page of repositories``.

    Raises:
        UnexpectedAnswer: It is something else; names the first places that are wrong.
    """
    try:
        found: T = _adapter(expected).validate_python(value)
    except ValidationError as error:
        problems = find_problems(error, expected, value)
    else:
        return found
    shown = "; ".join(
        f"{'.'.join(problem.path) or 'the whole'}: {problem.said}"
        for problem in problems[:_SHOWN_PROBLEMS]
    )
    raise UnexpectedAnswer(
        f"The host did not answer with {what} as its API describes it: {shown}.",
        hint="Check the configured address. If it is right, the host's API has changed: "
        "upgrade the plugin.",
        field=".".join(problems[0].path) or None,
    )
