"""News that no webhook brings: asked for at the git server, deployed once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from deploycore_bitbucket.sandbox import Fault, faults
from sqlalchemy import update

from deploycore import RepositoryId
from deploycore.application import Application
from deploycore.errors import RateLimited
from deploycore.store.tables import polls
from deploycore.worker import Worker
from deploycore.worker.polling import Poller, interval_after, is_polled
from tests.worker.conftest import wait_for

SITE = RepositoryId(owner="acme", slug="site")


@pytest.fixture
def create(installation, demo_sandbox, tmp_path):
    """Creates applications of the sandbox's ``acme/site``."""
    connection = next(
        each for each in demo_sandbox.connections if each.settings["mode"] == "access-token"
    )
    settings = dict(connection.settings)
    installation.add_provider("work", "bitbucket", settings, {"token": settings.pop("token")})

    def create(*names, ref="main", **auto_deploy):
        for name in names:
            installation.add_application(
                name,
                provider="work",
                repository=SITE,
                ref=ref,
                target=tmp_path / "live" / name,
                auto_deploy=auto_deploy,
            )

    return create


@pytest.fixture
def push(demo_sandbox):
    def push(content: str) -> str:
        return demo_sandbox.publish("acme", "site", "main", {"page": content.encode()}, content)

    return push


@pytest.fixture
def told(installation):
    """The triggers of an application, the oldest first: cause and commit."""

    def told(name="site"):
        found = installation.store.triggers.list(name)
        return [(each.cause, each.commit) for each in reversed(found)]

    return told


@pytest.fixture
def hurry(installation):
    """Makes all that is polled due now."""

    def hurry():
        with installation.store._database.writing() as connection:
            past = datetime.now(UTC) - timedelta(seconds=1)
            connection.execute(update(polls).values(due_at=past))

    return hurry


def poll_of(installation, name="site"):
    with installation.store._database.reading() as connection:
        rows = connection.execute(polls.select().where(polls.c.application == name)).mappings()
        return rows.one()


def test_a_new_commit_is_a_trigger_and_the_same_is_none(installation, create, push, told, hurry):
    first = push("one")
    create("site")
    poller = Poller(installation)
    assert poller.look() == 1
    assert told() == [("poll", first)]
    hurry()
    assert poller.look() == 1
    assert told() == [("poll", first)]
    second = push("two")
    hurry()
    poller.look()
    assert told() == [("poll", first), ("poll", second)]


def test_what_is_not_due_is_not_asked_for(installation, create, push):
    push("one")
    create("site")
    assert [Poller(installation).look() for _ in range(2)] == [1, 0]


def test_a_push_that_the_webhook_told_of_is_no_second_trigger(installation, create, push, told):
    commit = push("one")
    create("site")
    installation.store.triggers.add("site", cause="push", ref="main", commit=commit)
    Poller(installation).look()
    assert told() == [("push", commit)]


def test_what_is_live_already_is_no_trigger(installation, create, push, told):
    push("one")
    create("site")
    installation.deploy("site")
    Poller(installation).look()
    assert told() == []


def test_a_rollback_is_not_undone(installation, create, push, told, hurry):
    create("site")
    push("one")
    installation.deploy("site")
    second = push("two")
    poller = Poller(installation)
    poller.look()
    installation.deploy("site")
    installation.roll_back("site")
    hurry()
    poller.look()
    assert told() == [("poll", second)]


def test_a_ref_that_comes_back_to_a_commit_deploys_it_again(
    installation, create, push, told, demo_sandbox, hurry
):
    create("site")
    poller, seen = Poller(installation), []
    for commit in (push("one"), push("two")):
        demo_sandbox.add_branches("acme", "site", ["main"], at=commit)
        hurry()
        poller.look()
        seen.append(commit)
    demo_sandbox.add_branches("acme", "site", ["main"], at=seen[0])
    hurry()
    poller.look()
    assert [commit for _, commit in told()] == [*seen, seen[0]]


