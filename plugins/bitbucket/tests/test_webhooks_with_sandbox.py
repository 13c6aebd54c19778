"""Webhooks and build statuses as the core calls them, over real sockets, in each mode."""

from __future__ import annotations

import pytest
from deploycore_bitbucket.sandbox import Fault, faults
from deploycore_bitbucket.sandbox.sandbox import DEFAULT_SCOPES
from pydantic import SecretStr

from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    ProviderError,
)
from deploycore.events import CommitStatus, PullRequestEvent, PushEvent
from deploycore.models import RepositoryId
from deploycore.testing.webhooks import Listener

SHOP = RepositoryId(owner="acme", slug="shop")
SECRET = SecretStr("It's a Secret to Everybody")
URL = "https://deploy.example.com/webhook"
BOXES = {
    "api-token": (
        "read:webhook:bitbucket",
        "write:webhook:bitbucket",
        "read:repository:bitbucket",
        "read:pullrequest:bitbucket",
    ),
    "access-token": ("Webhooks: Read and write", "Repositories: Read", "Pull requests: Read"),
    "app-password": ("Webhooks: Read and write", "Repositories: Read", "Pull requests: Read"),
}
REMOVING = {
    "api-token": "delete:webhook:bitbucket",
    "access-token": "Webhooks: Read and write",
    "app-password": "Webhooks: Read and write",
}
LEAST = {
    "api-token": ["read:repository:bitbucket"],
    "access-token": ["repository"],
    "app-password": ["repository"],
}
OTHER = {
    "api-token": ["read:webhook:bitbucket"],
    "access-token": ["webhook"],
    "app-password": ["webhook"],
}


@pytest.fixture
def sandbox(make_sandbox):
    made = make_sandbox()
    made.add_workspace("acme", members=[made.add_user("ada")])
    made.add_repository("acme", "shop", files={"README.md": b"Shop"})
    return made


@pytest.fixture
def connect(provider, sandbox):
    """The plugin on the sandbox, with a new credential of a mode and some scopes."""

    def one(mode="api-token", scopes=None, *, user=None):
        ada = user or sandbox.add_user("ada")
        scopes = DEFAULT_SCOPES[mode] if scopes is None else scopes
        match mode:
            case "app-password":
                credential = sandbox.add_app_password(ada, scopes=scopes)
            case "api-token":
                credential = sandbox.add_api_token(ada, scopes=scopes)
            case _:
                credential = sandbox.add_access_token("acme", scopes=scopes)
        settings = {**sandbox.connection(credential).settings, "workspace": "acme"}
        return provider(mode, **{key: settings[key] for key in settings if key != "mode"})

    return one


def status(sandbox, **changes):
    commit = sandbox.git.branches(sandbox.existing("acme", "shop"))["main"]
    values = {"commit": commit, "key": "deploycore/shop", "state": "successful", "name": "shop"}
    return CommitStatus(**{**values, **changes})


def test_a_subscription_is_for_pushes_and_pull_requests_and_signed(sandbox, connect):
    connect().register_webhook(SHOP, URL, SECRET)
    (hook,) = sandbox.webhooks.of("acme/shop")
    assert hook.events[0] == "repo:push"
    assert len(hook.events) == 6
    assert hook.secret == SECRET
    assert hook.active


def test_a_disabled_webhook_is_enabled_again(sandbox, connect):
    provider = connect()
    made = provider.register_webhook(SHOP, URL, SECRET)
    (hook,) = sandbox.webhooks.of("acme/shop")
    sandbox.webhooks.put(type(hook)(hook.id, hook.repository, URL, ("repo:fork",), active=False))
    assert not next(provider.list_webhooks(SHOP)).active
    assert provider.register_webhook(SHOP, URL, SECRET) == made
    (hook,) = sandbox.webhooks.of("acme/shop")
    assert "repo:push" in hook.events
    assert hook.secret == SECRET


