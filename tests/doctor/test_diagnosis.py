"""Each kind of problem is produced and found, and an installation without problems gets no
warning."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploycore import Installation, SecretReference, Settings
from deploycore.applications.application import AutoDeploy
from deploycore.deploy import Releases
from deploycore.deploy.locks import Presence
from deploycore.doctor import database, diagnose, examination, finding, machine
from deploycore.errors import ConfigurationError
from deploycore.git import Cancellation
from deploycore.provider import registry
from tests.processes import Process

SECRET = SecretStr("made-up-secret-77aa0c1e")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def everything(directory: Path) -> dict[str, tuple]:
    """What is in a directory, and when it was changed; not the memory that SQLite shares."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.name.endswith("-shm"):
            continue
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_ino, content)
    return found


def execute(settings: Settings, *statements: str) -> None:
    with sqlite3.connect(settings.home / "deploycore.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


# What is well


def test_a_healthy_installation_reports_only_that(installation, application, look, tmp_path):
    installation.deploy(application)
    installation.close()
    before = everything(tmp_path)
    diagnosis = look(offline=False)
    assert {each.level for each in diagnosis.findings} == {"ok"}
    assert everything(tmp_path) == before
    said = {each.subject: each.message for each in diagnosis.findings}
    assert said["provider plugin bitbucket"] == "deploycore-bitbucket 0.1.0 can be used."
    assert "is intact and up to date" in said["database"]
    assert said["key"] == "The key exists, and only you can read it."
    assert said["secrets"] == "All secrets can be read: 1."
    assert "The credentials are valid: " in said["provider work"]
    assert said["clock"] == "This machine's clock agrees with the host's clock of provider work."
    assert " is live" in said["application site"]
    assert "GiB of free space" in said["disk"]


def test_an_empty_machine_is_healthy_and_stays_empty(look, home):
    diagnosis = look(offline=False)
    assert {each.level for each in diagnosis.findings} == {"ok"}
    assert "is created when it is needed" in diagnosis.of("data directory")[0].message
    assert "is created when it is needed" in diagnosis.of("database")[0].message
    assert not home.exists()


def test_an_open_database_is_read_and_not_changed(installation, application, look, home):
    with installation.store._database.reading():
        assert (home / "deploycore.db-wal").exists()
        before = everything(home)
        assert look().of("database", "ok")
        assert everything(home) == before


def test_the_journal_of_a_process_that_was_killed_is_not_merged(
    installation, application, look, home, tmp_path
):
    with installation.store._database.reading():
        shutil.copytree(home, tmp_path / "copy")
    killed = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "copy")})
    (tmp_path / "copy" / "secret.key").chmod(0o600)
    database_file = tmp_path / "copy" / "deploycore.db"
    before = database_file.read_bytes()
    diagnosis = look(given=killed)
    assert {each.level for each in diagnosis.findings} == {"ok"}
    assert database_file.read_bytes() == before
    assert (tmp_path / "copy" / "deploycore.db-wal").stat().st_size > 0


# Settings, directories, disks


def test_invalid_settings_are_reported_and_plugins_are_still_checked():
    def wrong() -> Settings:
        return Settings.from_environment({"DEPLOYCORE_HOME": " "})

    found = list(diagnose(wrong))
    assert [each.subject for each in found if each.level == "problem"] == ["settings"]
    assert found[-1].exit_code == 3
    assert any(each.subject == "provider plugin bitbucket" for each in found)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("file", "is a file"),
        ("file/below", "cannot be created"),
        ("~/x", "You have no home directory"),
    ],
)
def test_an_impossible_data_directory_is_reported(look, tmp_path, place, said):
    (tmp_path / "file").touch()
    path = Path(place) if place.startswith("~") else tmp_path / place
    given = Settings(path, f"sqlite:///{path}/deploycore.db", None, path / "secret.key")
    (found,) = look(given=given).of("data directory", "problem")
    assert said in found.message
    assert found.exit_code == 9


