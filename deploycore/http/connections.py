"""The connections of a client and of its copies, which are opened at the first request.

A command that only clones opens a provider, but sends its host no request. So the packages that
send requests are imported with the first one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deploycore.http.answers import Answer, Failure
from deploycore.http.authorisation import Authorisation
from deploycore.http.host_clock import HostClock
from deploycore.http.settings import HttpSettings

if TYPE_CHECKING:
    from deploycore.http.transport import Transport

__all__ = ["Connections"]


class Connections:
    """The connections of a client. It is safe to use from several threads at once.

    Attributes:
        closed: Is set when ``close`` was called.
        host_clock: The difference to the host's clock.
    """

    def __init__(self, settings: HttpSettings, user_agent: str) -> None:
        self.closed = threading.Event()
        self.host_clock = HostClock()
        self._settings = settings
        self._user_agent = user_agent
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._others: list[Connections] = []

    def send(
        self,
        method: str,
        url: str,
        seconds: float,
        *,
        headers: Mapping[str, str],
        auth: Authorisation,
        content: Mapping[str, Any],
    ) -> Answer | Failure:
        """Send a request, and read the whole response.

        Args:
            seconds: The most that this may take.
            content: ``json`` or ``data``, as ``requests`` takes them.
        """
        import requests

        request = requests.Request(method, url, headers=headers, auth=auth, **content)
        return self._opened().send(request, seconds)

    def close(self) -> None:
        """Close the connections, and end the requests that other threads are sending."""
        self.closed.set()
        with self._lock:
            transport = self._transport
        if transport is not None:
            transport.close()
        for other in tuple(self._others):
            other.close()

    def closes_too(self, other: Connections) -> None:
        """Let another client's connections end with these."""
        self._others.append(other)
        if self.closed.is_set():
            other.close()

    def _opened(self) -> Transport:
        from deploycore.http.transport import Transport

        with self._lock:
            if self._transport is None:
                self._transport = Transport(
                    self._settings,
                    self._user_agent,
                    closed=self.closed,
                    host_clock=self.host_clock,
                )
            return self._transport
