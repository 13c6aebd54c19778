"""Names that a misspelled one was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["closest", "did_you_mean"]


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a given one; ``None`` if none is.

    Upper and lower case are the same here. A short name that continues the given one, or the
    other way round, counts as like it.
    """
    from difflib import get_close_matches  # needed for mistakes alone, so not at start-up

    names = {each.casefold(): each for each in known}
    wanted = name.casefold()
    found = get_close_matches(wanted, names, n=1)
    if not found and len(wanted) > 2:
        found = sorted(each for each in names if each.startswith(wanted))[:1]
    return names[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], *, shown: str = "{!r}") -> str:
    """``Did you mean 'main'?`` with a space behind it; empty if no known name is like it.

    Args:
        shown: How the name is written, as a format: ``--{}`` for an option.
    """
    found = closest(name, known)
    return f"Did you mean {shown.format(found)}? " if found is not None else ""