@pytest.mark.unprivileged(only=True)
def test_an_unwritable_data_directory_is_reported(look, installation, provider, home):
    home.chmod(0o500)
    assert (
        "You cannot write to the data directory"
        in look().of("data directory", "problem")[0].message
    )
    home.chmod(0o700)


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "Free some space"), (errno.EROFS, "or set DEPLOYCORE_HOME")]
)
def test_a_full_disk_is_detected_by_writing_to_it(
    look, application, home, target, monkeypatch, number, hint
):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    before = everything(home)
    with monkeypatch.context() as patch:
        patch.setattr("deploycore.doctor.machine.os.fsync", fail)
        diagnosis = look()
    (found,) = diagnosis.of("data directory", "problem")
    assert f"{home} cannot be written: {os.strerror(number)}." in found.message
    assert hint in found.hint
    (found,) = diagnosis.of("application site", "problem")
    assert f"{target} cannot be written: {os.strerror(number)}." in found.message
    assert look().of("data directory", "ok")
    assert everything(home) == before


@as_root
def test_a_data_directory_on_a_full_disk_is_reported_until_space_is_freed(look, home):
    home.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(home)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only a user who may mount can fill a disk")
    try:
        (home / "filling").write_bytes(bytes(32 * 1024))
        (found,) = look().of("data directory")
        assert (found.level, found.exit_code) == ("problem", 9)
        assert "cannot be written: No space left on device." in found.message
        assert "Free some space on its disk" in found.hint
        subprocess.run(["mount", "-o", "remount,size=1m", str(home)], check=True)
        assert look().of("data directory", "ok")
    finally:
        subprocess.run(["umount", str(home)], check=True)


@pytest.mark.parametrize("name", ["cache", "cache/git", "logs", "locks"])
def test_a_directory_left_accessible_by_an_earlier_version_is_reported(look, provider, home, name):
    (home / name).mkdir(parents=True, exist_ok=True)
    (home / name).chmod(0o777)
    (found,) = look().of("data directory", "warning")
    assert f"Others can write to {home / name} (mode 777)" in found.message
    assert found.hint == f"Restrict access: chmod 700 {home / name}"


@pytest.mark.unprivileged(only=True)
def test_unreadable_or_unwritable_files_are_reported(
    look, installation, application, home, target, tmp_path
):
    installation.close()
    (home / "deploycore.db").chmod(0o400)
    assert "You cannot write to " in look().of("database", "problem")[0].message
    (home / "deploycore.db").chmod(0o000)
    assert "cannot be opened" in look().of("database", "problem")[0].message
    (home / "deploycore.db").chmod(0o600)
    (home / "secret.key").chmod(0o000)
    assert "cannot be read" in look().of("key", "problem")[0].message
    (home / "secret.key").chmod(0o600)
    tmp_path.chmod(0o500)
    assert f"You cannot create the target {target}" in look().only("problem").message
    tmp_path.chmod(0o700)
    target.mkdir(mode=0o500)
    assert f"You cannot write to the target {target}" in look().only("problem").message
    target.chmod(0o000)
    assert f"The target {target} cannot be" in look().only("problem").message
    target.chmod(0o700)
    home.chmod(0o000)
    diagnosis = look()
    home.chmod(0o700)
    assert diagnosis.of("data directory", "problem")
    assert diagnosis.of("database", "problem")


@pytest.mark.parametrize(
    ("mode", "level"), [(0o777, "problem"), (0o770, "warning"), (0o755, "ok"), (0o1777, "warning")]
)
def test_write_access_of_others_to_the_data_directory_is_reported(look, home, mode, level):
    home.mkdir()
    home.chmod(mode)
    (found,) = look().of("data directory")
    assert found.level == level
    assert ("chmod 700" in found.hint) == (level != "ok")


