"""Suggestions of similar names for a misspelled one."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["about_hashes", "closest", "did_you_mean"]

_LIKE_A_HASH = re.compile(r"[0-9A-Fa-f]{4,64}")


def about_hashes(ref: str) -> str:
    """Return a hint for a ref that does not exist and looks like a commit's hash; or nothing."""
    if _LIKE_A_HASH.fullmatch(ref) is None:
        return ""
    return "To name a commit, give its full hash, in lower case: it has 40 or 64 characters."


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
