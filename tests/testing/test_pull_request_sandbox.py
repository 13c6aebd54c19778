"""The base class of sandboxes with pull requests tells webhooks of each change."""

from __future__ import annotations

import pytest

from deploycore.errors import NotFound
from deploycore.testing.pull_request_sandbox import PullRequestSandbox
from deploycore.testing.scenarios import EMPTY
from deploycore.testing.webhooks import Event, Hook, Listener


class Harbour(PullRequestSandbox):
    def settings(self, credential):
        return {}

    def routes(self):
        return {}

    def pull_request_events(self, change, repository, source):
        gone = " from a fork that is gone" if source is None else ""
        return [Event("pull", f"{change.action} {change.row.number}{gone}".encode())]


@pytest.fixture
def harbour():
    with Harbour() as running:
        running.publish("ada", "shop", "main", {"a": b"1"}, "Start")
        running.publish("ada", "shop", "topic", {"a": b"2"}, "Topic")
        yield running


def test_webhooks_receive_each_change(harbour):
    with Listener() as listener:
        harbour.webhooks.put(Hook("1", "ada/shop", listener.address, ("pull",)))
        row = harbour.open_pull_request("ada", "shop", "topic", "main")
        harbour.edit_pull_request(row, title="Better")
        harbour.close_pull_request(row)
        harbour.reopen_pull_request(row)
        harbour.merge_pull_request(row)
        assert harbour.webhooks.wait()
        told = [found.body.decode() for found in listener.received]
    assert told == ["opened 1", "edited 1", "closed 1", "reopened 1", "merged 1"]


def test_a_fork_has_all_branches_and_can_be_deleted(harbour):
    fork = harbour.fork("ada", "shop", into="eve")
    assert [name for name, _ in harbour.branches(fork)] == ["main", "topic"]
    with Listener() as listener:
        harbour.webhooks.put(Hook("1", "ada/shop", listener.address, ("pull",)))
        row = harbour.open_pull_request("ada", "shop", "topic", "main", source=fork)
        harbour.remove_repository("eve", "shop")
        harbour.close_pull_request(row)
        assert harbour.webhooks.wait()
        assert listener.received[-1].body == b"closed 1 from a fork that is gone"
    with pytest.raises(NotFound):
        harbour.merge_pull_request(row)


def test_a_scenario_starts_without_pull_requests(harbour):
    harbour.open_pull_request("ada", "shop", "topic", "main")
    harbour.arrange(EMPTY)
    assert harbour.pull_requests.of("ada/shop") == []


def test_removing_an_owner_deletes_repositories_and_webhooks(harbour):
    harbour.webhooks.put(Hook("1", "ada/shop", "http://127.0.0.1:9/", ("pull",)))
    harbour.remove_owner("ada")
    assert "ada" not in harbour.owners
    assert list(harbour.webhooks.all) == []