@as_root
def test_files_left_by_root_in_the_data_directory_are_reported(look, installation, provider, home):
    os.chown(home, 12345, 12345)
    for path in home.iterdir():
        os.chown(path, 12345, 12345)
    os.chown(home / "deploycore.db", 0, 0)
    foreign, strange = look().of("data directory")
    assert (foreign.level, "belongs to another user (12345)" in foreign.message) == (
        "warning",
        True,
    )
    assert strange.level == "problem"
    assert "deploycore.db" in strange.message
    assert "secret.key" not in strange.message
    assert strange.hint == f"Change their owner: chown -R 12345 {home}"


@pytest.mark.parametrize(("limit", "level"), [("LEAST_BYTES", "problem"), ("LOW_BYTES", "warning")])
def test_a_disk_with_little_free_space_is_reported_once(
    look, application, monkeypatch, limit, level
):
    monkeypatch.setattr(machine, limit, 1 << 60)
    (found,) = look().of("disk")
    assert found.level == level
    assert "GiB of free space" in found.message


# The database


def test_a_file_that_is_not_a_database_is_reported(look, home):
    home.mkdir(mode=0o700)
    (home / "deploycore.db").write_bytes(b"no database, but long enough to be taken for one" * 90)
    found = look().only("problem")
    assert (found.subject, found.exit_code) == ("database", 9)
    assert "is damaged, or is no SQLite database" in found.message


def test_an_emptied_database_is_reported(look, installation, provider, home):
    installation.close()
    for path in home.glob("deploycore.db*"):
        path.unlink()
    assert "does not exist, but the key" in look().only("warning").message
    (home / "deploycore.db").touch(mode=0o600)
    found = look().only("problem")
    assert (found.subject, found.exit_code) == ("database", 9)
    assert "is empty, but the key of stored secrets exists" in found.message


def test_an_empty_database_without_a_key_counts_as_unused(look, home):
    home.mkdir(mode=0o700)
    (home / "deploycore.db").touch(mode=0o600)
    assert look().of("database", "ok")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_file_that_is_not_regular_is_reported_without_waiting(look, home, make):
    home.mkdir(mode=0o700)
    for name in ("deploycore.db", "database.lock", "secret.key"):
        make(home / name)
    found = [each for each in look().findings if each.level == "problem"]
    assert [each.subject for each in found] == ["database", "locks", "key"]
    assert all("regular file" in e.message or "Is a directory" in e.message for e in found)


def test_a_damaged_database_is_reported(look, installation, application, home):
    installation.close()
    path = home / "deploycore.db"
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 5 * 4096] = b"\xff" * (2 * 4096)
    path.write_bytes(content)
    found = look().of("database", "problem")
    assert "is damaged" in found[0].message
    assert "backup" in found[0].hint


