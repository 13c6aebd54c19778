"""Writes the texts of the store's named statements for SQLite: ``python docs/statements.py``.

SQLAlchemy takes longer to import than most commands take to run, so they send these texts without
it (see ``deploycore/store/named.py``). ``deploycore/store/definitions.py`` has the statements. A
test compares ``deploycore/store/statements.py`` with what this makes.

It also writes ``deploycore/store/creation.py``, which has what all migrations together make of a
new SQLite database.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine
from sqlalchemy.dialects import sqlite

from deploycore.applications.application import Application
from deploycore.store import columns as kinds
from deploycore.store import migrations
from deploycore.store.definitions import CHANGES, DEFINITIONS, Change
from deploycore.store.statement import Column, Statement
from deploycore.store.tables import REVISION, metadata
from deploycore.store.values import sqlite_value

__all__ = ["contents", "creation", "main"]

_KINDS = {
    kinds.BigNumber: "number",
    kinds.Choice: "text",
    kinds.Document: "document",
    kinds.Flag: "flag",
    kinds.Line: "text",
    kinds.Number: "number",
    kinds.PathText: "path",
    kinds.Real: "real",
    kinds.Texts: "texts",
    kinds.UtcDateTime: "time",
    kinds.Words: "text",
}
_CONSTRAINT = "\tCONSTRAINT "
_TABLES = sorted(metadata.tables.items())
_VALUES = {object: "", str: "text", (int, float): "number"}

_DIALECT = sqlite.dialect(paramstyle="named")
_LIST = re.compile(r"__\[POSTCOMPILE_(\w+)\]")
_ASSIGNMENTS = re.compile(r"(UPDATE \w+ SET )(.*?)( WHERE .*)")

_HEAD = '''"""Texts of statements for SQLite, and columns: made by ``python docs/statements.py``."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from deploycore.store.statement import Column, Statement

