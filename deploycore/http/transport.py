"""Send one request once, within a maximum time that holds whatever the server does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy

import requests
import urllib3.exceptions
from requests.structures import CaseInsensitiveDict

from deploycore.errors import DeploycoreError
from deploycore.http.adapter import WatchedAdapter
from deploycore.http.answers import Answer, Failure
from deploycore.http.causes import failure_of
from deploycore.http.environment import environment_settings
from deploycore.http.host_clock import HostClock
from deploycore.http.settings import HttpSettings
from deploycore.http.wire import Wire, cutting_after

__all__ = ["Transport"]

_CHUNK_BYTES = 64 * 1024
_WITHOUT_CONTENT_MOST = 1024 * 1024
"""Maximum number of bytes that may arrive without a byte of content among them."""

_wire: ContextVar[Wire | None] = ContextVar("deploycore_http_wire", default=None)
"""The connections of the request that this thread is sending."""


def _current_wire() -> Wire:
    wire = _wire.get()
    assert wire is not None  # noqa: S101  for type checkers
    return wire


class Transport:
    """The connections of a client, which are kept open between requests.

    It is safe to use from several threads at once.

    Args:
        closed: Is set before ``close`` is called.
        host_clock: Records the difference to the host's clock.
    """

    def __init__(
        self,
        settings: HttpSettings,
        user_agent: str,
        *,
        closed: threading.Event,
        host_clock: HostClock,
    ) -> None:
        self._closed = closed
        self._host_clock = host_clock
        self._settings = settings
        self._wires: set[Wire] = set()
        self._session = _session(settings, user_agent)

    def send(self, request: requests.Request, seconds: float) -> Answer | Failure:
        """Send a request, and read the whole response."""
        outer = _wire.get()  # those of the request that waits for this one to authorize it
        seconds = seconds if outer is None else min(seconds, outer.seconds_left)
        with self._connected(seconds) as wire:
            try:
                return self._sent(request, seconds, wire)
            except DeploycoreError:
                raise
            except (
                Exception
            ) as error:  # also errors that libraries raise when their socket is shut down
                failure = self._failure(error, wire)
                if failure is None:
                    raise
                return failure

    def close(self) -> None:
        """Close the connections, and end the requests that other threads are sending."""
        for each in tuple(self._wires):
            each.cut()
        self._session.close()

    @contextmanager
    def _connected(self, seconds: float) -> Iterator[Wire]:
        """The connections of one request, which are cut when its time is over or all is closed."""
        wire = Wire(min(self._settings.connect_timeout, seconds))
        self._wires.add(wire)
        former = _wire.set(wire)
        try:
            with cutting_after(wire, seconds):
                if self._closed.is_set():
                    wire.cut()
                yield wire
        finally:
            _wire.reset(former)
            self._wires.discard(wire)

    def _sent(self, request: requests.Request, seconds: float, wire: Wire) -> Answer | Failure:
        settings, target = self._settings, str(request.url)
        if self._closed.is_set():
            return Failure("the connection was closed")
        prepared = self._prepared(request)
        prepared.url = target  # requests would quote again; links must stay unchanged
        how = environment_settings(target, settings)
        how["timeout"] = (
            min(settings.connect_timeout, seconds),
            min(settings.read_timeout, seconds),
        )
        # The session would read the whole body of a redirect, even if it is not followed.
        response = self._session.get_adapter(target).send(prepared, **how)
        self._host_clock.note(response.headers, datetime.now(UTC))
        try:
            return self._read(response, target, wire)
        finally:
            response.close()

    def _prepared(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare a request. The session would merge many settings that are always empty, which
        takes longer."""
        prepared = requests.PreparedRequest()
        prepared.prepare(
            method=request.method,
            url=request.url,
            headers=CaseInsensitiveDict({**self._session.headers, **request.headers}),
            data=request.data,
            json=request.json,
            params=request.params,
            auth=request.auth,
            cookies=self._session.cookies,
        )
        return prepared

    def _read(self, response: requests.Response, target: str, wire: Wire) -> Answer | Failure:
        body = bytearray()
        limit = self._settings.answer_bytes_most
        wire.allow(_WITHOUT_CONTENT_MOST)
        # read1 returns the data that has arrived, so the limit is checked at once.
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            wire.allow(_WITHOUT_CONTENT_MOST)
            body += chunk
            if len(body) > limit:
                return Failure(f"the answer is larger than {limit} bytes", unexpected=True)
        return Answer(response.status_code, response.headers, bytes(body), target)

    def _failure(self, error: Exception, wire: Wire) -> Failure | None:
        """Return the meaning of an exception; ``None`` if it is a bug."""
        if wire.has_overrun:
            return Failure("it sent too much besides its content", unexpected=True)
        if self._closed.is_set():
            return Failure("the connection was closed")
        if wire.is_cut:
            return Failure("it timed out")
        if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError | OSError):
            return failure_of(error)
        if isinstance(error, ValueError):
            # The error of http.client quotes the invalid header, which contains the secret.
            what = "a header or the address has characters that cannot be sent"
            return Failure(what, unexpected=True)
        return None


def _session(settings: HttpSettings, user_agent: str) -> requests.Session:
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update({"User-Agent": user_agent, "Accept": "application/json"})
    adapter = WatchedAdapter(_current_wire, connections=settings.connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
