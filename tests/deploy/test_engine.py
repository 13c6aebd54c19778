"""One deployment through the Python API: the order of its work, its record, and the state after a
failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import deploycore.git
from deploycore import Cancellation, DeployEvent, Installation, RepositoryId, Settings
from deploycore.deploy import Releases
from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    DeployError,
    NotFound,
    RemoteRefused,
    StoreError,
)


@pytest.fixture
def installation(home: Path):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(home)})
    with Installation(settings) as opened:
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "live"


@pytest.fixture
def application(installation, demo_sandbox, target) -> str:
    """An application ``site`` whose repository has one commit."""
    connection = next(c for c in demo_sandbox.connections if c.settings["mode"] == "access-token")
    settings = dict(connection.settings)
    token = settings.pop("token")
    installation.add_provider("work", "bitbucket", settings, {"token": token})
    demo_sandbox.publish("acme", "site", "main", {"page": b"one\n"}, "One")
    installation.add_application(
        "site",
        provider="work",
        repository=RepositoryId(owner="acme", slug="site"),
        branch="main",
        target=target,
    )
    return "site"


def states(installation) -> list[str]:
    return [record.state for record in installation.store.deployments.list("site")]


def test_phases_run_in_order_and_the_record_contains_the_result(
    installation, application, target, demo_sandbox
):
    seen: list[DeployEvent] = []
    record = installation.deploy(application, requested_by="ada", listener=seen.append)
    phases = [event.phase for event in seen if event.kind == "state"]
    assert phases == ["queued", "authenticating", "resolving", "fetching", "activating", "healthy"]
    assert [event.git.phase for event in seen if event.git][-1] == "writing"
    assert list(record.seconds) == phases[:-1]
    assert (record.author, record.subject, record.files, record.bytes) == (
        record.author,
        "One",
        1,
        4,
    )
    assert (record.state, record.requested_by, record.error) == ("healthy", "ada", None)
    assert record.finished_at >= record.started_at
    assert (target / "current").readlink() == Path("releases") / record.release
    assert sorted(os.listdir(target / "current")) == ["page"]


def test_a_release_contains_only_files_and_no_repository(installation, application, target):
    installation.deploy(application)
    assert not (target / "current" / ".git").exists()


def test_a_listener_that_raises_is_disabled_and_breaks_nothing(
    installation, application, target, caplog
):
    """A terminal that is gone, say: what is deployed does not depend on who watches."""
    seen = []

    def fail(step: DeployEvent) -> None:
        seen.append(step)
        if step.phase == "fetching":
            raise BrokenPipeError

    assert installation.deploy(application, listener=fail).state == "healthy"
    assert seen[-1].phase == "fetching"
    assert caplog.text.count("a listener failed and gets no more events") == 1


@pytest.mark.parametrize("phase", ["authenticating", "resolving", "fetching", "activating"])
def test_cancellation_in_any_phase_keeps_the_previous_release_live(
    installation, application, target, demo_sandbox, phase
):
    installation.deploy(application)
    before = os.listdir(target / "releases")
    demo_sandbox.publish("acme", "site", "main", {"page": b"two\n"}, "Two")
    cancellation = Cancellation()

    def cancel(step: DeployEvent) -> None:
        if step.phase == phase:
            cancellation.cancel()

    if phase == "activating":
        # From here on it is too late: the switch is one step, and nothing comes after it here.
        installation.deploy(application, listener=cancel, cancellation=cancellation)
        assert (target / "current" / "page").read_text() == "two\n"
        return
    with pytest.raises(Cancelled):
        installation.deploy(application, listener=cancel, cancellation=cancellation)
    assert states(installation) == ["cancelled", "healthy"]
    assert (target / "current" / "page").read_text() == "one\n"
    assert os.listdir(target / "releases") == before


def test_cancellation_after_the_export_removes_the_release(
    installation, application, target, demo_sandbox, monkeypatch
):
    installation.deploy(application)
    before = os.listdir(target / "releases")
    demo_sandbox.publish("acme", "site", "main", {"page": b"two\n"}, "Two")
    cancellation = Cancellation()
    export = deploycore.git.export

    def export_and_cancel(*arguments, **options):
        done = export(*arguments, **options)
        cancellation.cancel()
        return done

    monkeypatch.setattr("deploycore.git.export", export_and_cancel)
    with pytest.raises(Cancelled):
        installation.deploy(application, cancellation=cancellation)
    assert os.listdir(target / "releases") == before
    assert states(installation) == ["cancelled", "healthy"]


def test_a_brief_database_outage_does_not_cancel_a_deployment(
    installation, application, monkeypatch
):
    """A cancelled deployment is not tried again, and one that met the database's restart is."""
    advance = installation.store.deployments.advance

    def fail_once(deployment, state, **known):
        if state == "resolving":
            raise StoreError("The connection was closed.")
        return advance(deployment, state, **known)

    monkeypatch.setattr(installation.store.deployments, "advance", fail_once)
    with pytest.raises(StoreError, match="The connection was closed"):
        installation.deploy(application)
    (record,) = installation.store.deployments.list(application)
    assert (record.state, record.error_code) == ("failed", StoreError.code)


def test_a_failed_switch_removes_the_release(installation, application, target, monkeypatch):
    def fail(*arguments: object) -> None:
        raise DeployError("The disk is full.")

    monkeypatch.setattr(Releases, "activate", fail)
    with pytest.raises(DeployError):
        installation.deploy(application)
    assert os.listdir(target / "releases") == []
    assert states(installation) == ["failed"]


def test_a_failure_is_recorded_with_its_code_and_message(installation, application, tmp_path):
    installation.add_application(
        "other",
        provider="work",
        repository=RepositoryId(owner="acme", slug="site"),
        branch="gone",
        target=tmp_path / "other",
    )
    with pytest.raises(NotFound, match="no branch 'gone'"):
        installation.deploy("other")
    (record,) = installation.store.deployments.list("other")
    assert (record.state, record.error_code) == ("failed", "not_found")
    assert "no branch 'gone'" in record.error


def test_a_provider_that_cannot_be_opened_is_recorded(
    installation, application, tmp_path, monkeypatch
):
    def fail(name: str) -> None:
        raise ConfigurationError("The variable is gone.")

    monkeypatch.setattr(installation, "open_provider", fail)
    with pytest.raises(ConfigurationError):
        installation.deploy(application)
    assert states(installation) == ["failed"]


def test_an_error_of_the_git_server_is_explained_by_the_provider(
    installation, application, demo_sandbox, monkeypatch
):
    from deploycore_bitbucket.sandbox import Fault, faults

    demo_sandbox.faults.add(Fault(faults.answer(403, "no"), path="/acme/site.git/*"))
    with pytest.raises(RemoteRefused) as caught:
        installation.deploy(application)
    assert caught.value.details["status"] == 403
    assert "Repositories: Read" in caught.value.hint