def test_webhooks_are_listed_lazily_across_all_pages(sandbox, connect):
    provider = connect()
    for number in range(101):
        provider.register_webhook(SHOP, f"{URL}/{number}", SECRET)
    before = sandbox.request_count
    listed = provider.list_webhooks(SHOP)
    assert sandbox.request_count == before
    assert next(listed).url == f"{URL}/0"
    assert sandbox.request_count == before + 1
    assert len(list(listed)) == 100


def test_a_push_and_a_pull_request_are_received_as_events(sandbox, connect):
    provider = connect()
    before = sandbox.git.branches(sandbox.existing("acme", "shop"))["main"]
    with Listener() as listener:
        provider.register_webhook(SHOP, listener.address, SECRET)
        after = sandbox.commit("acme", "shop", "main", {"a": b"1"}, "Next")
        sandbox.add_branches("acme", "shop", ["topic"], at=before)
        sandbox.open_pull_request("acme", "shop", "topic", "main", title="Anvils")
        assert sandbox.webhooks.wait()
        received = listener.received
    assert all(provider.verify_webhook(found, (SECRET,)) for found in received)
    told = [provider.parse_webhook(found) for found in received]
    assert len({found.delivery for found in told}) == 3
    push, _, opened = (found.events[0] for found in told)
    assert isinstance(push, PushEvent)
    assert (push.repository, push.actor) == (SHOP, "Ada")
    assert [(change.before, change.after) for change in push.changes] == [(before, after)]
    assert isinstance(opened, PullRequestEvent)
    assert (opened.action, opened.source_branch, opened.target_branch) == (
        "opened",
        "topic",
        "main",
    )
    assert before.startswith(opened.commit)
    assert not opened.is_from_fork


def test_events_from_a_fork_are_marked(sandbox, connect):
    provider = connect()
    sandbox.add_workspace("ada", members=[sandbox.add_user("ada")])
    fork = sandbox.fork("acme", "shop", into="ada")
    with Listener() as listener:
        provider.register_webhook(SHOP, listener.address, SECRET)
        row = sandbox.open_pull_request("acme", "shop", "main", "main", source=fork)
        sandbox.remove_repository("ada", "shop")
        sandbox.decline_pull_request(row)
        assert sandbox.webhooks.wait()
        told = [provider.parse_webhook(found).events[0] for found in listener.received]
    assert [found.source for found in told] == [RepositoryId(owner="ada", slug="shop"), None]
    assert all(found.is_from_fork for found in told)


def test_a_retry_is_the_same_delivery(sandbox, connect):
    provider = connect()
    with Listener() as listener:
        provider.register_webhook(SHOP, listener.address, SECRET)
        listener.faults.add(Fault(faults.answer(500), times=1))
        sandbox.commit("acme", "shop", "main", {"a": b"1"}, "Next")
        assert sandbox.webhooks.wait()
        first, second = map(provider.parse_webhook, listener.received)
    assert first == second


def test_missing_scopes_are_named_as_on_the_settings_page(connect, mode):
    provider = connect(mode, LEAST[mode])
    for call, boxes in (
        (lambda: provider.register_webhook(SHOP, URL, SECRET), BOXES[mode]),
        (lambda: list(provider.list_webhooks(SHOP)), BOXES[mode][:1]),
        (lambda: provider.remove_webhook(SHOP, "{1}"), (REMOVING[mode],)),
    ):
        with pytest.raises(PermissionDenied) as caught:
            call()
        assert "webhook" in caught.value.message
        for box in boxes:
            assert box in caught.value.hint


def test_a_token_that_can_only_list_webhooks_gets_the_missing_scopes(connect):
    provider = connect("api-token", ["read:webhook:bitbucket", "read:repository:bitbucket"])
    with pytest.raises(PermissionDenied) as caught:
        provider.register_webhook(SHOP, URL, SECRET)
    assert caught.value.details["missing_scopes"] == [
        "write:webhook:bitbucket",
        "read:pullrequest:bitbucket",
    ]
    assert caught.value.message == (
        "The credentials may not register a webhook for the repository acme/shop: they lack the "
        "scope write:webhook:bitbucket, read:pullrequest:bitbucket."
    )


