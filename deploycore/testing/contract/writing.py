"""Checks of requests that change something at the host: failures, and retries without duplicates.

For providers that have the hooks for webhooks, statuses and deployments."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from deploycore.errors import ProviderUnavailable
from deploycore.events import CommitStatus, DeploymentStatus
from deploycore.provider import Provider
from deploycore.provider.registry import Plugin
from deploycore.testing.contract.base import (
    NO_DEPLOYMENTS,
    NO_HOOK,
    Connect,
    ContractBase,
    asked,
    identity,
    must_raise,
)
from deploycore.testing.contract.later_requests import fail_at_later_requests
from deploycore.testing.contract.subscription import SECRET, webhook_host
from deploycore.testing.contract.webhooks import MANAGING
from deploycore.testing.faults import Change, Fault, answer, connection_cut, connection_reset
from deploycore.testing.messages import Answer, Request
from deploycore.testing.paging import Pages
from deploycore.testing.scenarios import ONE, Arranged, ContractHost, DeploymentsHost

__all__ = ["Writing", "with_small_pages"]

WEBHOOK = "https://deploy.example.com/webhook"
SMALL_PAGE = 5
WEBHOOKS = 12
"""More items than fit on two small pages."""
WEBHOOKS_MOST = 101
"""More items than fit on a page of any host."""
REPORTING = ("report_status", "report_deployment")
FAILURES = (answer(500, "no"), answer(503, ""), connection_reset(), connection_cut(after=1))


class Writing(ContractBase):
    """Webhooks, statuses and deployments that need more than one request or page."""

    def test_webhooks_of_later_pages_are_known(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        able = webhook_host(plugin, host, *MANAGING)
        (shop,) = host.arrange(ONE)
        last = _with_webhooks(host, provider, shop)
        listed = sorted(hook.url for hook in provider.list_webhooks(identity(shop)))
        assert listed == sorted(hook.url for hook in able.webhooks.of(_name(shop))), asked(
            "list_webhooks", "all items of all pages are listed"
        )
        provider.register_webhook(identity(shop), last, SECRET)
        sending = [hook for hook in able.webhooks.of(_name(shop)) if hook.url == last]
        assert len(sending) == 1, asked(
            "register_webhook",
            "there is one webhook for each address, even if it is on a later page",
        )

    @pytest.mark.parametrize("hook", MANAGING)
    def test_what_goes_wrong_later_about_webhooks_is_a_typed_error(
        self, plugin: Plugin, host: ContractHost, connect: Connect, hook: str
    ) -> None:
        able = webhook_host(plugin, host, *MANAGING)
        (shop,) = host.arrange(ONE)
        _with_webhooks(host, connect(), shop)
        known = {webhook.id: webhook for webhook in able.webhooks.of(_name(shop))}
        first = next(iter(known.values()))

        def prepare() -> None:
            for webhook in able.webhooks.all:
                if webhook.id not in known:
                    able.webhooks.remove(webhook.id)
            able.webhooks.put(first)

        calls: dict[str, Callable[[Provider], object]] = {
            "register_webhook": lambda it: it.register_webhook(identity(shop), WEBHOOK, SECRET),
            "list_webhooks": lambda it: list(it.list_webhooks(identity(shop))),
            "remove_webhook": lambda it: it.remove_webhook(identity(shop), first.id),
        }
        fail_at_later_requests(host, connect, hook, calls[hook], prepare=prepare)

    @pytest.mark.parametrize("change", FAILURES, ids=lambda change: change.name.replace(" ", "-"))
    def test_a_webhook_is_not_made_twice(
        self, plugin: Plugin, host: ContractHost, provider: Provider, change: Change
    ) -> None:
        able = webhook_host(plugin, host, *MANAGING)
        (shop,) = host.arrange(ONE)
        adding = _Adding(lambda: able.webhooks.of(_name(shop)), change)
        host.faults.add(Fault(adding.change))
        with must_raise(
            ProviderUnavailable, "register_webhook", "the error is raised, not ignored"
        ):
            provider.register_webhook(identity(shop), WEBHOOK, SECRET)
        assert adding.repeated == [], asked("register_webhook", ONCE)

    @pytest.mark.parametrize("hook", REPORTING)
    def test_what_goes_wrong_later_in_a_report_is_a_typed_error(
        self, plugin: Plugin, host: ContractHost, connect: Connect, hook: str
    ) -> None:
        if hook == "report_status":
            webhook_host(plugin, host, hook)
        else:
            _deployments_host(plugin, host)
        (shop,) = host.arrange(ONE)
        commit, numbers = shop.branches[shop.default_branch], itertools.count(1)

        def report(provider: Provider) -> None:
            if hook == "report_status":
                status = CommitStatus(commit=commit, key="k" * 40, state="failed", name="shop")
                provider.report_status(identity(shop), status)
            else:
                provider.report_deployment(identity(shop), _deployment(commit, next(numbers)))

        fail_at_later_requests(host, connect, hook, report)

    @pytest.mark.parametrize("change", FAILURES, ids=lambda change: change.name.replace(" ", "-"))
    def test_a_deployment_is_not_added_twice(
        self, plugin: Plugin, host: ContractHost, provider: Provider, change: Change
    ) -> None:
        able = _deployments_host(plugin, host)
        (shop,) = host.arrange(ONE)
        commit = shop.branches[shop.default_branch]
        adding = _Adding(lambda: able.deployments(shop.owner, shop.slug, commit), change)
        host.faults.add(Fault(adding.change))
        with must_raise(
            ProviderUnavailable, "report_deployment", "the error is raised, not ignored"
        ):
            provider.report_deployment(identity(shop), _deployment(commit, 7))
        assert adding.repeated == [], asked("report_deployment", ONCE)


ONCE = (
    "a request that adds something is not retried: the host may have added it before the "
    "connection failed (POST is not idempotent)"
)


class _Adding:
    """A failure of a request that has already added something, and of its retries.

    Attributes:
        repeated: The retries, as ``METHOD path``.
    """

    def __init__(self, added: Callable[[], Sequence[object]], change: Change) -> None:
        self._added = added
        self._before = len(added())
        self._inner = change
        self._first: Request | None = None
        self.repeated: list[str] = []
        self.change = Change(change.name, self._apply)

    def _apply(self, request: Request, found: Answer) -> Answer:
        if self._first is None and len(self._added()) > self._before:
            self._first = request
            return self._inner.apply(request, found)
        if self._first is not None and _same(request, self._first):
            self.repeated.append(f"{request.method} {request.path}")
        return found


def _same(one: Request, other: Request) -> bool:
    return (one.method, one.target, one.body) == (other.method, other.target, other.body)


def _with_webhooks(host: ContractHost, provider: Provider, shop: Arranged) -> str:
    """Register more webhooks than fit on a page, and return the address of the last one."""
    number = WEBHOOKS if with_small_pages(host) else WEBHOOKS_MOST
    urls = [f"{WEBHOOK}/{each}" for each in range(number)]
    for url in urls:
        provider.register_webhook(identity(shop), url, SECRET)
    return urls[-1]


def with_small_pages(host: ContractHost) -> bool:
    """Make a sandbox use small pages; return whether it supports that."""
    pages = getattr(host, "PAGES", None)
    if not isinstance(pages, Pages):
        return False
    host.PAGES = replace(  # type: ignore[attr-defined]
        pages, size_default=SMALL_PAGE, size_most=SMALL_PAGE
    )
    return True


def _name(shop: Arranged) -> str:
    return f"{shop.owner}/{shop.slug}"


def _deployment(commit: str, number: int) -> DeploymentStatus:
    url = f"https://deploy.example.com/deployments/{number}"
    return DeploymentStatus(
        deployment=number, commit=commit, environment="shop-live", state="successful", url=url
    )


def _deployments_host(plugin: Plugin, host: ContractHost) -> DeploymentsHost:
    if "report_deployment" not in plugin.hooks:
        pytest.skip(NO_HOOK.format(hook="report_deployment"))
    if not isinstance(host, DeploymentsHost):
        pytest.skip(NO_DEPLOYMENTS)
    return host
