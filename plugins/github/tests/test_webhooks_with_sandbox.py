"""Webhooks, statuses and deployments as the core calls them, over real sockets, in each mode."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from pydantic import SecretStr

from deploycore.errors import (
    ConfigurationError,
    NotFound,
    PermissionDenied,
    ProviderError,
    RateLimited,
    UnexpectedAnswer,
)
from deploycore.events import CommitStatus, DeploymentStatus, PullRequestEvent, PushEvent
from deploycore.models import RepositoryId
from deploycore.testing.faults import Fault, answer
from deploycore.testing.scenarios import ONE
from deploycore.testing.webhooks import Listener

SHOP = RepositoryId(owner="ada", slug="shop")
SECRET = SecretStr("It's a Secret to Everybody")
URL = "https://deploy.example.com/webhook"
READ = "contents=read"
MODES = ("token", "app", "classic")


@pytest.fixture
def shop(sandbox):
    """The repository, with one commit."""
    (arranged,) = sandbox.arrange(ONE)
    return arranged


@pytest.fixture
def connect(sandbox, open_provider, config):
    """The plugin on the sandbox, with a new credential of a mode and some scopes."""

    def make(mode="token", scopes=None):
        settings = sandbox.settings(sandbox.add_credential(mode, scopes=scopes))
        kind = "app" if mode == "app" else "fine-grained"
        return open_provider(config(kind, **settings))

    return make


def commit_of(shop):
    return shop.branches[shop.default_branch]


def status(shop, **changes):
    own = {"commit": commit_of(shop), "key": "deploycore/shop", "state": "successful"}
    return CommitStatus(**{**own, "name": "Deployment of shop", **changes})


def deployed(shop, **changes):
    own = {"deployment": 7, "commit": commit_of(shop), "environment": "shop"}
    return DeploymentStatus(**{**own, "state": "in_progress", **changes})


def asked(sandbox, method):
    return [request.path for request in sandbox.requests if request.method == method]


# Webhooks


def test_a_subscription_is_for_pushes_and_pull_requests_and_signed(shop, sandbox, connect):
    connect().register_webhook(SHOP, URL, SECRET)
    (hook,) = sandbox.webhooks.of("ada/shop")
    assert hook.events == ("pull_request", "push")
    assert hook.secret == SECRET
    assert hook.active


def test_a_disabled_webhook_is_enabled_again(shop, sandbox, connect):
    provider = connect()
    made = provider.register_webhook(SHOP, URL, SECRET)
    (hook,) = sandbox.webhooks.of("ada/shop")
    sandbox.webhooks.put(type(hook)(hook.id, hook.repository, URL, ("fork",), active=False))
    assert not next(provider.list_webhooks(SHOP)).active
    assert provider.register_webhook(SHOP, URL, SECRET) == made
    (hook,) = sandbox.webhooks.of("ada/shop")
    assert "push" in hook.events
    assert hook.secret == SECRET


def test_webhooks_are_listed_lazily_across_all_pages(shop, sandbox, connect):
    provider = connect()
    for number in range(101):
        provider.register_webhook(SHOP, f"{URL}/{number}", SECRET)
    before = sandbox.request_count
    listed = provider.list_webhooks(SHOP)
    assert sandbox.request_count == before
    assert next(listed).url == f"{URL}/0"
    assert sandbox.request_count == before + 1
    assert len(list(listed)) == 100


def test_a_webhook_without_an_address_is_omitted(shop, sandbox, connect):
    hooks = [
        {"id": 1, "name": "cli", "active": True, "config": {"content_type": "json"}},
        {"id": 2, "name": "web", "active": True, "config": {"url": URL}},
    ]
    told = answer(200, json.dumps(hooks), content_type="application/json")
    sandbox.faults.add(Fault(told, method="GET"))
    assert [hook.id for hook in connect().list_webhooks(SHOP)] == ["2"]


def test_a_ping_a_push_and_a_pull_request_are_received(shop, sandbox, connect):
    provider = connect()
    before = commit_of(shop)
    with Listener() as listener:
        provider.register_webhook(SHOP, listener.address, SECRET)
        after = sandbox.publish("ada", "shop", "trunk", {"a": b"1"}, "Next")
        sandbox.publish("ada", "shop", "topic", {"a": b"2"}, "Topic")
        sandbox.open_pull_request("ada", "shop", "topic", "trunk", title="Anvils")
        assert sandbox.webhooks.wait()
        received = listener.received
    assert all(provider.verify_webhook(found, (SECRET,)) for found in received)
    assert received[0].headers["x-github-event"] == "ping"
    told = [provider.parse_webhook(found) for found in received]
    assert len({found.delivery for found in told}) == 4
    assert told[0].events == ()
    push, _, opened = (found.events[0] for found in told[1:])
    assert isinstance(push, PushEvent)
    assert (push.repository, push.actor) == (SHOP, "ada")
    assert [(change.before, change.after) for change in push.changes] == [(before, after)]
    assert isinstance(opened, PullRequestEvent)
    assert (opened.action, opened.title, opened.number) == ("opened", "Anvils", 1)
    assert (opened.source_branch, opened.target_branch) == ("topic", "trunk")
    assert not opened.is_from_fork


def test_all_events_of_a_pull_request_are_received(shop, sandbox, connect):
    provider = connect()
    with Listener() as listener:
        provider.register_webhook(SHOP, listener.address, SECRET)
        sandbox.publish("ada", "shop", "topic", {"a": b"1"}, "Topic")
        row = sandbox.open_pull_request("ada", "shop", "topic", "trunk")
        newest = sandbox.publish("ada", "shop", "topic", {"a": b"2"}, "More")
        sandbox.edit_pull_request(row, target_branch="release")
        sandbox.close_pull_request(row)
        sandbox.reopen_pull_request(row)
        sandbox.edit_pull_request(row, target_branch="trunk")
        sandbox.merge_pull_request(row)
        assert sandbox.webhooks.wait()
        told = [provider.parse_webhook(found).events for found in listener.received]
    events = [event for events in told for event in events]
    requests = [event for event in events if isinstance(event, PullRequestEvent)]
    assert [event.action for event in requests] == [
        "opened",
        "updated",
        "updated",
        "declined",
        "opened",
        "updated",
        "merged",
    ]
    assert requests[2].target_branch == "release"
    assert {event.commit for event in requests[1:]} == {newest}
    assert dict(sandbox.branches(sandbox.repository("ada", "shop")))["trunk"] == newest


def test_events_from_a_fork_are_marked(shop, sandbox, connect):
    provider = connect()
    fork = sandbox.fork("ada", "shop", into="grace")
    with Listener() as listener:
        provider.register_webhook(SHOP, listener.address, SECRET)
        row = sandbox.open_pull_request("ada", "shop", "trunk", "trunk", source=fork)
        sandbox.delete(fork)
        sandbox.close_pull_request(row)
        assert sandbox.webhooks.wait()
        told = [provider.parse_webhook(found).events for found in listener.received[1:]]
    events = [event for (event,) in told]
    assert [event.source for event in events] == [RepositoryId(owner="grace", slug="shop"), None]
    assert all(event.is_from_fork for event in events)


def test_listing_webhooks_only_requires_read_access(shop, connect):
    assert list(connect("token", ["repository_hooks=read"]).list_webhooks(SHOP)) == []
    assert list(connect("app", ["repository_hooks=read"]).list_webhooks(SHOP)) == []
    with pytest.raises(PermissionDenied):
        connect("token", ["repository_hooks=read"]).register_webhook(SHOP, URL, SECRET)
    with pytest.raises(PermissionDenied):
        connect("app", ["repository_hooks=read"]).register_webhook(SHOP, URL, SECRET)


def test_an_existing_webhook_missing_from_the_list_is_named(shop, sandbox, connect):
    connect().register_webhook(SHOP, URL, SECRET)
    nothing = answer(200, "[]", content_type="application/json")
    sandbox.faults.add(Fault(nothing, method="GET"))
    with pytest.raises(ProviderError, match="Hook already exists on this repository") as caught:
        connect().register_webhook(SHOP, URL, SECRET)
    assert "settings of the repository" in caught.value.hint


def test_the_webhook_limit_of_github_is_named(shop, sandbox, connect):
    sandbox.hooks.most = 1
    connect().register_webhook(SHOP, URL, SECRET)
    with pytest.raises(ProviderError, match="cannot have more than 1 hooks") as caught:
        connect().register_webhook(SHOP, f"{URL}/2", SECRET)
    assert "unused webhook" in caught.value.hint


def test_a_webhook_address_rejected_by_github_is_reported_without_its_value(shop, connect):
    with pytest.raises(ProviderError, match="url is missing a scheme") as caught:
        connect().register_webhook(SHOP, "deploy.example.com", SECRET)
    assert "the internet can reach" in caught.value.hint
    assert "Everybody" not in f"{caught.value} {caught.value.hint}"
    assert connect().register_webhook(SHOP, URL, SECRET)


def test_an_empty_secret_is_rejected_before_any_request(shop, sandbox, connect):
    with pytest.raises(ConfigurationError, match="empty secret"):
        connect().register_webhook(SHOP, URL, SecretStr(""))
    assert sandbox.request_count == 0


def test_a_secret_is_not_sent_after_a_redirect_to_a_renamed_repository(shop, sandbox, connect):
    provider = connect()
    sandbox.rename("ada", "old", "shop")
    with pytest.raises(UnexpectedAnswer, match="redirect"):
        provider.register_webhook(RepositoryId(owner="ada", slug="old"), URL, SECRET)
    assert sandbox.webhooks.of("ada/shop") == []


@pytest.mark.parametrize("id", ["4711", "x", "1/2", "1?a=b"])
def test_an_unknown_webhook_is_not_removed(shop, sandbox, connect, id):
    provider = connect()
    provider.register_webhook(SHOP, URL, SECRET)
    assert provider.remove_webhook(SHOP, id) is False
    assert len(sandbox.webhooks.of("ada/shop")) == 1


# Permissions

CALLS = {
    "register": (
        lambda provider, shop: provider.register_webhook(SHOP, URL, SECRET),
        "Webhooks: Read and write",
        "admin:repo_hook",
    ),
    "list": (
        lambda provider, shop: list(provider.list_webhooks(SHOP)),
        "Webhooks: Read-only",
        "read:repo_hook",
    ),
    "remove": (
        lambda provider, shop: provider.remove_webhook(SHOP, "1"),
        "Webhooks: Read and write",
        "admin:repo_hook",
    ),
    "status": (
        lambda provider, shop: provider.report_status(SHOP, status(shop)),
        "Commit statuses: Read and write",
        "repo:status",
    ),
    "deployment": (
        lambda provider, shop: provider.report_deployment(SHOP, deployed(shop)),
        "Deployments: Read and write",
        "repo_deployment",
    ),
}
WORDS = {"register": "register a webhook for", "list": "list the webhooks of"}
GRANTED = {
    "register": ["repository_hooks=write"],
    "list": ["repository_hooks=write"],
    "remove": ["repository_hooks=write"],
    "status": ["statuses=write"],
    "deployment": ["deployments=write"],
}
CLASSIC = {
    "register": ["admin:repo_hook"],
    "list": ["admin:repo_hook"],
    "remove": ["admin:repo_hook"],
    "status": ["repo:status"],
    "deployment": ["repo_deployment"],
}


@pytest.mark.parametrize("name", CALLS)
def test_a_missing_permission_is_named_as_on_the_settings_page(shop, connect, name):
    call, box, _ = CALLS[name]
    for mode, page in (("token", "/settings/personal-access-tokens"), ("app", "/installations/")):
        with pytest.raises(PermissionDenied) as caught:
            call(connect(mode, [READ]), shop)
        assert box in caught.value.hint
        assert page in caught.value.hint
        call(connect(mode, GRANTED[name]), shop)


def test_the_error_names_the_attempted_operation(shop, connect):
    for name, words in WORDS.items():
        with pytest.raises(PermissionDenied, match=f"may not {words} the repository ada/shop"):
            CALLS[name][0](connect("token", [READ]), shop)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("granted", [[], ["gist"], ["user", "read:org"]])
def test_a_missing_scope_is_named_even_if_github_returns_not_found(shop, connect, name, granted):
    call, _, scope = CALLS[name]
    with pytest.raises(PermissionDenied) as caught:
        call(connect("classic", granted), shop)
    assert f"the scope {scope} (repo includes it)" in caught.value.hint
    assert "/settings/tokens" in caught.value.hint
    assert caught.value.details.get("granted", []) == sorted(granted)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("mode", MODES)
def test_the_minimum_permission_is_sufficient(shop, connect, name, mode):
    call, *_ = CALLS[name]
    call(connect(mode, (CLASSIC if mode == "classic" else GRANTED)[name]), shop)


@pytest.mark.parametrize("name", ["register", "list", "status", "deployment"])
def test_a_repository_not_found_may_require_another_role(shop, connect, name):
    nowhere = RepositoryId(owner="ada", slug="nowhere")
    calls = {
        "register": lambda provider: provider.register_webhook(nowhere, URL, SECRET),
        "list": lambda provider: list(provider.list_webhooks(nowhere)),
        "status": lambda provider: provider.report_status(nowhere, status(shop)),
        "deployment": lambda provider: provider.report_deployment(nowhere, deployed(shop)),
    }
    for mode in MODES:
        with pytest.raises(NotFound, match="epository ada/nowhere was not found") as caught:
            calls[name](connect(mode))
        role = "administrators" if name in ("register", "list") else "write access"
        assert role in caught.value.hint
        CALLS[name][0](connect(mode), shop)


def test_an_app_token_is_limited_to_one_operation(shop, sandbox, connect):
    provider = connect("app")
    reading = provider.clone_url(SHOP).credential.password
    for call, *_ in CALLS.values():
        call(provider, shop)
    issued = {
        token: sandbox.credential_of(token.get_secret_value()).scopes
        for token in provider.secrets
        if token.get_secret_value().startswith("ghs_")
    }
    assert issued[reading] == {"contents=read", "metadata=read"}
    assert sorted(sorted(scopes) for scopes in issued.values()) == [
        ["contents=read", "metadata=read"],
        ["deployments=write", "metadata=read"],
        ["metadata=read", "repository_hooks=read"],
        ["metadata=read", "repository_hooks=write"],
        ["metadata=read", "repository_hooks=write"],
        ["metadata=read", "statuses=write"],
    ]


def test_an_app_token_is_requested_once(shop, sandbox, connect):
    provider = connect("app")
    for state in ("in_progress", "successful"):
        provider.report_status(SHOP, status(shop, state=state))
    assert len([path for path in asked(sandbox, "POST") if "access_tokens" in path]) == 1


def test_a_rejected_app_token_is_replaced(shop, sandbox, connect):
    provider = connect("app")
    provider.report_status(SHOP, status(shop))
    sandbox.revoke_installation_tokens()
    provider.report_status(SHOP, status(shop))


def test_a_rate_limit_error_names_the_attempted_operation(shop, sandbox, connect):
    sandbox.faults.add(Fault(sandbox.rate_limited(None)))
    with pytest.raises(RateLimited, match="to report a status to the repository ada/shop"):
        connect().report_status(SHOP, status(shop))
    sandbox.faults.clear()
    connect().report_status(SHOP, status(shop))


# Statuses


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("in_progress", "pending"),
        ("successful", "success"),
        ("failed", "failure"),
        ("stopped", "error"),
    ],
)
def test_states_are_mapped_to_those_of_github(config, open_provider, github, state, shown):
    commit = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
    url = f"https://api.github.com/repos/ada/shop/statuses/{commit}"
    github.post(url, json={"id": 1}, status=201)
    told = CommitStatus(commit=commit, key="deploycore/shop", state=state, name="Shop", ref="main")
    open_provider(config()).report_status(SHOP, told)
    body = json.loads(github.calls[0].request.body)
    assert body == {"state": shown, "context": "deploycore/shop", "description": "Shop"}


def test_a_status_is_one_short_line(shop, sandbox, connect):
    url = "https://deploy.example.com/deployments/7?a=b"
    told = status(shop, description="first\nsecond größer " * 100, url=url)
    connect().report_status(SHOP, told)
    (found,) = sandbox.statuses("ada", "shop", commit_of(shop))
    assert found.description.startswith("first second größer first")
    assert len(found.description) == 140
    assert found.description.endswith("…")
    assert found.url == url


def test_an_unknown_commit_is_distinguished_from_an_unknown_repository(shop, connect):
    provider = connect()
    for call in (
        lambda: provider.report_status(SHOP, status(shop, commit="0" * 40)),
        lambda: provider.report_deployment(SHOP, deployed(shop, commit="0" * 40)),
    ):
        with pytest.raises(NotFound, match=f"no commit {'0' * 40}") as caught:
            call()
        assert "forced push" in caught.value.hint
        assert caught.value.details["commit"] == "0" * 40
    provider.report_status(SHOP, status(shop))
    provider.report_deployment(SHOP, deployed(shop))


def test_the_status_limit_of_a_commit_is_named(shop, sandbox, connect, monkeypatch):
    monkeypatch.setattr("deploycore_github.sandbox.reports.STATUSES_MOST", 2)
    told = json.dumps(
        {
            "message": "Validation Failed",
            "errors": "Validation failed: This SHA and context has reached the maximum number of "
            "statuses.",
        }
    )
    sandbox.faults.add(Fault(answer(422, told, content_type="application/json"), times=1))
    provider = connect()
    with pytest.raises(ProviderError, match="reached the maximum number") as caught:
        provider.report_status(SHOP, status(shop))
    assert "1,000" in caught.value.hint
    provider.report_status(SHOP, status(shop))
    with pytest.raises(ProviderError, match="reached the maximum number"):
        provider.report_status(SHOP, status(shop))


def test_an_invalid_address_is_rejected_with_the_message_of_github(shop, connect):
    with pytest.raises(ProviderError, match="http") as caught:
        connect().report_status(SHOP, status(shop, url="ftp://deploy.example.com"))
    assert "report a status to" in caught.value.message


# Deployments


def test_the_first_report_creates_a_deployment_and_later_ones_update_it(shop, sandbox, connect):
    for state in ("in_progress", "successful"):
        connect().report_deployment(SHOP, deployed(shop, state=state, url=f"{URL}/7"))
    (found,) = sandbox.deployments("ada", "shop", commit_of(shop))
    assert (found.environment, found.state, found.url) == ("shop", "successful", f"{URL}/7")
    assert len([path for path in asked(sandbox, "POST") if path.endswith("/deployments")]) == 1


def test_deployments_of_other_environments_and_programs_are_not_changed(shop, sandbox, connect):
    provider = connect()
    provider.report_deployment(SHOP, deployed(shop, environment="other"))
    provider.report_deployment(SHOP, deployed(shop, deployment=6, state="failed"))
    provider.report_deployment(SHOP, deployed(shop, state="stopped"))
    assert [
        (found.environment, found.state)
        for found in sandbox.deployments("ada", "shop", commit_of(shop))
    ] == [("other", "in_progress"), ("shop", "failed"), ("shop", "stopped")]


@pytest.mark.parametrize(
    ("payload", "is_ours"),
    [
        ({"deploycore": 7}, True),
        ('{"deploycore": 7}', True),
        ({"deploycore": 8}, False),
        ({"deploycore": "7"}, False),
        ("7", False),
        ("", False),
        ("{", False),
        ("[" * 100_000, False),
        (None, False),
        ([7], False),
    ],
)
def test_a_deployment_is_identified_by_its_number_among_others(
    config, open_provider, github, payload, is_ours
):
    commit = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
    place = "https://api.github.com/repos/ada/shop/deployments"
    github.get(place, json=[{"id": 41, "payload": payload}])
    github.post(place, json={"id": 42, "payload": {"deploycore": 7}}, status=201)
    github.post(f"{place}/{41 if is_ours else 42}/statuses", json={}, status=201)
    told = DeploymentStatus(
        deployment=7, commit=commit, environment="shop & co", state="failed", ref="main"
    )
    open_provider(config()).report_deployment(SHOP, told)
    first, *_, last = (call.request for call in github.calls)
    query = parse_qs(urlsplit(first.url).query)
    assert (query["sha"], query["environment"]) == ([commit], ["shop & co"])
    assert json.loads(last.body) == {"state": "failure"}
    if not is_ours:
        assert json.loads(github.calls[1].request.body) == {
            "ref": commit,
            "environment": "shop & co",
            "auto_merge": False,
            "required_contexts": [],
            "description": "main by deploycore",
            "payload": {"deploycore": 7},
        }


def test_an_undocumented_deployment_format_is_rejected(config, open_provider, github):
    place = "https://api.github.com/repos/ada/shop/deployments"
    github.add(responses.GET, place, json=[{"id": "x"}])
    told = DeploymentStatus(deployment=7, commit="a" * 40, environment="shop", state="failed")
    with pytest.raises(UnexpectedAnswer, match="a page of deployments"):
        open_provider(config()).report_deployment(SHOP, told)
