"""Indexes for what workers and servers ask all the time, and when the times that they compare were
set.

Each application that is polled gets its row in ``polls``, so that what is due is found without
reading the definitions of the others.
"""

import hashlib
import re
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from deploycore.text.storable import is_storable_text

revision = "0006"
down_revision = "0005"

_AT = sa.DateTime(timezone=True)
_IS_OPEN = sa.text("settled_at IS NULL")
_IS_SETTLED = sa.text("settled_at IS NOT NULL")
_COMMIT = "[0-9a-f]{40}(?:[0-9a-f]{24})?"

_applications = sa.table("applications", sa.column("name"), sa.column("definition", sa.JSON))
_polls = sa.table(
    "polls",
    sa.column("application"),
    sa.column("due_at", _AT),
    *map(sa.column, ("seconds", "host", "question")),
)


def upgrade() -> None:
    """Add the columns and indexes, and a row for each application that is polled."""
    op.add_column("claims", sa.Column("renewed_at", _AT))
    op.add_column("triggers", sa.Column("turn", sa.Integer, nullable=False, server_default="0"))
    op.add_column("triggers", sa.Column("tried_at", _AT))
    op.execute("UPDATE triggers SET turn = id")
    op.add_column("polls", sa.Column("set_at", _AT))
    op.add_column("polls", sa.Column("host", sa.Text))
    question = sa.Column("question", sa.String(64), nullable=False, server_default="")
    op.add_column("polls", question)
    for table, columns in (
        ("triggers", ["application", "id"]),
        ("triggers", ["application", "ref", "id"]),
        ("polls", ["question"]),
        ("polls", ["host", "due_at"]),
        ("polls", ["host", "set_at"]),
    ):
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)
    op.drop_index("ix_triggers_settled_at_application", "triggers")
    queue: list[Any] = [sa.text("priority DESC"), "turn", "id"]
    for name, of in (
        ("queue", queue),
        ("turn", ["turn"]),
        ("postponed", ["not_before"]),
        ("open", ["application", "id"]),
        ("settled", ["settled_at"]),
    ):
        rows = _IS_SETTLED if name == "settled" else _IS_OPEN
        op.create_index(
            f"ix_triggers_{name}", "triggers", of, sqlite_where=rows, postgresql_where=rows
        )
    for name, column, ended in (
        ("live", "parent", sa.text("ended_at IS NULL")),
        ("ended", "name", sa.text("ended_at IS NOT NULL")),
    ):
        op.create_index(
            f"ix_previews_{name}", "previews", [column], sqlite_where=ended, postgresql_where=ended
        )
    _schedule_polls(op.get_bind())


def _schedule_polls(connection: sa.Connection) -> None:
    """A row that cannot be read is left as it is: it must not stop the migration."""
    known = set(connection.scalars(sa.select(_polls.c.application)))
    for name, definition in connection.execute(sa.select(_applications)).all():
        if not isinstance(name, str) or not is_storable_text(name):
            continue
        is_this = _polls.c.application == name
        if not _is_polled(definition):
            connection.execute(sa.delete(_polls).where(is_this))
            continue
        asked = tuple(str(definition.get(key)) for key in ("provider", "repository", "ref"))
        host = definition.get("host")
        values: dict[str, Any] = {
            "host": host if isinstance(host, str) else None,
            "question": hashlib.sha256("\0".join(asked).encode()).hexdigest(),
        }
        if name in known:
            connection.execute(sa.update(_polls).where(is_this).values(values))
        else:
            values |= {"application": name, "due_at": datetime.now(UTC), "seconds": 0.0}
            connection.execute(sa.insert(_polls).values(values))


def _is_polled(definition: Any) -> bool:
    auto = definition.get("auto_deploy") if isinstance(definition, dict) else None
    if not isinstance(auto, dict) or auto.get("poll", "auto") == "off":
        return False
    return re.fullmatch(_COMMIT, str(definition.get("ref"))) is None
