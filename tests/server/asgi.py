"""Requests to an ASGI application without a client that would read bodies in advance."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any


def post(
    app: Any,
    path: str,
    receive: Callable[[], Awaitable[dict[str, Any]]],
    headers: Mapping[str, str] | None = None,
) -> int:
    """Post to a path; gives the answer's status."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    given = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": given}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"]
