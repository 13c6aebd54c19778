"""Failures of a database: each has a message with the next step and without secrets."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError

from deploycore.errors import StoreError
from deploycore.settings import Settings
from deploycore.store import Store, failures, waiting
from deploycore.store import direct as direct_module
from deploycore.store import engine as engine_module


def open_store(settings: Settings) -> pytest.ExceptionInfo[StoreError]:
    with pytest.raises(StoreError) as caught, Store(settings) as store:
        store.list_providers()
    return caught


def on(url: str, tmp_path: Path) -> Settings:
    home = str(tmp_path / "home")
    return Settings.from_environment({"DEPLOYCORE_HOME": home, "DEPLOYCORE_DATABASE_URL": url})


def said(error: BaseException) -> str:
    """All that an error and its chain say, and what they hold."""
    words, link = [], error
    while link is not None:
        words += [str(link), repr(link), repr(vars(link))]
        link = link.__cause__ or link.__context__
    return " ".join(words)


@pytest.fixture
def filled(settings, provider, application):
    """Settings of a database that holds something."""
    with Store(settings) as store:
        store.add_provider(provider())
        store.add_application(application())
    return settings


def test_the_database_is_only_accessible_to_its_owner(settings, provider):
    old = os.umask(0)
    try:
        with Store(settings) as store:
            store.add_provider(provider())
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode) for path in settings.home.iterdir()
            }
    finally:
        os.umask(old)
    assert set(modes) >= {"deploycore.db", "deploycore.db-wal", "deploycore.db-shm"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700


def test_the_database_is_durable_and_readers_do_not_block(settings):
    with Store(settings) as store, store._database.writing() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
        with Store(settings) as reader:
            assert reader.list_providers() == []
    full = 2
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": full,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


@pytest.mark.parametrize("content", [b"this is no database at all, but a text" * 100, b"short"])
def test_a_file_that_is_not_a_database_is_named_and_kept(settings, database, content):
    settings.make_home()
    database.write_bytes(content)
    error = open_store(settings).value
    assert error.message == f"The database {database} is damaged, or is no SQLite database."
    assert "backup" in error.hint
    assert database.read_bytes() == content


def test_a_damaged_database_is_named(filled, database):
    backup = database.read_bytes()
    content = bytearray(backup)
    content[4096:] = b"\xff" * (len(content) - 4096)
    database.write_bytes(content)
    error = open_store(filled).value
    assert error.message == f"The database {database} is damaged."
    assert error.details == {"path": str(database)}
    assert "backup" in error.hint
    database.write_bytes(backup)
    with Store(filled) as store:
        assert store.list_providers()


def test_a_database_that_was_moved_away_is_not_written(filled, provider, database):
    with Store(filled) as store:
        store.list_providers()
        database.rename(database.with_name("away.db"))
        with pytest.raises(StoreError, match="is gone"):
            store.add_provider(provider("later"))
        assert not database.exists()
        database.with_name("away.db").rename(database)
        store.add_provider(provider("later"))
        assert len(store.list_providers()) == 2


def test_an_unreadable_database_is_not_reported_as_missing(filled, database, monkeypatch):
    with Store(filled) as store:
        store.list_providers()
        real = Path.stat

        def refuse(path, **options):
            if path == database:
                raise PermissionError(13, os.strerror(13), str(path))
            return real(path, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", refuse)
            with pytest.raises(StoreError, match="cannot be opened: Permission denied"):
                store.list_providers()
        assert len(store.list_providers()) == 1


def test_after_a_restore_from_backup_writes_go_to_the_restored_file(filled, provider, database):
    backup = database.with_name("backup.db")
    shutil.copy(database, backup)
    with Store(filled) as store:
        store.add_provider(provider("later"))
        for leftover in database.parent.glob("deploycore.db-*"):
            leftover.unlink()
        backup.replace(database)
        store.add_provider(provider("latest"))
    with Store(filled) as store:
        assert "later" not in {each.name for each in store.list_providers()}
        assert "latest" in {each.name for each in store.list_providers()}


def test_a_directory_in_place_of_the_database_is_reported(settings, database):
    database.mkdir(parents=True)
    assert f"{database} cannot be opened" in open_store(settings).value.message


def test_a_file_in_place_of_the_data_directory_is_reported(settings):
    settings.home.write_text("")
    error = open_store(settings).value
    assert (
        error.message
        == f"The data directory {settings.home} cannot be created: a file is in its place."
    )


def test_a_missing_parent_directory_of_the_database_is_reported(tmp_path):
    error = open_store(on(f"sqlite:///{tmp_path}/missing/shop.db", tmp_path)).value
    assert f"{tmp_path}/missing/shop.db cannot be opened: No such file" in error.message
    assert "DEPLOYCORE_DATABASE_URL" in error.hint


@pytest.fixture
def unprivileged():
    """A directory that this process may read and not write, also when root runs the tests."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        yield directory
        if os.geteuid() != os.getuid():
            os.seteuid(os.getuid())
        directory.chmod(0o700)


