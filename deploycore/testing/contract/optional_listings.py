"""Checks of the optional listings: owners, tags and pull requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    NotFound,
    ProviderUnavailable,
    UnexpectedAnswer,
)
from deploycore.models import (
    OwnerQuery,
    PullRequestQuery,
    RepositoryId,
    RepositoryQuery,
    TagQuery,
)
from deploycore.provider import Provider
from deploycore.provider.registry import Plugin
from deploycore.testing.contract.base import (
    NO_HOOK,
    NO_PULL_REQUESTS,
    Connect,
    ContractBase,
    asked,
    identity,
    must_raise,
)
from deploycore.testing.contract.later_requests import fail_at_later_requests
from deploycore.testing.contract.subscription import webhook_host
from deploycore.testing.contract.writing import with_small_pages
from deploycore.testing.faults import Change, Fault, answer, malformed_json
from deploycore.testing.scenarios import (
    HIDDEN,
    MANY,
    ONE,
    TWO,
    UNKNOWN_SLUG,
    Arranged,
    ContractHost,
    PullRequestHost,
)

__all__ = ["OptionalListings"]

HOOKS = ("list_owners", "list_tags", "list_pull_requests")
OF_A_REPOSITORY = HOOKS[1:]
TAGS = ("v1.0", "v1.0.1", "V1.0-rc", "release/2024", "100%", "a&b=c+d")
NUMBER = 12
"""More items than fit on two small pages."""
NUMBER_MOST = 101
"""More items than fit on a page of any host."""
LAZY = (
    "lazy: no request is sent before an item is needed, and no page is requested before an item "
    "of it is needed"
)
WRONG_FROM_THE_START: tuple[tuple[Change, type[DeploycoreError]], ...] = (
    (answer(401, "no"), AuthenticationFailed),
    (answer(503, "no"), ProviderUnavailable),
    (malformed_json(), UnexpectedAnswer),
)


class OptionalListings(ContractBase):
    """``list_owners``, ``list_tags`` and ``list_pull_requests``."""

    def test_owners_are_those_whose_repositories_can_be_listed(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        demand(plugin, "list_owners")
        arranged = host.arrange(TWO)
        found = [owner.username for owner in provider.list_owners()]
        assert len(found) == len(set(found)), asked("list_owners", "each once")
        assert arranged[0].owner in found, asked(
            "list_owners", f"username is a valid RepositoryQuery.owner: {arranged[0].owner}"
        )
        listed = list(provider.list_repos(RepositoryQuery(owner=arranged[0].owner)))
        assert {row.slug for row in listed} == {row.slug for row in arranged}
        assert HIDDEN.owner not in found, asked(
            "list_owners", "only owners that the credentials belong to are listed"
        )

    def test_owners_can_be_filtered(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        demand(plugin, "list_owners")
        owner = host.arrange(ONE)[0].owner
        found = provider.list_owners(OwnerQuery(name_contains=owner.upper()))
        assert owner in [each.username for each in found], asked(
            "list_owners", "name_contains matches a part of a name, and ignores case"
        )
        assert list(provider.list_owners(OwnerQuery(name_contains="no-such-owner"))) == []

    def test_tags_of_all_pages_are_listed_with_their_commits(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        shop, names = _tagged(plugin, host)
        commit = shop.branches[shop.default_branch]
        found = [(tag.name, tag.commit) for tag in provider.list_tags(identity(shop))]
        assert sorted(found) == sorted((name, commit) for name in names), asked(
            "list_tags", "each item is listed once, with the full hash of its commit"
        )

    def test_a_tag_is_found_by_its_exact_name(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        shop, _ = _tagged(plugin, host)
        for name in TAGS:
            found = [tag.name for tag in provider.list_tags(identity(shop), TagQuery(name=name))]
            assert found == [name], asked("list_tags", f"query.name selects only the tag {name!r}")
        for name in ("v1", "nowhere", shop.default_branch):
            assert list(provider.list_tags(identity(shop), TagQuery(name=name))) == [], asked(
                "list_tags", "for a tag that does not exist, the listing is empty"
            )

    def test_tags_can_be_filtered_and_limited(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        shop, names = _tagged(plugin, host)
        found = {
            tag.name for tag in provider.list_tags(identity(shop), TagQuery(name_contains="V1"))
        }
        assert found == {name for name in names if "v1" in name.lower()}, asked(
            "list_tags", "name_contains matches a part of a name, and ignores case"
        )
        limited = list(provider.list_tags(identity(shop), TagQuery(name_contains="C&", limit=1)))
        assert limited == [], asked(
            "list_tags", "limit is the maximum number of items after the filters"
        )
        assert len(list(provider.list_tags(identity(shop), TagQuery(limit=2)))) == 2

    def test_open_pull_requests_of_all_pages_are_listed(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        able, shop, numbers = _requested(plugin, host)
        merged = _open(able, shop, "topic/200")
        declined = _open(able, shop, "topic/201")
        able.merge_pull_request(merged)
        able.close_pull_request(declined)
        found = list(provider.list_pull_requests(identity(shop)))
        assert sorted(each.number for each in found) == sorted(numbers), asked(
            "list_pull_requests", "each open pull request is listed once, and no others"
        )
        commit = shop.branches[shop.default_branch]
        for each in found:
            assert each.state == "open"
            assert each.source == identity(shop), asked(
                "list_pull_requests", "source is the repository that the commits come from"
            )
            assert each.source_branch == numbers[each.number], asked(
                "list_pull_requests", "source_branch is the branch that the commits come from"
            )
            assert each.target_branch == shop.default_branch, asked(
                "list_pull_requests", "target_branch is the branch to merge into"
            )
            assert each.commit is not None
            assert commit.startswith(each.commit), asked(
                "list_pull_requests",
                "commit is the newest commit of the branch, or the first digits of its hash",
            )

    def test_a_pull_request_is_found_by_its_number_with_its_state(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        able, shop, numbers = _requested(plugin, host, number=1)
        merged = able.merge_pull_request(_open(able, shop, "topic/200")).number
        declined = able.close_pull_request(_open(able, shop, "topic/201")).number
        wanted = {next(iter(numbers)): "open", merged: "merged", declined: "declined"}
        for number, state in wanted.items():
            query = PullRequestQuery(number=number)
            found = [
                (each.number, each.state)
                for each in provider.list_pull_requests(identity(shop), query)
            ]
            assert found == [(number, state)], asked(
                "list_pull_requests",
                "query.number returns the pull request with this number, in any state",
            )
        query = PullRequestQuery(number=max(wanted) + 1)
        assert list(provider.list_pull_requests(identity(shop), query)) == [], asked(
            "list_pull_requests", "the listing is empty if no pull request has this number"
        )

    @pytest.mark.parametrize("hook", OF_A_REPOSITORY)
    def test_optional_listings_of_an_unknown_repository_are_not_found(
        self, plugin: Plugin, host: ContractHost, provider: Provider, hook: str
    ) -> None:
        demand(plugin, hook)
        (shop,) = host.arrange(ONE)
        unknown = RepositoryId(owner=shop.owner, slug=UNKNOWN_SLUG)
        for repository in (unknown, HIDDEN):
            with must_raise(NotFound, hook, f"NotFound for {repository}"):
                list(_listing(provider, hook, repository))
        query: dict[str, Any] = {
            "list_tags": TagQuery(name="v1.0"),
            "list_pull_requests": PullRequestQuery(number=1),
        }
        with must_raise(
            NotFound, hook, "NotFound for a repository that does not exist, not an empty listing"
        ):
            list(_listing(provider, hook, unknown, query[hook]))

    @pytest.mark.parametrize("hook", HOOKS)
    def test_optional_listings_are_lazy(
        self, plugin: Plugin, host: ContractHost, provider: Provider, hook: str
    ) -> None:
        shop = _filled(plugin, host, hook)
        before = host.request_count
        listing = _listing(provider, hook, identity(shop))
        assert host.request_count == before, asked(hook, LAZY)
        assert next(listing, None) is not None, asked(hook, "all existing items are listed")
        listing.close()  # type: ignore[attr-defined]
        most = 2 if hook == "list_owners" else 1  # a request for the account's own name is allowed
        assert host.request_count - before <= most + 2 * self.read_ahead, asked(hook, LAZY)

    @pytest.mark.parametrize("hook", HOOKS)
    def test_what_goes_wrong_in_an_optional_listing_is_a_typed_error(
        self, plugin: Plugin, host: ContractHost, connect: Connect, hook: str
    ) -> None:
        shop = _filled(plugin, host, hook)
        for change, expected in WRONG_FROM_THE_START:
            host.faults.clear()
            host.faults.add(Fault(change))
            rule = f"{expected.__name__} for this response of the host: {change.name};"
            with must_raise(expected, hook, rule):
                list(_listing(connect(), hook, identity(shop)))
        host.faults.clear()

        def call(provider: Provider) -> object:
            return list(_listing(provider, hook, identity(shop)))

        fail_at_later_requests(host, connect, hook, call)


def demand(plugin: Plugin, hook: str) -> None:
    """Skip the check if the provider does not have this hook."""
    if hook not in plugin.hooks:
        pytest.skip(NO_HOOK.format(hook=hook))


def _listing(
    provider: Provider, hook: str, repository: RepositoryId, query: Any = None
) -> Iterator[object]:
    calls: dict[str, Callable[[], Iterator[object]]] = {
        "list_owners": lambda: provider.list_owners(query),
        "list_tags": lambda: provider.list_tags(repository, query),
        "list_pull_requests": lambda: provider.list_pull_requests(repository, query),
    }
    return calls[hook]()


def _filled(plugin: Plugin, host: ContractHost, hook: str) -> Arranged:
    """Return a repository with more items than one page of the hook's listing."""
    if hook == "list_tags":
        return _tagged(plugin, host)[0]
    if hook == "list_pull_requests":
        return _requested(plugin, host)[1]
    demand(plugin, hook)
    (shop,) = host.arrange(ONE)
    return shop


