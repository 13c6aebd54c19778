"""Reading a request's body with a limit: what is beyond it is neither read nor kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import ClientDisconnect, Request

from deploycore.server.options import ServerOptions
from deploycore.server.problems import Refusal

__all__ = ["Room", "read_body", "read_json"]


class Room:
    """What there is left for bodies that anybody may send; for the event loop's thread.

    Args:
        most: Bytes.
    """

    def __init__(self, most: int) -> None:
        self._free = most

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Gives what takes room, which is free again in the end.

        Raises:
            Refusal: There is none left (503).
        """
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if count > self._free:
                raise Refusal(
                    503,
                    "busy",
                    "Too much is being received at once.",
                    headers={"Connection": "close", "Retry-After": "60"},
                )
            self._free -= count
            taken += count

        try:
            yield take
        finally:
            self._free += taken


async def read_body(
    request: Request, options: ServerOptions, take: Callable[[int], None] = lambda count: None
) -> bytes:
    """The whole body.

    Args:
        take: Is told of the bytes that come.

    Raises:
        Refusal: It is too large (413), takes too long (408), or was cut off (400).
    """
    most = options.body_bytes_most
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > most):
        raise _too_large(most)
    body = bytearray()
    try:
        async with asyncio.timeout(options.body_seconds_most):
            async for chunk in request.stream():
                if len(body) + len(chunk) > most:
                    raise _too_large(most)
                take(len(chunk))
                body += chunk
    except TimeoutError:
        raise Refusal(
            408, "too_slow", "The body took too long to arrive.", headers={"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Refusal(400, "cut_off", "The body was cut off.") from None
    return bytes(body)


async def read_json(request: Request, options: ServerOptions) -> dict[str, Any]:
    """The JSON object that a body is; an empty body is an empty object.

    Raises:
        Refusal: As ``read_body``, or the body is not declared as JSON (415), is none (400), or is
            no object (422).
    """
    body = await read_body(request, options)
    if not body:
        return {}
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal(
            415,
            "unsupported_media_type",
            "The body is not declared as JSON.",
            hint="Send it with Content-Type: application/json.",
        )
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "malformed", "The body is not JSON.") from None
    if not isinstance(found, dict):
        raise Refusal(422, "configuration", "The body is no JSON object.")
    return found


def _too_large(most: int) -> Refusal:
    # What is still under way is not waited for.
    return Refusal(
        413,
        "too_large",
        f"The body is larger than {most:,} bytes.",
        headers={"Connection": "close"},
    )


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
