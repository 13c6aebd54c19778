"""The statuses that the git host shows for a worker's deployments."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

import pytest
from deploycore_bitbucket.sandbox import Fault, faults
from sqlalchemy import update

from deploycore import RepositoryId
from deploycore.deploy import DeployEvent
from deploycore.provider import Provider
from deploycore.store.tables import deployments
from deploycore.worker import Worker
from deploycore.worker.reporting import Reporter, status_of
from tests.worker.conftest import wait_for

SITE = RepositoryId(owner="acme", slug="site")


@pytest.fixture
def site(installation, demo_sandbox, tmp_path):
    """Creates an application of the sandbox: ``site("site", build="false")``."""
    connection = next(
        each for each in demo_sandbox.connections if each.settings["mode"] == "access-token"
    )
    settings = dict(connection.settings)
    installation.add_provider("work", "bitbucket", settings, {"token": settings.pop("token")})

    def make(name="site", *, build=None, auto_deploy=None):
        installation.add_application(
            name,
            provider="work",
            repository=SITE,
            ref="main",
            target=tmp_path / "live" / name,
            steps={"build": [build] if build else []},
            auto_deploy=auto_deploy or {},
        )

    return make


@pytest.fixture
def push(demo_sandbox):
    def push(content: str) -> str:
        return demo_sandbox.publish("acme", "site", "main", {"page": content.encode()}, content)

    return push


@pytest.fixture
def deploy(installation):
    """Has a worker look at an application, and stop when all is told."""

    def deploy(name="site"):
        installation.store.triggers.add(name, cause="push")
        with Worker(installation, threads=1) as worker:
            assert worker.wait_until_idle(60)

    return deploy


@pytest.fixture
def shown(demo_sandbox):
    def shown(commit):
        return [(each.key, each.state) for each in demo_sandbox.statuses("acme", "site", commit)]

    return shown


def test_a_successful_deployment_is_reported_as_successful(site, push, deploy, shown):
    site()
    commit = push("one")
    deploy()
    assert shown(commit) == [("deploycore/site", "successful")]


def test_a_running_deployment_is_reported_as_in_progress(installation, site, push, shown, tmp_path):
    gate = tmp_path / "gate"
    site(build=["sh", "-c", f"until test -e {gate}; do sleep 0.05; done"])
    commit = push("one")
    installation.store.triggers.add("site", cause="push")
    with Worker(installation, threads=1) as worker:
        wait_for(lambda: shown(commit) == [("deploycore/site", "in_progress")])
        gate.touch()
        assert worker.wait_until_idle(60)
    assert shown(commit) == [("deploycore/site", "successful")]


def test_a_failed_step_is_reported_with_only_its_code(site, push, deploy, shown, demo_sandbox):
    site(build="sh -c 'echo inner-workings; exit 3'")
    commit = push("one")
    deploy()
    (found,) = demo_sandbox.statuses("acme", "site", commit)
    assert found.state == "failed"
    assert "step_failed" in found.description
    assert "inner-workings" not in found.description


def test_a_rolled_back_commit_is_not_reported_as_live(
    installation, site, push, deploy, demo_sandbox
):
    site()
    for content in ("one", "two"):
        commit = push(content)
        deploy()
    installation.roll_back("site")
    deploy()
    assert installation.store.deployments.list("site")[0].state == "skipped"
    (found,) = demo_sandbox.statuses("acme", "site", commit)
    assert "nothing had to be done" not in found.description


def test_the_status_of_a_live_commit_is_reported_again(
    installation, site, push, deploy, shown, demo_sandbox
):
    """Who was to tell it may have died."""
    site()
    commit = push("one")
    installation.deploy("site")
    assert shown(commit) == []
    deploy()
    assert shown(commit) == [("deploycore/site", "successful")]


@pytest.mark.parametrize("host", [None, "a-machine-that-burned-down"])
def test_the_status_started_by_a_dead_worker_is_completed(
    installation, site, push, deploy, shown, demo_sandbox, host
):
    """Also where its commit is not what is deployed next."""
    site()
    first = push("one")
    record = installation.store.deployments.request("site", ref="main")
    for state in ("authenticating", "resolving", "fetching"):
        installation.store.deployments.advance(record.id, state, commit=first)
    if host is not None:
        with installation.store._database.writing() as connection:
            connection.execute(update(deployments).values(host=host))
    second = push("two")
    deploy()
    assert shown(first) == [("deploycore/site", "failed")]
    assert shown(second) == [("deploycore/site", "successful")]


def test_a_late_report_of_a_taken_over_deployment_hides_no_success(
    installation, site, push, deploy, shown
):
    site()
    commit = push("one")
    taken = installation.store.deployments.request("site", ref="main")
    for state in ("authenticating", "resolving", "fetching", "failed"):
        installation.store.deployments.advance(taken.id, state, commit=commit)
    deploy()
    reporter = Reporter(installation)
    reporter.start()
    reporter.listen(DeployEvent(taken.id, "site", datetime.now(UTC), "state", "failed"))
    reporter.close(30)
    assert shown(commit) == [("deploycore/site", "successful")]


def test_nothing_is_reported_if_reporting_is_disabled(site, push, deploy, shown):
    site(auto_deploy={"report_status": False})
    commit = push("one")
    deploy()
    assert shown(commit) == []


def test_a_plugin_without_the_hook_is_skipped_silently(
    site, push, deploy, shown, monkeypatch, caplog, installation
):
    supports = Provider.supports
    monkeypatch.setattr(
        Provider, "supports", lambda self, hook: hook != "report_status" and supports(self, hook)
    )
    site()
    commit = push("one")
    deploy()
    assert shown(commit) == []
    # A poll that comes between may have found the commit live, and skipped it.
    assert "healthy" in {each.state for each in installation.store.deployments.list("site")}
    assert caplog.records == []


def test_a_host_with_deployments_receives_them_regardless_of_statuses(
    installation, site, push, deploy, demo_sandbox, monkeypatch
):
    seen = []
    supports = Provider.supports
    monkeypatch.setattr(
        Provider, "supports", lambda self, hook: hook == "report_deployment" or supports(self, hook)
    )
    monkeypatch.setattr(
        Provider, "report_deployment", lambda self, repository, status: seen.append(status)
    )
    site()
    demo_sandbox.faults.add(Fault(faults.answer(403), path="*/statuses/build"))
    commit = push("one")
    deploy()
    assert {(each.environment, each.commit, each.ref) for each in seen} == {
        ("site", commit, "main")
    }
    assert seen[-1].state == "successful"
    assert len({each.deployment for each in seen}) == 1


def test_rejected_reports_fail_no_deployment_and_are_logged_once(
    installation, site, push, deploy, demo_sandbox, caplog
):
    site()
    demo_sandbox.faults.add(Fault(faults.answer(400), path="*/statuses/build"))
    with caplog.at_level(logging.WARNING):
        push("one")
        deploy()
    assert [each.state for each in installation.store.deployments.list("site")] == ["healthy"]
    told = [each for each in caplog.messages if "could not be reported to the git host" in each]
    assert len(told) == 1


def event(phase="healthy", deployment=1):
    return DeployEvent(deployment, "one", datetime.now(UTC), "state", phase)


def test_reporting_does_not_wait_for_a_hanging_host(
    installation, applications, monkeypatch, caplog
):
    released = threading.Event()
    monkeypatch.setattr(installation, "open_provider", lambda name: released.wait(30))
    definition = installation.store.get_application("one").definition
    installation.apply([definition.model_copy(update={"auto_deploy": auto_deploy()})])
    record = installation.store.deployments.request("one", ref="main")
    for state in ("authenticating", "resolving", "fetching"):
        installation.store.deployments.advance(record.id, state, commit="1" * 40)
    reporter = Reporter(installation, call_seconds=0.1)
    reporter.start()
    reporter.listen(event("fetching"))
    reporter.close(30)
    released.set()
    assert "did not answer within 0.1 s" in caplog.text


def auto_deploy():
    from deploycore.applications.application import AutoDeploy

    return AutoDeploy()


def test_excess_reports_are_dropped_and_logged_once(installation, caplog):
    reporter = Reporter(installation, length=1)
    for _ in range(3):
        reporter.listen(event())
    assert [each.getMessage() for each in caplog.records] == [
        "deployments are not reported to git hosts: too many reports are queued"
    ]


def test_a_removed_application_is_not_reported(installation, caplog):
    reporter = Reporter(installation)
    reporter.start()
    reporter.listen(event())
    reporter.close(30)
    assert caplog.records == []


def test_a_status_links_to_the_log_if_the_public_url_is_known(installation, applications):
    record = installation.store.deployments.request("one", ref="main")
    told = status_of(
        record, ref="refs/heads/main", commit="1" * 40, public_url="https://deploy.example.com"
    )
    assert told.url == f"https://deploy.example.com/api/v1/deployments/{record.id}/log"
    assert (told.state, told.ref, told.key) == ("in_progress", "main", "deploycore/one")
    assert status_of(record, ref="1" * 40, commit="1" * 40, public_url=None).ref == ""
    assert status_of(record, ref="main", commit=None, public_url=None) is None


def test_keys_of_long_names_are_shortened_and_unique(installation, applications, tmp_path):
    keys = set()
    for name in ("x" * 62 + "1", "x" * 62 + "2"):
        definition = installation.store.get_application("one").definition
        changed = definition.model_copy(update={"name": name, "target": tmp_path / name})
        installation.apply([changed])
        record = installation.store.deployments.request(name, ref="main")
        keys.add(status_of(record, ref="main", commit="1" * 40, public_url=None).key)
    assert len(keys) == 2
    assert {len(key) for key in keys} == {40}
