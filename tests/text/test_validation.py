"""Invalid values are described in words for people, for every constraint."""

from __future__ import annotations

import enum
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal, get_args
from uuid import UUID

import pytest
from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from deploycore.applications.application import Application
from deploycore.configuration import ProviderConfig, parse_config
from deploycore.errors import ConfigurationError
from deploycore.events import PushEvent
from deploycore.models import Branch, Repository
from deploycore.text.validation import describe_problems

PYDANTIC = re.compile(
    r"Input |Field required|Extra inputs|Value error|Assertion failed|String should|\(\?|\\|\^"
    r"|\[A-Z|pydantic|function-|tagged-union|literal\[|valid dictionary|<class",
)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int


class OneConfig(ProviderConfig):
    mode: Literal["one"]
    color: Color = Color.RED
    level: Literal["low", "high"] = "low"
    code: Annotated[str, Field(pattern=r"^[A-Z]{3}(?:-[0-9]+)?$")] = "ABC"
    pages: Annotated[int, Field(gt=0, le=10, multiple_of=2)] = 2
    ratio: Annotated[float, Field(ge=0.5, lt=2, allow_inf_nan=False)] = 1
    short: Annotated[str, Field(min_length=1, max_length=3)] = "abc"
    several: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]  # noqa: RUF012
    either: int | bool | None = None
    mixed: Literal["auto", "off"] | Annotated[float, Field(ge=10)] = "auto"
    inner: Inner | None = None
    mapping: dict[str, int] = {}  # noqa: RUF012
    day: date | None = None
    at: AwareDatetime | None = None
    lasts: timedelta | None = None
    price: Annotated[Decimal, Field(max_digits=3)] = Decimal(1)
    page: AnyHttpUrl | None = None
    number: UUID | None = None
    data: Json[int] | None = None
    token: SecretStr | None = None


class TwoConfig(OneConfig):
    mode: Literal["two"]
    needed: str
    also: str


Config = Annotated[OneConfig | TwoConfig, Field(discriminator="mode")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"color": "rde"}, "color: should be 'red' or 'blue' (Did you mean 'red'?)"),
        ({"level": "hihg"}, "level: should be 'low' or 'high' (Did you mean 'high'?)"),
        ({"code": "x-s3cret"}, "code: should have another form"),
        ({"pages": 0}, "pages: should be greater than 0"),
        ({"pages": 12}, "pages: should be 10 or less"),
        ({"pages": 3}, "pages: should be a multiple of 2"),
        ({"pages": "x"}, "pages: should be a whole number"),
        ({"pages": 1.5}, "pages: should be a whole number"),
        ({"pages": [1]}, "pages: should be a whole number"),
        ({"ratio": 0.1}, "ratio: should be 0.5 or more"),
        ({"ratio": 2}, "ratio: should be less than 2"),
        ({"ratio": "inf"}, "ratio: should be a finite number"),
        ({"ratio": "x"}, "ratio: should be a number"),
        ({"short": ""}, "short: should not be empty"),
        ({"short": "abcd"}, "short: should have at most 3 characters"),
        ({"short": 3}, "short: should be text"),
        ({"several": []}, "several: should not be empty"),
        ({"several": [1, 2, 3]}, "several: should have at most 2 items"),
        ({"several": [1, "x"]}, "several.1: should be a whole number"),
        ({"several": 1}, "several: should be a list"),
        ({"either": "x"}, "either: should be a whole number, or true or false"),
        ({"mixed": "x"}, "mixed: should be 'auto' or 'off', or a number"),
        ({"mixed": 3}, "mixed: should be 'auto' or 'off', or 10 or more"),
        ({"inner": {"cuont": 1}}, "inner.cuont: is not known here (Did you mean 'count'?)"),
        ({"inner": {}}, "inner.count: is missing"),
        ({"inner": 3}, "inner: should be a mapping"),
        ({"mapping": {"a": "x"}}, "mapping.a: should be a whole number"),
        ({"mapping": {1: 1}}, "mapping.1: should be text"),
        ({"day": "x"}, "day: should be a date"),
        ({"at": datetime(2026, 1, 1)}, "at: should have an offset from UTC"),
        ({"at": "x"}, "at: should be a date and time"),
        ({"lasts": "x"}, "lasts: should be a duration"),
        ({"price": "1234"}, "price: should have at most 3 digits"),
        ({"page": "ftp://x"}, "page: should be a URL with the scheme"),
        ({"page": "x"}, "page: should be an absolute URL"),
        ({"number": "x"}, "number: should be a UUID"),
        ({"data": "{"}, "data: should be valid JSON"),
        ({"token": 3}, "token: should be text"),
        ({"name": "a b"}, "name: should have up to 63 letters, digits"),
        ({"mode": "tow"}, "mode: should be 'one', 'two' (Did you mean 'two'?)"),
        ({"mode": "two"}, "needed: is missing; also: is missing"),
        ({"mode": "two", "nedeed": "x", "also": "x"}, "nedeed: is not known here"),
        ({"mode": None}, "mode: should be 'one', 'two'"),
    ],
)
def test_every_constraint_of_a_plugin_configuration_has_a_readable_message(given, said):
    with pytest.raises(ConfigurationError) as caught:
        parse_config(Config, {"name": "work", "mode": "one", **given}, kind="acme")
    assert said in caught.value.message
    assert not PYDANTIC.search(caught.value.message)
    assert "s3cret" not in caught.value.message