def test_applications_of_the_same_ref_share_one_request(installation, create, push, told):
    commit = push("one")
    create("site", "copy")
    assert Poller(installation).look() == 1
    assert told("site") == told("copy") == [("poll", commit)]


def test_of_two_processes_one_asks(installation, create, push, hurry):
    push("one")
    create("site")
    one, other = (installation.store.polls.take(["site"], lease=60) for _ in range(2))
    assert [each.application for each in one] == ["site"]
    assert other == []
    hurry()  # the one that took it has died
    assert Poller(installation).look() == 1


def test_a_webhook_that_delivers_makes_polling_needless(installation, create, push):
    push("one")
    create("site")
    installation.webhooks.prepare("site")
    installation.store.webhooks.note_delivery("site")
    assert Poller(installation).look() == 0


def test_a_host_that_fails_is_asked_less_and_logged_once(
    installation, create, push, demo_sandbox, hurry, caplog, told
):
    commit = push("one")
    create("site")
    demo_sandbox.faults.add(Fault(faults.answer(500), path="*.git/*"))
    poller = Poller(installation)
    intervals = []
    for _ in range(3):
        poller.look()
        intervals.append(poll_of(installation)["seconds"])
        hurry()
    assert intervals == [120, 240, 480]
    assert len([text for text in caplog.messages if "can't be polled" in text]) == 1
    demo_sandbox.faults.clear()
    poller.look()
    assert poll_of(installation)["seconds"] == 60
    assert told() == [("poll", commit)]


def test_a_host_that_names_another_century_is_polled_again_after_a_day(
    installation, create, push, monkeypatch
):
    push("one")
    create("site")
    error = RateLimited("Less.", retry_at=datetime.max.replace(tzinfo=UTC))
    monkeypatch.setattr(Poller, "_ask", lambda *_: (_ for _ in ()).throw(error))
    Poller(installation).look()
    wait = poll_of(installation)["due_at"] - datetime.now(UTC)
    assert timedelta(hours=23) < wait <= timedelta(days=1)


def test_an_application_that_is_gone_meanwhile_is_passed_over(installation, create):
    assert installation.store.polls.take(["nothing"], lease=60) == []


def test_a_worker_deploys_what_it_finds(installation, create, push, tmp_path, monkeypatch):
    monkeypatch.setitem(Poller.__init__.__kwdefaults__, "look_seconds", 0.05)
    push("one")
    create("site", poll=10)
    with Worker(installation, threads=1):
        wait_for(lambda: (tmp_path / "live/site/current/page").exists())


@pytest.mark.parametrize(
    ("auto_deploy", "heard", "is_it"),
    [
        (None, None, False),
        ({"poll": "off"}, None, False),
        ({}, None, True),
        ({}, timedelta(hours=5), False),
        ({}, timedelta(hours=7), True),
        ({"poll": 10}, timedelta(0), True),
    ],
)
def test_who_is_polled(auto_deploy, heard, is_it):
    now = datetime.now(UTC)
    fields = {"name": "a", "provider": "b", "repository": "c/d", "target": "/e"}
    for ref, expected in (("main", is_it), ("1" * 40, False)):
        definition = Application(**fields, ref=ref, auto_deploy=auto_deploy)
        assert is_polled(definition, heard and now - heard, now) == expected


def test_intervals_grow_while_nothing_changes_and_begin_anew_after_a_change():
    seconds, seen = 0.0, []
    for _ in range(9):
        seconds = interval_after("auto", seconds)
        seen.append(round(seconds))
    assert seen == [60, 90, 135, 202, 304, 456, 683, 900, 900]
    assert interval_after("auto", 900, is_new=True) == 60
    assert [interval_after(10, each) for each in (0, 10, 80)] == [10, 10, 10]
    assert interval_after(10, 10, failed=True) == 20
    assert interval_after("auto", 3000, failed=True) == 3600
    assert interval_after(86_400, 86_400, failed=True) == 86_400
