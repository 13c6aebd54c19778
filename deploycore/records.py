"""Frozen dataclasses that cost little to define.

``dataclass(frozen=True)`` writes and compiles six functions for each class, which takes longer than
the import of a small module, and a command imports dozens of such classes. The classes of
:func:`record` share their methods instead. They are dataclasses: ``fields``, ``replace`` and
``asdict`` work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from inspect import Signature

__all__ = ["derivable_record", "record"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass, as ``dataclass(frozen=True)`` does.

    Making an instance takes some microseconds longer. A frozen dataclass cannot be a subclass of
    it, so a class that others may derive from is a
    :func:`derivable_record`. It knows no ``InitVar``.
    """
    _share(cls, {**_METHODS, **_REFUSALS})
    return dataclass(init=False, repr=False, eq=False)(cls)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def derivable_record(cls: type[T]) -> type[T]:
    """Make a class a record that frozen dataclasses may derive from."""
    made = record(cls)
    # Else dataclass() would refuse to derive a frozen class from it.
    made.__dataclass_params__.frozen = True  # type: ignore[attr-defined]
    return made


def _share(cls: type, methods: Mapping[str, object]) -> None:
    """Add the methods that a class does not define itself."""
    for name, method in methods.items():
        if name not in vars(cls):
            setattr(cls, name, method)


def _fields_of(cls: Any) -> tuple[Any, ...]:
    return fields(cls)


def _init(self: object, *args: object, **kwargs: object) -> None:
    cls = type(self)
    given = {each.name: each for each in _fields_of(cls) if each.init}
    positional = [name for name, each in given.items() if not each.kw_only]
    if len(args) > len(positional):
        raise TypeError(f"{cls.__name__}() takes {len(positional)} positional arguments")
    values = dict(zip(positional, args, strict=False))
    for name, value in kwargs.items():
        if name in values or name not in given:
            raise TypeError(f"{cls.__name__}() got an unexpected argument {name!r}")
        values[name] = value
    for each in _fields_of(cls):
        if each.name not in values:
            values[each.name] = _default(cls, each)
    for name, value in values.items():
        object.__setattr__(self, name, value)
    if after := getattr(self, "__post_init__", None):
        after()


def _default(cls: type, missing: Any) -> object:
    if missing.default_factory is not MISSING:
        return missing.default_factory()
    if missing.default is MISSING:
        raise TypeError(f"{cls.__name__}() lacks the argument {missing.name!r}")
    return missing.default


def _compared(self: object) -> tuple[object, ...]:
    return tuple(getattr(self, each.name) for each in _fields_of(type(self)) if each.compare)


def _eq(self: object, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _compared(self) == _compared(other)


def _hash(self: object) -> int:
    return hash(_compared(self))


def _repr(self: object) -> str:
    shown = (f"{e.name}={getattr(self, e.name)!r}" for e in _fields_of(type(self)) if e.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse_to_set(self: object, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


class _SignatureOf:
    """The signature of a record's class, which documentation shows."""

    def __get__(self, instance: object, owner: type) -> Signature:
        from inspect import Parameter, Signature

        found = []
        for each in _fields_of(owner):
            kind = Parameter.KEYWORD_ONLY if each.kw_only else Parameter.POSITIONAL_OR_KEYWORD
            is_required = each.default is MISSING and each.default_factory is MISSING
            default = Parameter.empty if is_required else each.default
            if each.init:
                found.append(Parameter(each.name, kind, default=default, annotation=each.type))
        return Signature(found)


_METHODS: Mapping[str, object] = {
    "__init__": _init,
    "__eq__": _eq,
    "__hash__": _hash,
    "__repr__": _repr,
    "__signature__": _SignatureOf(),
}
_REFUSALS = {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
