"""What people are shown of a plugin: names and one-sentence summaries, which plugins may give.

All of it is optional. What a plugin gives in a wrong form is ignored, because it is only for show.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeGuard

from deploycore.configuration import ProviderConfig
from deploycore.text.labels import label_from

__all__ = ["display_name_of", "is_shown", "mode_label", "mode_summary", "name_from", "summary_of"]

_NAME_LENGTH = 60
_SUMMARY_LENGTH = 300


def name_from(kind: str) -> str:
    """Return a name for people, made from a kind: ``my-forge`` is "My Forge"."""
    return " ".join(word[:1].upper() + word[1:] for word in re.split(r"[-_ ]+", kind) if word)


def display_name_of(plugin_class: object, kind: str) -> str:
    """Return the name of a plugin: ``DISPLAY_NAME`` of its class, or one made from the kind."""
    given = getattr(plugin_class, "DISPLAY_NAME", None)
    return given if is_shown(given, _NAME_LENGTH) else name_from(kind)


def summary_of(plugin_class: object) -> str:
    """Return ``SUMMARY`` of a plugin's class: what it is for, in one sentence; empty if it has
    none."""
    given = getattr(plugin_class, "SUMMARY", None)
    return given.strip() if is_shown(given, _SUMMARY_LENGTH) else ""


def mode_label(member: type[ProviderConfig], mode: str, modes: Sequence[str]) -> str:
    """Return the name of a way to sign in: ``MODE_LABEL`` of its class, or one made from the mode.

    Args:
        modes: All modes of the class. The label of a class with several would fit none of them.
    """
    given: object = member.MODE_LABEL
    has_own = len(modes) == 1 and is_shown(given, _NAME_LENGTH)
    return str(given).strip() if has_own else label_from(mode)


def mode_summary(member: type[ProviderConfig]) -> str:
    """Return one sentence about a way to sign in: ``MODE_SUMMARY`` of its class, or the first
    sentence of the class's own docstring; empty if there is neither."""
    given: object = member.MODE_SUMMARY
    if is_shown(given, _SUMMARY_LENGTH):
        return given.strip()
    paragraph = str(vars(member).get("__doc__") or "").strip().partition("\n\n")[0]
    text = re.sub(r"\s+", " ", paragraph).replace("``", "`")
    found = re.match(r".+?[.!?](?= |$)|.+", text)
    sentence = found[0] if found else ""
    # A role of reStructuredText, such as :class:`X`, is for other readers.
    is_plain = is_shown(sentence, _SUMMARY_LENGTH) and ":`" not in sentence
    return sentence if is_plain else ""


def is_shown(given: object, most: int) -> TypeGuard[str]:
    """Whether a text of a plugin can be shown to people: printable, not empty, and short.

    Args:
        most: Maximum number of characters.
    """
    return isinstance(given, str) and 0 < len(given.strip()) <= most and given.isprintable()
