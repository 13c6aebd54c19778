"""Checks of failures after the first request of a hook, such as at a later page.

Each hook is called once to count its requests, and then again with a fault from one of the later
requests on. Each call has its own provider, so that no call uses what another call has stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    PermissionDenied,
    PluginError,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    UnexpectedAnswer,
)
from deploycore.models import BranchQuery, RepositoryId, RepositoryQuery
from deploycore.provider import Provider
from deploycore.testing.contract.base import Connect, ContractBase, asked, identity, must_raise
from deploycore.testing.contract.failures import REMOVED, Damage
from deploycore.testing.faults import (
    Change,
    Fault,
    answer,
    connection_cut,
    connection_reset,
    html,
    later,
    malformed_json,
)
from deploycore.testing.messages import Answer, Request
from deploycore.testing.scenarios import MANY, ONE, ContractHost

__all__ = ["Call", "LaterRequests", "fail_at_later_requests"]

Call = Callable[[Provider, RepositoryId], object]

NO_SUCH_BRANCH = "no-such-branch"
CALLS: Mapping[str, tuple[str, Call]] = {
    "authenticate": ("authenticate", lambda provider, _: provider.authenticate()),
    "list_repos": ("list_repos", lambda provider, _: list(provider.list_repos())),
    "list_repos-of-an-owner": (
        "list_repos",
        lambda provider, shop: list(provider.list_repos(RepositoryQuery(owner=shop.owner))),
    ),
    "list_branches": (
        "list_branches",
        lambda provider, shop: list(provider.list_branches(shop)),
    ),
    "list_branches-by-name": (
        "list_branches",
        lambda provider, shop: list(provider.list_branches(shop, BranchQuery(name=NO_SUCH_BRANCH))),
    ),
    "clone_url": ("clone_url", lambda provider, shop: provider.clone_url(shop)),
    "find_repository": (
        "find_repository",
        lambda provider, shop: (
            provider.find_repository(shop) if provider.supports("find_repository") else None
        ),
    ),
}
"""The hook to call, and its arguments, by the name of a run."""

SOME = replace(MANY, name="some", repositories=MANY.repositories[:4])
SOME_REPLACEMENTS = (REMOVED, 7)
PLACES_MOST = 24


class LaterRequests(ContractBase):
    """Failures at the second request of a hook, and at later ones."""

    @pytest.mark.parametrize("name", CALLS)
    def test_what_goes_wrong_at_a_later_request_is_a_typed_error(
        self, host: ContractHost, connect: Connect, name: str
    ) -> None:
        # Without an API, there are no pages: each repository takes a request.
        big = host.arrange(MANY if self.has_api else SOME)[0]
        hook, call = CALLS[name]
        fail_at_later_requests(host, connect, hook, lambda provider: call(provider, identity(big)))

    @pytest.mark.parametrize("name", CALLS)
    def test_no_field_of_a_later_answer_is_trusted(
        self, host: ContractHost, connect: Connect, name: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        hook, call = CALLS[name]
        for number in range(1, requests_of(host, connect(), lambda it: call(it, identity(shop)))):
            for damage in _damages():
                host.faults.clear()
                host.faults.add(Fault(later(damage.change, after=number)))
                try:
                    call(connect(), identity(shop))
                except PluginError as error:
                    rule = "UnexpectedAnswer for a field of another type, or a missing field"
                    pytest.fail(
                        f"{asked(hook, rule)} at request {number + 1} with {damage}: {error}",
                        pytrace=False,
                    )
                except ProviderError:
                    pass
                if not damage.hit:
                    break


def requests_of(host: ContractHost, provider: Provider, call: Callable[[Provider], object]) -> int:
    """Return how many requests a call sends if nothing fails."""
    host.faults.clear()
    before = host.request_count
    call(provider)
    return host.request_count - before


def fail_at_later_requests(
    host: ContractHost,
    connect: Connect,
    hook: str,
    call: Callable[[Provider], object],
    *,
    prepare: Callable[[], object] = lambda: None,
) -> None:
    """Fail the check unless every failure at a later request of a call is a typed error.

    Args:
        prepare: Resets the host, before each call, to its state before the first call.
    """
    prepare()
    count = requests_of(host, connect(), call)
    for after, change, expected in _sample(host, count):
        host.faults.clear()
        prepare()
        hits: list[str] = []
        host.faults.add(Fault(later(_noting(change, hits), after=after)))
        rule = (
            f"{expected.__name__} for this response of the host ({change.name}) from request "
            f"{after + 1} of {count} on:"
        )
        with must_raise(expected, hook, rule):
            call(connect())
            if not hits:  # it needed fewer requests this time
                raise expected("nothing went wrong")
    host.faults.clear()


def _sample(host: ContractHost, count: int) -> Iterator[tuple[int, Change, type[DeploycoreError]]]:
    """The faults to inject, and after how many requests: every kind at the second request, and some
    kinds at the last one. Each has the expected error."""
    changes: tuple[tuple[Change, type[DeploycoreError]], ...] = (
        (answer(401, "no"), AuthenticationFailed),
        (answer(403, "no"), PermissionDenied),
        (host.rate_limited(1800), RateLimited),
        (answer(500, "no"), ProviderUnavailable),
        (connection_reset(), ProviderUnavailable),
        (connection_cut(after=1), ProviderUnavailable),
        (html(), UnexpectedAnswer),
        (malformed_json(), UnexpectedAnswer),
    )
    if count > 1:
        yield from ((1, change, expected) for change, expected in changes)
    if count > 2:
        yield from ((count - 1, *changes[number]) for number in (1, 3, 7))


def _noting(change: Change, hits: list[str]) -> Change:
    def apply(request: Request, found: Answer) -> Answer:
        hits.append(request.path)
        return change.apply(request, found)

    return Change(change.name, apply)


def _damages() -> Iterator[Damage]:
    """Yield some fields of a response with some replacements, until the consumer stops."""
    for number in range(PLACES_MOST):
        for replacement in SOME_REPLACEMENTS:
            yield Damage(number, replacement)
