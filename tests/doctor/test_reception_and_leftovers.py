"""``doctor`` reports missed deliveries, renamed repositories and leftover files; and the commands
for a repository that was replaced."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from deploycore.cli import main
from deploycore.deploy.releases import Releases
from deploycore.disk.removal import Remains


@pytest.fixture
def store(installation, application):
    return installation.store


@pytest.fixture
def definition(store):
    return store.get_application("site").definition


@pytest.fixture
def command(home, monkeypatch, capsys):
    """Runs a command, and gives its exit code and what it printed."""
    monkeypatch.setenv("DEPLOYCORE_HOME", str(home))

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        try:
            main(list(arguments))
        except SystemExit as ended:
            return int(ended.code or 0), capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def sql(home, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(home / "deploycore.db")) as connection, connection:
        connection.execute(statement, values)


def before(seconds: float) -> str:
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    return at.replace(tzinfo=None).isoformat(" ", "microseconds")


def test_a_missing_server_is_reported_if_there_are_webhooks(look, installation, store, home):
    assert look().of("webhooks") == []
    installation.webhooks.prepare("site")
    (found,) = look().of("webhooks", "warning")
    assert (
        found.message
        == "No server has been running: webhook deliveries for 1 applications are lost."
    )
    assert found.hint == "Start the server: deploycore serve"
    store.reception.note()
    assert [each.level for each in look().of("webhooks")] == ["ok"]
    sql(home, "UPDATE reception SET seen_at = ?", before(3600))
    (found,) = look().of("webhooks", "warning")
    assert found.message.startswith("No server has been running for 36")


@pytest.mark.parametrize(("seconds", "level"), [(10, "ok"), (3600, "warning")])
def test_overdue_checks_for_missed_deliveries_are_reported(
    look, definition, store, home, seconds, level
):
    polled = definition.model_validate({**definition.as_dict(), "name": "site", "auto_deploy": {}})
    store.put_applications([polled])
    assert look().of("missed deliveries") == []
    sql(home, "UPDATE polls SET requested_at = ?", before(seconds))
    (found,) = look().of("missed deliveries")
    assert found.level == level
    assert "still have to check 1 applications for pushes" in found.message


def test_a_renamed_repository_is_reported_by_the_doctor_and_shown(look, command, definition, store):
    store.repositories.learn(definition, "17")
    assert store.repositories.rename(definition, "acme/renamed", "17")
    (found,) = (each for each in look().of("application site") if "was renamed" in each.message)
    assert found.level == "ok"
    assert "acme/site was renamed to acme/renamed" in found.message
    code, shown = command("app", "show", "site")
    assert (code, "acme/renamed (renamed from acme/site)" in shown) == (0, True)
    known = json.loads(command("app", "show", "site", "--json")[1])["host_repository"]
    assert (known["host_id"], known["former_names"]) == ("17", ["acme/site"])
    assert known["renamed_at"] is not None
    assert known["replaced_by"] is None


def test_a_replaced_repository_is_reported_shown_and_accepted(look, command, definition, store):
    store.repositories.learn(definition, "17")
    store.repositories.note_other(definition, "18")
    (found,) = look().of("application site", "problem")
    assert "Another repository is named acme/site now" in found.message
    assert found.hint.endswith("deploycore app accept-repository site")
    note = "(another repository has this name now; deployments fail)"
    assert note in " ".join(command("app", "show", "site")[1].split())
    code, said = command("app", "accept-repository", "site")
    assert (code, "acme/site" in said) == (0, True)
    assert look().of("application site", "problem") == []
    assert note not in " ".join(command("app", "show", "site")[1].split())
    assert store.repositories.find(definition) is None


def test_the_repository_of_an_unknown_application_cannot_be_accepted(command, store):
    assert command("app", "accept-repository", "nothing")[0] == 3


def test_an_ignored_delivery_is_reported(look, definition, store):
    store.repositories.learn(definition, "17")
    store.repositories.note_ignored(definition, "acme/store")
    (found,) = look().of("application site", "warning")
    assert "A delivery for acme/store was ignored" in found.message
    assert "remove the webhook from acme/store" in found.hint


def test_leftovers_are_reported_with_their_size(look, application, target, monkeypatch):
    left = [
        Remains(target / "releases" / f".removed.{each}", 3, 5 * 1024 * 1024) for each in "abcd"
    ]
    monkeypatch.setattr(Releases, "leftovers", lambda self: left)
    (found,) = look().of("application site", "warning")
    assert "12 files and directories" in found.message
    assert "20.0 MiB" in found.message
    assert found.message.endswith("and 1 more.")


def test_foreign_files_among_the_releases_are_reported(look, installation, application, target):
    installation.deploy("site")
    assert look().of("application site", "warning") == []
    (target / "releases" / "backup-before-migration").mkdir()
    (found,) = look().of("application site", "warning")
    assert "backup-before-migration" in found.message
    assert str(target / "releases") in found.hint
