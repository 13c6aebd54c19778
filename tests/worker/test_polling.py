"""New commits without a webhook are found by polling, and deployed once."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deploycore_bitbucket.sandbox import Fault, faults
from sqlalchemy import update

from deploycore import Installation, RepositoryId, Settings
from deploycore.applications.application import Application
from deploycore.errors import RateLimited
from deploycore.events import PullRequestEvent
from deploycore.git import GitSettings
from deploycore.provider import Provider
from deploycore.store.tables import polls, reception, triggers
from deploycore.worker import Worker, polling, request_checks
from deploycore.worker.catch_up import spacing_for
from deploycore.worker.polling import Poller, interval_after, is_polled
from deploycore.worker.previews import handle
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
def triggers_of(installation):
    """The triggers of an application, the oldest first: cause and commit."""

    def triggers_of(name="site"):
        found = installation.store.triggers.list(name)
        return [(each.cause, each.commit) for each in reversed(found)]

    return triggers_of


@pytest.fixture
def make_due(installation):
    """Makes an application to be polled now."""

    def make_due(name):
        with installation.store._database.writing() as connection:
            past = datetime.now(UTC) - timedelta(seconds=1)
            of_it = polls.c.application == name
            connection.execute(update(polls).where(of_it).values(due_at=past))

    return make_due


@pytest.fixture
def hurry(make_due):
    """Makes ``site`` to be polled now."""
    return lambda: make_due("site")


def poll_of(installation, name="site"):
    with installation.store._database.reading() as connection:
        rows = connection.execute(polls.select().where(polls.c.application == name)).mappings()
        return rows.one()


def test_a_new_commit_creates_a_trigger_and_a_known_one_does_not(
    installation, create, push, triggers_of, hurry
):
    first = push("one")
    create("site")
    poller = Poller(installation)
    assert poller.look() == 1
    assert triggers_of() == [("poll", first)]
    hurry()
    assert poller.look() == 1
    assert triggers_of() == [("poll", first)]
    second = push("two")
    hurry()
    poller.look()
    assert triggers_of() == [("poll", first), ("poll", second)]


def test_a_poll_that_is_not_due_is_skipped(installation, create, push):
    push("one")
    create("site")
    assert [Poller(installation).look() for _ in range(2)] == [1, 0]


def test_a_push_already_delivered_by_a_webhook_creates_no_second_trigger(
    installation, create, push, triggers_of
):
    commit = push("one")
    create("site")
    installation.store.triggers.add("site", cause="push", ref="main", commit=commit)
    Poller(installation).look()
    assert triggers_of() == [("push", commit)]


def test_a_live_commit_creates_no_trigger(installation, create, push, triggers_of):
    push("one")
    create("site")
    installation.deploy("site")
    Poller(installation).look()
    assert triggers_of() == []


def test_polling_does_not_undo_a_rollback(installation, create, push, triggers_of, hurry):
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
    assert triggers_of() == [("poll", second)]


def test_polling_does_not_undo_a_rollback_of_a_manual_deployment(
    installation, create, push, triggers_of
):
    create("site")
    for content in ("one", "two"):
        push(content)
        installation.deploy("site")
    installation.roll_back("site")
    Poller(installation).look()
    assert triggers_of() == []


def test_a_commit_reported_long_ago_creates_no_trigger(installation, create, push, hurry):
    create("site")
    push("one")
    installation.deploy("site")
    push("two")
    Poller(installation).look()
    failed = installation.store.triggers.open("site")
    installation.store.triggers.settle([each.id for each in failed], error_code="step_failed")
    with installation.store._database.writing() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=31)
        connection.execute(update(triggers).values(settled_at=long_ago))
    installation.store.triggers.prune()
    hurry()
    Poller(installation).look()
    assert installation.store.triggers.open("site") == []


def test_a_ref_that_returns_to_an_earlier_commit_is_deployed_again(
    installation, create, push, triggers_of, demo_sandbox, hurry
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
    assert [commit for _, commit in triggers_of()] == [*seen, seen[0]]


def test_applications_with_the_same_ref_share_each_request(
    installation, create, push, triggers_of, make_due
):
    commit = push("one")
    create("site", "copy")
    poller = Poller(installation)
    assert poller.look() == 1
    assert triggers_of("site") == triggers_of("copy") == [("poll", commit)]
    make_due("copy")
    assert poller.look() == 1
    make_due("site")
    poller.look()
    assert poll_of(installation, "copy")["seconds"] == poll_of(installation)["seconds"] == 135


def test_only_one_of_two_processes_polls(installation, create, push, hurry):
    push("one")
    create("site")
    one, other = (installation.store.polls.take(["site"], lease=60) for _ in range(2))
    assert [each.application for each in one] == ["site"]
    assert other == []
    hurry()  # the one that took it has died
    assert Poller(installation).look() == 1


def test_a_webhook_that_delivers_pauses_polling(installation, create, push):
    push("one")
    create("site")
    installation.webhooks.prepare("site")
    installation.store.webhooks.note_delivery("site")
    assert Poller(installation).look() == 0


def interrupt_reception(installation, seconds=3600):
    """A server was seen, and is no more."""
    with installation.store._database.writing() as connection:
        long_ago = datetime.now(UTC) - timedelta(seconds=seconds)
        connection.execute(update(reception).values(seen_at=long_ago))


def test_without_a_running_server_webhooks_do_not_pause_polling(
    installation, create, push, triggers_of
):
    commit = push("one")
    create("site")
    installation.webhooks.prepare("site")
    installation.store.webhooks.note_delivery("site")
    installation.store.reception.note()
    assert Poller(installation).look() == 0
    interrupt_reception(installation)
    assert Poller(installation).look() == 1
    assert triggers_of() == [("poll", commit)]


def test_a_ref_reset_to_its_polled_commit_after_a_webhook_push_is_deployed(
    installation, create, push, triggers_of, demo_sandbox, hurry
):
    first = push("one")
    create("site")
    installation.webhooks.prepare("site")
    poller = Poller(installation)
    poller.look()
    second = push("two")
    installation.store.triggers.add("site", cause="push", ref="main", commit=second)
    installation.store.webhooks.note_delivery("site")
    demo_sandbox.add_branches("acme", "site", ["main"], at=first)
    interrupt_reception(installation)
    assert poller.look() == 1
    assert triggers_of() == [("poll", first), ("push", second), ("poll", first)]
    hurry()  # checked, so that no check is requested: the webhook is a reason to compare
    poller.look()
    assert len(triggers_of()) == 3


def test_a_worker_started_without_a_server_checks_all_applications(installation, create, push):
    push("one")
    create("site", poll="off")
    poller = Poller(installation, look_seconds=3600)
    poller.start()
    poller.stop()
    assert installation.store.polls.requested() == {}
    interrupt_reception(installation)
    poller = Poller(installation, look_seconds=3600)
    poller.start()
    poller.stop()
    assert installation.store.polls.requested().keys() == {"site"}


@pytest.mark.parametrize("auto_deploy", [{}, {"poll": "off"}, {"poll": 3600}])
def test_a_requested_check_is_made_regardless_of_the_interval(
    installation, create, push, triggers_of, auto_deploy
):
    push("one")
    create("site", **auto_deploy)
    installation.webhooks.prepare("site")
    installation.store.webhooks.note_delivery("site")
    poller = Poller(installation)
    poller.look()
    second = push("two")
    assert poller.look() == 0
    assert request_checks(installation) == 1
    assert poller.look() == 1
    assert triggers_of()[-1] == ("poll", second)
    assert installation.store.polls.requested() == {}
    assert poller.look() == 0


def test_a_failed_check_stays_pending_until_it_succeeds(
    installation, create, push, demo_sandbox, hurry, triggers_of
):
    commit = push("one")
    create("site", poll="off")
    demo_sandbox.faults.add(Fault(faults.answer(500), path="*.git/*"))
    request_checks(installation)
    poller = Poller(installation)
    for _ in range(2):
        assert poller.look() == 1
        assert installation.store.polls.requested().keys() == {"site"}
        hurry()
    demo_sandbox.faults.clear()
    poller.look()
    assert installation.store.polls.requested() == {}
    assert triggers_of() == [("poll", commit)]


def test_a_deleted_ref_completes_a_check(installation, create, push):
    push("one")
    create("site", ref="gone", poll="off")
    request_checks(installation)
    Poller(installation).look()
    assert installation.store.polls.requested() == {}


def test_previews_are_checked_too(installation, create, push, triggers_of, tmp_path, make_due):
    commit = push("one")
    create("site", previews={"target": str(tmp_path / "previews" / "{number}")})
    event = PullRequestEvent(
        repository=SITE,
        source=SITE,
        number=7,
        action="opened",
        source_branch="main",
        target_branch="main",
    )
    assert handle(installation, installation.store.get_application("site"), event) == "made"
    assert request_checks(installation) == 2
    make_due("site-pr-7")
    Poller(installation).look()
    assert triggers_of("site-pr-7")[-1] == ("poll", commit)


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("no"), OSError("no")])
def test_an_error_with_one_repository_does_not_affect_others(
    installation, create, push, triggers_of, monkeypatch, error, caplog
):
    commit = push("one")
    create("a-site", ref="broken")
    create("site")
    real = Poller._resolve

    def fails(self, provider, definition):
        if definition.ref == "broken":
            raise error
        return real(self, provider, definition)

    monkeypatch.setattr(Poller, "_resolve", fails)
    poller = Poller(installation)
    while poller.look():
        pass
    assert triggers_of("site") == [("poll", commit)]
    (text,) = (text for text in caplog.messages if "a-site could not be polled" in text)
    assert f"because of an unexpected error: {type(error).__name__}." in text
    assert "Report it" in text


@pytest.mark.parametrize(("count", "spacing"), [(1, 1), (60, 1), (240, 0.25), (10_000, 0.1)])
def test_checks_are_spread_over_a_minute(count, spacing):
    assert spacing_for(count) == spacing


def test_a_renamed_repository_unknown_to_git_is_found_by_the_host_api(
    installation, create, push, triggers_of, tmp_path, monkeypatch
):
    commit = push("one")
    values = {"provider": "work", "target": tmp_path / "shop", "auto_deploy": {}, "ref": "main"}
    create()
    installation.add_application("site", repository="acme/former", **values)
    real = Provider.find_repository

    def redirects(self, repository):
        return real(self, SITE if repository.slug == "former" else repository)

    assert Poller(installation).look() == 1
    assert triggers_of() == []
    request_checks(installation)
    monkeypatch.setattr(Provider, "find_repository", redirects)
    Poller(installation).look()
    assert triggers_of() == [("poll", commit)]
    assert installation.store.get_application("site").definition.repository == "acme/site"
    assert installation.deploy("site").commit == commit


def test_a_failing_host_is_polled_less_often_and_logged_once(
    installation, create, push, demo_sandbox, hurry, caplog, triggers_of
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
    assert len([text for text in caplog.messages if "could not be polled" in text]) == 1
    demo_sandbox.faults.clear()
    poller.look()
    assert poll_of(installation)["seconds"] == 60
    assert triggers_of() == [("poll", commit)]


def test_a_failing_host_is_polled_once_per_cycle_and_delays_no_other(
    installation, create, demo_sandbox, tmp_path
):
    create("site")
    create("v1", ref="v1")
    work = installation.store.get_provider("work")
    installation.store.add_provider(replace(work, name="other"))
    values = installation.store.get_application("site").definition.as_dict()
    values |= {"name": "elsewhere", "provider": "other", "target": tmp_path / "elsewhere"}
    installation.apply([Application.model_validate(values)])
    demo_sandbox.faults.add(Fault(faults.answer(500), path="*.git/*"))
    poller = Poller(installation)
    assert [poller.look() for _ in range(3)] == [2, 1, 0]


def test_a_host_with_a_distant_retry_time_is_polled_again_after_a_day(
    installation, create, push, monkeypatch
):
    push("one")
    create("site")
    error = RateLimited("Less.", retry_at=datetime.max.replace(tzinfo=UTC))
    monkeypatch.setattr(Poller, "_ask", lambda *_: (_ for _ in ()).throw(error))
    Poller(installation).look()
    wait = poll_of(installation)["due_at"] - datetime.now(UTC)
    assert timedelta(hours=23) < wait <= timedelta(days=1)


def test_a_removed_application_is_skipped(installation, create):
    assert installation.store.polls.take(["nothing"], lease=60) == []


def test_an_application_removed_during_a_poll_does_not_affect_others(
    installation, create, triggers_of, monkeypatch
):
    create("a-site", "site")
    commit = "1" * 40
    monkeypatch.setattr(
        Poller, "_ask", lambda *_: installation.remove_application("a-site") and commit
    )
    Poller(installation).look()
    assert triggers_of() == [("poll", commit)]


def test_polling_uses_the_git_settings_of_the_installation(environment, create, monkeypatch):
    used = []
    monkeypatch.setattr(polling, "resolve", lambda *_, settings, **__: used.append(settings))
    create("site")
    own = GitSettings(client_certificate=Path("/etc/own.pem"))
    with Installation(Settings.from_environment(environment), git_settings=own) as strict:
        Poller(strict).look()
    assert [each.client_certificate for each in used] == [own.client_certificate]


def test_an_uninterruptible_poll_does_not_block_worker_shutdown(
    installation, create, push, monkeypatch
):
    """Looking up a name is the system's, and may take its time."""
    asked, hangs = threading.Event(), threading.Event()
    monkeypatch.setattr(polling, "_GOODBYE_SECONDS", 0.1)
    monkeypatch.setattr(polling, "resolve", lambda *_, **__: asked.set() or hangs.wait(30))
    create("site")
    poller = Poller(installation, look_seconds=0.01)
    poller.start()
    assert asked.wait(30)
    poller.stop()
    assert poller._thread.is_alive()
    hangs.set()
    poller._thread.join()


def test_a_worker_deploys_commits_found_by_polling(
    installation, create, push, tmp_path, monkeypatch
):
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
def test_polling_depends_on_settings_ref_and_last_delivery(auto_deploy, heard, is_it):
    now = datetime.now(UTC)
    fields = {"name": "a", "provider": "b", "repository": "c/d", "target": "/e"}
    for ref, expected in (("main", is_it), ("1" * 40, False)):
        definition = Application(**fields, ref=ref, auto_deploy=auto_deploy)
        assert is_polled(definition, heard and now - heard, now) == expected


def test_intervals_grow_while_nothing_changes_and_reset_after_a_change():
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
