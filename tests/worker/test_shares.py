"""A git host that hangs does not delay applications of other hosts."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime

import pytest

from deploycore import Application, Installation, Settings
from deploycore.errors import ProviderUnavailable
from deploycore.store import PendingApplication, ProviderRecord
from deploycore.worker.shares import Shares, host_of
from tests.worker.conftest import wait_for

HUNG, GOOD = "https://hung.example", "https://good.example"


def record(name: str, url: str = "", kind: str = "acme") -> ProviderRecord:
    settings = {"url": url, "user": "me"} if url else {"user": "me"}
    return ProviderRecord(name, kind, settings, {}, datetime.now(UTC))


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"url": "https://Git.example:8443/api?x=1"}, "git.example:8443"),
        ({"url": "https://user@git.example"}, "git.example"),
        ({"api": "https://b.example", "web": "https://a.example/x"}, "a.example,b.example"),
        ({"user": "me"}, "acme"),
        ({"url": "https://[broken"}, "acme"),
        ({}, "acme"),
    ],
)
def test_providers_of_the_same_host_are_recognized_by_their_addresses(settings, host):
    assert host_of(ProviderRecord("one", "acme", settings, {}, datetime.now(UTC))) == host


@pytest.mark.parametrize(
    ("threads", "per_provider", "most", "most_alone"),
    [
        (1, None, 1, 1),
        (2, None, 1, 1),
        (3, None, 2, 2),
        (4, None, 2, 3),
        (8, None, 4, 7),
        (8, 1, 1, 1),
        (4, 4, 4, 4),
    ],
)
def test_a_provider_gets_half_of_the_slots_or_all_but_one(threads, per_provider, most, most_alone):
    providers = [record("hung", HUNG), record("good", GOOD)]
    shares = Shares(threads, per_provider, lambda: providers)
    one = PendingApplication("app", "hung", is_retried=False)
    for alone, expected in ((False, most), (True, most_alone)):
        for number in range(threads):
            held = [one] * number
            is_full = number >= expected
            assert shares.is_full_for(one, held, alone=alone) == is_full
            assert shares.full_providers(held, alone=alone) == ({"hung"} if is_full else set())


def test_a_single_provider_gets_all_slots_and_its_retries_leave_one_free():
    shares = Shares(4, None, lambda: [record("only")])
    new = PendingApplication("app", "only", is_retried=False)
    again = PendingApplication("app", "only", is_retried=True)
    assert not shares.is_full_for(new, [new] * 3, alone=False)
    assert not shares.is_full_for(again, [again], alone=False)
    assert shares.is_full_for(again, [again] * 2, alone=False)
    assert not shares.is_full_for(again, [again] * 2, alone=True)
    assert shares.is_full_for(again, [again] * 3, alone=True)
    assert not shares.is_full_for(new, [again] * 3, alone=False)


def test_two_providers_of_one_host_share_its_slots():
    providers = [record("one", HUNG), record("two", HUNG), record("good", GOOD)]
    shares = Shares(2, None, lambda: providers)
    held = [PendingApplication("app", "one", is_retried=False)]
    assert shares.full_providers(held, alone=False) == {"one", "two"}


def test_a_provider_added_later_is_recognized():
    providers = [record("one", HUNG)]
    shares = Shares(2, None, lambda: list(providers))
    one, two = (PendingApplication("app", name, is_retried=False) for name in ("one", "two"))
    assert not shares.is_full_for(one, [one], alone=False)
    providers.append(record("two", HUNG))
    assert not shares.is_full_for(two, [], alone=False)
    assert shares.is_full_for(one, [one], alone=False)


class Hosts:
    """Stands for ``Installation.deploy``: a host that hangs until it is told to fail, and others.

    Attributes:
        hanging: The applications that wait for it since ``fail``; ``most`` is how many did at once.
        done: The others that were deployed.
    """

    def __init__(self, store) -> None:
        self.hanging: Counter[str] = Counter()
        self.most = 0
        self.done: list[str] = []
        self.hangs = {"hung"}
        self._store = store
        self._lock = threading.Lock()
        self._gate = threading.Event()

    def fail(self) -> None:
        """Have all that hang fail."""
        with self._lock:
            gate, self._gate = self._gate, threading.Event()
            self.hanging = Counter()
        gate.set()

    def deploy(self, name, *, cancellation, **_):
        if not any(name.startswith(each) for each in self.hangs):
            with self._lock:
                self.done.append(name)
            return self._end(name)
        with self._lock:
            gate, hanging = self._gate, self.hanging
            hanging[name] += 1
            self.most = max(self.most, hanging.total())
        try:
            while not gate.wait(0.01):
                cancellation.raise_if_cancelled()
            raise ProviderUnavailable("The host does not answer.")
        finally:
            with self._lock:
                hanging[name] -= 1

    def _end(self, name):
        store = self._store.deployments
        return store.advance(store.request(name, ref="main").id, "failed")


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(request, tmp_path) -> dict[str, str]:
    known = {"DEPLOYCORE_HOME": str(tmp_path / "home")}
    if request.param == "postgresql":
        known["DEPLOYCORE_DATABASE_URL"] = request.getfixturevalue("made_postgresql")
    return known


@pytest.fixture
def installation(environment):
    with Installation(Settings.from_environment(environment)) as opened:
        yield opened


@pytest.fixture
def hosts(installation, monkeypatch) -> Hosts:
    made_up = Hosts(installation.store)
    monkeypatch.setattr(installation, "deploy", made_up.deploy)
    monkeypatch.setattr("deploycore.worker.retries.FIRST_SECONDS", 0.05)
    monkeypatch.setattr("deploycore.worker.worker.open_notifications", lambda installation: None)
    return made_up


@pytest.fixture
def push(installation, hosts, tmp_path):
    """Pushes to applications, which are made: the provider is what the name begins with."""
    urls = {"hung": HUNG, "good": GOOD}

    def push(*names: str, provider: str | None = None) -> None:
        for name in names:
            target = tmp_path / name
            its = provider or name.partition("-")[0]
            if its in urls:
                installation.store.add_provider(record(its, urls.pop(its), "bitbucket"))
            installation.apply(
                [Application(name=name, provider=its, repository="a/b", ref="main", target=target)]
            )
            installation.store.triggers.add(name, cause="push")

    return push


@pytest.mark.parametrize("workers", [1, 2])
def test_two_applications_of_a_hanging_host_do_not_delay_others(hosts, push, start, workers):
    push("hung-1", "hung-2", "good-1", "good-2", "good-3")
    for _ in range(workers):
        start(threads=2)
    wait_for(lambda: set(hosts.done) == {"good-1", "good-2", "good-3"})
    wait_for(lambda: hosts.hanging.total() == workers)
    for _ in range(3):  # and neither when it is tried again
        hosts.done.clear()
        hosts.fail()
        push("good-1", "good-2")
        wait_for(lambda: set(hosts.done) == {"good-1", "good-2"})
        wait_for(lambda: hosts.hanging.total() == workers)
    assert hosts.most == workers


def test_a_new_push_is_deployed_while_all_other_hosts_hang(hosts, push, start):
    push("good-1", "hung-1", "hung-2", "hung-3", "hung-4")
    start(threads=3)
    wait_for(lambda: hosts.hanging.total() == 2)
    wait_for(lambda: hosts.done == ["good-1"])
    hosts.done.clear()
    push("good-1")
    wait_for(lambda: hosts.done == ["good-1"])
    assert hosts.most == 2


def test_retries_leave_a_slot_free_even_with_a_single_provider(hosts, push, start):
    hosts.hangs = {"bad"}
    push("bad-1", "bad-2", provider="good")
    start(threads=2)
    wait_for(lambda: hosts.hanging.total() == 2)  # nobody knows yet that they hang
    hosts.most = 0
    hosts.fail()
    wait_for(lambda: hosts.hanging.total() == 1)
    push("good-1")
    wait_for(lambda: hosts.done == ["good-1"])
    assert hosts.most == 1


def test_each_of_many_hanging_applications_gets_an_attempt(hosts, push, start, installation):
    names = [f"hung-{number}" for number in range(4)]
    push("good-1", *names)
    start(threads=2)
    tried: set[str] = set()
    while tried != set(names):
        wait_for(lambda: hosts.hanging.total() == 1)
        tried |= set(+hosts.hanging)
        hosts.fail()
    assert all(each.attempts < 4 for each in installation.store.triggers.list())
