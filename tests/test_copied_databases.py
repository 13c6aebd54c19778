"""A copy of a database is as new when it is lent again."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.copied_databases import Copies


@pytest.fixture
def copies(postgresql_server, postgresql_template):
    made = Copies(postgresql_server, postgresql_template)
    yield made
    made.close()


@pytest.fixture
def lent(copies, postgresql_server):
    """Lends a copy, executes statements in it, and returns its number and what the last statement
    selects."""

    def lend(*statements):
        with copies.lend() as address, postgresql_server.connected(address) as connection:
            number = "SELECT oid FROM pg_database WHERE datname = current_database()"
            (found,) = connection.execute(number).fetchone()
            for statement in statements:
                cursor = connection.execute(statement)
            return found, cursor.fetchall() if cursor.description else None

    return lend


COLUMNS = "at, actor, operation, kind, subject, outcome, request, address"
ADD = f"INSERT INTO audit ({COLUMNS}) VALUES (now(), '', '', '', '', '', '', '') RETURNING id"
MANY = (
    f"INSERT INTO audit ({COLUMNS}) SELECT now(), repeat('a', 1000), '', '', '', '', '', ''"
    " FROM generate_series(1, 100)"
)


def test_a_copy_is_emptied_and_lent_again(lent):
    first = lent(ADD, ADD)
    assert first[1] == [(2,)]
    assert lent("SELECT count(*) FROM audit") == (first[0], [(0,)])
    assert lent(ADD) == (first[0], [(1,)])


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE audit ADD COLUMN more integer",
        "CREATE TABLE more (id integer)",
        "CREATE SCHEMA more",
        "DROP INDEX ix_audit_at",
        "CREATE FUNCTION more() RETURNS integer LANGUAGE SQL AS 'SELECT 1'",
        "TRUNCATE audit",
        "UPDATE alembic_version SET version_num = '9999'",
        "DELETE FROM alembic_version",
        "ANALYZE alembic_version",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = off', current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 7', current_database());"
        " END $$",
        MANY,
    ],
)
def test_a_copy_that_was_changed_is_not_lent_again(lent, statement):
    before, _ = lent("SELECT 1")
    assert lent(statement)[0] == before
    assert lent("SELECT 1")[0] != before


def test_clients_of_before_have_no_access_to_a_copy(copies, postgresql_server):
    import psycopg

    with ExitStack() as stack:
        with copies.lend() as first:
            kept = stack.enter_context(postgresql_server.connected(first))
            with copies.lend() as second:
                assert second != first
        with pytest.raises(psycopg.OperationalError):
            kept.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError), postgresql_server.connected(first):
            pass
        with copies.lend() as third:
            assert third not in (first, second)
