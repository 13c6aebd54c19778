"""Removing an application: the plan is shown first, the host's webhook is removed too, and the
history stays."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from pydantic import SecretStr

from deploycore import SecretReference
from deploycore.cli.removal import removal_as_dict, say_removed
from deploycore.disk.removal import Remains
from deploycore.errors import ConfigurationError, StoreError
from deploycore.models import RepositoryId
from tests.forked import ForkedProcess

URL = "https://deploy.example.com/webhooks/shop"
V1 = "/api/v1"


@pytest.fixture
def requests_sent(tmp_path, monkeypatch):
    """The requests that the host got: lists of words."""
    notes = tmp_path / "notes"
    monkeypatch.setenv("ACME_NOTES", str(notes))
    return lambda: [json.loads(line) for line in notes.read_text().splitlines()]


@pytest.fixture
def registered(installation, secret, requests_sent):
    """An application whose webhook the host has."""
    installation.webhooks.register("shop", URL)
    return "shop"


@pytest.fixture
def deployed(installation, secret):
    """Records a deployment with a log, and a release on the disk."""

    def make(name: str = "shop") -> int:
        store = installation.store.deployments
        record = store.request(name, ref="main")
        with installation.engine.logs.open(name, record.id):
            pass
        (installation.settings.home / "logs" / name / f"{record.id}.jsonl").write_text("{}")
        target = installation.store.get_application(name).definition.target
        (target / "releases" / "one").mkdir(parents=True, exist_ok=True)
        store.advance(record.id, "failed")
        return record.id

    return make


@pytest.fixture
def command(home, installation, tmp_path):
    """Runs a command: ``command("app", "list")``; at a terminal, if somebody types there."""
    own = {"DEPLOYCORE_HOME": str(home), "PYTHONPATH": str(tmp_path / "site")}

    def run(*arguments, typed: str | None = None, **variables):
        ours, theirs = pty.openpty()
        if typed is not None:
            os.write(ours, typed.encode())
        try:
            running = ForkedProcess(
                [sys.executable, "-m", "deploycore", *arguments],
                env={**os.environ, **own, **variables},
                stdin=subprocess.DEVNULL if typed is None else theirs,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            printed, errors = running.communicate(timeout=500)
            return subprocess.CompletedProcess(arguments, running.returncode, printed, errors)
        finally:
            os.close(ours)
            os.close(theirs)

    return run


def names(installation) -> list[str]:
    return [each.name for each in installation.store.list_applications()]


def logs(installation, name: str = "shop") -> list[str]:
    directory = installation.settings.home / "logs" / name
    return sorted(os.listdir(directory)) if directory.exists() else []


def test_without_a_terminal_removal_requires_explicit_confirmation(command, installation, deployed):
    deployed()
    done = command("app", "remove", "shop")
    assert (done.returncode, names(installation)) == (2, ["shop"])
    assert "Add --yes" in done.stderr
    assert "kept: 1 deployment and their logs" in done.stderr
    machine = command("app", "remove", "shop", "--json")
    assert json.loads(machine.stderr)["error"]["code"] == "confirmation_required"
    assert (machine.returncode, names(installation)) == (2, ["shop"])
    done = command("app", "remove", "shop", "--yes")
    assert (done.returncode, names(installation)) == (0, [])
    assert "1 release stays in" in done.stdout


@pytest.mark.parametrize(("typed", "code", "left"), [("n\n", 130, ["shop"]), ("y\n", 0, [])])
def test_at_a_terminal_removal_asks_for_confirmation(
    command, installation, secret, typed, code, left
):
    done = command("app", "remove", "shop", typed=typed)
    assert (done.returncode, names(installation)) == (code, left)
    assert "Remove the application shop?" in done.stderr
    assert "releases  none on disk" in done.stderr
    assert " stay in" not in done.stdout  # of releases that never were


def test_the_webhook_is_removed_from_the_host(command, installation, registered, requests_sent):
    done = command("app", "remove", "shop", "--json", "--yes")
    assert done.returncode == 0
    assert requests_sent()[-1] == ["remove", "acme/shop", "hook-1"]
    assert json.loads(done.stdout)["remains"] == []


@pytest.fixture
def moved(installation, registered):
    """The application deploys another repository since its webhook was registered."""
    definition = installation.store.get_application("shop").definition
    installation.apply([definition.model_copy(update={"repository": "acme/other"})])
    return "shop"


def test_the_webhook_of_the_previous_repository_is_removed_there(command, moved, requests_sent):
    done = command("app", "remove", "shop", "--yes")
    assert done.returncode == 0
    assert requests_sent()[-1] == ["remove", "acme/shop", "hook-1"]


def test_a_webhook_left_at_a_previous_repository_is_reported(command, installation, moved):
    done = command("app", "remove", "shop", "--yes", ACME_FAILS="1")
    assert (done.returncode, names(installation)) == (0, [])
    assert "the repository acme/shop (provider work)" in done.stderr
    assert "acme/other" not in done.stderr


def test_removing_only_a_webhook_contacts_the_previous_repository(
    installation, moved, requests_sent
):
    assert installation.webhooks.remove("shop") is True
    assert requests_sent()[-1] == ["remove", "acme/shop", "hook-1"]


def test_registering_for_another_repository_removes_the_previous_webhook(
    installation, moved, requests_sent
):
    record = installation.webhooks.register("shop", URL)
    assert (record.provider, record.repository) == ("work", "acme/other")
    registered, removed = requests_sent()[-2:]
    assert registered[:2] == ["register", "acme/other"]
    assert removed[:2] == ["remove", "acme/shop"]


def test_the_webhook_of_a_renamed_repository_is_not_treated_as_previous(
    installation, moved, requests_sent, monkeypatch
):
    monkeypatch.setenv("ACME_RENAMED", "1")  # the host finds it by either name
    record = installation.webhooks.register("shop", URL)
    assert (record.hosts_id, record.repository) == ("hook-1", "acme/other")
    assert requests_sent()[-1][:2] == ["register", "acme/other"]


def test_a_previous_webhook_is_remembered_until_the_new_one_is_stored(
    installation, moved, requests_sent, monkeypatch
):
    """Else a database that refuses just then would leave it at the host for good."""

    def refuse(*_, **__):
        raise StoreError("The database is busy.")

    with monkeypatch.context() as patch:
        patch.setattr(installation.store.webhooks, "note_host", refuse)
        with pytest.raises(StoreError):
            installation.webhooks.register("shop", URL)
    assert installation.store.webhooks.get("shop").repository == "acme/shop"
    installation.webhooks.register("shop", URL)
    assert [each[:2] for each in requests_sent()[-2:]] == [
        ["register", "acme/other"],
        ["remove", "acme/shop"],
    ]


@pytest.mark.parametrize("what", ["locked", "read-only"])
def test_a_database_error_keeps_the_application_and_its_webhook(
    installation, home, registered, requests_sent, monkeypatch, what
):
    before = requests_sent()
    monkeypatch.setattr("deploycore.store.waiting.BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(home / "deploycore.db", isolation_level=None)) as other:
        if what == "locked":
            other.execute("BEGIN IMMEDIATE")
        else:
            with installation.store._database.reading() as connection:
                connection.exec_driver_sql("PRAGMA query_only = 1")
        with pytest.raises(StoreError):
            installation.removals.remove("shop")
    assert requests_sent() == before
    assert installation.store.webhooks.find("shop") is not None


def test_a_database_error_after_the_host_call_reports_what_was_removed(
    installation, registered, requests_sent, monkeypatch
):
    store = type(installation.store)

    def fill(*_, **__):
        raise StoreError("The disk is full.", hint="Free space.")

    with monkeypatch.context() as patch:
        patch.setattr(store, "remove_application", fill)
        with pytest.raises(StoreError) as caught:
            installation.removals.remove("shop")
    assert "deploycore webhook register shop" in caught.value.hint
    assert requests_sent()[-1][0] == "remove"
    assert installation.webhooks.register("shop", URL).hosts_id == "hook-1"
    assert installation.removals.remove("shop").remains == []


@pytest.mark.parametrize("when", ["with it", "afterwards"])
def test_logs_that_cannot_be_removed_are_reported(
    command, installation, deployed, monkeypatch, capsys, when
):
    deployed()
    if when == "afterwards":
        installation.removals.remove("shop")
    directory = installation.settings.home / "logs" / "shop"
    left = Remains(directory, 2, 4096, directory / "1.jsonl", "Operation not permitted", 1)
    with monkeypatch.context() as patch:
        patch.setattr("deploycore.deploy.log.remove_tree", lambda path: left)
        done = installation.removals.remove("shop", purge=True)
    say_removed(done, purge=True)
    assert f"remove it yourself: Logs in {directory}: 2 entries" in capsys.readouterr().err
    assert removal_as_dict(done, purge=True)["remains"]


def test_a_webhook_follows_the_rename_of_its_repository(installation, registered):
    store = installation.store
    definition = store.get_application("shop").definition
    assert store.repositories.rename(definition, "acme/renamed", "17")
    assert store.webhooks.get("shop").repository == "acme/renamed"


def damage(home, statement: str) -> None:
    with closing(sqlite3.connect(home / "deploycore.db")) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize("value", ["'soon'", "x'ff'"])
def test_a_damaged_unfinished_deployment_is_removed_on_request(
    command, installation, home, secret, value
):
    store = installation.store.deployments
    number = store.request("shop", ref="main").id
    damage(home, f"UPDATE deployments SET requested_at = {value} WHERE id = {number}")
    refused = command("app", "remove", "shop", "--yes")
    assert (refused.returncode, names(installation)) == (3, ["shop"])
    assert f"deployment {number} has not ended, and its record is damaged" in refused.stderr
    assert "deploycore app remove shop --force" in refused.stderr
    done = command("app", "remove", "shop", "--yes", "--force")
    assert (done.returncode, names(installation)) == (0, [])
    assert f"unfinished deployments were deleted: {number}" in done.stdout
    assert store.history() == []


def test_force_does_not_remove_an_application_during_a_deployment(
    command, installation, home, secret
):
    store = installation.store.deployments
    damaged, running = (store.request("shop", ref="main").id for _ in range(2))
    damage(home, f"UPDATE deployments SET state = 'building', seconds = '' WHERE id = {damaged}")
    refused = command("app", "remove", "shop", "--yes", "--force")
    assert (refused.returncode, names(installation)) == (3, ["shop"])
    assert f"deployment {running} has not ended." in refused.stderr


@pytest.mark.parametrize(
    ("table", "column", "told_of"),
    [
        ("applications", "definition", "The record 'shop' of the table 'applications' is damaged"),
        ("applications", "secrets", "its column 'secrets'"),
        ("webhooks", "secret", "ends with /webhooks/shop"),
        ("webhooks", "created_at", "ends with /webhooks/shop"),
        ("repositories", "former_names", ""),
        ("triggers", "received_at", ""),
        ("polls", "due_at", ""),
    ],
)
def test_an_application_with_a_damaged_record_can_be_removed(
    command, installation, home, registered, table, column, told_of
):
    definition = installation.store.get_application("shop").definition
    installation.store.triggers.add("shop", cause="push")
    installation.store.repositories.learn(definition, "17")
    damage(home, f"UPDATE {table} SET {column} = x'ff'")
    done = command("app", "remove", "shop", "--yes")
    assert (done.returncode, names(installation)) == (0, [])
    assert told_of in done.stderr
    assert command("app", "show", "shop").returncode == 3


def test_leftovers_at_an_unreachable_host_are_reported_and_the_rest_is_removed(
    command, installation, registered
):
    done = command("app", "remove", "shop", "--yes", ACME_FAILS="1")
    assert (done.returncode, names(installation)) == (0, [])
    for part in ("Acme is down", "webhook hook-1", "acme/shop", "provider work", URL):
        assert part in done.stderr


def test_removal_does_not_wait_for_an_unresponsive_host(
    installation, registered, requests_sent, monkeypatch
):
    monkeypatch.setattr("deploycore.installation.application_removal.HOST_SECONDS", 0.1)
    answered = threading.Event()
    monkeypatch.setattr(installation.webhooks, "remove_at_host", lambda _: answered.wait(60))
    done = installation.removals.remove("shop")
    answered.set()
    assert done.error.message == "The host did not answer within 0.1 s."
    assert "Remove the webhook at the git host" in done.error.hint
    assert "hook-1" in done.remains[0]
    assert names(installation) == []
    with installation.open_provider("work") as provider:  # as the host's own page does it
        provider.remove_webhook(RepositoryId(owner="acme", slug="shop"), "hook-1")
    assert requests_sent()[-1][0] == "remove"


def test_an_option_removes_the_application_without_contacting_the_host(
    command, installation, registered, requests_sent
):
    before = requests_sent()
    done = command("app", "remove", "shop", "--yes", "--keep-webhook")
    assert done.returncode == 0
    assert requests_sent() == before
    assert "hook-1" in done.stderr


def test_an_application_that_is_being_deployed_keeps_its_webhook(
    installation, registered, requests_sent
):
    before = requests_sent()
    installation.store.deployments.request("shop", ref="main")
    with pytest.raises(ConfigurationError, match="has not ended"):
        installation.removals.remove("shop")
    assert requests_sent() == before
    assert installation.store.webhooks.find("shop") is not None


def test_history_and_logs_of_a_removed_application_remain_available(
    command, installation, deployed
):
    number = deployed()
    installation.removals.remove("shop")
    assert "shop (removed)" in command("deployments", "shop").stdout
    shown = json.loads(command("show", str(number), "--json").stdout)
    assert (shown["id"], shown["removed_at"] is not None) == (number, True)
    assert command("logs", "shop").returncode == 0
    assert logs(installation) == [f"{number}.jsonl"]
    with pytest.raises(ConfigurationError, match="has already ended"):
        installation.engine.cancel(number)


def test_a_new_application_of_the_same_name_starts_its_own_history(
    command, installation, deployed, create
):
    former = deployed()
    installation.removals.remove("shop")
    create("shop")
    deployments = installation.store.deployments
    assert deployments.list("shop") == []
    assert [each.deployment for each in installation.releases("shop")] == [None]
    assert command("show", "shop").returncode == 3  # it has none of its own yet
    present = deployed()
    assert [each.id for each in deployments.list("shop")] == [present]
    found = [(each.id, each.removed_at is not None) for each in deployments.history("shop")]
    assert found == [(present, False), (former, True)]
    assert deployments.count("shop") == (1, 1)
    assert [each.id for each in deployments.history("shop", limit=1)] == [present]
    assert [each.id for each in deployments.history(before=present)] == [former]


@pytest.mark.parametrize("when", ["with it", "afterwards"])
def test_purging_erases_history_and_logs(command, installation, deployed, when):
    number = deployed()
    if when == "afterwards":
        installation.removals.remove("shop")
        question = command("app", "remove", "shop", "--purge", typed="y\n")
        assert "was removed before" in question.stderr
    else:
        installation.removals.remove("shop", purge=True)
    assert logs(installation) == []
    for find in (
        lambda: installation.store.deployments.history("shop"),
        lambda: installation.store.deployments.get(number),
        lambda: installation.removals.plan("shop", purge=True),
    ):
        with pytest.raises(ConfigurationError, match="There is no"):
            find()


def test_the_api_reports_what_remains(serving, installation, registered, token, monkeypatch):
    client, admin = serving(), token("admin")
    monkeypatch.setenv("ACME_FAILS", "1")
    answer = client.delete(f"{V1}/applications/shop", headers=admin)
    assert answer.status_code == 200
    assert "hook-1" in answer.json()["remains"][0]
    assert answer.json()["error"] == "Acme is down."


def test_the_api_removes_a_damaged_unfinished_deployment_on_request(
    serving, installation, home, secret, token
):
    client, admin = serving(), token("admin")
    number = installation.store.deployments.request("shop", ref="main").id
    damage(home, f"UPDATE deployments SET requested_at = x'ff' WHERE id = {number}")
    refused = client.delete(f"{V1}/applications/shop", headers=admin)
    assert (refused.status_code, names(installation)) == (409, ["shop"])
    assert "DELETE" in refused.json()["hint"]
    done = client.delete(f"{V1}/applications/shop?force=true", headers=admin)
    assert (done.status_code, done.json()["dropped"]) == (200, [number])
    assert names(installation) == []


def test_the_api_removes_an_application_with_a_damaged_record(serving, home, secret, token):
    client, admin = serving(), token("admin")
    damage(home, "UPDATE applications SET definition = x'ff'")
    assert client.get(f"{V1}/applications/shop", headers=admin).status_code == 503
    assert client.delete(f"{V1}/applications/shop", headers=admin).status_code == 204
    assert client.delete(f"{V1}/applications/shop", headers=admin).status_code == 404
    missing = client.delete(f"{V1}/applications/..x", headers=admin)
    assert missing.status_code == 404
    assert missing.json()["hint"] == f"List the applications: GET {V1}/applications"
    assert client.get(f"{V1}/applications", headers=admin).json()["items"] == []


def test_the_api_purges_the_history_of_a_removed_application(
    serving, installation, deployed, token
):
    client, admin = serving(), token("admin")
    deployed()
    installation.removals.remove("shop")
    assert client.delete(f"{V1}/applications/shop", headers=admin).status_code == 404
    purging = f"{V1}/applications/shop?purge=true"
    assert client.delete(purging, headers=admin).status_code == 204
    assert (logs(installation), client.delete(purging, headers=admin).status_code) == ([], 404)


def test_the_api_keeps_the_history_unless_purge_is_requested(
    serving, installation, deployed, token
):
    client, admin = serving(), token("admin")
    number = deployed()
    assert client.delete(f"{V1}/applications/shop", headers=admin).status_code == 204
    (item,) = client.get(f"{V1}/deployments?application=shop", headers=admin).json()["items"]
    assert (item["id"], item["removed_at"] is not None) == (number, True)
    assert client.get(f"{V1}/deployments/{number}/log", headers=admin).status_code == 200
    assert client.get(f"{V1}/deployments?application=blog", headers=admin).status_code == 404


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        (("webhook", "remove", "shop"), "Remove the webhook of shop?"),
        (("provider", "remove", "spare"), "Remove the provider spare?"),
        (("token", "remove", "ci"), "Remove the token ci?"),
        (("app", "secret", "shop", "KEY", "--remove"), "Erase the value of KEY?"),
    ],
    ids=["webhook", "provider", "token", "secret"],
)
def test_other_removals_ask_for_confirmation_at_a_terminal(
    command, installation, registered, token, arguments, question
):
    installation.add_provider("spare", "acme", {}, {"token": SecretStr("hunter2-of-acme")})
    token("read", name="ci")
    done = command(*arguments, typed="n\n")
    assert (done.returncode, question in done.stderr) == (130, True)
    assert installation.store.webhooks.find("shop") is not None
    assert "spare" in [each.name for each in installation.store.list_providers()]
    assert "ci" in [each.name for each in installation.store.tokens.list()]
    assert command(*arguments, "--yes", typed="").returncode == 0


def test_a_webhook_that_the_host_cannot_remove_is_reported(command, installation, registered):
    done = command("webhook", "remove", "shop", ACME_FAILS="1")
    assert done.returncode != 0
    for part in ("hook-1", URL, "--keep-at-host"):
        assert part in done.stderr
    assert installation.store.webhooks.find("shop") is not None


def test_a_webhook_with_a_lost_key_can_be_removed_and_registered_again(
    installation, registered, tmp_path
):
    """As the hint about a lost key has it, once the provider's secret is in a file."""
    installation.settings.secret_key_file.unlink()
    with pytest.raises(StoreError, match="is missing") as caught:
        installation.webhooks.rotate(registered)
    assert "remove and register webhooks again" in caught.value.hint
    file = tmp_path / "token"
    file.write_text("of-the-shop")
    changes = installation.provider_changes
    changes.store(changes.plan("work", {}, {"token": SecretReference(f"file:{file}")}))
    installation.webhooks.remove(registered)
    assert installation.webhooks.register(registered, URL)
    assert installation.settings.secret_key_file.exists()
