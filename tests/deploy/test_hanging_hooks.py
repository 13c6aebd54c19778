"""A hook that does not return: its deployment can be stopped, and ends by itself after a time
limit."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from pydantic import SecretStr

from deploycore.deploy import Releases
from deploycore.errors import Cancelled, DeploycoreError, LimitExceeded, PluginError
from deploycore.git import Cancellation
from deploycore.provider import registry
from deploycore.provider.background import calls_left_behind
from tests.distributions import GOOD_PROVIDER

SECRET = "hunter2-very-secret"
ACCOUNT = '        return Account(username="ada")'
BRANCH = '        yield Branch(name="main", commit="1" * 40)'
URL = "        credential = GitCredential"

# Where it hangs: what of the good provider is replaced by what, and the hook that is named.
PLACES = {
    "a call": (ACCOUNT, "        HANG\n        return None", "authenticate"),
    "a listing that is not even begun": (
        BRANCH,
        "        HANG\n        return []",
        "list_branches",
    ),
    "a generator, on its second item": (
        BRANCH,
        '        yield Branch(name="other", commit="1" * 40)\n        HANG',
        "list_branches",
    ),
    "the place to clone from": (URL, f"        HANG\n{URL}", "clone_url"),
    "the constructor": ("        self.config = config", "        HANG", "__init__"),
    "the import": ("class AcmeProvider:", "HANG\n\nclass AcmeProvider:", "import"),
}
everywhere = pytest.mark.parametrize(
    ("before", "after", "hook"), PLACES.values(), ids=PLACES.keys()
)


@pytest.fixture
def hangs():
    """An expression that is noted in ``hangs.met``, and hangs until the test is over."""
    return Hangs


class Hangs:
    met = threading.Event()
    over = threading.Event()

    @classmethod
    def here(cls) -> None:
        cls.met.set()
        cls.over.wait()

    @classmethod
    def busily(cls) -> None:
        cls.met.set()
        while not cls.over.is_set():
            pass


@pytest.fixture(autouse=True)
def _let_go(monkeypatch):
    Hangs.met, Hangs.over = threading.Event(), threading.Event()
    monkeypatch.setattr("builtins.HANGS", Hangs, raising=False)
    yield
    Hangs.over.set()


@pytest.fixture
def acme(installation, install_distribution, target):
    """An application of a provider whose plugin hangs; ``acme(before, after, provider=0.2)``."""

    def make(before: str, after: str, *, how: str = "HANGS.here()", **timeouts: float) -> str:
        assert before in GOOD_PROVIDER
        install_distribution("acme-provider", "acme", GOOD_PROVIDER)
        installation.add_provider("host", "acme", {}, {"token": SecretStr(SECRET)})
        reinstall(GOOD_PROVIDER.replace(before, after.replace("HANG", how)))
        installation.add_application(
            "app",
            provider="host",
            repository="ada/engine",
            ref="main",
            target=target,
            timeouts=timeouts,
        )
        return "app"

    def reinstall(source: str) -> None:
        import sys
        from pathlib import Path

        loaded = sys.modules.pop("acme_provider")
        Path(loaded.__file__).write_text(source)
        # Else it may be taken for the former one, which is as large and as old.
        import importlib.util

        Path(importlib.util.cache_from_source(loaded.__file__)).unlink(missing_ok=True)

    return make


class Deploying(threading.Thread):
    """A deployment in a thread; ``outcome`` is its record or its error."""

    def __init__(self, installation, **options):
        super().__init__(daemon=True)
        self.outcome = None
        self._deploy = lambda: installation.deploy("app", **options)
        self.start()

    def run(self):
        try:
            self.outcome = self._deploy()
        except Exception as error:
            self.outcome = error


def ended(installation, target) -> str:
    """The state that the only deployment has ended in; nothing of it may be left."""
    releases = Releases(target)
    assert releases.current is None
    assert releases.names() == []
    with releases.locked():
        pass
    (record,) = installation.store.deployments.list("app")
    return record.state


@everywhere
def test_a_cancellation_is_processed_while_a_plugin_hangs(
    installation, acme, target, hangs, before, after, hook
):
    acme(before, after)
    cancellation = Cancellation()
    deploying = Deploying(installation, cancellation=cancellation)
    assert hangs.met.wait(20)
    cancellation.cancel()
    deploying.join(20)
    assert isinstance(deploying.outcome, Cancelled)
    assert ended(installation, target) == "cancelled"
    assert calls_left_behind()


@everywhere
def test_an_unresponsive_plugin_is_named(
    installation, acme, target, monkeypatch, before, after, hook
):
    monkeypatch.setattr(registry, "NEEDED_SECONDS", 0.2)
    # The import has a limit of its own, which must be the first to end.
    acme(before, after, provider=30 if hook == "import" else 0.3)
    with pytest.raises(PluginError, match=r"did not (answer|end) within 0\.[23] s") as caught:
        installation.deploy("app")
    details = caught.value.details
    assert (details["provider"], details["plugin"]) == ("host", "acme-provider 1.0")
    assert details["hook"] == hook
    assert "the plugin" in caught.value.hint
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert SECRET not in str(caught.value.as_dict())
    assert ended(installation, target) == "failed"


def test_a_busy_plugin_is_abandoned(installation, acme, target):
    acme(BRANCH, "        HANG", how="HANGS.busily()", provider=0.3)
    with pytest.raises(PluginError, match="did not answer within") as caught:
        installation.deploy("app")
    assert caught.value.details["hook"] == "list_branches"
    assert ended(installation, target) == "failed"


def test_the_deployment_timeout_applies_while_a_plugin_hangs(installation, acme, target):
    acme(BRANCH, "        HANG", deploy=0.4)
    with pytest.raises(LimitExceeded, match=r"took more than 0\.4 seconds") as caught:
        installation.deploy("app")
    assert ended(installation, target) == "failed"
    assert "raise timeouts: {deploy: SECONDS}" in caught.value.hint
    Hangs.over.set()  # a plugin that is slow, once there is more time
    raised = installation.store.get_application("app").definition
    limits = raised.timeouts.model_copy(update={"deploy": 600.0})
    installation.apply([raised.model_copy(update={"timeouts": limits})])
    with pytest.raises(DeploycoreError) as caught:
        installation.deploy("app")
    assert not isinstance(caught.value, LimitExceeded)


def test_a_cancellation_from_another_process_is_processed(installation, acme, target, hangs):
    acme(BRANCH, "        HANG")
    deploying = Deploying(installation)
    assert hangs.met.wait(20)
    (record,) = installation.store.deployments.list("app")
    installation.engine.cancel(record.id)
    deploying.join(20)
    assert isinstance(deploying.outcome, Cancelled)
    assert ended(installation, target) == "cancelled"


def test_other_applications_deploy_while_a_plugin_hangs_even_in_its_import(
    installation, acme, create, hangs, tmp_path
):
    acme(*PLACES["the import"][:2])
    cancellation = Cancellation()
    deploying = Deploying(installation, cancellation=cancellation)
    assert hangs.met.wait(20)
    assert installation.deploy(create(target=tmp_path / "other")).state == "healthy"
    assert deploying.is_alive()
    cancellation.cancel()
    deploying.join(20)
    assert isinstance(deploying.outcome, Cancelled)


def test_the_next_deployment_succeeds_once_the_plugin_responds(
    installation, create, publish, monkeypatch, target
):
    from deploycore.provider import Provider

    create(timeouts={"provider": 2})
    answering = Provider._listing
    monkeypatch.setattr(Provider, "_listing", lambda *_, **__: Hangs.here())
    with pytest.raises(PluginError, match="did not answer"):
        installation.deploy("site")
    monkeypatch.setattr(Provider, "_listing", answering)
    assert installation.deploy("site", wait=False).state == "healthy"
    assert (target / "current" / "page").read_text() == "one"


def test_the_git_error_is_kept_if_the_plugin_hangs_while_explaining_it(installation, acme, target):
    explaining = (
        URL
        + """

    @hookimpl
    def explain_git_refusal(self, status, message):
        HANG
