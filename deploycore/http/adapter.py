"""Requests over connections that another thread can shut down; see :mod:`deploycore.http.wire`.

Git uses these connections without the package requests, whose import it need not wait for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests.adapters

from deploycore.http.watched import PlainConnection, SecureConnection
from deploycore.http.wire import Wire

__all__ = ["WatchedAdapter"]


class WatchedAdapter(requests.adapters.HTTPAdapter):
    """Makes the connections of a requests session interruptible.

    Args:
        wire: Returns the wire of the request that this thread is sending.
        connections: The number of connections to keep open for each host.
    """

    def __init__(self, wire: Callable[[], Wire], *, connections: int = 1) -> None:
        super().__init__(pool_maxsize=connections)
        self._wire = wire

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Choose the connection pool for a request."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = SecureConnection if pool.scheme == "https" else PlainConnection
        pool.conn_kw["wire"] = self._wire
        return pool
