"""Setting a standard check aside: only with ``xfail`` and a reason."""

from __future__ import annotations

import dis
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from inspect import getattr_static, isfunction
from typing import Any

import pytest

from deploycore.testing.contract.base import ContractBase, asked

__all__ = ["SettingAside", "faults_in", "has_a_reason", "knobs"]

WAY = (
    "A standard check is set aside only by overriding it with "
    '@pytest.mark.xfail(reason="…"), and a reason of a few words that a user can judge.'
)
SHORTEST_REASON = 12
OWN_CLOSENESS = 0.85
"""If the name of an author's own test is more similar than this to the name of a standard check (by
difflib), it is an error."""
OVERRIDE_CLOSENESS = 0.6
"""The same limit for methods that are marked ``xfail`` or have no body, as if they overrode a
check."""
_OF_EMPTY_BODIES = frozenset(
    {"CACHE", "LOAD_CONST", "LOAD_SMALL_INT", "NOP", "RESUME", "RETURN_CONST", "RETURN_VALUE"}
)
EXPECTED = ("kind", "sandbox", "required_scope")
"""Attributes that every contract class sets."""


class SettingAside(ContractBase):
    """Rejects subclasses that omit, replace or skip a standard check."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if cls.__module__.startswith("deploycore.testing."):
            return
        if faults := list(faults_in(cls)):
            raise TypeError(f"{cls.__name__}: {'; '.join(faults)}. {WAY}")

    def test_nothing_is_set_aside_without_a_reason(self) -> None:
        """Repeats the check of the class, because it may have changed after its definition."""
        faults = list(faults_in(type(self)))
        assert faults == [], WAY
        # A check that runs for each way to sign in does not run if there is none.
        assert self.all_modes(), asked("class", "the sandbox has a way to sign in: MODES")
        left_out = set(getattr(self.sandbox, "MODES", ())) - set(self.all_modes())
        assert left_out == set(), asked(
            "class", "modes includes every way to sign in that the sandbox has"
        )


def faults_in(checks: type) -> Iterator[str]:
    """Return the checks that a class sets aside in a way that is not allowed."""
    from deploycore.testing.contract import ProviderContract

    standard = {name for name in dir(ProviderContract) if name.startswith("test_")}
    for name in sorted(standard):
        own = getattr(checks, name, None)
        if own is not getattr(ProviderContract, name):
            if not has_a_reason(own):
                yield f"{name} is overridden without such a reason"
            elif any(mark.args or "condition" in mark.kwargs for mark in _xfails(own)):
                yield f"{name} is set aside on a condition"
            elif is_empty(own):
                yield f"{name} has no body: raise AssertionError in it"
    yield from _misspelt(checks, standard)
    for owner in checks.__mro__:
        for mark in _marks(vars(owner)):
            if mark.name in ("skip", "skipif", "xfail"):
                yield f"the whole class is marked {mark.name}"


def is_empty(check: Any) -> bool:
    """Return whether a function does nothing: its body is ``...``, ``pass`` or only a docstring."""
    if not isfunction(check):
        return False
    return {each.opname for each in dis.get_instructions(check)} <= _OF_EMPTY_BODIES


def _misspelt(checks: type, standard: Collection[str]) -> Iterator[str]:
    """Return methods that seem to override a standard check, but have a misspelled name."""
    for owner in checks.__mro__:
        if owner is object or owner.__module__.startswith("deploycore.testing."):
            continue
        for name, member in vars(owner).items():
            if name in standard or not callable(member):
                continue
            overrides = name.startswith("test_") and (bool(_xfails(member)) or is_empty(member))
            closeness = OVERRIDE_CLOSENESS if overrides else OWN_CLOSENESS
            if close := get_close_matches(name, standard, 3, closeness):
                yield f"{name} is not a check of the kit (similar names: {', '.join(close)})"


def knobs(checks: type[ContractBase]) -> Mapping[str, str]:
    """Return the attributes of a contract class that make checks less strict or different.

    Returns:
        The changed attributes of ``ContractBase``, by their names, with their values; for methods
        and fixtures, only the names.
    """
    found = {}
    for name, default in vars(ContractBase).items():
        own = getattr_static(checks, name)
        if name.startswith("__") or name in EXPECTED or own == default:
            continue
        is_code = callable(default) or isinstance(default, classmethod)
        found[name] = "of its own" if is_code else repr(own)
    return found


def has_a_reason(check: Any) -> bool:
    """Return whether a check is marked ``xfail`` with a reason of more than one word."""
    return any(len(_reason(mark)) >= SHORTEST_REASON for mark in _xfails(check))


def _xfails(check: Any) -> list[pytest.Mark]:
    return [mark for mark in _marks(check) if mark.name == "xfail"]


def _reason(mark: pytest.Mark) -> str:
    return str(mark.kwargs.get("reason", "")).strip()


def _marks(owner: Any) -> list[Any]:
    members = owner if isinstance(owner, Mapping) else getattr(owner, "__dict__", {})
    found = members.get("pytestmark", [])
    listed = found if isinstance(found, list | tuple) else [found]
    return [getattr(mark, "mark", mark) for mark in listed]
