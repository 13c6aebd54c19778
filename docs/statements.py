"""Writes the statements that listings send to SQLite: ``python docs/statements.py``.

SQLAlchemy takes longer to import than a listing to print, so ``deploycore/store/listing.py`` reads
without it. The statements are those of the store, recorded while it does the same. A test compares
``deploycore/store/listing_statements.py`` with what this makes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Table, event

from deploycore.applications.application import Application
from deploycore.errors import DeploycoreError
from deploycore.settings import Settings
from deploycore.store import ProviderRecord, Store
from deploycore.store import columns as kinds
from deploycore.store.tables import REVISION, metadata

__all__ = ["contents", "main"]

_TABLES = ("providers", "applications", "previews", "deployments", "removed_deployments")
_KINDS = {
    kinds.BigNumber: "number",
    kinds.Choice: "text",
    kinds.Document: "document",
    kinds.Flag: "flag",
    kinds.Line: "text",
    kinds.Number: "number",
    kinds.PathText: "path",
    kinds.UtcDateTime: "time",
    kinds.Words: "text",
}
_VALUES = {object: "", str: "text", (int, float): "number"}

_HEAD = '''"""Listings' statements, and columns: made by ``python docs/statements.py``."""

# ruff: noqa: E501
from __future__ import annotations

__all__ = ["APPLICATION_FIELDS", "COLUMNS", "REVISION", "STATEMENTS"]
'''


def contents() -> dict[str, Any]:
    """The names of the module and their values."""
    with tempfile.TemporaryDirectory() as home:
        store = Store(Settings.from_environment({"DEPLOYCORE_HOME": home}))
        try:
            _fill(store)
            statements = {name: _sent(ask, table) for name, table, ask in _questions(store)}
        finally:
            store.close()
    return {
        "REVISION": REVISION,
        "APPLICATION_FIELDS": set(Application.model_fields),
        "COLUMNS": {name: _columns(metadata.tables[name]) for name in _TABLES},
        "STATEMENTS": statements,
    }


def main() -> None:
    """Write the module."""
    found = contents()
    fields = sorted(found.pop("APPLICATION_FIELDS"))
    text = f"{_HEAD}\nAPPLICATION_FIELDS = frozenset({fields!r})\n"
    text += "COLUMNS: dict[str, tuple[tuple[str, str, bool, tuple[str, ...]], ...]] = "
    text += f"{found.pop('COLUMNS')!r}\n"
    text += "".join(f"{name} = {value!r}\n" for name, value in found.items())
    command = [sys.executable, "-m", "ruff", "format", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)  # noqa: S603
    here = Path(kinds.__file__).with_name("listing_statements.py")
    here.write_text(done.stdout)


def _fill(store: Store) -> None:
    """Add the application ``x``: the history of an unknown one is not asked for."""
    at = datetime.now(UTC)
    store.add_provider(ProviderRecord("x", "x", settings={}, secrets={}, created_at=at))
    values = {"name": "x", "provider": "x", "repository": "x/x", "ref": "x", "target": "/nowhere/x"}
    store.add_application(Application.model_validate(values))


def _questions(store: Store) -> list[tuple[str, str, Callable[[], object]]]:
    """Each statement's name, its table, and what has the store send it."""
    history = store.deployments.history
    return [
        ("providers", "providers", store.list_providers),
        ("provider", "providers", lambda: store.get_provider("x")),
        ("applications", "applications", store.list_applications),
        ("application", "applications", lambda: store.get_application("x")),
        ("previews", "previews", store.previews.list),
        ("deployment", "deployments", lambda: store.deployments.get(1)),
        ("deployments", "deployments", lambda: history(limit=1)),
        ("deployments of one", "deployments", lambda: history("x", limit=1)),
        ("removed_deployments", "removed_deployments", lambda: history(limit=1)),
        ("removed_deployments of one", "removed_deployments", lambda: history("x", limit=1)),
        ("of_releases", "deployments", lambda: store.deployments.of_releases("x", ["y"])),
    ]


def _sent(ask: Callable[[], object], table: str) -> str:
    """The first statement that a question sends about a table."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        sent.append(" ".join(statement.split()))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        with suppress(DeploycoreError):  # there is nothing of these names
            ask()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return next(text for text in sent if f" FROM {table}" in text)


def _columns(table: Table) -> tuple[tuple[str, str, bool, tuple[str, ...]], ...]:
    """Each column's name, the kind of its values, whether it may be empty, and which values."""
    return tuple(
        (each.name, _KINDS[type(each.type)], bool(each.nullable), _choices(each.type))
        for each in table.columns
    )


def _choices(kind: Any) -> tuple[str, ...]:
    if isinstance(kind, kinds.Document):
        return (_VALUES[kind.values],)
    return tuple(sorted(kind.words)) if isinstance(kind, kinds.Choice) else ()


if __name__ == "__main__":
    main()
