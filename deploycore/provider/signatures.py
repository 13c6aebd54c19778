"""Check the parameters of a provider class's ``__init__``, and find its classes for modes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

__all__ = ["classes_of_modes", "init_faults", "takes_git"]


def classes_of_modes(candidate: Any) -> tuple[Any, ...]:
    """Return the classes for modes that a provider class itself defines, without inherited ones."""
    return tuple(vars(candidate).get("CLASSES_OF_MODES", ()))


def init_faults(candidate: type) -> Iterable[str]:
    """Yield the faults of the parameters, as parts of the registry's message."""
    if not takes_git(candidate) and not _takes(_signature(candidate), 2):
        yield "its __init__ does not take (config, http), nor (config, http, git)"


def takes_git(candidate: type) -> bool:
    """Whether the third parameter is ``git``, with or without a default."""
    signature = _signature(candidate)
    return list(signature.parameters)[2:3] == ["git"] and _takes(signature, 3)


def _signature(candidate: type) -> inspect.Signature:
    """Return the signature; one without parameters if Python does not know it, as for a subclass of
    ``dict``."""
    try:
        return inspect.signature(candidate)
    except (TypeError, ValueError):
        return inspect.Signature()


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[object()] * count)
    except TypeError:
        return False
    return True
