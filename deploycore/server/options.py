"""Options of the server and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["ServerOptions"]


@dataclass(frozen=True)
class ServerOptions:
    """Options of the server.

    Attributes:
        body_bytes_most: What a request's body may have; what is beyond is not read.
        bodies_bytes_most: What the bodies of all deliveries may have together that are being
            received or judged; anybody may send them. One sender may have an eighth of it, or one
            body.
        body_seconds_most: How long a body may take to arrive.
        replay_window: How far a delivery's own time stamp may be from now.
        metrics_open: Whether metrics need no token.
        behind_proxy: Whether a proxy's word about addresses and request ids is taken.
        followers_most: How many may follow logs at once.
    """

    body_bytes_most: int = 1024 * 1024
    bodies_bytes_most: int = 64 * 1024 * 1024
    body_seconds_most: float = 30.0
    replay_window: timedelta = timedelta(hours=24)
    metrics_open: bool = False
    behind_proxy: bool = False
    followers_most: int = 100
