"""Each host's identifier of a repository is the same in all of the host's responses and
deliveries."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from deploycore.cli.sandbox import load_sandbox
from deploycore.errors import NotFound
from deploycore.models import BranchQuery, RepositoryId
from deploycore.provider import open_provider
from deploycore.testing.webhooks import Listener

SECRET = SecretStr("made-up-secret-of-identity")


@pytest.fixture(params=["bitbucket", "bitbucket-datacenter", "gitea", "github", "gitlab"])
def connected(request):
    """A sandbox, the owner of its repositories, and a provider that may manage webhooks."""
    kind = request.param
    pytest.importorskip(f"deploycore_{kind.replace('-', '_')}")
    with load_sandbox(kind)[1].demo() as sandbox:
        modes = {each.settings["mode"]: each for each in sandbox.connections}
        connection = modes.get("api-token", sandbox.connections[0])
        with open_provider(kind, {"name": "work", **connection.settings}) as provider:
            yield sandbox, connection.owner, provider


def test_the_identifier_is_the_same_in_listings_responses_and_deliveries(connected):
    sandbox, owner, provider = connected
    site = RepositoryId(owner=owner, slug="site")
    sandbox.publish(owner, "site", "main", {"page": b"zero"}, "Zero")
    listed = {each.slug: each for each in provider.list_repos()}["site"]
    assert listed.host_id
    others = [each.host_id for each in provider.list_repos() if each.slug != "site"]
    assert listed.host_id not in others
    found = provider.find_repository(site)
    assert (found.id, found.host_id) == (listed.id, listed.host_id)
    with Listener() as listener:
        provider.register_webhook(site, listener.address, SECRET)
        sandbox.publish(owner, "site", "main", {"page": b"one"}, "One")
        sandbox.publish(owner, "site", "topic", {"page": b"two"}, "Two")
        open_one = getattr(sandbox, "open_pull_request", None) or sandbox.open_merge_request
        open_one(owner, "site", "topic", "main")
        assert sandbox.webhooks.wait()
        events = [
            event for each in listener.received for event in provider.parse_webhook(each).events
        ]
    assert {type(each).__name__ for each in events} == {"PushEvent", "PullRequestEvent"}
    assert {each.repository_host_id for each in events} == {listed.host_id}


def test_an_unknown_repository_is_not_found(connected):
    _, owner, provider = connected
    for slug in ("no-such-repository", "a?b=c#d"):
        with pytest.raises(NotFound):
            provider.find_repository(RepositoryId(owner=owner, slug=slug))


def test_a_redirect_from_an_old_name_reveals_the_current_name():
    pytest.importorskip("deploycore_github")
    with load_sandbox("github")[1].demo() as sandbox:
        connection = sandbox.connections[0]
        sandbox.publish(connection.owner, "site", "main", {"page": b"zero"}, "Zero")
        sandbox.rename(connection.owner, "former", "site")
        with open_provider("github", {"name": "work", **connection.settings}) as provider:
            former = RepositoryId(owner=connection.owner, slug="former")
            found = provider.find_repository(former)
            assert str(found.id) == f"{connection.owner}/site"
            assert [each.name for each in provider.list_branches(former, BranchQuery(name="main"))]
