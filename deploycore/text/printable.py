"""Untrusted text in a form that is safe to print: one line, escaped and limited in length."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """Escape control characters and characters that change direction, such as ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character.isprintable() or character == " ":
        return character
    import unicodedata  # few texts need this import

    if unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
