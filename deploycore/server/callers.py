"""Who sends a request: a token of a program, or a user of the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploycore.store import Role, TokenRecord

__all__ = ["Caller", "may"]

_ORDER: tuple[Role, ...] = ("read", "deploy", "admin")


@dataclass(frozen=True)
class Caller:
    """Who sends a request.

    Attributes:
        kind: What identifies the caller.
        name: The name of the token or user.
        role: What the caller may do.
        token: The token, if the caller is one.
        session: The number of the session, if the caller is a user.
    """

    kind: Literal["token", "user"]
    name: str
    role: Role
    token: TokenRecord | None = None
    session: int | None = None

    @classmethod
    def of_token(cls, token: TokenRecord) -> Caller:
        """Return the caller for a token."""
        return cls("token", token.name, token.role, token)

    @property
    def actor(self) -> str:
        """Return the caller's name for the history."""
        return f"{self.kind} {self.name}"


def may(role: Role, wanted: Role) -> bool:
    """Whether a role includes a required role."""
    return _ORDER.index(role) >= _ORDER.index(wanted)