def _tagged(plugin: Plugin, host: ContractHost) -> tuple[Arranged, list[str]]:
    """Return a repository with tags of its default branch's commit, and the tags' names."""
    able = webhook_host(plugin, host, "list_tags")
    number = NUMBER if with_small_pages(host) else NUMBER_MOST
    (shop,) = host.arrange(ONE)
    names = [*TAGS, *(f"build-{each:03}" for each in range(number - len(TAGS)))]
    for name in names:
        able.add_tag(shop.owner, shop.slug, name, at=shop.branches[shop.default_branch])
    return shop, names


def _requested(
    plugin: Plugin, host: ContractHost, *, number: int | None = None
) -> tuple[PullRequestHost, Arranged, dict[int, str]]:
    """Return a repository with open pull requests, and their numbers and branches."""
    demand(plugin, "list_pull_requests")
    if not isinstance(host, PullRequestHost):
        pytest.skip(NO_PULL_REQUESTS)
    if number is None:
        number = NUMBER if with_small_pages(host) else NUMBER_MOST
    shop = host.arrange(MANY)[0]
    branches = [f"topic/{each:03}" for each in range(number)]
    return host, shop, {_open(host, shop, branch).number: branch for branch in branches}


def _open(host: PullRequestHost, shop: Arranged, branch: str) -> Any:
    return host.open_pull_request(shop.owner, shop.slug, branch, shop.default_branch)
