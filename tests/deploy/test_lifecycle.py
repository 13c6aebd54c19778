"""Observers of deployments get every event, cannot break anything, and can veto a deployment."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploycore import Installation
from deploycore.deploy import DeployRequest, Engine, lifecycle
from deploycore.errors import DeployError, StoreError
from deploycore.hookspecs import hookimpl
from deploycore.provider.observers import Observers


class Audit:
    def __init__(self):
        self.seen = []

    @hookimpl
    def deploy_started(self, deployment):
        self.seen.append(("started", deployment.state))

    @hookimpl
    def deploy_state_changed(self, deployment):
        self.seen.append(("changed", deployment.state))

    @hookimpl
    def deploy_finished(self, deployment, error):
        self.seen.append(("finished", deployment.state, error and error.code))


class Failing:
    @hookimpl
    def deploy_started(self, deployment):
        raise RuntimeError("started")

    @hookimpl
    def deploy_state_changed(self, deployment):
        raise SystemExit(3)

    @hookimpl
    def veto_deploy(self, deployment):
        raise ValueError("veto")


class Hanging:
    def __init__(self):
        self.release = threading.Event()

    @hookimpl
    def deploy_state_changed(self, deployment):
        self.release.wait(600)  # longer than a test may take

    @hookimpl
    def veto_deploy(self, deployment):
        self.release.wait(600)  # longer than a test may take


class Objecting:
    @hookimpl
    def veto_deploy(self, deployment):
        return f"{deployment.commit[:4]} is not signed"


@pytest.fixture
def deploy(installation: Installation, home):
    """Deploys ``site`` with these plugins watching."""

    def run(*observers: object, name: str = "site"):
        engine = Engine(
            installation.store,
            installation.secrets,
            installation.open_provider,
            home=home,
            observers=Observers((type(each).__name__, each) for each in observers),
        )
        return engine.deploy(name)

    return run


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(lifecycle, "VETO_SECONDS", 0.2)
    monkeypatch.setattr(lifecycle, "CLOSING_SECONDS", 0.2)


def test_observers_are_notified_of_each_state_in_order(create, deploy):
    create()
    audit = Audit()
    deploy(audit)
    states = ["authenticating", "resolving", "fetching", "activating", "healthy"]
    assert audit.seen == [
        ("started", "queued"),
        *(("changed", state) for state in states),
        ("finished", "healthy", None),
    ]


def test_observers_receive_the_reason_of_a_failure(create, deploy):
    create(ref="gone")
    audit = Audit()
    with pytest.raises(Exception, match="gone"):
        deploy(audit)
    assert audit.seen[-1] == ("finished", "failed", "not_found")


def test_a_failing_plugin_affects_neither_the_deployment_nor_other_plugins(create, deploy, caplog):
    create()
    audit = Audit()
    assert deploy(Failing(), audit).state == "healthy"
    assert audit.seen[-1] == ("finished", "healthy", None)
    assert "observer Failing failed in deploy_started: RuntimeError" in caplog.text


def test_a_hanging_plugin_blocks_nothing_and_is_named(create, deploy, impatient, caplog):
    create()
    hanging = Hanging()
    assert deploy(hanging).state == "healthy"
    assert "no answer to veto_deploy within 0.2 seconds from observer Hanging" in caplog.text
    assert "observer Hanging did not handle all events" in caplog.text
    hanging.release.set()


@pytest.mark.parametrize("position", ["first", "last"])
def test_a_hanging_plugin_does_not_block_notifications_of_others(
    create, deploy, impatient, position
):
    create()
    audit, hanging = Audit(), Hanging()
    deploy(*((hanging, audit) if position == "first" else (audit, hanging)))
    while ("finished", "healthy", None) not in audit.seen:  # a slow machine takes its time
        time.sleep(0.01)
    assert audit.seen[-1] == ("finished", "healthy", None)
    hanging.release.set()


def test_a_slow_final_notification_is_waited_for(create, deploy):
    create()
    posted = []

    class Posting:
        @hookimpl
        def deploy_finished(self, deployment):
            time.sleep(2.5)
            posted.append(deployment.state)

    deploy(Posting())
    assert posted == ["healthy"]


def test_later_deployments_do_not_wait_for_a_hanging_plugin(create, deploy, publish, monkeypatch):
    create()
    hanging = Hanging()
    monkeypatch.setattr(lifecycle, "VETO_SECONDS", 0.1)
    monkeypatch.setattr(lifecycle, "CLOSING_SECONDS", 0.1)
    deploy(hanging)
    publish("two")
    monkeypatch.setattr(lifecycle, "CLOSING_SECONDS", 3600)
    deploy(hanging)  # ends, although there would be an hour
    hanging.release.set()


def test_a_plugin_can_object_before_anything_is_fetched(
    create, deploy, target, demo_sandbox, installation
):
    create()
    with pytest.raises(DeployError, match="is not signed") as caught:
        deploy(Objecting())
    assert "Follow the reason that the plugin gives, then deploy again" in caught.value.hint
    assert not any("upload-pack" in each.path for each in demo_sandbox.requests)
    assert installation.store.deployments.list("site")[0].error_code == "deploy"
    assert deploy().state == "healthy"  # as once the commit is signed


@pytest.mark.parametrize("order", [1, -1])
def test_two_plugins_of_the_same_name_are_both_called(order):
    asked = threading.Event()

    class Quick:
        @hookimpl
        def veto_deploy(self, deployment):
            asked.set()

    class Late:
        @hookimpl
        def veto_deploy(self, deployment):
            asked.wait(60)
            time.sleep(0.2)  # the other answer is counted meanwhile
            return "no"

    plugins = [("twin", Quick()), ("twin", Late())][::order]
    with lifecycle.Lifecycle(Observers(plugins)) as told:
        assert told.veto(SimpleNamespace(id=1)) == "no"


def test_observers_are_notified_of_a_rollback_but_cannot_object(
    create, deploy, publish, installation, home, target
):
    create()
    deploy()
    publish("two")
    deploy()
    audit = Audit()
    engine = Engine(
        installation.store,
        installation.secrets,
        installation.open_provider,
        home=home,
        observers=Observers([("audit", audit), ("objecting", Objecting())]),
    )
    assert engine.roll_back("site").state == "healthy"
    assert audit.seen[-1] == ("finished", "healthy", None)


class Keeping:
    def __init__(self):
        self.records = []

    @hookimpl
    def deploy_started(self, deployment):
        self.records.append(deployment)

    @hookimpl
    def deploy_state_changed(self, deployment):
        self.records.append(deployment)

    @hookimpl
    def deploy_finished(self, deployment):
        self.records.append(deployment)


def test_observers_receive_the_origin_and_cause_of_a_deployment(
    installation, create, home, demo_sandbox
):
    create()
    keeping = Keeping()
    engine = Engine(
        installation.store,
        installation.secrets,
        installation.open_provider,
        home=home,
        observers=Observers([("keeping", keeping)]),
    )
    done = engine.deploy("site", DeployRequest(cause="push"))
    for each in keeping.records:
        assert (each.provider, each.provider_kind, each.cause) == ("work", "bitbucket", "push")
        assert (each.repository, each.pull_request) == ("acme/site", None)
    first, last = keeping.records[0], keeping.records[-1]
    assert first.commit_url is None  # the commit is not known yet
    assert last.commit_url.endswith(f"/acme/site/commits/{done.commit}")
    assert done.commit_url == last.commit_url
    assert Path(last.log).read_text().startswith("{")
    assert done.cause == ""  # what is not stored is not in other records

    demo_sandbox.publish("acme", "site", "main", {"page": b"two"}, "Two")
    engine.deploy("site")
    engine.roll_back("site", DeployRequest(cause="api"))
    last = keeping.records[-1]
    assert (last.kind, last.cause) == ("rollback", "rollback")
    assert last.commit_url.endswith(f"/commits/{last.commit}")  # as when it was deployed


def test_a_database_error_only_omits_fields_from_notifications(
    create, deploy, installation, monkeypatch
):
    create()

    def failing(name):
        raise StoreError("no")

    keeping = Keeping()
    monkeypatch.setattr(installation.store, "pull_request_of", failing)
    assert deploy(keeping).state == "healthy"
    assert keeping.records[-1].provider == "work"
    assert keeping.records[-1].pull_request is None
