"""Credentials are replaced again and again while two workers deploy, and no deployment fails.

``DEPLOYCORE_ROTATIONS`` sets the numbers of applications and rounds, such as ``50x4``. Longer runs
are started by hand.
"""

from __future__ import annotations

import os
import time

import pytest

from deploycore.testing.rows import credentials_of
from tests.worker.conftest import events_of, wait_for

PAUSE = 0.2
"""Seconds between two rotations; most deployments see one or two."""

APPLICATIONS, ROUNDS = map(int, os.environ.get("DEPLOYCORE_ROTATIONS", "6x3").split("x"))


@pytest.fixture
def rotate(fleet):
    """Replaces the provider's secret, and revokes the one before it at once."""
    sandbox, installation = fleet._sandbox, fleet.installation
    former = []

    def run():
        new = sandbox.add_credential("access-token")
        changes = installation.provider_changes
        changes.store(
            changes.plan("work", {}, {"token": new.secret}),
            verify=lambda provider: provider.authenticate(),
        )
        for each in former:
            sandbox.revoke_credential(each)
        former[:] = [new]

    yield run
    for each in former:
        sandbox.revoke_credential(each)


def test_no_deployment_fails_during_a_credential_rotation(fleet, rotate):
    rotate()  # from here on each replaced secret is revoked
    names = fleet.create(APPLICATIONS)
    workers = [fleet.start("--threads", "2") for _ in range(2)]
    for number in range(ROUNDS):
        fleet.push(f"push {number}")
        for name in names:
            fleet.add(name, delivery=str(number), commit=fleet.commit)
        while not fleet.is_done():
            rotate()
            time.sleep(PAUSE)
    for worker in workers:
        worker.terminate()
        events_of(worker)
    history = fleet.installation.store.deployments.list(limit=10_000)
    assert {each.state for each in history} <= {"healthy", "superseded", "skipped"}, [
        (each.application, each.state, each.error) for each in history if each.error
    ]
    assert [fleet.live(name) for name in names] == [f"push {ROUNDS - 1}"] * len(names)
    assert len(history) >= APPLICATIONS
    assert fleet.installation.store.get_provider("work").generation > ROUNDS


def test_a_running_worker_uses_the_new_secret_while_the_old_one_is_valid(
    fleet, rotate, monkeypatch
):
    sandbox, shown = fleet._sandbox, []
    answer = sandbox.answer

    def noting(request):
        shown.append(credentials_of(request)[1])
        return answer(request)

    monkeypatch.setattr(sandbox, "answer", noting)
    fleet.create(1)
    fleet.start("--threads", "1")
    for content in ("before", "after"):
        if content == "after":
            former = set(shown)
            rotate()
            shown.clear()
        fleet.push(content)
        fleet.add("app0", delivery=content, commit=fleet.commit)
        wait_for(lambda: fleet.is_done() and not fleet.installation.store.claims.list())
        assert fleet.live("app0") == content
    assert former
    assert shown
    assert not former & set(shown)


def test_a_killed_rotation_leaves_the_previous_or_the_new_secret(fleet, rotate):
    """It is one transaction, after the proof: there is no state between."""
    store, changes = fleet.installation.store, fleet.installation.provider_changes
    before = store.get_provider("work")
    new = fleet._sandbox.add_credential("access-token")
    child = os.fork()
    if not child:
        store.change_provider = lambda *given, **named: os.kill(os.getpid(), 9)
        try:
            changes.store(changes.plan("work", {}, {"token": new.secret}))
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
    assert store.get_provider("work") == before
    fleet._sandbox.revoke_credential(new)
