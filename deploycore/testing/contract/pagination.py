"""Checks of links between pages: loops, other hosts, invalid links."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from deploycore.errors import ProviderError, ProviderUnavailable
from deploycore.provider import Provider
from deploycore.testing.contract.base import (
    PATIENT,
    Connect,
    ContractBase,
    asked,
    identity,
    must_raise,
    promptly,
)
from deploycore.testing.faults import (
    Change,
    Fault,
    answer,
    empty_page,
    endless_pages,
    later,
    looping_next,
    next_link,
)
from deploycore.testing.host import LoopbackHost
from deploycore.testing.messages import Request
from deploycore.testing.scenarios import MANY, ContractHost

__all__ = ["Pagination"]

PAGES_MOST = 150
"""More pages than an author could consider enough."""
ENDS = "a listing ends, with an error if the host sends pages endlessly"
ORIGIN = (
    "links to another origin are not followed: credentials are sent only to the configured origin"
)


class Pagination(ContractBase):
    """Links between pages."""

    def test_a_loop_of_pages_is_an_error(self, host: ContractHost, provider: Provider) -> None:
        host.arrange(MANY)
        host.faults.add(Fault(looping_next(self.links())))
        with must_raise(ProviderError, "list_repos", ENDS):
            promptly("list_repos", ENDS, lambda: list(provider.list_repos()))

    def test_pages_without_end_are_an_error(self, host: ContractHost, connect: Connect) -> None:
        big = host.arrange(MANY)[0]
        provider = connect(http=replace(PATIENT, pages_most=PAGES_MOST))
        host.faults.add(Fault(endless_pages(self.links())))
        with must_raise(ProviderError, "list_repos", ENDS):
            promptly("list_repos", ENDS, lambda: list(provider.list_repos()))
        with must_raise(ProviderError, "list_branches", ENDS):
            promptly("list_branches", ENDS, lambda: list(provider.list_branches(identity(big))))
        host.faults.clear()
        assert list(provider.list_branches(identity(big))), (
            "the provider does not recover from the fault"
        )

    @pytest.mark.parametrize(
        "place",
        [
            pytest.param(lambda stranger, request: stranger.url + _path(request), id="other-port"),
            pytest.param(
                lambda stranger, request: stranger.url.replace("http:", "") + _path(request),
                id="no-scheme",
            ),
            pytest.param(
                lambda stranger, request: (
                    request.origin.replace("//", "//user:word@") + _path(request)
                ),
                id="user-information",
            ),
            pytest.param(
                lambda stranger, request: request.origin + "@" + stranger.url[7:] + _path(request),
                id="at-sign",
            ),
            pytest.param(
                lambda stranger, request: request.origin.replace("http", "ftp") + _path(request),
                id="other-scheme",
            ),
        ],
    )
    def test_a_link_to_another_place_is_not_followed(
        self,
        host: ContractHost,
        provider: Provider,
        place: Callable[[LoopbackHost, Request], str],
    ) -> None:
        big = host.arrange(MANY)[0]
        with LoopbackHost() as stranger:
            change = next_link("astray", self.links(), lambda request: place(stranger, request))
            host.faults.add(Fault(change))
            with must_raise(ProviderError, "list_repos", ORIGIN):
                list(provider.list_repos())
            with must_raise(ProviderError, "list_branches", ORIGIN):
                list(provider.list_branches(identity(big)))
            assert stranger.requests == [], asked("secrets", ORIGIN)

    @pytest.mark.parametrize("text", ["http://[", "://", "\\\\x", "next page please"])
    def test_a_malformed_link_is_an_error(
        self, host: ContractHost, provider: Provider, text: str
    ) -> None:
        host.arrange(MANY)
        host.faults.add(Fault(next_link("malformed", self.links(), lambda _: text)))
        with must_raise(
            ProviderError,
            "list_repos",
            "a link that cannot be followed is an error, not the end of the listing",
        ):
            promptly("list_repos", ENDS, lambda: list(provider.list_repos()))

    def test_a_page_without_items_is_not_the_end(
        self, host: ContractHost, provider: Provider
    ) -> None:
        arranged = host.arrange(MANY)
        host.faults.add(Fault(empty_page(self.links()), times=1))
        found = [row.slug for row in provider.list_repos()]
        assert 0 < len(found) < len(arranged), asked(
            "list_repos", "the listing continues while there is a link"
        )
        assert found == [row.slug for row in arranged[-len(found) :]], asked(
            "list_repos", "every link to a next page is followed"
        )
        big = arranged[0]
        host.faults.clear()
        host.faults.add(Fault(empty_page(self.links()), times=1))
        branches = [row.name for row in provider.list_branches(identity(big))]
        assert 0 < len(branches) <= len(big.branches), asked(
            "list_branches", "every link to a next page is followed"
        )

    def test_what_was_listed_before_a_page_failed_was_given(
        self, host: ContractHost, provider: Provider
    ) -> None:
        arranged = host.arrange(MANY)
        host.faults.add(Fault(_from_second_page(answer(500, "out of order"))))
        given = []
        rule = "the error of a page is raised when the listing reaches the page, and is never lost"
        with must_raise(ProviderUnavailable, "list_repos", rule):
            for row in provider.list_repos():
                given.append(row.slug)
        assert given == [row.slug for row in arranged[: len(given)]]
        assert given, asked(
            "list_repos", "the items of earlier pages are returned before the error is raised"
        )
        branches = []
        host.faults.clear()
        host.faults.add(Fault(_from_second_page(answer(500, "out of order"))))
        with must_raise(ProviderUnavailable, "list_branches", rule):
            for branch in provider.list_branches(identity(arranged[0])):
                branches.append(branch.name)
        assert branches, asked(
            "list_branches", "the items of earlier pages are returned before the error is raised"
        )

    def test_a_page_that_fails_once_is_asked_for_again(
        self, host: ContractHost, provider: Provider
    ) -> None:
        arranged = host.arrange(MANY)
        change = later(answer(503, "just a moment"), after=1)
        host.faults.add(Fault(change, times=2))
        found: list[str] = []
        with suppress(ProviderUnavailable):
            found = [row.slug for row in provider.list_repos()]
        assert found == [row.slug for row in arranged], asked(
            "list_repos",
            "after a retry of the http client, no item is missing and none is repeated",
        )


def _path(request: Request) -> str:
    return request.link(page="2").removeprefix(request.origin)


def _from_second_page(change: Change) -> Change:
    return later(change, after=1)