"""
    )
    body = GOOD_PROVIDER.rpartition(URL)[2]
    acme(URL + body, URL + body + explaining.removeprefix(URL), provider=0.3)
    with pytest.raises(PluginError, match="did not answer") as caught:
        installation.deploy("app")
    assert caught.value.details["hook"] == "explain_git_refusal"
    assert "It was asked about this: " in caught.value.hint
    assert "acme.example" in caught.value.hint
    assert ended(installation, target) == "failed"


def test_a_host_that_never_responds_does_not_delay_a_cancellation(installation, provider, target):
    record = installation.store.get_provider(provider)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        secrets = {name: installation.secrets.reveal(s) for name, s in record.secrets.items()}
        installation.add_provider(
            "silent", record.kind, {**record.settings, "api_url": url}, secrets
        )
        installation.add_application(
            "app", provider="silent", repository="acme/site", ref="main", target=target
        )
        cancellation = Cancellation()
        deploying = Deploying(installation, cancellation=cancellation)
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(4) == b"GET "
            cancellation.cancel()
            deploying.join(20)
    assert isinstance(deploying.outcome, Cancelled)
    assert ended(installation, target) == "cancelled"
    # Its thread hears of the closed connection, and does not try again.
    deadline = time.monotonic() + 20
    while calls_left_behind():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_provider_opened_after_the_wait_ended_is_closed():
    from deploycore.deploy import InterruptibleProvider

    closed, cancellation = threading.Event(), Cancellation()

    class Late:
        def close(self):
            closed.set()

    def open_late():
        Hangs.here()
        return Late()

    opening = InterruptibleProvider("host", open_late, look=cancellation.raise_if_cancelled)
    cancellation.cancel()
    with pytest.raises(Cancelled), opening:
        pass
    assert not closed.is_set()
    Hangs.over.set()
    assert closed.wait(20)
