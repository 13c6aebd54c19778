"""Attributes that are made when they are first used, the same one for all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["made_once"]

T = TypeVar("T")


class made_once(Generic[T]):  # noqa: N801  it is used like ``property``
    """A property that is computed once, also if several threads use it first.

    ``functools.cached_property`` gives each of them another object, from Python 3.12 on. Here two
    may be made, and one of them is used, so making one must have no effect.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        # From now on Python finds the value there, and does not call this method again.
        found: T = vars(instance).setdefault(self._name, self._make(instance))
        return found