__all__ = ["APPLICATION_FIELDS", "COLUMNS", "KEYS", "REVISION", "STATEMENTS"]
'''

_HEAD_OF_CREATION = '''"""Tables of a new SQLite database: made by ``python docs/statements.py``."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

__all__ = ["CREATION"]
'''


def contents() -> dict[str, Any]:
    """The names of the module and their values."""
    statements = {name: _statement(each) for name, each in DEFINITIONS.items()}
    return {
        "REVISION": REVISION,
        "APPLICATION_FIELDS": set(Application.model_fields),
        "COLUMNS": {name: _columns(table.columns) for name, table in _TABLES},
        "KEYS": {name: tuple(each.name for each in table.primary_key) for name, table in _TABLES},
        "STATEMENTS": statements | {name: _change(each) for name, each in CHANGES.items()},
    }


def creation() -> tuple[str, ...]:
    """The statements that make of an empty database what the migrations make of it."""
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            migrations.upgrade(connection)
            return _definitions(connection)
    finally:
        engine.dispose()


def _definitions(connection: Connection) -> tuple[str, ...]:
    objects = connection.exec_driver_sql(
        "SELECT name, type, sql FROM sqlite_master"
        " WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid"
    ).all()
    rows = []
    for name in (name for name, kind, _ in objects if kind == "table"):
        names = [each[1] for each in connection.exec_driver_sql(f"PRAGMA table_info({name})")]
        values = ", ".join(f'quote("{each}")' for each in names)
        found = connection.exec_driver_sql(f"SELECT {values} FROM {name}")  # noqa: S608
        rows += [f"INSERT INTO {name} VALUES ({', '.join(row)})" for row in found]  # noqa: S608
    return (*(_ordered(sql) for _, _, sql in objects), *rows)


def _ordered(sql: str) -> str:
    """Sort the constraints at the end of a table: Alembic copies a table with its constraints in an
    order that differs from run to run."""
    first, *others = sql.removesuffix("\n)").split(_CONSTRAINT)
    if not others or not sql.endswith("\n)"):
        return sql
    ordered = sorted(each.removesuffix(", \n") for each in others)
    return first + ", \n".join(_CONSTRAINT + each for each in ordered) + "\n)"


def main() -> None:
    """Write the modules."""
    found = contents()
    fields = sorted(found["APPLICATION_FIELDS"])
    text = _HEAD + f"\nREVISION = {found['REVISION']!r}\n"
    text += f"APPLICATION_FIELDS = frozenset({fields!r})\n"
    text += _lines("COLUMNS: dict[str, tuple[Column, ...]]", found["COLUMNS"])
    text += _lines("KEYS: dict[str, tuple[str, ...]]", found["KEYS"])
    text += _lines("STATEMENTS: dict[str, Statement]", found["STATEMENTS"])
    Path(kinds.__file__).with_name("statements.py").write_text(text)
    lines = "".join(f"    {each!r},\n" for each in creation())
    text = f"{_HEAD_OF_CREATION}\nCREATION: tuple[str, ...] = (\n{lines})\n"
    Path(kinds.__file__).with_name("creation.py").write_text(text)


def _lines(name: str, values: dict[str, Any]) -> str:
    """The definition of a name, with a line for each of its values."""
    lines = "".join(f"    {key!r}: {_shown(value)},\n" for key, value in values.items())
    return f"{name} = {{\n{lines}}}\n"


def _shown(value: Any) -> str:
    """A value as Python writes it, without what is the default."""
    if isinstance(value, Column | Statement):
        given = zip(value._fields, value, strict=True)
        shown = [f"{name}={_shown(each)}" for name, each in given if each or each is False]
        return f"{type(value).__name__}({', '.join(shown)})"
    if isinstance(value, tuple):
        return f"({''.join(f'{_shown(each)}, ' for each in value)})"
    return repr(value)


def _statement(definition: Any) -> Statement:
    """The text of a statement, its parameters, and the columns of its result."""
    compiled: Any = definition.compile(dialect=_DIALECT)
    found: dict[str, str] = {}
    constants: dict[str, Any] = {}
    text = " ".join(str(compiled).split())
    for name, bound in compiled.binds.items():
        if name.startswith("%"):  # what stands for a name that is there too
            continue
        kind = _KINDS.get(type(bound.type), "number")
        if bound.required:
            found[name] = kind
            continue
        value = bound.effective_value
        some = value if bound.expanding else [value]
        names = [f"{name}_{number}" for number in range(len(some))] if bound.expanding else [name]
        if bound.expanding:
            marks = ", ".join(f":{each}" for each in names)
            text = text.replace(f"__[POSTCOMPILE_{name}]", marks)
        constants |= {each: sqlite_value(kind, one) for each, one in zip(names, some, strict=True)}
    used = {*re.findall(r":(\w+)", text), *_LIST.findall(text)}
    if used != found.keys() | constants.keys():
        raise ValueError(f"The parameters of this statement are not understood: {text}")
    return Statement(text, found, constants, _result(definition))


def _change(change: Change) -> Statement:
    """The same for a statement whose assignments differ."""
    statement = _statement(change.statement.values(dict(change.assignments.values())))
    alone = {
        name: _statement(change.statement.values(dict([assignment]))).text
        for name, assignment in change.assignments.items()
    }
    assigned = {name: _parts(text)[1] for name, text in alone.items()}
    head, _, tail = _parts(statement.text)
    return statement._replace(text=f"{head}{{changes}}{tail}", changes=assigned)


def _parts(text: str) -> tuple[str, str, str]:
    found = _ASSIGNMENTS.fullmatch(text)
    if found is None:
        raise ValueError(f"The assignments of this statement are not found: {text}")
    return found[1], found[2], found[3]


def _result(definition: Any) -> str | tuple[Column, ...]:
    """The columns of a result: the name of a table, if they are those of one."""
    columns = _columns(definition.exported_columns)
    named = [name for name, table in _TABLES if columns and columns == _columns(table.columns)]
    return named[0] if named else columns


def _columns(columns: Any) -> tuple[Column, ...]:
    """Each column's name, the kind of its values, whether it may be empty, and which values."""
    return tuple(
        Column(
            str(each.name),
            _KINDS[type(each.type)],
            bool(getattr(each, "nullable", True)),
            _choices(each.type),
        )
        for each in columns
    )


def _choices(kind: Any) -> tuple[str, ...]:
    if isinstance(kind, kinds.Document):
        return (_VALUES[kind.values],)
    return tuple(sorted(kind.words)) if isinstance(kind, kinds.Choice) else ()


if __name__ == "__main__":
    main()