def test_a_database_locked_exclusively_by_another_process_is_reported(
    look, installation, application, home, monkeypatch
):
    monkeypatch.setattr("deploycore.store.inspection._BUSY_SECONDS", 0.1)
    installation.close()
    holder = sqlite3.connect(home / "deploycore.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    holder.execute("UPDATE applications SET revision = revision")
    found = look().of("database", "problem")
    holder.close()
    assert "is kept locked by another process" in found[0].message
    assert "fuser" in found[0].hint


def test_a_database_locked_for_writing_by_another_process_is_reported(
    look, installation, application, home, monkeypatch
):
    monkeypatch.setattr("deploycore.store.inspection._BUSY_SECONDS", 0.1)
    holder = sqlite3.connect(home / "deploycore.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    diagnosis = look()
    holder.execute("ROLLBACK")
    holder.close()
    assert "is locked by another process" in diagnosis.of("database", "problem")[0].message
    assert diagnosis.of("application site", "ok")


def test_a_database_of_an_older_version_is_reported_and_not_migrated(look, installation, provider):
    installation.close()
    settings = installation._settings
    execute(settings, "UPDATE alembic_version SET version_num = '0001'")
    before = everything(settings.home)
    found = look().only("warning")
    assert "was written by an older deploycore" in found.message
    assert everything(settings.home) == before


def test_a_database_of_a_newer_version_is_reported(look, installation, provider):
    installation.close()
    execute(installation._settings, "UPDATE alembic_version SET version_num = '9999'")
    found = look().only("problem")
    assert "was written by a newer deploycore" in found.message
    assert found.hint == "Upgrade deploycore."


def test_an_application_in_an_unknown_format_is_reported_with_the_others(
    look, installation, application, tmp_path
):
    other = tmp_path / "other"
    installation.add_application(
        "other", provider="work", repository="acme/site", ref="main", target=other
    )
    installation.close()
    unknown = """UPDATE applications SET definition = '{"a": 1}', definition_checksum = NULL
                 WHERE name = 'other'"""
    execute(installation._settings, unknown)
    diagnosis = look()
    assert "'other' is stored in a form" in diagnosis.only("problem").message
    assert diagnosis.of("application site", "ok")


def test_a_database_that_others_can_read_is_reported(look, installation, provider, home):
    (home / "deploycore.db").chmod(0o644)
    found = look().only("warning")
    assert "can be read by other users of this machine (mode 0644)" in found.message


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+nosuchdriver://u:made-up-secret-77aa0c1e@host/x", "unknown kind of database"),
        ("mysql+pymysql://u:made-up-secret-77aa0c1e@127.0.0.1:1/x", "needs the Python package"),
        ("sqlite://", "in memory"),
    ],
    ids=["unknown-driver", "missing-driver", "in-memory"],
)
def test_an_unreachable_database_url_is_reported_without_its_password(look, home, url, said):
    given = Settings(home, url, None, home / "secret.key")
    found = look(given=given).only("problem")
    assert (found.subject, found.exit_code) == ("database", 9)
    assert said in found.message


def test_checking_an_unresponsive_database_times_out(look, monkeypatch):
    over = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(database, "DATABASE_SECONDS", 0.1)
        patch.setattr(database, "inspect_database", lambda settings: over.wait())
        found = look().only("problem")
    over.set()
    assert "The database did not answer within 0.1 s" in found.message
    assert "that the server is running" in found.hint
    assert look().of("database", "problem") == []


# Key and secrets


def test_a_key_readable_by_others_is_reported(look, installation, provider, home):
    (home / "secret.key").chmod(0o644)
    found = look().of("key", "problem")[0]
    assert "be read by other users" in found.message
    assert "provider work (token)" in found.message
    assert "chmod 600" in found.hint
    assert found.exit_code == 9


def test_a_key_readable_by_others_is_reported_even_without_stored_data(look, home):
    home.mkdir(mode=0o700)
    (home / "secret.key").touch()
    (home / "secret.key").chmod(0o644)
    assert "be read by other users" in look().only("problem").message


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "is missing"), (b"nonsense", "is not a key"), (b"A" * 43 + b"=", "another key")],
)
def test_a_wrong_key_is_reported_once_with_its_users(
    look, installation, application, home, tmp_path, content, said
):
    installation.add_provider("second", "bitbucket", *settings_of(installation))
    key = home / "secret.key"
    key.unlink() if content is None else key.write_bytes(content)
    (found,) = look().of("key", "problem")
    assert said in found.message
    assert "provider second (token), provider work (token)" in found.message
    assert found.hint
    assert "rotate NAME --FIELD-file PATH" in found.hint
    key.unlink(missing_ok=True)
    file = tmp_path / "token"
    file.write_text(SECRET.get_secret_value())
    changes = installation.provider_changes
    for name in ("second", "work"):
        in_file = {"token": SecretReference(f"file:{file}")}
        changes.store(changes.plan(name, {}, in_file))
    assert not look().of("key", "problem")
    changes.store(changes.plan("work", {}, {"token": SECRET}))  # with a new key
    assert not look().of("key", "problem")


def settings_of(installation) -> tuple[dict, dict]:
    record = installation.store.get_provider("work")
    return dict(record.settings), {"token": SECRET}


