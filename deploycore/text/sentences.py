"""Join several sentences into one text."""

from __future__ import annotations

__all__ = ["sentences"]


def sentences(*parts: str) -> str:
    """Join sentences, and add a missing period to each except the last. Empty ones are left out.

    A hint may end with a command, and has no period there.
    """
    found = [part for each in parts if (part := each.strip())]
    ended = [each if each.endswith((".", "!", "?", ":")) else f"{each}." for each in found[:-1]]
    return " ".join([*ended, *found[-1:]])
