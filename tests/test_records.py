"""A record is like a frozen dataclass, to all who use it."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace

import pytest

from deploycore.records import record


@record
class Recorded:
    name: str
    size: int = 1
    tags: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False, compare=False)
    last: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Frozen:
    name: str
    size: int = 1
    tags: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False, compare=False)
    last: bool = field(default=False, kw_only=True)


@pytest.mark.parametrize("cls", [Recorded, Frozen])
def test_arguments_and_defaults_are_those_of_a_dataclass(cls):
    made = cls("a", 2, last=True)
    assert asdict(made) == {"name": "a", "size": 2, "tags": [], "secret": "", "last": True}
    assert made.tags is not cls("a").tags
    assert replace(made, size=3) == cls("a", size=3, last=True)
    assert [each.name for each in fields(made)] == ["name", "size", "tags", "secret", "last"]
    assert list(inspect.signature(cls).parameters) == [each.name for each in fields(cls)]
    assert repr(made).endswith("(name='a', size=2, tags=[], last=True)")


@pytest.mark.parametrize("cls", [Recorded, Frozen])
@pytest.mark.parametrize(
    ("given", "named"),
    [
        (((), {}), "name"),
        ((("a", 1, [], "", True), {}), "positional"),
        ((("a",), {"name": "b"}), "name"),
        ((("a",), {"other": 1}), "other"),
    ],
)
def test_invalid_arguments_are_rejected(cls, given, named):
    with pytest.raises(TypeError, match=named):
        cls(*given[0], **given[1])


@pytest.mark.parametrize("cls", [Recorded, Frozen])
def test_equality_and_hash_use_the_compared_fields(cls):
    assert cls("a", tags=[], secret="x") == cls("a", tags=[], secret="y")
    assert cls("a") != cls("b")
    assert Recorded("a") != Frozen("a")
    assert hash(cls("a", tags=())) == hash(cls("a", tags=(), secret="x"))
    with pytest.raises(TypeError, match="unhashable"):
        hash(cls("a"))


@pytest.mark.parametrize("cls", [Recorded, Frozen])
def test_a_frozen_record_cannot_be_changed(cls):
    made = cls("a")
    with pytest.raises(FrozenInstanceError, match="size"):
        made.size = 2
    with pytest.raises(FrozenInstanceError, match="size"):
        del made.size
    assert copy.copy(made) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made


def test_methods_of_a_record_are_kept():
    @record
    class Named:
        name: str

        def __post_init__(self) -> None:
            if not self.name:
                raise ValueError("no name")

        def __repr__(self) -> str:
            return f"<{self.name}>"

    assert repr(Named("a")) == "<a>"
    with pytest.raises(ValueError, match="no name"):
        Named("")


def test_a_frozen_dataclass_derives_from_a_record():
    @dataclass(frozen=True)
    class Derived(Recorded):
        more: str = "x"

    made = Derived("a", more="y")
    assert (made.name, made.size, made.more) == ("a", 1, "y")
    assert made == replace(Derived("a"), more="y") != Recorded("a")
    with pytest.raises(FrozenInstanceError):
        made.more = "z"


@pytest.mark.parametrize("base", [Recorded, Frozen])
def test_a_record_derives_from_a_record_or_a_frozen_dataclass(base):
    @record
    class Derived(base):
        more: str = "x"

    made = Derived("a", more="y")
    assert (made.name, made.size, made.more) == ("a", 1, "y")
    assert made == replace(Derived("a"), more="y") != base("a")
    with pytest.raises(FrozenInstanceError):
        made.more = "z"
    with pytest.raises(FrozenInstanceError):
        made.name = "z"


def test_the_signature_of_a_derived_class_is_that_of_its_own_init():
    class OfText(Recorded):
        def __init__(self, text: str) -> None:
            super().__init__(*text.split("/"))

    @record
    class Named(Recorded):
        more: int = 1

    assert list(inspect.signature(OfText).parameters) == ["text"]
    assert list(inspect.signature(Named).parameters) == [
        *("name", "size", "tags", "secret", "more", "last")
    ]
