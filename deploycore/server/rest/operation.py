"""What describes an API operation: its path, role, input and responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel
from starlette.responses import Response

from deploycore.server import views
from deploycore.server.api import Api, Call
from deploycore.store import Role

__all__ = ["Operation"]


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        path: The path, with its parameters in braces.
        role: The required role of the token; ``None`` if no token is required.
        run: The function that performs it, in a thread. Its name is the operation's id, its
            docstring the description.
        answers: The model of the response, by status; ``None`` for no content, or for content that
            is not JSON.
        query: The model of the query.
        body: The model of the body, a JSON object; ``None`` if there is none.
        refusals: Additional statuses of error responses.
        can_follow: Whether it can respond with server-sent events.
        media_type: What its content is, if that is not JSON.
        changes_nothing_at: The status at which nothing was changed, so that the audit log has no
            entry; ``None`` if there is none.
    """

    method: str
    path: str
    role: Role | None
    run: Callable[[Api, Call], Response]
    answers: Mapping[int, type[BaseModel] | None]
    query: type[BaseModel] = views.NoQuery
    body: type[BaseModel] | None = None
    refusals: tuple[int, ...] = field(default=())
    can_follow: bool = False
    media_type: str = ""
    changes_nothing_at: int | None = None
