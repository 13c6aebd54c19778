"""Suggestions of similar names for a misspelled one."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["closest", "did_you_mean"]


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to a given one; ``None`` if none is similar.

    The comparison ignores case. A known name that begins with the given one counts as similar, and
    so does ``main`` for ``origin/main``.
    """
    from difflib import get_close_matches  # imported here because only mistakes need it

    names = {each.casefold(): each for each in known}
    wanted = name.casefold()
    found = sorted((each for each in names if wanted.endswith(f"/{each}")), key=len)[-1:]
    found = found or get_close_matches(wanted, names, n=1)
    if not found and len(wanted) > 2:
        found = sorted(each for each in names if each.startswith(wanted))[:1]
    return names[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], *, shown: str = "{!r}") -> str:
    """Return ``Did you mean 'main'?`` and a space; empty if no known name is similar.

    Args:
        name: The misspelled name.
        known: The known names.
        shown: The format of the suggested name, such as ``--{}`` for an option.
    """
    found = closest(name, known)
    return f"Did you mean {shown.format(found)}? " if found is not None else ""