def test_invalid_references_are_reported(look, installation, provider, monkeypatch, tmp_path):
    settings, _ = settings_of(installation)
    file = tmp_path / "token"
    file.write_text(SECRET.get_secret_value())
    monkeypatch.setenv("SOME_TOKEN", SECRET.get_secret_value())
    for name, reference in (("one", "env:SOME_TOKEN"), ("two", f"file:{file}")):
        installation.add_provider(
            name, "bitbucket", settings, {"token": SecretReference(reference)}
        )
    assert look().of("secrets", "ok")
    monkeypatch.delenv("SOME_TOKEN")
    file.unlink()
    found = look()
    said = [each.message for each in found.of("secrets", "problem")]
    assert any(str(file) in each and "provider two (token)" in each for each in said)
    # A worker may have what this shell has not.
    (elsewhere,) = found.of("secrets", "warning")
    assert "SOME_TOKEN" in elsewhere.message
    assert "provider one (token)" in elsewhere.message
    assert "worker" in elsewhere.hint
    assert not found.of("provider one", "problem")
    assert found.of("provider one", "warning")


def test_a_secret_file_that_everybody_can_read_is_reported(look, installation, provider, tmp_path):
    settings, _ = settings_of(installation)
    file = tmp_path / "token"
    file.write_text(SECRET.get_secret_value())
    file.chmod(0o644)
    for name in ("one", "two"):
        reference = SecretReference(f"file:{file}")
        installation.add_provider(name, "bitbucket", settings, {"token": reference})
    found = look().only("warning")
    assert "can read the secret in" in found.message
    assert "provider one (token), provider two (token)" in found.message
    assert found.hint == f"Restrict access: chmod o-rwx {file}"
    file.chmod(0o640)
    assert look().of("secrets", "ok")
    assert not look().of("secrets", "warning")


def test_a_missing_application_secret_is_reported(look, installation, application):
    definition = installation.store.get_application(application).definition
    environment = {"environment": {"TOKEN": {"secret": "stored"}}}
    installation.apply([definition.model_validate({**definition.as_dict(), **environment})])
    found = look().of("secrets", "problem")[0]
    assert "application site (TOKEN)" in found.message
    installation.keep_application_secret(application, "TOKEN", SECRET)
    assert look().of("secrets", "ok")


# Plugins


def test_broken_plugins_are_reported_with_the_others(
    look, install_distribution, until_the_end, monkeypatch
):
    monkeypatch.setattr(registry, "LISTED_SECONDS", 0.2)
    install_distribution("broken", "acme", "raise SystemExit(1)")
    install_distribution("hanging", "slow", until_the_end)
    install_distribution("cancelled", "gone", "import asyncio; raise asyncio.CancelledError")
    diagnosis = look()
    broken, cancelled, hanging = diagnosis.of("provider plugin", "problem")
    assert (broken.exit_code, hanging.exit_code) == (10, 10)
    assert "broken 1.0" in broken.message
    assert "cancelled 1.0" in cancelled.message
    assert "CancelledError" in cancelled.message
    assert "did not end within 0.2 s" in hanging.message
    assert diagnosis.of("provider plugin bitbucket", "ok")


def test_missing_plugins_are_reported(look, monkeypatch):
    monkeypatch.setattr("deploycore.provider.installed.entry_points_by_name", lambda group: {})
    assert "so you cannot connect a git host" in look().only("warning").message


def test_a_missing_dependency_is_reported(look, monkeypatch):
    monkeypatch.setattr(
        "importlib.metadata.Distribution.requires", ["no-such-thing>=1", 'other; extra == "dev"']
    )
    found = look().only("problem")
    assert found.message.endswith("Dependencies are missing: no-such-thing.")
    assert found.exit_code == 1


def test_a_dependency_in_the_wrong_version_is_reported(look, monkeypatch):
    requires = ["pytest>=1", "pluggy<0.1"]
    monkeypatch.setattr("importlib.metadata.Distribution.requires", requires)
    found = look().only("problem")
    there = importlib.metadata.version("pluggy")
    assert found.message.endswith(f"are missing: pluggy<0.1 (installed: {there}).")
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    assert look().of("deploycore", "ok")


# Applications


