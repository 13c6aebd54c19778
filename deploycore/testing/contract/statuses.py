"""Checks of ``report_status``, for providers that have it: what is told is shown by the host."""

from __future__ import annotations

from typing import get_args

import pytest

from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    NotFound,
    PermissionDenied,
    ProviderUnavailable,
)
from deploycore.events import CommitState, CommitStatus
from deploycore.models import RepositoryId
from deploycore.provider import Provider
from deploycore.registry import Plugin
from deploycore.testing.contract.base import (
    Connect,
    ContractBase,
    asked,
    identity,
    must_raise,
)
from deploycore.testing.contract.webhooks import webhook_host
from deploycore.testing.faults import Change, Fault, answer, connection_reset
from deploycore.testing.scenarios import ONE, Access, Arranged, ContractHost

__all__ = ["Statuses"]

HOOK = "report_status"


def _status(commit: str, state: CommitState = "in_progress", **more: str) -> CommitStatus:
    return CommitStatus(commit=commit, key="k" * 40, state=state, name="shop", **more)


def _commit(arranged: Arranged) -> str:
    return arranged.branches[arranged.default_branch]


class Statuses(ContractBase):
    """How a commit's deployment is shown on the host's pages."""

    def test_a_status_is_shown_and_replaced_by_its_key(
        self, plugin: Plugin, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        able = webhook_host(plugin, host, HOOK)
        (shop,) = host.arrange(ONE)
        commit, provider = _commit(shop), connect(mode=mode)
        for state in get_args(CommitState):
            provider.report_status(identity(shop), _status(commit, state))
            shown = able.statuses(shop.owner, shop.slug, commit)
            latest = {status.key: status.state for status in shown}
            assert latest == {"k" * 40: state}, asked(HOOK, "the same key replaces the former")

    def test_a_status_of_all_there_is_to_tell_is_shown(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        able = webhook_host(plugin, host, HOOK)
        (shop,) = host.arrange(ONE)
        commit = _commit(shop)
        url = "https://deploy.example.com/deployments/7?a=b"
        told = _status(
            commit, "failed", description="größer " * 100, url=url, ref=shop.default_branch
        )
        provider.report_status(identity(shop), told)
        (shown,) = able.statuses(shop.owner, shop.slug, commit)
        assert shown.url == url, asked(HOOK, "the address is where there is more to read")
        assert shown.state == "failed"

    def test_a_status_of_a_commit_or_repository_that_is_not_there_is_not_found(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        webhook_host(plugin, host, HOOK)
        (shop,) = host.arrange(ONE)
        rule = "NotFound for a commit or a repository that is not there"
        with must_raise(NotFound, HOOK, rule):
            provider.report_status(identity(shop), _status("0123456789" * 4))
        nowhere = RepositoryId(owner=shop.owner, slug="no-such-repository")
        with must_raise(NotFound, HOOK, rule):
            provider.report_status(nowhere, _status(_commit(shop)))

    def test_a_missing_scope_for_statuses_is_named(
        self, plugin: Plugin, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        webhook_host(plugin, host, HOOK)
        if self.status_scope is None:
            pytest.skip("the contract class names no scope that statuses ask for")
        (shop,) = host.arrange(ONE)
        rule = "PermissionDenied, and the hint names the missing scope"
        with must_raise(PermissionDenied, HOOK, rule) as caught:
            connect(Access.UNSCOPED, mode=mode).report_status(
                identity(shop), _status(_commit(shop))
            )
        assert self.status_scope in f"{caught[0]} {caught[0].hint}", asked(HOOK, rule)

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            pytest.param(answer(401, "no"), AuthenticationFailed, id="401"),
            pytest.param(answer(403, "no"), PermissionDenied, id="403"),
            pytest.param(answer(500, "no"), ProviderUnavailable, id="500"),
            pytest.param(answer(503, ""), ProviderUnavailable, id="503"),
            pytest.param(connection_reset(), ProviderUnavailable, id="reset"),
        ],
    )
    def test_what_goes_wrong_with_statuses_is_a_typed_error(
        self,
        plugin: Plugin,
        host: ContractHost,
        provider: Provider,
        change: Change,
        expected: type[DeploycoreError],
    ) -> None:
        webhook_host(plugin, host, HOOK)
        (shop,) = host.arrange(ONE)
        host.faults.add(Fault(change))
        with must_raise(expected, HOOK, f"{expected.__name__} where the host does this"):
            provider.report_status(identity(shop), _status(_commit(shop)))
