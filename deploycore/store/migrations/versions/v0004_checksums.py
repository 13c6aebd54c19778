"""Checksums over definitions and secrets, and each application's machine in a column of its own."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from deploycore.store.checksums import checksum_of

revision = "0004"
down_revision = "0003"

_COLUMNS = {
    "providers": ("settings_checksum", "secrets_checksum"),
    "applications": ("definition_checksum", "secrets_checksum"),
    "webhooks": ("secret_checksum",),
}


def upgrade() -> None:
    """Add the columns, and fill them for each row that can be read."""
    for table, columns in _COLUMNS.items():
        for column in columns:
            op.add_column(table, sa.Column(column, sa.String(64)))
    op.add_column("applications", sa.Column("host", sa.Text))
    _fill("providers", ("name", "kind", "settings", "secrets"), _of_provider)
    _fill("applications", ("name", "provider", "target", "definition", "secrets"), _of_application)
    _fill("webhooks", ("application", "secret", "former"), _of_webhook)


def _fill(
    name: str,
    columns: tuple[str, ...],
    values_of: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> None:
    """Fill the new columns of a table; a row that cannot be read stays as it is.

    Rows are read as bytes, and one by one: what is damaged in one must not stop the migration.
    """
    connection = op.get_bind()
    table = sa.table(name, *(sa.column(each) for each in (*columns, *_COLUMNS[name], "host")))
    as_text = [sa.cast(table.c[each], sa.LargeBinary).label(each) for each in columns]
    if connection.dialect.name == "postgresql":
        as_text = [
            sa.func.convert_to(sa.cast(table.c[each], sa.Text), "UTF8").label(each)
            for each in columns
        ]
    key = columns[0]
    for row in connection.execute(sa.select(*as_text)).mappings().all():
        try:
            found = {each: None if (v := row[each]) is None else bytes(v).decode() for each in row}
            values = values_of(found)
        except (ValueError, TypeError, AttributeError, RecursionError):
            continue
        connection.execute(sa.update(table).where(table.c[key] == found[key]).values(values))


def _of_provider(row: Mapping[str, Any]) -> dict[str, Any]:
    settings, secrets = json.loads(row["settings"]), json.loads(row["secrets"])
    return {
        "settings_checksum": checksum_of(settings, row["name"], row["kind"]),
        "secrets_checksum": checksum_of(secrets),
    }


def _of_application(row: Mapping[str, Any]) -> dict[str, Any]:
    definition, secrets = json.loads(row["definition"]), json.loads(row["secrets"])
    host = definition.get("host")
    return {
        "host": host if isinstance(host, str) else None,
        "definition_checksum": checksum_of(
            definition, row["name"], row["provider"], row["target"], host
        ),
        "secrets_checksum": checksum_of(secrets),
    }


def _of_webhook(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"secret_checksum": checksum_of(row["secret"], row["former"])}