def test_a_user_who_is_not_an_administrator_is_referred_to_one(sandbox, connect):
    grace = sandbox.add_user("grace")
    sandbox.add_member("acme", grace)
    with pytest.raises(PermissionDenied, match="register a webhook for") as caught:
        connect(user=grace).register_webhook(SHOP, URL, SECRET)
    assert "administrators of the repository" in caught.value.hint
    sandbox.add_member("acme", grace, administrator=True)
    assert connect(user=grace).register_webhook(SHOP, URL, SECRET)


def test_a_token_without_any_scope_gets_the_required_scopes(connect):
    with pytest.raises(AuthenticationFailed) as caught:
        connect("api-token", ["read:jira-work"]).register_webhook(SHOP, URL, SECRET)
    assert "write:webhook:bitbucket" in caught.value.hint


def test_a_webhook_address_rejected_by_bitbucket_is_reported_without_its_value(sandbox, connect):
    with pytest.raises(ProviderError) as caught:
        connect().register_webhook(SHOP, "ftp://deploy.example.com", SECRET)
    assert "url is not valid" in caught.value.message
    assert "the internet can reach" in caught.value.hint
    assert "Everybody" not in f"{caught.value} {caught.value.hint}"
    assert connect().register_webhook(SHOP, URL, SECRET)


def test_an_overlong_secret_is_rejected_before_any_request(sandbox, connect):
    with pytest.raises(ConfigurationError, match="128"):
        connect().register_webhook(SHOP, URL, SecretStr("s" * 129))
    assert sandbox.request_count == 0


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("in_progress", "INPROGRESS"),
        ("successful", "SUCCESSFUL"),
        ("failed", "FAILED"),
        ("stopped", "STOPPED"),
    ],
)
def test_states_are_mapped_to_those_of_bitbucket(sandbox, connect, mode, state, shown):
    connect(mode).report_status(SHOP, status(sandbox, state=state))
    (found,) = sandbox.statuses("acme", "shop", status(sandbox).commit)
    assert (found.key, found.state, found.name) == ("deploycore/shop", state, "shop")


def test_a_status_without_an_address_links_to_the_commit(sandbox, connect):
    told = status(sandbox)
    connect().report_status(SHOP, told)
    (found,) = sandbox.statuses("acme", "shop", told.commit)
    assert found.url == f"{sandbox.url}/acme/shop/commits/{told.commit}"


def test_a_status_is_one_short_line_and_its_url_has_no_variables(sandbox, connect):
    url = "https://deploy.example.com/{repository.full_name}"
    told = status(sandbox, description="first\nsecond " * 100, url=url)
    connect().report_status(SHOP, told)
    (found,) = sandbox.statuses("acme", "shop", told.commit)
    assert found.description.startswith("first second first")
    assert len(found.description) == 255
    assert found.description.endswith("…")
    assert found.url == "https://deploy.example.com/%7Brepository.full_name%7D"


def test_an_unknown_commit_is_distinguished_from_an_unknown_repository(sandbox, connect):
    provider = connect()
    with pytest.raises(NotFound, match=f"no commit {'0' * 40}"):
        provider.report_status(SHOP, status(sandbox, commit="0" * 40))
    with pytest.raises(NotFound, match="epository acme/nothing was not found"):
        provider.report_status(RepositoryId(owner="acme", slug="nothing"), status(sandbox))
    provider.report_status(SHOP, status(sandbox))  # of the newest commit, by the slugs


def test_a_missing_scope_for_statuses_is_named(sandbox, connect, mode):
    with pytest.raises(PermissionDenied, match="report a build status to") as caught:
        connect(mode, OTHER[mode]).report_status(SHOP, status(sandbox))
    box = "read:repository:bitbucket" if mode == "api-token" else "Repositories: Read"
    assert box in caught.value.hint
    connect(mode, LEAST[mode]).report_status(SHOP, status(sandbox))
