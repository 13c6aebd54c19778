"""Read request bodies within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from starlette.requests import ClientDisconnect, Request

from deploycore.server.options import ServerOptions
from deploycore.server.problems import Refusal

__all__ = ["Room", "Share", "read_body", "read_json"]

_PACE_SECONDS = 5.0
_PACE_BYTES = 1024
"""The number of bytes that must arrive within the interval, unless the body ends."""


class Share:
    """The memory that one body uses. It has no limit if it does not belong to a :class:`Room`."""

    def __init__(self, room: Room | None = None, sender: str = "") -> None:
        self.sender = sender
        self.taken = 0
        self.is_evicted = False
        self._room = room
        self._deadline: asyncio.Timeout | None = None

    @property
    def is_arriving(self) -> bool:
        """Whether the body is being received."""
        return self._deadline is not None

    @asynccontextmanager
    async def arriving(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """A context for the time in which the body may arrive. It ends early if others need the
        memory.

        Raises:
            TimeoutError: The time is over.
            Refusal: Other requests needed the memory (503).
        """
        try:
            async with asyncio.timeout(seconds) as self._deadline:
                yield self._deadline
        except TimeoutError:
            if self.is_evicted:
                raise _busy("Other requests needed the memory of this one.") from None
            raise
        finally:
            self._deadline = None

    def take(self, count: int) -> None:
        """Reserve memory for bytes that have arrived.

        Raises:
            Refusal: There is none left (503).
        """
        if self.is_evicted:
            raise _busy("Other requests needed the memory of this one.")
        if self._room is not None:
            self._room.take(self, count)

    def evict(self) -> None:
        """End the body, because others need its memory."""
        self.is_evicted = True
        if self._deadline is not None:
            self._deadline.reschedule(0)


class Room:
    """The memory for bodies that anybody may send. Use it only in the event loop's thread.

    Each sender has a share. If the share is used up, the sender's oldest incomplete body is ended.
    If the whole memory is used up, the oldest incomplete body of the sender that uses the most
    memory is ended. So there is memory for a new body, even if some senders keep theirs.

    Args:
        most: The total number of bytes.
        share: The number of bytes for one sender.
    """

    def __init__(self, most: int, share: int) -> None:
        self._free = most
        self._share = share
        self._by_sender: dict[str, list[Share]] = {}

    @contextmanager
    def share(self, sender: str) -> Iterator[Share]:
        """Yield the memory for one body, which is free again at the end of the block."""
        share = Share(self, sender)
        self._by_sender.setdefault(sender, []).append(share)
        try:
            yield share
        finally:
            self._release(share)
            self._by_sender[sender].remove(share)
            if not self._by_sender[sender]:
                del self._by_sender[sender]

    def take(self, share: Share, count: int) -> None:
        """Reserve memory for a share.

        Raises:
            Refusal: No memory is left (503).
        """
        while self._taken_by(share.sender) + count > self._share:
            self._evict_one_of(share.sender, share)
        while count > self._free:
            self._evict_one_of(max(self._by_sender, key=self._taken_by), share)
        self._free -= count
        share.taken += count

    def _evict_one_of(self, sender: str, asking: Share) -> None:
        """End the oldest body of a sender that is still arriving.

        Raises:
            Refusal: The sender has no such body (503).
        """
        for each in self._by_sender[sender]:
            if each.is_arriving and each.taken and each is not asking:
                each.evict()
                self._release(each)
                return
        raise _busy("The server is receiving too many requests at once.")

    def _taken_by(self, sender: str) -> int:
        return sum(each.taken for each in self._by_sender[sender])

    def _release(self, share: Share) -> None:
        self._free += share.taken
        share.taken = 0


async def read_body(request: Request, options: ServerOptions, share: Share | None = None) -> bytes:
    """Read a body.

    Args:
        share: Reserves memory for the bytes that arrive.

    Raises:
        Refusal: It is too large (413), takes too long (408), was cut off (400), or there is no
            memory for it (503).
    """
    most, share = options.body_bytes_most, share or Share()
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > most):
        raise _too_large(most)
    body = bytearray()
    pace = _Pace(options.body_seconds_most)
    try:
        async with share.arriving(pace.seconds) as deadline:
            async for chunk in request.stream():
                if len(body) + len(chunk) > most:
                    raise _too_large(most)
                share.take(len(chunk))
                body += chunk
                pace.note(len(chunk), deadline)
    except TimeoutError:
        raise Refusal(
            408,
            "too_slow",
            "The body took too long to arrive.",
            hint="Send the request again. If it happens again, check the network between the client"
            " and the server.",
            headers={"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise Refusal(
            400, "cut_off", "The connection ended before the body was complete."
        ) from None
    return bytes(body)


class _Pace:
    """The time that a body may take: a maximum, and a minimum number of bytes in each interval."""

    def __init__(self, most: float) -> None:
        self._ends_at = asyncio.get_running_loop().time() + most
        self._received = 0
        self.seconds = min(most, _PACE_SECONDS)

    def note(self, count: int, deadline: asyncio.Timeout) -> None:
        """Count bytes that have arrived. If there are enough, the rest of the body gets more
        time."""
        self._received += count
        if self._received >= _PACE_BYTES:
            self._received = 0
            now = asyncio.get_running_loop().time()
            deadline.reschedule(min(self._ends_at, now + _PACE_SECONDS))


async def read_json(request: Request, options: ServerOptions) -> dict[str, Any]:
    """Read a body as a JSON object. An empty body is an empty object.

    Raises:
        Refusal: As ``read_body``, or the body is not declared as JSON (415), is not valid JSON
            (400), or is not an object (422).
    """
    body = await read_body(request, options)
    if not body:
        return {}
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal(
            415,
            "unsupported_media_type",
            "The body's Content-Type is not JSON.",
            hint="Send it with Content-Type: application/json.",
        )
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(
            400, "malformed", "The body is not valid JSON.", hint="Send one JSON object."
        ) from None
    if not isinstance(found, dict):
        raise Refusal(
            422, "configuration", "The body is not a JSON object.", hint="Send one JSON object."
        )
    return found


def _too_large(most: int) -> Refusal:
    # Do not wait for operations that are still running.
    return Refusal(
        413,
        "too_large",
        f"The body is larger than {most:,} bytes.",
        hint="Send a smaller body, or raise the server's limit: deploycore serve --body-limit KIB",
        headers={"Connection": "close"},
    )


def _busy(message: str) -> Refusal:
    return Refusal(
        503,
        "busy",
        message,
        hint="Send the request again in a minute.",
        headers={"Connection": "close", "Retry-After": "60"},
    )


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
