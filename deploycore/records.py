"""Frozen dataclasses that cost little to define.

``dataclass(frozen=True)`` writes and compiles six functions for each class, which takes longer than
the import of a small module, and a command imports dozens of such classes. The classes of
:func:`record` share their methods instead. They are dataclasses: ``fields``, ``replace`` and
``asdict`` work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from inspect import Signature

__all__ = ["record"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass, as ``dataclass(frozen=True)`` does.

    Creating an instance takes some microseconds longer. ``InitVar`` is not supported.
    """
    derives = any(_is_frozen(each) for each in cls.__mro__[1:])
    _share(cls, _METHODS if derives else {**_METHODS, **_REFUSALS})
    made = dataclass(init=False, repr=False, eq=False, frozen=derives)(cls)
    # Otherwise dataclass() would refuse to derive a frozen class from it.
    made.__dataclass_params__.frozen = True  # type: ignore[attr-defined]
    return made


def _is_frozen(cls: Any) -> bool:
    parameters = vars(cls).get("__dataclass_params__")
    return parameters is not None and parameters.frozen


def _share(cls: type, methods: Mapping[str, object]) -> None:
    """Add the methods that a class does not define itself."""
    for name, method in methods.items():
        if name not in vars(cls):
            setattr(cls, name, method)


def _fields_of(cls: Any) -> tuple[Any, ...]:
    return fields(cls)


class _Form(NamedTuple):
    """What the methods of a class need of its fields.

    Attributes:
        fields: All fields.
        given: The names of those that are arguments.
        positional: The names of those that are positional arguments.
        compared: The names of those that are compared.
    """

    fields: tuple[Any, ...]
    given: frozenset[str]
    positional: tuple[str, ...]
    compared: tuple[str, ...]


@cache
def _form(cls: type) -> _Form:
    found = _fields_of(cls)
    given = [each for each in found if each.init]
    return _Form(
        found,
        frozenset(each.name for each in given),
        tuple(each.name for each in given if not each.kw_only),
        tuple(each.name for each in found if each.compare),
    )


def _init(self: object, *args: object, **kwargs: object) -> None:
    cls: Any = type(self)
    form = _form(cls)
    if len(args) > len(form.positional):
        raise TypeError(f"{cls.__name__}() takes {len(form.positional)} positional arguments")
    values = dict(zip(form.positional, args, strict=False))
    if unknown := [name for name in kwargs if name in values or name not in form.given]:
        raise TypeError(f"{cls.__name__}() got an unexpected argument {unknown[0]!r}")
    values.update(kwargs)
    if len(values) < len(form.fields):
        for each in form.fields:
            if each.name not in values:
                values[each.name] = _default(cls, each)
    set_value = object.__setattr__
    for name, value in values.items():
        set_value(self, name, value)
    if after := getattr(self, "__post_init__", None):
        after()


def _default(cls: type, missing: Any) -> object:
    if missing.default_factory is not MISSING:
        return missing.default_factory()
    if missing.default is MISSING:
        raise TypeError(f"{cls.__name__}() lacks the argument {missing.name!r}")
    return missing.default


def _compared(self: object) -> tuple[object, ...]:
    cls: Any = type(self)
    return tuple([getattr(self, name) for name in _form(cls).compared])


def _eq(self: object, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    if other is self:
        return True
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
    """Return the signature of a record's class, which documentation shows."""

    def __get__(self, instance: object, owner: type) -> Signature:
        from inspect import Parameter, Signature

        if getattr(owner, "__init__", None) is not _init:
            raise AttributeError("__signature__")  # that of its own __init__ is the right one
        found = []
        for each in _fields_of(owner):
            kind = Parameter.KEYWORD_ONLY if each.kw_only else Parameter.POSITIONAL_OR_KEYWORD
            is_required = each.default is MISSING and each.default_factory is MISSING
            default = Parameter.empty if is_required else each.default
            if each.init:
                found.append(Parameter(each.name, kind, default=default, annotation=each.type))
        return Signature(sorted(found, key=lambda each: each.kind))


_METHODS: Mapping[str, object] = {
    "__init__": _init,
    "__eq__": _eq,
    "__hash__": _hash,
    "__repr__": _repr,
    "__signature__": _SignatureOf(),
}
_REFUSALS = {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