def give_up_writing(directory: Path) -> None:
    for path in directory.iterdir():
        path.chmod(0o444)
    directory.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(65534)


def test_an_unwritable_data_directory_is_reported(unprivileged):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(unprivileged)})
    give_up_writing(unprivileged)
    error = open_store(settings).value
    assert f"{unprivileged}/deploycore.db cannot be opened: Permission denied" in error.message
    assert "DEPLOYCORE_HOME" in error.hint


def test_an_unwritable_parent_of_the_data_directory_is_reported(unprivileged):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(unprivileged / "home")})
    give_up_writing(unprivileged)
    error = open_store(settings).value
    assert f"{unprivileged}/home cannot be created: Permission denied" in error.message


def test_a_read_only_database_is_reported(unprivileged, provider):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(unprivileged)})
    with Store(settings) as store:
        store.add_provider(provider())
    give_up_writing(unprivileged)
    with (
        pytest.raises(StoreError, match=r"deploycore\.db cannot be (written|opened)"),
        Store(settings) as store,
    ):
        store.add_provider(provider("other"))


@pytest.fixture
def no_room(monkeypatch):
    """From now on no SQLite database may grow."""
    prepare = direct_module.prepare_sqlite

    def limit(connection: sqlite3.Connection, record: object = None) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    def prepare_limited(connection: sqlite3.Connection) -> None:
        prepare(connection)
        limit(connection)

    monkeypatch.setattr(direct_module, "prepare_sqlite", prepare_limited)
    event.listen(Engine, "connect", limit)
    yield
    event.remove(Engine, "connect", limit)


def test_a_full_disk_is_reported_and_nothing_is_partially_written(
    filled, provider, no_room, database
):
    big = provider(
        "big", settings={"text": "x" * 100_000}, secrets={"token": "fernet:sealed-token"}
    )
    with Store(filled) as store:
        with pytest.raises(StoreError, match="the disk is full") as caught:
            store.add_provider(big)
        assert [record.name for record in store.list_providers()] == ["acme"]
    assert str(database) in caught.value.message
    assert "sealed-token" not in said(caught.value)
    assert "INSERT" not in str(caught.value) + caught.value.hint


def test_a_full_disk_during_setup_leaves_nothing_that_blocks_the_next_setup(settings):
    with pytest.MonkeyPatch.context() as patch:

        def fail(connection, place):
            raise OSError(28, os.strerror(28))

        patch.setattr(engine_module, "_migrate", fail)
        assert "No space left" in open_store(settings).value.message
    with Store(settings) as store:
        assert store.list_providers() == []


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(waiting, "BUSY_SECONDS", 0.05)


def test_a_database_locked_for_long_by_another_process_is_reported(
    filled, database, impatient, provider
):
    with closing(sqlite3.connect(database, isolation_level=None)) as other, Store(filled) as store:
        other.execute("BEGIN IMMEDIATE")
        assert store.get_provider("acme") == provider()
        with pytest.raises(StoreError, match="is busy: another process") as caught:
            store.add_provider(provider("other"))
        assert "Try again" in caught.value.hint
        other.execute("ROLLBACK")
        store.add_provider(provider("other"))


