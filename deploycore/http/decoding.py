"""Convert a host's JSON to models, and validate it.

If a field is missing or has another type than documented, an ``UnexpectedAnswer`` names the field
but never quotes the value, which may be secret. The items of a listing are parsed one by one: an
invalid item is skipped and counted.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast, get_args, get_origin, overload

from pydantic import (
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from deploycore.errors import UnexpectedAnswer
from deploycore.http.tally import current_tally

__all__ = ["AnswerModel", "IncompleteItem", "OrNone", "parse_answer", "parse_items"]

T = TypeVar("T")
U = TypeVar("U")
_SHOWN_PROBLEMS = 3
_HINT = (
    "Check the provider's address. If it is right, the host's API has changed: upgrade the"
    " provider's plugin."
)

_adapter: Callable[[Any], TypeAdapter[Any]] = lru_cache(maxsize=256)(TypeAdapter)

_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "string_type": "is not a text",
    "string_too_short": "is empty",
    "bool_type": "is not true or false",
    "int_type": "is not a whole number",
    "list_type": "is not a list",
    "model_type": "is not an object",
    "dict_type": "is not an object",
}


class AnswerModel(BaseModel):
    """The base class for models of a host's JSON. Types are strict. Define only the fields that you
    read.

    Other fields are ignored, so a host can add fields. If a field has a default, it gets the
    default also if the host sends ``null``.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", strict=True, hide_input_in_errors=True, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        absent = {key for key in _defaulted(cls) if key in data and data[key] is None}
        if not absent:
            return data
        return {key: value for key, value in data.items() if key not in absent}


def _or_none(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


OrNone = WrapValidator(_or_none)
"""For a field that is only shown, such as a size or a time: an invalid value becomes ``None``, and
the item is kept. Write ``Annotated[int | None, OrNone] = None``."""


class IncompleteItem(UnexpectedAnswer):
    """An item matches the host's documentation, but lacks a field that deploycore needs.

    Raise it in a function that reads items. The item is then skipped. If all other items are valid,
    or there are none, the listing succeeds. If all items of a listing are invalid, the listing
    raises ``UnexpectedAnswer``.
    """


def parse_answer(expected: type[T], value: object, *, what: str) -> T:
    """Parse decoded JSON as a model, or as a list of models.

    Args:
        expected: An :class:`AnswerModel`, a ``list[…]`` of one, or a plain type. The items of a
            list are parsed as in :func:`parse_items`.
        value: The decoded JSON, from :meth:`HttpClient.get_json`.
        what: A name for the error, such as ``a page of repositories``.

    Raises:
        UnexpectedAnswer: The JSON does not match. The message names the first invalid fields.
    """
    item = _item_model(expected)
    if item is not None:
        return cast("T", parse_items(item, value, what=what))
    try:
        found: T = _adapter(expected).validate_python(value)
    except ValidationError as error:
        problems = _problems(error)
    else:
        return found
    raise _unexpected(what, problems)


@overload
def parse_items(expected: type[T], page: object, *, what: str) -> list[T]: ...
@overload
def parse_items(
    expected: type[T], page: object, *, what: str, read: Callable[[T], U]
) -> list[U]: ...
def parse_items(
    expected: type[T], page: object, *, what: str, read: Callable[[T], Any] | None = None
) -> list[Any]:
    """Parse the items of a page of a listing one by one.

    An invalid item is skipped and counted. At the end of the listing, one warning in the log has
    the provider, the number of skipped items and the reasons, but no content. ``null`` is skipped
    too, because some hosts send it in place of an item that was removed.

    Args:
        expected: The model of an item; ``object`` if ``read`` validates it.
        page: The decoded list.
        what: A name for messages, such as ``a page of repositories``.
        read: Converts an item to the result. If it raises ``UnexpectedAnswer`` or pydantic's
            ``ValidationError``, the item is skipped.

    Raises:
        UnexpectedAnswer: The page is not a list, or the host sent items but all of them are
            invalid. In a listing hook, this is checked at the end of the listing, otherwise at
            once.
    """
    if not isinstance(page, list):
        raise _unexpected(what, [("", "is not a list")])
    tally, found, wrong = current_tally(), [], []
    for number, item in enumerate(page):
        if item is None:
            tally.skipped(what, "null in the place of an item", is_null=True)
            continue
        try:
            value = _adapter(expected).validate_python(item)
            found.append(value if read is None else read(value))
            continue
        except ValidationError as error:
            problems = _problems(error)
        except IncompleteItem as error:
            tally.skipped(what, _told([(_field_of(error), "is missing")]))
            continue
        except UnexpectedAnswer as error:
            problems = [(_field_of(error), "is missing or wrong")]
        tally.skipped(what, _told(problems[:1]))
        wrong += [(f"{number}.{place}".rstrip("."), words) for place, words in problems]
    tally.read(len(found), _unexpected(what, wrong) if wrong else None)
    return found


def _item_model(expected: Any) -> type[AnswerModel] | None:
    """Return the model of the items if a list of models is expected."""
    if get_origin(expected) is not list:
        return None
    (item,) = get_args(expected)
    return item if isinstance(item, type) and issubclass(item, AnswerModel) else None


@lru_cache(maxsize=256)
def _defaulted(model: type[AnswerModel]) -> frozenset[str]:
    """Return the keys of fields that have a default and do not accept null."""
    return frozenset(
        field.alias or name
        for name, field in model.model_fields.items()
        if not field.is_required() and type(None) not in get_args(field.annotation)
    )


def _problems(error: ValidationError) -> list[tuple[str, str]]:
    """Describe each invalid place in plain words, without its value."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return [
        (".".join(map(str, problem["loc"])), _WORDS.get(problem["type"], "has an unexpected value"))
        for problem in found
    ]


def _field_of(error: UnexpectedAnswer) -> str:
    return str(error.details.get("field", ""))


def _told(problems: list[tuple[str, str]]) -> str:
    shown = problems[:_SHOWN_PROBLEMS]
    return "; ".join(f"{place or 'the whole'} {words}" for place, words in shown)


def _unexpected(what: str, problems: list[tuple[str, str]]) -> UnexpectedAnswer:
    shown = "; ".join(
        f"{place or 'the whole'}: it {words}" for place, words in problems[:_SHOWN_PROBLEMS]
    )
    return UnexpectedAnswer(
        f"The host did not answer with {what} as its API describes it: {shown}.",
        hint=_HINT,
        field=problems[0][0] or None,
    )
