"""``python -m deploycore.cli.completion_answers``: find an answer for Tab and store it.

``completion_cache`` starts this process, and may continue before it ends. It only reads: a Tab
never creates or migrates a database.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice

from deploycore.cli.completion import QUERIES, database_url, rows_of_sqlite

__all__ = ["main"]

_MOST = 1000
_SECONDS = 60  # imports may take long on a slow machine
_REVISION = "SELECT version_num, '' FROM alembic_version"

Answer = Iterable[tuple[str, str]]


def main(arguments: list[str]) -> None:
    """Find an answer and write it into a file that is already open.

    Args:
        arguments: The descriptor of the file, and the question.
    """
    signal.alarm(_SECONDS)  # ends the process even if a git host or a plugin hangs
    descriptor, what, *about = int(arguments[0]), *arguments[1:]
    _begin(descriptor)
    found: list[tuple[str, str]] = []
    with suppress(Exception):  # an error message would not be shown
        for each in islice(_ANSWERS[what](*about), _MOST):
            found.append(each)  # the values that were found before an error are offered
    lines = "".join(f"{value}\t{words}\n" for value, words in found)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, lines.encode() or b"\n", 0)


def _begin(descriptor: int) -> None:
    """Record an empty answer first, in case the process is killed."""
    if os.fstat(descriptor).st_size == 0:
        os.pwrite(descriptor, b"\n", 0)
    else:
        os.utime(descriptor)


def _rows(source: str) -> Answer:
    """Names in a PostgreSQL database."""
    return _rows_of_postgresql(QUERIES[source])


def _repositories(provider: str) -> Answer:
    from deploycore.installation import Installation
    from deploycore.models import RepositoryQuery

    _refuse_older_database()
    with Installation() as installation, installation.open_provider(provider) as opened:
        for each in opened.list_repos(RepositoryQuery(limit=_MOST)):
            yield str(each.id), ""


def _branches(provider: str, repository: str) -> Answer:
    from deploycore.installation import Installation
    from deploycore.models import BranchQuery, RepositoryId

    _refuse_older_database()
    with Installation() as installation, installation.open_provider(provider) as opened:
        for each in opened.list_branches(RepositoryId.parse(repository), BranchQuery(limit=_MOST)):
            yield each.name, ""


def _owners(provider: str) -> Answer:
    from deploycore.installation import Installation
    from deploycore.models import OwnerQuery

    _refuse_older_database()
    with Installation() as installation, installation.open_provider(provider) as opened:
        for each in opened.list_owners(OwnerQuery(limit=_MOST)):
            yield each.username, each.display_name or ""


def _fields(kind: str, stamp: str) -> Answer:
    from deploycore.provider.core_fields import all_fields
    from deploycore.provider.registry import load_plugin

    for field in all_fields(load_plugin(kind).config_type):
        option = "--" + field.name.replace("_", "-")
        if field.secret:
            yield from ((f"{option}-stdin", "flag"), (f"{option}-env", ""), (f"{option}-file", ""))
        if field.may_be_plain or not field.secret:
            yield option, ",".join(field.choices)


def _refuse_older_database() -> None:
    from deploycore.store.statements import REVISION

    is_sqlite = not database_url().startswith("postgres")
    rows = rows_of_sqlite(_REVISION) if is_sqlite else _rows_of_postgresql(_REVISION)
    if [revision for revision, _ in rows] != [REVISION]:
        raise LookupError("the next command migrates the database")


def _rows_of_postgresql(query: str) -> list[tuple[str, str]]:
    import psycopg

    address = re.sub(r"^postgresql\+\w+:", "postgresql:", database_url())
    with psycopg.connect(address, connect_timeout=_SECONDS) as connection:
        connection.read_only = True
        return [(str(value), str(about)) for value, about in connection.execute(query)]


_ANSWERS: dict[str, Callable[..., Answer]] = {
    "branches": _branches,
    "fields": _fields,
    "owners": _owners,
    "repositories": _repositories,
    "rows": _rows,
}

if __name__ == "__main__":
    main(sys.argv[1:])
