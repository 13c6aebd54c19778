"""Applications as whole definitions, and deployments with all their states and timings."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_AT = sa.DateTime(timezone=True)
# What ran may have been switching the link: whoever settles it then looks there.
_STATES = {"running": "activating", "succeeded": "healthy"}

_applications = sa.table(
    "applications",
    *map(sa.column, ("name", "provider", "owner", "slug", "branch", "target", "submodules")),
    sa.column("definition", sa.JSON),
)


def upgrade() -> None:
    """Put what was in columns into definitions, and give deployments their new columns."""
    connection = op.get_bind()
    branches = _widen_applications(connection)
    _widen_deployments(connection, branches)


def _widen_applications(connection: sa.Connection) -> dict[str, str]:
    with op.batch_alter_table("applications") as table:
        table.add_column(sa.Column("definition", sa.JSON, nullable=False, server_default="{}"))
        table.add_column(sa.Column("secrets", sa.JSON, nullable=False, server_default="{}"))
        table.add_column(sa.Column("revision", sa.Integer, nullable=False, server_default="1"))
        table.add_column(sa.Column("changed_at", _AT))
    branches = {}
    for row in connection.execute(sa.select(_applications)).mappings().all():
        branches[row["name"]] = row["branch"]
        definition = {
            "name": row["name"],
            "provider": row["provider"],
            "repository": f"{row['owner']}/{row['slug']}",
            "ref": row["branch"],
            "target": row["target"],
        }
        if row["submodules"]:
            definition["submodules"] = True
        connection.execute(
            sa.update(_applications)
            .where(_applications.c.name == row["name"])
            .values(definition=definition)
        )
    op.execute("UPDATE applications SET changed_at = created_at")
    with op.batch_alter_table("applications") as table:
        for gone in ("owner", "slug", "branch", "submodules"):
            table.drop_column(gone)
        table.alter_column("definition", existing_type=sa.JSON, server_default=None)
        table.alter_column("secrets", existing_type=sa.JSON, server_default=None)
        table.alter_column("revision", existing_type=sa.Integer, server_default=None)
        table.alter_column("changed_at", existing_type=_AT, nullable=False)
    return branches


def _widen_deployments(connection: sa.Connection, branches: dict[str, str]) -> None:
    with op.batch_alter_table("deployments", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.add_column(sa.Column("kind", sa.String(16), nullable=False, server_default="deploy"))
        table.add_column(sa.Column("ref", sa.Text, nullable=False, server_default=""))
        table.add_column(sa.Column("previous", sa.Text))
        table.add_column(sa.Column("requested_at", _AT))
        for text in ("author", "subject"):
            table.add_column(sa.Column(text, sa.Text))
        table.add_column(sa.Column("committed_at", _AT))
        for number in ("files", "bytes"):
            table.add_column(sa.Column(number, sa.BigInteger))
        table.add_column(sa.Column("seconds", sa.JSON, nullable=False, server_default="{}"))
        table.add_column(
            sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false())
        )
        table.add_column(sa.Column("revision", sa.Integer))
        table.add_column(
            sa.Column("unproved", sa.Boolean, nullable=False, server_default=sa.false())
        )
        for text in ("host", "home"):
            table.add_column(sa.Column(text, sa.Text, nullable=False, server_default=""))
    deployments = sa.table(
        "deployments", *map(sa.column, ("application", "state", "ref", "requested_at"))
    )
    op.execute("UPDATE deployments SET requested_at = started_at")
    for application, branch in branches.items():
        connection.execute(
            sa.update(deployments)
            .where(deployments.c.application == application)
            .values(ref=branch)
        )
    for before, after in _STATES.items():
        connection.execute(
            sa.update(deployments).where(deployments.c.state == before).values(state=after)
        )
    with op.batch_alter_table("deployments", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.alter_column("requested_at", existing_type=_AT, nullable=False)
        table.alter_column("started_at", existing_type=_AT, nullable=True)
        for name in ("kind", "ref", "seconds", "cancel_requested", "unproved", "host", "home"):
            table.alter_column(name, server_default=None)
    op.create_index("ix_deployments_application_release", "deployments", ["application", "release"])
    op.create_index("ix_deployments_state_application", "deployments", ["state", "application"])
