"""Checks of signing in with valid, invalid, expired and unscoped credentials, in each mode."""

from __future__ import annotations

from typing import Any

import pytest

from deploycore.errors import AuthenticationFailed, DeploycoreError, PermissionDenied
from deploycore.models import Account
from deploycore.provider import Provider
from deploycore.testing.contract.base import Connect, ContractBase, asked, identity, must_raise
from deploycore.testing.faults import Fault, answer, change_of_json, later
from deploycore.testing.scenarios import MANY, ONE, Access, ContractHost

__all__ = ["Authentication"]

CHEAP = 3
OTHER = "somebody-else"


class Authentication(ContractBase):
    """``authenticate``, and the access that the credentials give."""

    def test_right_credentials_say_whose_they_are(
        self, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        host.arrange(ONE)
        account = connect(mode=mode).authenticate()
        assert isinstance(account, Account)
        assert account.username.strip(), asked("authenticate", "the account has a username")

    def test_the_account_is_the_one_that_the_host_names(
        self, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        """The check applies only if the host names an account, because some credentials belong to
        none."""
        host.arrange(ONE)
        provider = connect(mode=mode)
        name = provider.authenticate().username
        renamed: list[str] = []

        def rename(body: Any) -> Any:
            if not isinstance(body, dict) or name not in body.values():
                return body
            renamed.append(name)
            return {key: OTHER if value == name else value for key, value in body.items()}

        host.faults.add(Fault(change_of_json("another account", rename)))
        found = provider.authenticate().username
        assert not renamed or found == OTHER, asked(
            "authenticate", "the account comes from the host's response, not from the configuration"
        )

    def test_signing_in_is_cheap(self, host: ContractHost, connect: Connect, mode: str) -> None:
        host.arrange(MANY)
        provider = connect(mode=mode)
        before = host.request_count
        provider.authenticate()
        assert 1 <= host.request_count - before <= CHEAP, asked(
            "authenticate",
            "the host is contacted with one cheap request (at most three are accepted)",
        )

    @pytest.mark.parametrize("access", [Access.WRONG, Access.EXPIRED], ids=["wrong", "expired"])
    def test_credentials_that_the_host_refuses_are_called_so(
        self, host: ContractHost, connect: Connect, mode: str, access: Access
    ) -> None:
        host.arrange(ONE)
        rule = f"AuthenticationFailed for credentials that are {access.value}"
        with must_raise(AuthenticationFailed, "authenticate", rule) as caught:
            connect(access, mode=mode).authenticate()
        assert caught[0].hint, asked("authenticate", "the hint says which value to check")

    def test_listings_say_too_that_credentials_are_refused(
        self, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        with must_raise(
            AuthenticationFailed,
            "list_repos",
            "wrong credentials cause an error, not an empty list",
        ):
            list(connect(Access.WRONG, mode=mode).list_repos())
        with must_raise(
            AuthenticationFailed,
            "list_branches",
            "wrong credentials cause an error, not an empty list",
        ):
            list(connect(Access.WRONG, mode=mode).list_branches(identity(shop)))

    def test_every_call_of_authenticate_asks_the_host(
        self, host: ContractHost, provider: Provider
    ) -> None:
        host.arrange(ONE)
        provider.authenticate()
        host.faults.add(Fault(answer(401, "revoked")))
        with must_raise(
            AuthenticationFailed,
            "authenticate",
            "credentials can be revoked at any time, so each call contacts the host again",
        ):
            provider.authenticate()

    def test_the_least_privileged_credentials_will_do(
        self, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        provider = connect(Access.LEAST, mode=mode)
        rule = "it succeeds for the least privileged credentials that can list and clone"
        assert provider.authenticate().username, asked("authenticate", rule)
        assert [found.slug for found in provider.list_repos()] == [shop.slug], asked(
            "list_repos", "everything that the credentials can read is listed"
        )
        assert list(provider.list_branches(identity(shop))), asked(
            "list_branches", "everything that the credentials can read is listed"
        )

    def test_a_missing_scope_is_named(
        self, host: ContractHost, connect: Connect, scoped_mode: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        assert self.required_scope, asked(
            "class",
            "the contract class has the scope for listing in required_scope; for a host without "
            "scopes, set this check aside",
        )
        provider = connect(Access.UNSCOPED, mode=scoped_mode)
        refused: list[DeploycoreError] = []
        rule = "PermissionDenied for valid credentials that lack a scope"
        with must_raise(PermissionDenied, "list_repos", rule) as caught:
            list(provider.list_repos())
        refused += caught
        with must_raise(PermissionDenied, "list_branches", rule) as caught:
            list(provider.list_branches(identity(shop)))
        refused += caught
        for error in refused:
            assert self.required_scope in f"{error} {error.hint}", asked(
                "list_repos", "the hint names the missing scope"
            )

    def test_credentials_that_end_while_a_listing_is_read_end_it(
        self, host: ContractHost, provider: Provider
    ) -> None:
        host.arrange(MANY)
        host.faults.add(Fault(later(answer(401, "expired"), after=1)))
        with must_raise(
            AuthenticationFailed,
            "list_repos",
            "an error response to the request for the second page is an error",
        ):
            list(provider.list_repos())