def test_a_field_named_like_a_mode_is_distinguished_from_it():
    class ByToken(ProviderConfig):
        mode: Literal["token"]
        token: Annotated[str, Field(min_length=3)]
        owner: str

    class ByPassword(ProviderConfig):
        mode: Literal["password"]
        password: str

    config = Annotated[ByToken | ByPassword, Field(discriminator="mode")]
    with pytest.raises(ConfigurationError) as caught:
        parse_config(config, {"name": "x", "mode": "token", "token": "a"}, kind="acme")
    assert "valid: token: should have at least 3 characters; owner: is missing" in str(caught.value)


def test_a_custom_message_of_an_author_is_kept():
    def check(value: str) -> str:
        if value == "custom":
            raise PydanticCustomError("acme", "this is {what}", {"what": "a team's name"})
        raise ValueError("it is a display name.")

    adapter = TypeAdapter(Annotated[str, AfterValidator(check)])
    for given, said in (("custom", "this is a team's name"), ("x", "it is a display name")):
        with pytest.raises(ValidationError) as caught:
            adapter.validate_python(given)
        assert describe_problems(caught.value, str, given) == said


@pytest.mark.parametrize("kind", sorted(get_args(ErrorType)))
def test_no_error_uses_the_wording_of_pydantic(kind):
    context = {
        **dict.fromkeys(("gt", "ge", "lt", "le", "multiple_of", "max_digits"), 1),
        **dict.fromkeys(("min_length", "max_length", "actual_length", "expected_version"), 2),
        **dict.fromkeys(("decimal_places", "whole_digits", "tz_expected", "tz_actual"), 2),
        **dict.fromkeys(("error", "class", "pattern", "expected", "tag", "encoding"), "x"),
        **dict.fromkeys(("expected_tags", "discriminator", "expected_schemes", "class_name"), "x"),
        **dict.fromkeys(("method_name", "encoding_error", "wrong_values", "attribute"), "x"),
        "field_type": "List",
    }
    details = [InitErrorDetails(type=kind, loc=("field",), input="s3cret", ctx=context)]
    error = ValidationError.from_exception_data("X", details)
    said = describe_problems(error, dict[str, str], {"field": "s3cret"})
    assert not PYDANTIC.search(said)
    assert "s3cret" not in said


@pytest.mark.parametrize("model", [Application, Repository, Branch, PushEvent])
def test_models_report_all_missing_fields_at_once(model):
    with pytest.raises(ValidationError) as caught:
        model.model_validate({})
    said = describe_problems(caught.value, model, {})
    required = [name for name, field in model.model_fields.items() if field.is_required()]
    assert said == "; ".join(f"{name}: is missing" for name in required)