def test_unusable_targets_are_reported(look, installation, application, target):
    target.write_text("a file")
    assert "is not a directory" in look().only("problem").message
    target.unlink()
    target.mkdir()
    (target / "something").touch()
    assert "deploycore did not make its content" in look().only("problem").message
    (target / "something").unlink()
    (target / "current").mkdir()
    assert "is not a link" in look().only("problem").message
    (target / "current").rmdir()
    assert look().of("application site", "ok")


def test_a_target_that_cannot_be_created_is_reported(look, installation, application, target):
    definition = installation.store.get_application(application).definition
    target.write_text("a file")
    installation.apply([definition.model_copy(update={"target": target / "below"})])
    found = look().only("problem")
    assert found.subject == "application site"
    assert "Not a directory" in found.message


def test_a_missing_live_release_is_reported(look, installation, application, target):
    installation.deploy(application)
    shutil.rmtree(os.path.realpath(target / "current"))
    found = look().only("problem")
    assert "The live release of" in found.message
    assert found.exit_code == 8


def test_deployments_of_dead_processes_are_reported_but_not_running_ones(
    look, installation, application, target, home
):
    store = installation.store
    running = store.deployments.request(application, ref="main", home=str(home))
    releases = Releases(target)
    releases.prepare()
    with Presence(home / "locks").present(application, Cancellation(), wait=True):
        assert "The deployment of site is queued" in look().of("deployment", "ok")[0].message
    found = look().only("problem")
    assert (found.subject, found.exit_code) == (f"deployment {running.id}", 8)
    store.deployments.advance(running.id, "authenticating")
    with releases.locked():
        assert "deployment of site is authenticating" in look().of("deployment", "ok")[0].message
    found = look().only("problem")
    assert "its process has died" in found.message
    assert found.hint == "Recover it: deploycore recover"
    installation.recover()
    assert look().of("deployment") == []


def test_a_deployment_of_another_machine_is_not_reported(look, installation, application):
    installation.store.deployments.request(application, ref="main")
    installation.close()
    execute(installation._settings, "UPDATE deployments SET host = 'elsewhere'")
    found = look().only("warning")
    assert "It started on elsewhere" in found.message


def test_a_missing_worker_is_reported_if_one_is_needed(look, installation, application):
    assert look().of("workers") == []
    automatic(installation, application)
    found = look().only("warning")
    assert (found.subject, found.message) == ("workers", "No worker is running.")
    assert found.hint == "Start one: deploycore serve, or deploycore worker"
    installation.store.claims.register("w", host="here", process=1)
    assert look().of("workers", "ok")
    installation.store.claims.retire("w")
    installation.store.triggers.add(application, cause="push")
    assert "No worker is running; the oldest trigger" in look().only("warning").message


@pytest.mark.parametrize(
    ("seen", "waits", "level"),
    [(5, 0, "ok"), (5, 0.1, "ok"), (5, 5, "warning"), (20, 0, "warning"), (0.1, 30, "ok")],
)
def test_a_worker_without_recent_heartbeats_does_not_count(
    look, installation, application, settings, seen, waits, level
):
    automatic(installation, application)
    installation.store.claims.register("w", host="here", process=1)
    installation.store.triggers.add(application, cause="push", settled=not waits)
    installation.close()
    execute(
        settings,
        f"UPDATE workers SET seen_at = '{minutes_ago(seen)}'",
        f"UPDATE triggers SET received_at = '{minutes_ago(waits)}'",
    )
    (found,) = look().of("workers")
    assert found.level == level


def test_a_busy_worker_counts_as_alive_despite_rare_heartbeats(
    look, installation, application, settings
):
    automatic(installation, application)
    claims = installation.store.claims
    claims.register("w", host="here", process=1)
    claims.take(application, "w", lease=3600)
    installation.store.triggers.add(application, cause="push")
    installation.close()
    old = minutes_ago(8)
    execute(settings, f"UPDATE workers SET seen_at = '{old}'")
    execute(settings, f"UPDATE triggers SET received_at = '{old}'")
    assert look().of("workers", "ok")


