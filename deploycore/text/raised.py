"""The text of an exception from foreign code, even if its class misbehaves."""

from __future__ import annotations

__all__ = ["raised_text", "shortened", "text_of"]

_LONGEST = 2000  # characters; an error may quote a whole response of a host


def text_of(error: BaseException) -> str:
    """Return an exception's text. Foreign code may define a ``__str__`` that raises."""
    try:
        return str(error)
    except Exception as failure:
        return f"(its text cannot be read: {type(failure).__name__})"


def raised_text(error: BaseException) -> str:
    """Return the class and the text of an exception: ``ValueError: too long``."""
    return f"{type(error).__name__}: {text_of(error)}"


def shortened(text: str) -> str:
    """Cut a long text. Mask secrets first, because a part of a secret is not masked."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
