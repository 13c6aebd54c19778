"""A secret for code that starts before pydantic is imported."""

from __future__ import annotations

__all__ = ["PlainSecret"]


class PlainSecret:
    """A secret that shows itself only when asked, like pydantic's ``SecretStr``.

    Importing pydantic takes a third of the time of a small clone.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return the secret."""
        return self._value

    def __repr__(self) -> str:
        return f"PlainSecret({str(self)!r})"

    def __str__(self) -> str:
        return "**********" if self._value else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlainSecret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)
