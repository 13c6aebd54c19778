"""Text of strangers as it may be shown: on one line, without control characters."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """The text with control and direction-changing characters as escapes, such as ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character.isprintable() or character == " ":
        return character
    import unicodedata  # few texts need it

    if unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
