"""One deployment through the Python API: its order, its record, and what a failure leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploycore import Cancellation, DeployProgress, Installation, RepositoryId, Settings
from deploycore.deploy import Releases, engine
from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    DeployError,
    Locked,
    NotFound,
    RemoteRefused,
    StoreError,
)


@pytest.fixture
def installation(tmp_path: Path):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "home")})
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
    return [record.state for record in installation.store.list_deployments("site")]


def test_phases_come_in_order_and_the_record_tells_the_result(
    installation, application, target, demo_sandbox
):
    seen: list[DeployProgress] = []
    record = installation.deploy(application, requested_by="ada", progress=seen.append)
    phases = list(dict.fromkeys(step.phase for step in seen))
    assert phases == ["authenticating", "resolving", "fetching", "activating"]
    assert [step.git.phase for step in seen if step.git][-1] == "writing"
    assert (record.state, record.requested_by, record.error) == ("succeeded", "ada", None)
    assert record.finished_at >= record.started_at
    assert (target / "current").readlink() == Path("releases") / record.release
    assert sorted(os.listdir(target / "current")) == ["page"]


def test_a_release_holds_files_alone_and_no_repository(installation, application, target):
    installation.deploy(application)
    assert not (target / "current" / ".git").exists()


def test_a_listener_that_fails_ends_the_deployment_and_leaves_nothing(
    installation, application, target
):
    def fail(step: DeployProgress) -> None:
        if step.phase == "fetching":
            raise RuntimeError("listener")

    with pytest.raises(RuntimeError, match="listener"):
        installation.deploy(application, progress=fail)
    assert states(installation) == ["failed"]
    assert os.listdir(target / "releases") == []


@pytest.mark.parametrize("phase", ["authenticating", "resolving", "fetching", "activating"])
def test_cancelling_in_any_phase_leaves_the_former_release_live(
    installation, application, target, demo_sandbox, phase
):
    installation.deploy(application)
    before = os.listdir(target / "releases")
    demo_sandbox.publish("acme", "site", "main", {"page": b"two\n"}, "Two")
    cancellation = Cancellation()

    def cancel(step: DeployProgress) -> None:
        if step.phase == phase:
            cancellation.cancel()

    if phase == "activating":
        # From here on it is too late: the switch is one step, and the next thing to happen.
        installation.deploy(application, progress=cancel, cancellation=cancellation)
        assert (target / "current" / "page").read_text() == "two\n"
        return
    with pytest.raises(Cancelled):
        installation.deploy(application, progress=cancel, cancellation=cancellation)
    assert states(installation) == ["cancelled", "succeeded"]
    assert (target / "current" / "page").read_text() == "one\n"
    assert os.listdir(target / "releases") == before


def test_cancelling_when_all_is_written_removes_the_release(
    installation, application, target, demo_sandbox, monkeypatch
):
    installation.deploy(application)
    before = os.listdir(target / "releases")
    demo_sandbox.publish("acme", "site", "main", {"page": b"two\n"}, "Two")
    cancellation = Cancellation()
    export = engine.export

    def export_and_cancel(*arguments, **options):
        done = export(*arguments, **options)
        cancellation.cancel()
        return done

    monkeypatch.setattr(engine, "export", export_and_cancel)
    with pytest.raises(Cancelled):
        installation.deploy(application, cancellation=cancellation)
    assert os.listdir(target / "releases") == before
    assert states(installation) == ["cancelled", "succeeded"]


def test_a_switch_that_fails_removes_the_release(installation, application, target, monkeypatch):
    def fail(*arguments: object) -> None:
        raise DeployError("The disk is full.")

    monkeypatch.setattr(Releases, "activate", fail)
    with pytest.raises(DeployError):
        installation.deploy(application)
    assert os.listdir(target / "releases") == []
    assert states(installation) == ["failed"]


def test_a_failure_is_recorded_with_its_code_and_sentence(installation, application, tmp_path):
    installation.add_application(
        "other",
        provider="work",
        repository=RepositoryId(owner="acme", slug="site"),
        branch="gone",
        target=tmp_path / "other",
    )
    with pytest.raises(NotFound, match="no branch 'gone'"):
        installation.deploy("other")
    (record,) = installation.store.list_deployments("other")
    assert (record.state, record.error_code) == ("failed", "not_found")
    assert "no branch 'gone'" in record.error


def test_a_provider_that_can_not_be_opened_is_recorded_too(
    installation, application, tmp_path, monkeypatch
):
    def fail(name: str) -> None:
        raise ConfigurationError("The variable is gone.")

    monkeypatch.setattr(installation, "open_provider", fail)
    with pytest.raises(ConfigurationError):
        installation.deploy(application)
    assert states(installation) == ["failed"]


def test_a_refusal_by_the_git_server_is_explained_by_the_provider(
    installation, application, demo_sandbox, monkeypatch
):
    from deploycore_bitbucket.sandbox import Fault, faults

    demo_sandbox.faults.add(Fault(faults.answer(403, "no"), path="/acme/site.git/*"))
    with pytest.raises(RemoteRefused) as caught:
        installation.deploy(application)
    assert caught.value.details["status"] == 403
    assert "Repositories: Read" in caught.value.hint


def test_only_one_deployment_of_a_target_runs(installation, application, target):
    releases = Releases(target)
    releases.prepare()
    with releases.locked(), pytest.raises(Locked):
        installation.deploy(application)
    assert states(installation) == []


@pytest.mark.parametrize(("switched", "state"), [(True, "succeeded"), (False, "failed")])
def test_a_deployment_whose_process_died_gets_its_true_end(
    installation, application, target, switched, state
):
    done = installation.deploy(application)
    dead = installation.store.start_deployment(application, "")
    release = done.release if switched else "20200101T000000Z-000000000000"
    installation.store.note_release(dead.id, commit="0" * 40, release=release)
    (target / "releases" / release).mkdir(exist_ok=True)
    installation.deploy(application)
    assert (target / "releases" / release).exists() == switched
    assert states(installation) == ["succeeded", state, "succeeded"]


def test_a_store_that_fails_at_the_end_does_not_hide_why_it_ended(
    installation, application, monkeypatch, caplog
):
    def fail(*arguments: object, **options: object) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(Releases, "activate", lambda *_: (_ for _ in ()).throw(DeployError("x")))
    monkeypatch.setattr(installation.store, "finish_deployment", fail)
    with pytest.raises(DeployError, match="x"):
        installation.deploy(application)
    assert "could not be recorded as failed" in caplog.text
    monkeypatch.undo()
    installation.deploy(application)
    assert states(installation) == ["succeeded", "failed"]
