"""Time limits of database connections, so that no wait is endless.

A process may stop in the middle of a transaction, a machine may lose its power, and a network may
drop packets: in each case, the database server still sees an open connection. So each connection
sets time limits at the server, and tells the operating system when to give up on a silent peer
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "ANSWER_SECONDS",
    "BUSY_SECONDS",
    "CONNECT_SECONDS",
    "IDLE_SECONDS",
    "LOCK_SECONDS",
    "NETWORK",
    "PING_SECONDS",
    "POOL",
    "SERVER_SETTINGS",
    "limit_server",
]

BUSY_SECONDS = 30
"""SQLite: how long an operation waits until another process has finished writing."""

CONNECT_SECONDS = 5
LOCK_SECONDS = 10
"""PostgreSQL: how long a statement waits for a row that another transaction has changed."""

IDLE_SECONDS = 30
"""PostgreSQL: how long a transaction may be idle before the server ends it. deploycore's
transactions never wait for anything but the database, so an idle one belongs to a process that is
stopped or gone."""

STATEMENT_SECONDS = 60

ANSWER_SECONDS = STATEMENT_SECONDS + 5
"""PostgreSQL: how long a process waits for a response. The server ends statements that take too
long. But a stopped server ends nothing, and its machine still confirms the packets that it
receives."""

PING_SECONDS = 5
"""PostgreSQL: the same, for the check whether a connection is still alive."""

NETWORK: Mapping[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds after which unconfirmed data counts as lost
}
"""Parameters of libpq, which drivers for PostgreSQL accept."""

POOL: Mapping[str, Any] = {"pool_size": 5, "max_overflow": 35, "pool_timeout": CONNECT_SECONDS}
"""The connections of one process (about as many as a server has threads), and how many seconds a
thread waits for one."""

SERVER_SETTINGS: Mapping[str, int] = {
    "lock_timeout": LOCK_SECONDS * 1000,
    "idle_in_transaction_session_timeout": IDLE_SECONDS * 1000,
    "statement_timeout": STATEMENT_SECONDS * 1000,
}
"""Settings of a session, in milliseconds."""


def limit_server(settings: Mapping[str, int] = SERVER_SETTINGS, *, local: bool = False) -> str:
    """Return the statement that sets the time limits of a session.

    A statement is used because proxies such as PgBouncer reject the limits as parameters of a
    connection.

    Args:
        local: Whether the limits apply only until the transaction ends.
    """
    is_local = "true" if local else "false"
    return "SELECT " + ", ".join(
        f"set_config('{name}', '{value}', {is_local})" for name, value in settings.items()
    )
