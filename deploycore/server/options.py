"""Options of the server and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploycore.server.accounts.openid_settings import OpenIdSettings

__all__ = ["ServerOptions"]


@dataclass(frozen=True)
class ServerOptions:
    """Options of the server.

    Attributes:
        body_bytes_most: The maximum size of a request's body.
        bodies_bytes_most: The maximum size of all bodies of deliveries that are being received or
            checked. One sender may use an eighth of it, or one body.
        body_seconds_most: The maximum time for a body to arrive.
        replay_window: The maximum difference between a delivery's own time and now.
        metrics_open: Whether metrics need no token.
        behind_proxy: Whether to trust a proxy's headers for addresses, schemes and request ids.
        followers_most: The maximum number of clients that follow logs, and of those that follow
            events.
        targets: The directory that new applications are suggested to be in; ``None`` to take that
            of the newest application.
        openid: The issuer where users can sign in; ``None`` if there is none.
    """

    body_bytes_most: int = 1024 * 1024
    bodies_bytes_most: int = 64 * 1024 * 1024
    body_seconds_most: float = 30.0
    replay_window: timedelta = timedelta(hours=24)
    metrics_open: bool = False
    behind_proxy: bool = False
    followers_most: int = 500
    targets: Path | None = None
    openid: OpenIdSettings | None = None
