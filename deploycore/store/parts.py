"""The parts of the store that import SQLAlchemy. Each is imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploycore.once import made_once
from deploycore.store.database import Database
from deploycore.store.named import Statements

if TYPE_CHECKING:
    from deploycore.store.audit import Audit
    from deploycore.store.changes import Changes
    from deploycore.store.claims import Claims
    from deploycore.store.deliveries import Deliveries
    from deploycore.store.deploy_keys import DeployKeys
    from deploycore.store.overview import Overview
    from deploycore.store.polls import Polls
    from deploycore.store.previews import Previews
    from deploycore.store.provider_tokens import ProviderTokens
    from deploycore.store.reception import Reception
    from deploycore.store.sessions import Sessions, SignInLinks
    from deploycore.store.sign_in_failures import SignInFailures
    from deploycore.store.tokens import Tokens
    from deploycore.store.triggers import Triggers
    from deploycore.store.users import Users
    from deploycore.store.webhooks import Webhooks

__all__ = ["StoreParts"]


class StoreParts:
    """A part of ``Store``, which completes it."""

    _database: Database

    @made_once
    def triggers(self) -> Triggers:
        """The queue: requests to deploy, from webhooks, polls and people."""
        from deploycore.store.triggers import Triggers

        return Triggers(self._database)

    @made_once
    def claims(self) -> Claims:
        """The claims: which worker works on which application."""
        from deploycore.store.claims import Claims

        return Claims(self._database)

    @made_once
    def webhooks(self) -> Webhooks:
        """The webhooks of all applications."""
        from deploycore.store.webhooks import Webhooks

        return Webhooks(self._database, self._refuse_second_key)

    @made_once
    def deliveries(self) -> Deliveries:
        """The last deliveries to each webhook."""
        from deploycore.store.deliveries import Deliveries

        return Deliveries(self._database)

    @made_once
    def deploy_keys(self) -> DeployKeys:
        """The SSH keys that deploycore has created."""
        from deploycore.store.deploy_keys import DeployKeys

        return DeployKeys(self._database, self._refuse_second_key)

    @made_once
    def polls(self) -> Polls:
        """The polls: when git hosts are polled."""
        from deploycore.store.polls import Polls

        return Polls(self._database)

    @made_once
    def reception(self) -> Reception:
        """The time at which a server last received deliveries."""
        from deploycore.store.reception import Reception

        return Reception(self._database)

    @made_once
    def previews(self) -> Previews:
        """Applications that were created for pull requests."""
        from deploycore.store.previews import Previews

        return Previews(self._database)

    @made_once
    def changes(self) -> Changes:
        """The changes since a mark."""
        from deploycore.store.changes import Changes

        return Changes(self._database)

    @made_once
    def overview(self) -> Overview:
        """The current states of applications, for lists of many."""
        from deploycore.store.overview import Overview

        return Overview(self._database)

    @made_once
    def tokens(self) -> Tokens:
        """The tokens of the server's API."""
        from deploycore.store.tokens import Tokens

        return Tokens(self._database)

    @made_once
    def provider_tokens(self) -> ProviderTokens:
        """The tokens of providers that are obtained and renewed."""
        from deploycore.store.provider_tokens import ProviderTokens

        return ProviderTokens(self._database)

    @made_once
    def users(self) -> Users:
        """The users of the dashboard."""
        from deploycore.store.users import Users

        return Users(self._database)

    @made_once
    def sessions(self) -> Sessions:
        """The browsers in which users are signed in."""
        from deploycore.store.sessions import Sessions

        return Sessions(self._database)

    @made_once
    def sign_in_links(self) -> SignInLinks:
        """One-time links that sign in."""
        from deploycore.store.sessions import SignInLinks

        return SignInLinks(self._database)

    @made_once
    def sign_in_failures(self) -> SignInFailures:
        """Failed attempts to sign in."""
        from deploycore.store.sign_in_failures import SignInFailures

        return SignInFailures(self._database)

    @made_once
    def audit(self) -> Audit:
        """The audit log."""
        from deploycore.store.audit import Audit

        return Audit(self._database)

    def _refuse_second_key(self, statements: Statements) -> None:
        raise NotImplementedError  # pragma: no cover
