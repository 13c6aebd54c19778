"""The description of a page: its path, the role that it needs, and the function that renders it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from deploycore.server.dashboard.visit import Visit
from deploycore.store import Role

__all__ = ["Page"]


@dataclass(frozen=True)
class Page:
    """A page, or the target of one of its forms.

    Attributes:
        method: GET for a page, POST for a form.
        path: The path, with its parameters in braces.
        role: The required role; ``None`` if nobody has to be signed in.
        render: Returns the response. Before a form's function runs, its form token is checked.
    """

    method: str
    path: str
    role: Role | None
    render: Callable[[Visit], Awaitable[Response]]
