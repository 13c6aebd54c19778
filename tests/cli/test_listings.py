"""Listings have the same output for both ways to read the database."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from deploycore.applications.application import Application
from deploycore.cli import main
from deploycore.settings import Settings
from deploycore.store import ProviderRecord, Store, listing

AT = datetime(2026, 11, 24, 10, 15, 30, 123456, tzinfo=UTC)
LISTINGS = (
    "provider list",
    "app list",
    "deployments",
    "deployments shop",
    "deployments --limit 1",
    "releases shop",
    "releases empty",
    "logs shop",
    "logs 2",
    "logs empty",
    "logs 99",
    "releases nothing",
    "deployments nothing",
)


@pytest.fixture(scope="module")
def filled_home(tmp_path_factory, empty_home):
    home = shutil.copytree(empty_home, tmp_path_factory.mktemp("listings") / "home")
    with Store(Settings.from_environment({"DEPLOYCORE_HOME": str(home)})) as store:
        secrets = {"token": "env:TOKEN", "other": "file:/x", "third": "fernet:x"}
        store.add_provider(ProviderRecord("acme", "acme", {"user": "jörg"}, secrets, AT))
        for name in ("shop", "empty"):
            values = {"name": name, "provider": "acme", "repository": "team/shop", "ref": "größe"}
            values["target"] = home.parent / name
            store.add_application(Application.model_validate(values))
        for _ in range(2):
            _deploy(store, home)
    return home


def _deploy(store, home):
    """Bring a deployment to its end, with a release and a log."""
    record = store.deployments.request(
        "shop", ref="main", requested_by="jörg", kind="deploy", home=str(home)
    )
    release = f"20261124T10153{record.id}Z-cccccccccccc"
    known = {"commit": "c" * 40, "author": "Jörg", "subject": "✓", "bytes": 3}
    for state in ("authenticating", "resolving", "fetching", "activating", "healthy"):
        store.deployments.advance(record.id, state, release=release, **known)
    releases = home.parent / "shop" / "releases"
    (releases / release).mkdir(parents=True)
    (releases / ".removed.deploycore-abcdef").mkdir(exist_ok=True)
    current = releases.parent / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(f"releases/{release}")
    log = home / "logs" / "shop" / f"{record.id}.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text('{"at": "2026-11-24T10:15:30Z", "kind": "state", "phase": "x", "text": "y"}\n')


@pytest.mark.parametrize("more", ["", " --json"])
@pytest.mark.parametrize("command", LISTINGS)
def test_a_listing_prints_the_same_with_and_without_the_fast_path(
    filled_home, monkeypatch, capsys, command, more
):
    monkeypatch.setenv("DEPLOYCORE_HOME", str(filled_home))
    asked = []
    read = listing.read_listing

    def noted(*arguments):
        asked.append(read(*arguments))
        return asked[-1]

    monkeypatch.setattr(listing, "read_listing", noted)
    printed = _run(command + more, capsys)
    monkeypatch.setattr(listing, "read_listing", lambda *arguments: None)
    assert _run(command + more, capsys) == printed
    is_for_the_store = command in ("logs empty", "logs 99") or command.endswith("nothing")
    if command + more != "app list --json":
        assert (asked == [None]) == is_for_the_store


def _run(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    return ended.value.code, *capsys.readouterr()
