"""Checks of ``report_status`` and ``report_deployment``: the host shows what was reported."""

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
from deploycore.events import CommitState, CommitStatus, DeploymentStatus
from deploycore.models import RepositoryId
from deploycore.provider import Provider
from deploycore.provider.registry import Plugin
from deploycore.testing.contract.base import (
    NO_DEPLOYMENTS,
    NO_HOOK,
    SKIPPED_BY_THE_KIT,
    Connect,
    ContractBase,
    asked,
    identity,
    must_raise,
)
from deploycore.testing.contract.subscription import webhook_host
from deploycore.testing.faults import Change, Fault, answer, connection_reset
from deploycore.testing.scenarios import (
    ONE,
    Access,
    Arranged,
    ContractHost,
    DeploymentsHost,
)

__all__ = ["HostDeployments", "Statuses"]

HOOK = "report_status"
DEPLOYMENT = "report_deployment"

REFUSALS = [
    pytest.param(answer(401, "no"), AuthenticationFailed, id="401"),
    pytest.param(answer(403, "no"), PermissionDenied, id="403"),
    pytest.param(answer(500, "no"), ProviderUnavailable, id="500"),
    pytest.param(answer(503, ""), ProviderUnavailable, id="503"),
    pytest.param(connection_reset(), ProviderUnavailable, id="reset"),
]


def _status(commit: str, state: CommitState = "in_progress", **more: str) -> CommitStatus:
    return CommitStatus(commit=commit, key="k" * 40, state=state, name="shop", **more)


def _deployment(commit: str, state: CommitState, number: int = 7) -> DeploymentStatus:
    url = f"https://deploy.example.com/deployments/{number}"
    return DeploymentStatus(
        deployment=number, commit=commit, environment="shop-live", state=state, url=url
    )


def _deployments_host(plugin: Plugin, host: ContractHost) -> DeploymentsHost:
    if DEPLOYMENT not in plugin.hooks:
        pytest.skip(NO_HOOK.format(hook=DEPLOYMENT))
    if not isinstance(host, DeploymentsHost):
        pytest.skip(NO_DEPLOYMENTS)
    return host


def _commit(arranged: Arranged) -> str:
    return arranged.branches[arranged.default_branch]


class Statuses(ContractBase):
    """The status of a commit's deployment on the host's pages."""

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
            assert latest == {"k" * 40: state}, asked(
                HOOK, "a status replaces the previous one with the same key"
            )

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
        assert shown.url == url, asked(HOOK, "the status has the address of the page with details")
        assert shown.state == "failed"

    def test_a_status_of_a_commit_or_repository_that_is_not_there_is_not_found(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        webhook_host(plugin, host, HOOK)
        (shop,) = host.arrange(ONE)
        rule = "NotFound for a commit or a repository that does not exist"
        with must_raise(NotFound, HOOK, rule):
            provider.report_status(identity(shop), _status("0123456789" * 4))
        nowhere = RepositoryId(owner=shop.owner, slug="no-such-repository")
        with must_raise(NotFound, HOOK, rule):
            provider.report_status(nowhere, _status(_commit(shop)))

    def test_a_missing_scope_for_statuses_is_named(
        self, plugin: Plugin, host: ContractHost, connect: Connect, scoped_mode: str
    ) -> None:
        webhook_host(plugin, host, HOOK)
        if self.status_scope is None:
            pytest.skip(SKIPPED_BY_THE_KIT["test_a_missing_scope_for_statuses_is_named"])
        (shop,) = host.arrange(ONE)
        rule = "PermissionDenied, and the hint names the missing scope"
        with must_raise(PermissionDenied, HOOK, rule) as caught:
            connect(Access.UNSCOPED, mode=scoped_mode).report_status(
                identity(shop), _status(_commit(shop))
            )
        assert self.status_scope in f"{caught[0].message} {caught[0].hint}", asked(HOOK, rule)

    @pytest.mark.parametrize(("change", "expected"), REFUSALS)
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
        with must_raise(expected, HOOK, f"{expected.__name__} for this response of the host"):
            provider.report_status(identity(shop), _status(_commit(shop)))


class HostDeployments(ContractBase):
    """The host's own list of deployments."""

    def test_a_deployment_is_shown_once_and_kept_up_to_date(
        self, plugin: Plugin, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        able = _deployments_host(plugin, host)
        (shop,) = host.arrange(ONE)
        commit, provider = _commit(shop), connect(mode=mode)
        states: tuple[CommitState, ...] = ("in_progress", "successful")
        for state in states:
            told = _deployment(commit, state)
            provider.report_deployment(identity(shop), told)
            found = able.deployments(shop.owner, shop.slug, commit)
            shown = [(each.environment, each.state) for each in found]
            rule = "the first report adds the deployment, and later reports update it"
            assert shown == [("shop-live", state)], asked(DEPLOYMENT, rule)

    @pytest.mark.parametrize("state", get_args(CommitState))
    def test_a_deployment_of_which_only_one_report_comes_is_shown(
        self, plugin: Plugin, host: ContractHost, provider: Provider, state: CommitState
    ) -> None:
        able = _deployments_host(plugin, host)
        (shop,) = host.arrange(ONE)
        provider.report_deployment(identity(shop), _deployment(_commit(shop), state))
        shown = able.deployments(shop.owner, shop.slug, _commit(shop))
        rule = "the first report that arrives adds the deployment, whatever its state"
        assert [each.state for each in shown] == [state], asked(DEPLOYMENT, rule)

    def test_another_deployment_of_the_commit_is_another(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        able = _deployments_host(plugin, host)
        (shop,) = host.arrange(ONE)
        commit = _commit(shop)
        reports: tuple[tuple[int, CommitState], ...]
        reports = ((7, "failed"), (8, "in_progress"), (8, "successful"))
        for number, state in reports:
            provider.report_deployment(identity(shop), _deployment(commit, state, number))
        shown = able.deployments(shop.owner, shop.slug, commit)
        rule = "a deployment that has ended is not changed"
        assert [each.state for each in shown] == ["failed", "successful"], asked(DEPLOYMENT, rule)

    def test_a_deployment_of_a_commit_or_repository_that_is_not_there_is_not_found(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        _deployments_host(plugin, host)
        (shop,) = host.arrange(ONE)
        rule = "NotFound for a commit or a repository that does not exist"
        with must_raise(NotFound, DEPLOYMENT, rule):
            told = _deployment("0123456789" * 4, "in_progress")
            provider.report_deployment(identity(shop), told)
        nowhere = RepositoryId(owner=shop.owner, slug="no-such-repository")
        with must_raise(NotFound, DEPLOYMENT, rule):
            provider.report_deployment(nowhere, _deployment(_commit(shop), "in_progress"))

    @pytest.mark.parametrize(("change", "expected"), REFUSALS)
    def test_what_goes_wrong_with_deployments_is_a_typed_error(
        self,
        plugin: Plugin,
        host: ContractHost,
        provider: Provider,
        change: Change,
        expected: type[DeploycoreError],
    ) -> None:
        _deployments_host(plugin, host)
        (shop,) = host.arrange(ONE)
        host.faults.add(Fault(change))
        with must_raise(expected, DEPLOYMENT, f"{expected.__name__} for this response of the host"):
            provider.report_deployment(identity(shop), _deployment(_commit(shop), "successful"))