def test_a_database_setup_that_does_not_finish_is_reported(settings, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr(engine_module, "_SET_UP_SECONDS", 0.05)
    settings.make_home()
    with FileLock(settings.home / "database.lock"):
        assert "being set up by another process" in open_store(settings).value.message


@pytest.mark.parametrize(
    ("url", "problem", "step"),
    [
        ("sqlite://", "in memory", "sqlite:////absolute/path"),
        ("sqlite:///:memory:", "in memory", "sqlite:////absolute/path"),
        ("oracular://u:s3cr3t@host/x", "unknown kind of database: 'oracular'", "sqlite:////"),
        (
            "postgresql+psycopg://u:s3cr3t@host:por/x",
            "is not a valid database URL",
            "Percent-encode",
        ),
        ("postgresql+psycopg://u:s3:cr3t@h:p@h/x", "is not a valid database URL", "Percent-encode"),
        ("postgresql+pg8000://u:s3cr3t@host/x", "needs the Python package 'pg8000'", "pip install"),
    ],
)
def test_an_invalid_database_url_is_reported_without_its_password(tmp_path, url, problem, step):
    error = open_store(on(url, tmp_path)).value
    assert problem in error.message
    assert step in error.hint
    assert "s3" not in said(error)
    with Store(on(f"sqlite:///{tmp_path}/file.db", tmp_path)) as store:  # as the examples have it
        assert store.list_providers() == []


def test_after_a_database_restart_no_request_fails(postgresql, tmp_path):
    """It has ended all connections; each would be one webhook that is refused."""
    import psycopg

    with Store(on(postgresql, tmp_path)) as store:
        store.list_providers()
        with psycopg.connect(postgresql.replace("+psycopg", "")) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
        assert ended, "there was no connection"
        assert store.list_providers() == []


def test_an_error_of_the_database_server_is_quoted_without_the_password():
    from sqlalchemy import make_url

    place = failures.place_of(make_url("postgresql+psycopg://u:s3cr3t@host:5433/shop"))

    class OperationalError(Exception):
        """As drivers name it (PEP 249)."""

    refusal = OperationalError('no entry for "u", password "s3cr3t".\nDETAIL: more')
    error = failures.store_error(DBAPIError("SELECT 1", {}, refusal), place)
    assert error.message == (
        "The database postgresql+psycopg://host:5433/shop refused an operation: "
        'no entry for "u", password "********".'
    )


def test_a_schema_of_another_version_is_not_reported_as_a_wrong_url():
    from sqlalchemy import make_url

    place = failures.place_of(make_url("sqlite:////srv/shop.db"))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE present (a)")
        for statement in ("SELECT b FROM present", "SELECT a FROM absent"):
            with pytest.raises(sqlite3.OperationalError) as caught:
                connection.execute(statement)
            error = failures.store_error(DBAPIError(statement, {}, caught.value), place)
            assert "does not have the tables of this version of deploycore: no such" in str(error)
            assert "restore a backup" in error.hint


def test_an_error_that_may_contain_row_data_is_not_quoted():
    from sqlalchemy import make_url

    place = failures.place_of(make_url("sqlite:////srv/shop.db"))
    quoting = sqlite3.IntegrityError("Key (secrets)=(of-the-row) already exists")
    error = failures.store_error(DBAPIError("INSERT", {}, quoting), place)
    assert error.message == "The database /srv/shop.db refused an operation: IntegrityError."


KILLED = """
import os, signal, sys
from datetime import datetime, UTC
from pathlib import Path
from deploycore.settings import Settings
from deploycore.store import Store
from deploycore.store.direct import DirectStatements

fetched = DirectStatements._fetched

def die(self, name, text, bound):
    done = fetched(self, name, text, bound)
    if text.startswith("INSERT") and len(sys.argv) > 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

DirectStatements._fetched = die

with Store(Settings.from_environment({"DEPLOYCORE_HOME": sys.argv[1]})) as store:
    for number in range(10):
        store.deployments.request("shop", ref="main")
        if number == 5:
            sys.argv.append("now")
"""


def test_a_process_killed_during_a_write_leaves_a_usable_database(filled, database):
    done = subprocess.run([sys.executable, "-c", KILLED, str(filled.home)])
    assert done.returncode == -9
    with Store(filled) as store:
        assert len(store.deployments.list("shop")) == 6
        store.deployments.request("shop", ref="main")
        assert len(store.deployments.list("shop")) == 7
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
