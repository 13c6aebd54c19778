"""The deployments that decide which releases stay are found without reading a long history."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, event, insert, select, text

from deploycore.deploy.selection import find_way_back, surplus_releases, withdrawn_commits
from deploycore.store import DeploymentRecord, ReleaseHistory
from deploycore.store.named import StatementsOfEngine
from deploycore.store.tables import deployments

AT = datetime(2026, 1, 1, tzinfo=UTC)
KEPT = ("old1", "new1")


@pytest.fixture
def shop(store, provider, application):
    """A store with the application ``shop``."""
    store.add_provider(provider())
    store.put_applications([application()])
    return store


def row(kind: str = "deploy", state: str = "healthy", **fields) -> dict:
    given = {
        "application": "shop",
        "kind": kind,
        "state": state,
        "ref": "main",
        "commit": None,
        "release": None,
        "previous": None,
        "previous_commit": None,
        "requested_by": "",
        "requested_at": AT,
        "started_at": AT,
        "finished_at": AT,
        "seconds": {},
        "cancel_requested": False,
        "unproved": False,
        "host": "",
        "home": "",
    }
    return given | {"kind": kind, "state": state} | fields


def write(store, rows: list[dict]) -> None:
    with store._database.writing() as connection:
        connection.execute(insert(deployments), rows)


def histories(number: int) -> dict[str, list[dict]]:
    """So many deployments of each kind that an application may have since its oldest release."""
    to_old = {"commit": "old", "release": "old1", "previous": "new1", "previous_commit": "new"}
    to_new = {"commit": "new", "release": "new1", "previous": "old1", "previous_commit": "old"}
    return {
        "releases that are gone": [
            row(commit=f"c{each}", release=f"gone{each}", previous=f"gone{each - 1}")
            for each in range(number)
        ],
        "the same commit again": [
            row(commit="new", release=f"gone{each}") for each in range(number)
        ],
        "failures": [
            row(state="failed", commit="new", release=f"gone{each}", previous_commit="new")
            for each in range(number)
        ],
        "skipped ones": [row(state="skipped", commit="new") for _ in range(number)],
        "rollbacks to and fro": [
            row("rollback", **to_new if each % 2 else to_old) for each in range(number)
        ],
    }


@contextmanager
def effort(connection: Connection) -> Iterator[list[int]]:
    """Count what the database does in a block: the steps of SQLite's virtual machine, or the rows
    that PostgreSQL reads."""
    done: list[int] = []
    if connection.dialect.name == "sqlite":
        sqlite = connection.connection.driver_connection
        sqlite.set_progress_handler(lambda: done.append(1), 1)
        yield done
        sqlite.set_progress_handler(None, 0)
        return
    asked: list[tuple[str, object]] = []

    def note(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(connection.engine, "before_cursor_execute", note)
    yield done
    event.remove(connection.engine, "before_cursor_execute", note)
    connection.execute(text("ANALYZE deployments"))
    # So few rows are read at a stretch otherwise, whatever indexes there are.
    connection.execute(text("SET LOCAL enable_seqscan = off"))
    for statement, parameters in asked:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
        plan = connection.exec_driver_sql(explain, parameters).scalar_one()
        done.extend([1] * rows_read(plan[0]["Plan"]))


def rows_read(plan: dict) -> int:
    each = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return int(each * plan["Actual Loops"]) + sum(map(rows_read, plan.get("Plans", ())))


QUESTIONS = {
    "releases": lambda deployments: deployments.release_history("shop", KEPT),
    "a commit": lambda deployments: deployments.commit_history("shop", "old"),
    "what made them": lambda deployments: deployments.of_releases("shop", KEPT),
}


@pytest.mark.parametrize("kind", histories(0))
def test_choosing_releases_does_not_read_a_long_history(shop, kind, monkeypatch):
    write(shop, [row(commit="old", release="old1"), row(commit="new", release="new1")])
    counts = []
    with shop._database.writing() as connection:
        database = type(shop._database)
        monkeypatch.setattr(database, "reading_by_name", lambda self: _same(connection))
        for number in (10, 1_000):
            connection.execute(insert(deployments), histories(number)[kind])
            for ask in QUESTIONS.values():
                with effort(connection) as done:
                    ask(shop.deployments)
                counts.append(len(done))
    for short, long in zip(counts[:3], counts[3:], strict=True):
        assert long < 1.5 * short + 100


@contextmanager
def _same(connection: Connection) -> Iterator[StatementsOfEngine]:
    yield StatementsOfEngine(connection)


def story(seed: int) -> list[dict]:
    """What may happen to an application: deployments of few commits, and rollbacks."""
    chance, rows = random.Random(seed), []
    made: dict[str, str] = {}
    live: str | None = None
    for number in range(chance.randint(3, 30)):
        before = {"previous": live, "previous_commit": made.get(live or "")}
        if made and chance.random() < 0.4:
            release = chance.choice(sorted(made))
            found = row("rollback", commit=made[release], release=release, **before)
        else:
            release, commit = f"r{number}", chance.choice("abcd")
            found = row(commit=commit, release=release, **before)
        if chance.random() < 0.2:
            found["state"] = "failed"
        else:
            live = release
            made[release] = found["commit"]
        rows.append(found)
    return rows


def whole(store) -> ReleaseHistory:
    """The history as it is, all of it."""
    records: list[DeploymentRecord] = store.deployments.list("shop")[::-1]
    made = {each.release: each for each in records if each.kind == "deploy"}
    return ReleaseHistory(made, [each for each in records if each.state == "healthy"])


def test_a_partial_history_leads_to_the_same_decision_as_the_whole(shop):
    for seed in range(60):
        with shop._database.writing() as connection:
            connection.execute(deployments.delete())
        write(shop, story(seed))
        everything = whole(shop)
        chance = random.Random(seed)
        live = everything.events[-1].release if everything.events else None
        names = sorted(each for each in everything.made if each == live or chance.random() < 0.6)
        found = shop.deployments.release_history("shop", names)
        assert find_way_back(names, live, found) == find_way_back(names, live, everything), seed
        for keep in (1, 2, 5):
            options = {"live": live, "previous": None, "keep": keep}
            assert surplus_releases(names, history=found, **options) == surplus_releases(
                names, history=everything, **options
            ), seed
        withdrawn = withdrawn_commits(everything)
        for commit in "abcd":
            of_commit = shop.deployments.commit_history("shop", commit)
            was_live = any(each.commit == commit for each in everything.events)
            assert (commit in withdrawn_commits(of_commit)) == (commit in withdrawn and was_live)


def test_rollbacks_of_previous_versions_get_the_commit_they_replaced(unmade_settings):
    from alembic import command
    from sqlalchemy import create_engine

    from deploycore.store import migrations

    unmade_settings.make_home()
    engine = create_engine(unmade_settings.database_url)
    at = {"at": "2026-01-02 00:00:00"}
    with engine.begin() as connection:
        command.upgrade(migrations.configuration(connection), "0010")
        connection.execute(
            text("INSERT INTO providers (name, kind, settings, secrets, created_at)"
                 " VALUES ('work', 'acme', '{}', '{}', :at)"), at
        )  # fmt: skip
        connection.execute(
            text("INSERT INTO applications (name, provider, target, definition, secrets,"
                 " revision, created_at, changed_at)"
                 " VALUES ('shop', 'work', '/shop', '{}', '{}', 1, :at, :at)"), at
        )  # fmt: skip
        for values in (
            row(commit="a", release="a1"),
            row(commit="b", release="b1", previous="a1"),
            row("rollback", commit="a", release="a1", previous="b1"),
            row("rollback", commit="a", release="a1", previous="forgotten"),
        ):
            connection.execute(insert(deployments).values(values))
        command.upgrade(migrations.configuration(connection), "0011")
        query = select(deployments.c.previous_commit).order_by(deployments.c.id)
        found = connection.scalars(query).all()
    engine.dispose()
    assert found == [None, None, "b", None]
