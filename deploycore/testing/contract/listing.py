"""Checks of listings: each item once, in order, with the right fields, and lazily."""

from __future__ import annotations

from itertools import islice, zip_longest
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from deploycore.errors import DeploycoreError, NotFound
from deploycore.models import BranchQuery, RepositoryId, RepositoryQuery
from deploycore.provider import Provider
from deploycore.testing.contract.base import (
    ContractBase,
    asked,
    hook_requests,
    identity,
    must_raise,
)
from deploycore.testing.scenarios import (
    EMPTY,
    HIDDEN,
    MANY,
    ODD,
    ODD_BRANCHES,
    ODD_SLUGS,
    ONE,
    TWO,
    UNKNOWN_BRANCHES,
    UNKNOWN_OWNERS,
    UNKNOWN_SLUG,
    ContractHost,
)

__all__ = ["Listing"]

ALL = "everything that the credentials can read is listed once, in the host's order"
LAZY = "a lazy iterable: no page is requested before an item of it is needed"
UNQUOTED = "o?dd=#100%25"
"""A name that means another one unless it is quoted exactly once."""


class Listing(ContractBase):
    """``list_repos`` and ``list_branches``."""

    def test_an_owner_without_repositories_has_an_empty_list(
        self, host: ContractHost, provider: Provider
    ) -> None:
        host.arrange(EMPTY)
        assert list(provider.list_repos()) == [], asked("list_repos", ALL)

    def test_a_repository_is_described_in_full(
        self, host: ContractHost, provider: Provider
    ) -> None:
        (shop,) = host.arrange(ONE)
        listed = list(provider.list_repos())
        assert len(listed) == 1, asked("list_repos", ALL)
        found = listed[0]
        assert found.id == identity(shop), asked(
            "list_repos", "owner.username and slug are valid arguments of the other hooks"
        )
        assert found.name == (shop.name or found.name), asked(
            "list_repos", "name is the name for people"
        )
        assert found.default_branch == shop.default_branch, asked(
            "list_repos", "default_branch is the host's default branch, whatever its name"
        )
        assert found.private is shop.private, asked("list_repos", "private is the host's value")
        assert _leads_to(found.url, host, shop.slug), asked(
            "list_repos", f"url is the repository's page for people: {found.url}"
        )
        for link in found.clone_links:
            if link.href.startswith("http"):
                assert _leads_to(link.href, host, shop.slug), asked(
                    "list_repos", f"clone links lead to the repository: {link.href}"
                )

    def test_public_and_empty_repositories_are_described_as_such(
        self, host: ContractHost, provider: Provider
    ) -> None:
        arranged = {row.slug: row for row in host.arrange(TWO)}
        found = {row.slug: row for row in provider.list_repos()}
        assert found.keys() == arranged.keys(), asked("list_repos", ALL)
        for slug, row in arranged.items():
            assert found[slug].private is row.private, asked(
                "list_repos", "private is True for a repository that is hidden from the public"
            )
            wanted = row.default_branch if row.branches else None
            assert found[slug].default_branch in (wanted, row.default_branch), asked(
                "list_repos",
                "default_branch is the host's default branch, or None if there is no commit",
            )

    def test_clone_links_hold_no_user_information(
        self, host: ContractHost, provider: Provider
    ) -> None:
        host.arrange(TWO)
        links = [link for row in provider.list_repos() for link in row.clone_links]
        carried = [link.name for link in links if link.href.startswith("http") and "@" in link.href]
        assert carried == [], asked(
            "list_repos", "clone links contain no credentials and no username"
        )

    def test_all_pages_are_listed_in_the_hosts_order(
        self, host: ContractHost, provider: Provider
    ) -> None:
        arranged = host.arrange(MANY)
        found = [row.slug for row in provider.list_repos()]
        assert found == [row.slug for row in arranged], asked("list_repos", ALL)

    def test_all_branches_of_all_pages_are_listed_with_their_commits(
        self, host: ContractHost, provider: Provider
    ) -> None:
        big = host.arrange(MANY)[0]
        found = list(provider.list_branches(identity(big)))
        assert len(found) == len({branch.name for branch in found}), asked("list_branches", ALL)
        assert {branch.name: branch.commit for branch in found} == dict(big.branches), asked(
            "list_branches", f"{ALL}, with the full hash of its commit"
        )

    def test_an_empty_repository_has_no_branches(
        self, host: ContractHost, provider: Provider
    ) -> None:
        vacant = next(row for row in host.arrange(TWO) if not row.branches)
        assert list(provider.list_branches(identity(vacant))) == [], asked(
            "list_branches",
            "a repository without commits has an empty list of branches, not an error",
        )

    def test_odd_names_arrive_as_they_are(self, host: ContractHost, provider: Provider) -> None:
        arranged = host.arrange(ODD)
        found = {row.slug: row for row in provider.list_repos()}
        assert set(found) == {row.slug for row in arranged}, asked("list_repos", ALL)
        plain = arranged[0]
        assert found[plain.slug].name == (plain.name or found[plain.slug].name), asked(
            "list_repos", "names keep every character"
        )
        for row in arranged:
            names = {branch.name for branch in provider.list_branches(identity(row))}
            assert names == set(row.branches), asked(
                "list_branches",
                "names keep every character, and are quoted exactly once in addresses",
            )

    @pytest.mark.parametrize("name", ODD_BRANCHES)
    def test_a_branch_is_found_by_its_exact_name(
        self, host: ContractHost, provider: Provider, name: str
    ) -> None:
        plain = host.arrange(ODD)[0]
        found = list(provider.list_branches(identity(plain), BranchQuery(name=name)))
        assert [(row.name, row.commit) for row in found] == [(name, plain.branches[name])], asked(
            "list_branches", "query.name selects the branch with exactly this name"
        )

    @pytest.mark.parametrize("name", UNKNOWN_BRANCHES)
    def test_a_branch_that_does_not_exist_is_an_empty_answer(
        self, host: ContractHost, provider: Provider, name: str
    ) -> None:
        plain = host.arrange(ODD)[0]
        assert list(provider.list_branches(identity(plain), BranchQuery(name=name))) == [], asked(
            "list_branches", "for a branch that does not exist, the listing is empty"
        )

    def test_a_branch_of_the_last_page_is_found(
        self, host: ContractHost, provider: Provider
    ) -> None:
        big = host.arrange(MANY)[0]
        name = sorted(big.branches)[-1]
        found = list(provider.list_branches(identity(big), BranchQuery(name=name)))
        assert [row.name for row in found] == [name], asked(
            "list_branches", "query.name finds a branch on any page of the listing"
        )

    def test_names_can_be_filtered(self, host: ContractHost, provider: Provider) -> None:
        big = host.arrange(MANY)[0]
        found = [row.slug for row in provider.list_repos(RepositoryQuery(name_contains="Y-24"))]
        assert found == [f"repository-{number}" for number in range(240, 249)], asked(
            "list_repos", "name_contains matches a part of a name, and ignores case"
        )
        query = BranchQuery(name_contains="C/24")
        branches = {row.name for row in provider.list_branches(identity(big), query)}
        assert branches == {f"topic/{number}" for number in range(240, 250)}, asked(
            "list_branches", "name_contains matches a part of a name, and ignores case"
        )

    def test_a_limit_counts_what_the_filters_let_through(
        self, host: ContractHost, provider: Provider
    ) -> None:
        plain = host.arrange(ODD)[0]
        rule = "limit is the maximum number of items after the query's filters"
        query = BranchQuery(name=plain.default_branch, limit=1)
        branches = [row.name for row in provider.list_branches(identity(plain), query)]
        assert branches == [plain.default_branch], asked("list_branches", rule)
        upper = ODD_SLUGS[-1]
        filtered = RepositoryQuery(name_contains=upper.upper(), limit=1)
        assert [row.slug for row in provider.list_repos(filtered)] == [upper], asked(
            "list_repos", rule
        )
        big = host.arrange(MANY)[0]
        found = list(
            provider.list_branches(identity(big), BranchQuery(name_contains="C/24", limit=3))
        )
        assert len(found) == 3, asked("list_branches", rule)
        assert all("c/24" in row.name for row in found), asked("list_branches", rule)

    def test_a_limit_is_kept_and_saves_requests(
        self, host: ContractHost, provider: Provider
    ) -> None:
        arranged = host.arrange(MANY)
        before = len(hook_requests(host))
        found = [row.slug for row in provider.list_repos(RepositoryQuery(limit=3))]
        assert found == [row.slug for row in arranged[:3]], asked(
            "list_repos", "limit returns at most this number of items, the first ones"
        )
        assert len(hook_requests(host)) - before <= 1 + self.read_ahead, asked("list_repos", LAZY)

    def test_an_owner_can_be_named(self, host: ContractHost, provider: Provider) -> None:
        arranged = host.arrange(TWO)
        query = RepositoryQuery(owner=arranged[0].owner)
        assert [row.slug for row in provider.list_repos(query)] == [row.slug for row in arranged], (
            asked("list_repos", "query.owner selects the owner of the repositories")
        )

    @pytest.mark.parametrize("owner", UNKNOWN_OWNERS)
    def test_an_unknown_owner_is_an_error(
        self, host: ContractHost, provider: Provider, owner: str
    ) -> None:
        host.arrange(ONE)
        try:
            found = list(provider.list_repos(RepositoryQuery(owner=owner)))
        except NotFound:
            return
        except Exception as error:
            if type(error).__name__ == "ConfigurationError":
                return
            pytest.fail(f"{asked('list_repos', 'NotFound for an unknown owner')} {error!r}")
        pytest.fail(
            f"{asked('list_repos', 'NotFound for an unknown owner')} {found}", pytrace=False
        )

    def test_names_are_quoted_once_in_requests(
        self, host: ContractHost, provider: Provider
    ) -> None:
        (shop,) = host.arrange(ONE)
        slug = f"{shop.slug}{UNQUOTED}/x"
        for hook, name, action in (
            ("list_repos", UNQUOTED, lambda: provider.list_repos(RepositoryQuery(owner=UNQUOTED))),
            (
                "list_branches",
                slug,
                lambda: provider.list_branches(RepositoryId(owner=shop.owner, slug=slug)),
            ),
        ):
            before = len(hook_requests(host))
            with must_raise(DeploycoreError, hook, "nothing with this unusual name exists"):
                list(action())
            seen = [(request.path, request.query) for request in hook_requests(host)[before:]]
            # An author may reject such a name without a request to the host.
            assert not seen or any(_names(path, query, name) for path, query in seen), asked(
                hook, f"the name {name!r} reaches the host unchanged: quote it once, with safe=''"
            )

    @pytest.mark.parametrize("which", ["unknown", "hidden"])
    def test_a_repository_that_is_unknown_or_hidden_is_not_found(
        self, host: ContractHost, provider: Provider, which: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        unknown = RepositoryId(owner=shop.owner, slug=UNKNOWN_SLUG)
        with must_raise(NotFound, "list_branches", f"NotFound for a repository that is {which}"):
            list(provider.list_branches(unknown if which == "unknown" else HIDDEN))

    def test_an_exact_name_in_an_unknown_repository_is_not_found(
        self, host: ContractHost, provider: Provider
    ) -> None:
        (shop,) = host.arrange(ONE)
        unknown = RepositoryId(owner=shop.owner, slug=UNKNOWN_SLUG)
        with must_raise(
            NotFound,
            "list_branches",
            "NotFound for an unknown repository, but an empty listing for an unknown branch",
        ):
            list(provider.list_branches(unknown, BranchQuery(name="main")))

    def test_nothing_is_asked_before_the_first_item_is_wanted(
        self, host: ContractHost, provider: Provider
    ) -> None:
        big = host.arrange(MANY)[0]
        before = len(hook_requests(host))
        repositories, branches = provider.list_repos(), provider.list_branches(identity(big))
        assert len(hook_requests(host)) == before, asked("list_repos", LAZY)
        assert next(repositories, None) is not None, asked("list_repos", ALL)
        assert next(branches, None) is not None, asked("list_branches", ALL)
        assert len(hook_requests(host)) - before <= 2 * (1 + self.read_ahead), asked(
            "list_repos", LAZY
        )

    def test_a_listing_that_is_left_early_asks_no_more(
        self, host: ContractHost, provider: Provider
    ) -> None:
        host.arrange(MANY)
        before = len(hook_requests(host))
        listing = provider.list_repos()
        assert len(list(islice(listing, 30))) == 30, asked("list_repos", ALL)
        listing.close()  # type: ignore[attr-defined]
        assert len(hook_requests(host)) - before <= 1 + 2 * self.read_ahead, asked(
            "list_repos", LAZY
        )

    def test_listings_at_the_same_time_do_not_disturb_each_other(
        self, host: ContractHost, provider: Provider
    ) -> None:
        arranged = host.arrange(MANY)
        big, other = arranged[0], arranged[1]
        listings = zip_longest(
            provider.list_repos(),
            provider.list_branches(identity(big)),
            provider.list_branches(identity(other)),
            provider.list_repos(RepositoryQuery(limit=5)),
        )
        found = [
            [row for row in column if row is not None] for column in zip(*listings, strict=True)
        ]
        assert [len(column) for column in found] == [250, 251, 0, 5], asked(
            "list_repos", "one instance can be called several times at once: calls share no state"
        )

    def test_a_listing_can_be_read_again(self, host: ContractHost, provider: Provider) -> None:
        host.arrange(TWO)
        first, second = list(provider.list_repos()), list(provider.list_repos())
        assert first == second, asked("list_repos", "each call lists again from the beginning")
        (added,) = host.arrange(ONE)
        anew = "each call contacts the host again: nothing is cached from an earlier call"
        assert [row.slug for row in provider.list_repos()] == [added.slug], asked(
            "list_repos", anew
        )
        list(provider.list_branches(identity(added)))
        before = len(hook_requests(host))
        list(provider.list_branches(identity(added)))
        assert len(hook_requests(host)) > before, asked("list_branches", anew)


def _leads_to(address: str, host: ContractHost, slug: str) -> bool:
    """Return whether an address belongs to the host and names the repository."""
    parts = urlsplit(address)
    at_home = parts.scheme in ("http", "https") and parts.netloc == urlsplit(host.url).netloc
    return at_home and slug in unquote(parts.path)


def _names(path: str, query: str, name: str) -> bool:
    """Return whether the path or the query of a request contains the name."""
    parts = [unquote(part) for part in path.split("/")]
    return any(name in part for part in [*parts, *(value for _, value in parse_qsl(query))])