def test_stored_times_in_the_future_are_reported(look, installation, application, settings):
    automatic(installation, application)
    claims = installation.store.claims
    claims.register("w", host="here", process=1)
    claims.take(application, "w", lease=30)
    installation.store.triggers.add(application, cause="push")
    assert look().of("clock") == []
    installation.close()
    later = minutes_ago(-10_000)
    execute(
        settings,
        f"UPDATE workers SET seen_at = '{later}'",
        f"UPDATE claims SET expires_at = '{later}'",
        f"UPDATE polls SET due_at = '{later}'",
        f"UPDATE triggers SET received_at = '{later}'",
    )
    found = look()
    told = {each.message.split(": ")[1].partition(" (")[0] for each in found.of("clock")}
    assert told == {"claims of workers", "next polls", "triggers", "heartbeats of workers"}
    assert {each.level for each in found.of("clock")} == {"warning"}
    (workers,) = found.of("workers")
    assert workers.level == "warning"  # such a sign of life is none
    assert "No worker is running" in workers.message


def minutes_ago(minutes):
    return f"{datetime.now(UTC) - timedelta(minutes=minutes):%Y-%m-%d %H:%M:%S.%f}"


def automatic(installation, application):
    definition = installation.store.get_application(application).definition
    installation.apply([definition.model_copy(update={"auto_deploy": AutoDeploy()})])


def test_a_process_that_sets_up_the_database_is_reported(look, installation, provider, home):
    program = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'a');"
        "fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); time.sleep(1000)"
    )
    holder = Process(
        [sys.executable, "-c", program, str(home / "database.lock")], stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        found = look().only("warning")
        holder.kill()
    assert found.subject == "locks"
    assert look().of("locks", "ok")


# Whatever else


def test_a_failing_check_reports_only_its_error_type_and_others_continue(
    look, application, monkeypatch
):
    def fail(*_):
        raise RuntimeError(SECRET.get_secret_value())
        yield

    monkeypatch.setattr(machine, "look_at_home", fail)
    monkeypatch.setattr(database, "look_at_secrets", fail)
    diagnosis = look()
    assert [each.subject for each in diagnosis.findings if each.level == "problem"] == [
        "data directory",
        "key",
    ]
    assert all("RuntimeError" in each.message for each in diagnosis.findings if each.exit_code)
    assert diagnosis.of("application site", "ok")


def test_a_check_that_does_not_finish_is_abandoned_and_others_continue(
    look, application, monkeypatch
):
    over = threading.Event()

    def half(*_):
        yield finding.fine("key", "This much was seen.")
        over.wait()

    monkeypatch.setattr(examination, "LOOK_SECONDS", 2)
    monkeypatch.setattr(database, "look_at_secrets", half)
    diagnosis = look()
    over.set()
    seen, late = diagnosis.of("key")
    assert seen.message == "This much was seen."
    assert "did not end within 2 s" in late.message
    assert diagnosis.of("application site", "ok")


def test_many_simultaneous_problems_are_all_reported(tmp_path, install_distribution, look):
    install_distribution("broken", "acme", "import no_such_module")
    home = tmp_path / "wrong"
    home.mkdir()
    home.chmod(0o777)
    (home / "deploycore.db").write_bytes(b"garbage" * 1000)
    (home / "secret.key").write_bytes(b"garbage")
    (home / "secret.key").chmod(0o644)
    given = Settings.from_environment({"DEPLOYCORE_HOME": str(home)})
    subjects = [each.subject for each in look(given=given).findings if each.level == "problem"]
    assert subjects == ["provider plugin acme", "data directory", "database", "key"]


def test_settings_can_be_unreadable_for_any_reason():
    def none() -> Settings:
        raise ConfigurationError("There is none.", hint="Make one.")

    assert [each.message for each in diagnose(none)][-1] == "There is none."


def test_installations_remain_usable_after_the_diagnosis(look, installation, application):
    look(offline=False)
    with Installation(installation._settings) as again:
        assert again.deploy(application).state == "healthy"
