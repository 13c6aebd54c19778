"""Checks of webhooks: signatures, events and registration, for providers with these hooks.

The sandbox really sends the deliveries, to a listener of the kit.
"""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from pydantic import SecretStr

from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    NotFound,
    PermissionDenied,
    ProviderUnavailable,
    UnexpectedAnswer,
)
from deploycore.events import (
    Delivered,
    RefChange,
    WebhookDelivery,
)
from deploycore.models import RepositoryId
from deploycore.provider import Provider
from deploycore.provider.registry import Plugin
from deploycore.testing.contract.base import (
    SKIPPED_BY_THE_KIT,
    Connect,
    Leaks,
    asked,
    identity,
    must_raise,
)
from deploycore.testing.contract.failures import REPLACEMENTS, places, replaced
from deploycore.testing.contract.subscription import SECRET, Subscribed, Subscription, webhook_host
from deploycore.testing.faults import (
    Change,
    Fault,
    answer,
    connection_reset,
    echoing,
    html,
    malformed_json,
)
from deploycore.testing.host import LoopbackHost
from deploycore.testing.scenarios import ONE, Access, ContractHost

__all__ = ["MANAGING", "Deliveries", "Registering"]

OTHER = SecretStr("kit-Zp4-mW81kRtc")
NOWHERE_ELSE = "https://deploy.example.com/webhook"
MANAGING = ("register_webhook", "list_webhooks", "remove_webhook")


class Deliveries(Subscription):
    """``verify_webhook`` and ``parse_webhook``."""

    def test_a_delivery_is_proved_by_its_secret(self, subscribed: Subscribed) -> None:
        subscribed.push()
        found = subscribed.last()
        verify = subscribed.provider.verify_webhook
        assert verify(found, (SECRET,)), asked(
            "verify_webhook", "a delivery that the host signed is valid"
        )
        both = "both secrets are valid while one replaces the other"
        assert verify(found, (OTHER, SECRET)), asked("verify_webhook", both)
        assert verify(found, (SECRET, OTHER)), asked("verify_webhook", both)

    def test_other_secrets_prove_nothing(self, subscribed: Subscribed) -> None:
        subscribed.push()
        found = subscribed.last()
        for secrets in ((), (OTHER,), (SecretStr(""),), (OTHER, SecretStr(""))):
            self._is_refused(
                subscribed, found, "a delivery is valid only if its sender knows a secret", secrets
            )

    def test_a_proof_that_is_missing_or_another_is_refused(self, subscribed: Subscribed) -> None:
        subscribed.push()
        found = subscribed.last()
        name = self._signature_header(found)
        proof = found.headers[name]
        bare = {key: value for key, value in found.headers.items() if key != name}
        self._is_refused(
            subscribed, replace(found, headers=bare), "it returns False if there is no signature"
        )
        for wrong in (each for each in _wrong_proofs(proof, found.body) if each != proof):
            forged = replace(found, headers={**found.headers, name: wrong})
            rule = f"it returns False, without an error, for an invalid signature ({wrong!r})"
            self._is_refused(subscribed, forged, rule)

    def test_an_empty_secret_proves_nothing(self, subscribed: Subscribed) -> None:
        subscribed.push()
        found = subscribed.last()
        name = self._signature_header(found)
        empty = SecretStr("")
        forged = self.forged(found, SECRET, empty)
        assert forged != found.headers[name], asked(
            "class", "the contract class has a method forged that signs with another secret"
        )
        headers = {**found.headers, name: forged}
        for secrets in ((empty,), (SECRET, empty)):
            rule = "an empty secret is never valid"
            self._is_refused(subscribed, replace(found, headers=headers), rule, secrets)

    def test_a_body_that_was_changed_is_refused(self, subscribed: Subscribed) -> None:
        subscribed.push()
        found = subscribed.last()
        bodies = [found.body + b" "]
        for place in (0, len(found.body) // 2, len(found.body) - 1):
            changed = bytearray(found.body)
            changed[place] ^= 1
            bodies.append(bytes(changed))
        for body in bodies:
            rule = "the raw body is verified, whatever its content"
            self._is_refused(subscribed, replace(found, body=body), rule)

    @staticmethod
    def _is_refused(
        subscribed: Subscribed,
        delivery: WebhookDelivery,
        rule: str,
        secrets: tuple[SecretStr, ...] = (SECRET,),
    ) -> None:
        try:
            is_right = subscribed.provider.verify_webhook(delivery, secrets)
        except DeploycoreError as error:
            pytest.fail(f"{asked('verify_webhook', rule)} {error}", pytrace=False)
        assert not is_right, asked("verify_webhook", rule)

    def test_a_push_says_what_moved(self, subscribed: Subscribed) -> None:
        branch = subscribed.shop.default_branch
        before = subscribed.shop.branches[branch]
        after = subscribed.push()
        event = subscribed.event()
        assert event.repository == subscribed.repository, asked(
            "parse_webhook", "the repository has the same name as in listings"
        )
        moved = RefChange(kind="branch", name=branch, before=before, after=after)
        assert event.changes == (moved,), asked("parse_webhook", "a moved branch is one change")

    def test_a_push_says_what_was_made_and_deleted(self, subscribed: Subscribed) -> None:
        name = "topic/größe#1"
        commit = subscribed.push(name)
        made = RefChange(kind="branch", name=name, before=None, after=commit)
        assert subscribed.event().changes == (made,), asked(
            "parse_webhook", "for a new branch, before is None"
        )
        subscribed.host.delete_branches(subscribed.shop.owner, subscribed.shop.slug, [name])
        gone = RefChange(kind="branch", name=name, before=commit, after=None)
        untold = RefChange(kind="branch", name=name, before=None, after=None)
        assert subscribed.event().changes in ((gone,), (untold,)), asked(
            "parse_webhook",
            "for a deleted branch, after is None; before is its last commit, or None if the host "
            "does not send it",
        )

    def test_a_tag_is_no_branch(self, subscribed: Subscribed) -> None:
        (commit, *_) = subscribed.shop.branches.values()
        subscribed.host.add_tag(subscribed.shop.owner, subscribed.shop.slug, "v1.0", at=commit)
        made = RefChange(kind="tag", name="v1.0", before=None, after=commit)
        assert subscribed.event().changes == (made,), asked(
            "parse_webhook", "a new tag is one change"
        )

    def test_a_replay_has_the_same_identifier_and_another_push_another(
        self, subscribed: Subscribed
    ) -> None:
        subscribed.push()
        subscribed.received()
        subscribed.host.webhooks.send_again(subscribed.host.webhooks.deliveries[-1])
        subscribed.received()
        subscribed.push(text=b"2")
        told = [subscribed.provider.parse_webhook(found) for found in subscribed.received()]
        first, again, other = told[-3:]
        assert first == again, asked(
            "parse_webhook", "the identifier is the same if the delivery is sent again"
        )
        if first.delivery:
            assert other.delivery != first.delivery, asked(
                "parse_webhook", "each delivery has its own identifier"
            )

    @pytest.mark.parametrize(
        "body",
        [b"", b"\xff\xfe", b"{", b"null", b"[]", b'"text"', b"[" * 100_000],
        ids=["empty", "binary", "cut", "null", "list", "text", "deep"],
    )
    def test_what_is_no_delivery_is_an_unexpected_answer(
        self, subscribed: Subscribed, body: bytes
    ) -> None:
        subscribed.push()
        rule = "UnexpectedAnswer for a delivery that does not match the host's documentation"
        with must_raise(UnexpectedAnswer, "parse_webhook", rule):
            subscribed.provider.parse_webhook(replace(subscribed.last(), body=body))

    def test_any_damage_is_an_event_or_an_unexpected_answer(self, subscribed: Subscribed) -> None:
        subscribed.push()
        found = subscribed.last()
        try:
            whole = json.loads(found.body)
        except ValueError:
            pytest.skip(SKIPPED_BY_THE_KIT["test_any_damage_is_an_event_or_an_unexpected_answer"])
        for container, key, path in list(places(whole, "")):
            for replacement in REPLACEMENTS:
                with replaced(container, key, replacement):
                    body = json.dumps(whole).encode()
                self._is_told_or_refused(subscribed.provider, replace(found, body=body), path)

    @staticmethod
    def _is_told_or_refused(provider: Provider, damaged: WebhookDelivery, path: str) -> None:
        try:
            told = provider.parse_webhook(damaged)
        except UnexpectedAnswer:
            return
        except DeploycoreError as error:
            pytest.fail(
                f"{asked('parse_webhook', 'no other error than UnexpectedAnswer')} "
                f"{type(error).__name__} with {path} damaged: {error}",
                pytrace=False,
            )
        assert isinstance(told, Delivered)

    def _signature_header(self, found: WebhookDelivery) -> str:
        name = self.signature_header
        assert name in found.headers, asked(
            "class", "the contract class has the header of the signature in signature_header"
        )
        return name


class Registering(Subscription):
    """``register_webhook``, ``list_webhooks`` and ``remove_webhook``."""

    def test_each_mode_registers_lists_and_removes(
        self, plugin: Plugin, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        webhook_host(plugin, host, *MANAGING)
        (shop,) = host.arrange(ONE)
        provider, repository = connect(mode=mode), identity(shop)
        made = provider.register_webhook(repository, NOWHERE_ELSE, SECRET)
        assert made.url == NOWHERE_ELSE
        assert made.active, asked("register_webhook", "the webhook sends deliveries from then on")
        assert list(provider.list_webhooks(repository)) == [made], asked(
            "list_webhooks", "a registered webhook is listed"
        )
        assert provider.remove_webhook(repository, made.id) is True
        assert provider.remove_webhook(repository, made.id) is False, asked(
            "remove_webhook", "it returns False, and raises no error, if there is none"
        )
        assert list(provider.list_webhooks(repository)) == []

    def test_registering_again_changes_what_is_there(
        self, plugin: Plugin, subscribed: Subscribed
    ) -> None:
        webhook_host(plugin, subscribed.host, *MANAGING)  # type: ignore[arg-type]
        provider, repository = subscribed.provider, subscribed.repository
        again = provider.register_webhook(repository, subscribed.webhook.url, OTHER)
        rule = "a webhook with this address is updated or replaced, so there is never a second one"
        assert list(provider.list_webhooks(repository)) == [again], asked("register_webhook", rule)
        subscribed.push()
        assert len(subscribed.told()) == 1
        assert provider.verify_webhook(subscribed.last(), (OTHER,)), asked(
            "register_webhook", "the new secret is used"
        )
        assert not provider.verify_webhook(subscribed.last(), (SECRET,))

    def test_webhooks_of_other_addresses_are_left_alone(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        webhook_host(plugin, host, *MANAGING)
        (shop,) = host.arrange(ONE)
        repository = identity(shop)
        urls = [f"{NOWHERE_ELSE}/{number}" for number in range(25)]
        made = [provider.register_webhook(repository, url, SECRET) for url in urls]
        listed = list(provider.list_webhooks(repository))
        assert sorted(hook.url for hook in listed) == sorted(urls), asked(
            "list_webhooks", "all items of all pages are listed"
        )
        provider.remove_webhook(repository, made[7].id)
        left = {hook.url for hook in provider.list_webhooks(repository)}
        assert left == {*urls} - {urls[7]}, asked("remove_webhook", "this one alone")

    def test_a_missing_scope_for_webhooks_is_named(
        self, plugin: Plugin, host: ContractHost, connect: Connect, scoped_mode: str
    ) -> None:
        webhook_host(plugin, host, *MANAGING)
        if self.webhook_scope is None:
            pytest.skip(SKIPPED_BY_THE_KIT["test_a_missing_scope_for_webhooks_is_named"])
        (shop,) = host.arrange(ONE)
        provider = connect(Access.LEAST, mode=scoped_mode)
        rule = "PermissionDenied, and the hint names the missing scope"
        for hook in MANAGING:
            with must_raise(PermissionDenied, hook, rule) as caught:
                _manage(provider, hook, identity(shop))
            assert self.webhook_scope in f"{caught[0].message} {caught[0].hint}", asked(hook, rule)

    def test_a_repository_that_is_not_there_has_no_webhooks(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        webhook_host(plugin, host, *MANAGING)
        (shop,) = host.arrange(ONE)
        nowhere = RepositoryId(owner=shop.owner, slug="no-such-repository")
        for hook in ("register_webhook", "list_webhooks"):
            with must_raise(NotFound, hook, "NotFound for a repository that does not exist"):
                _manage(provider, hook, nowhere)

    @pytest.mark.parametrize("hook", MANAGING)
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            pytest.param(answer(401, "no"), AuthenticationFailed, id="401"),
            pytest.param(answer(403, "no"), PermissionDenied, id="403"),
            pytest.param(answer(500, "no"), ProviderUnavailable, id="500"),
            pytest.param(answer(503, ""), ProviderUnavailable, id="503"),
            pytest.param(connection_reset(), ProviderUnavailable, id="reset"),
            pytest.param(html(), UnexpectedAnswer, id="html"),
            pytest.param(malformed_json(), UnexpectedAnswer, id="malformed"),
        ],
    )
    def test_what_goes_wrong_with_webhooks_is_a_typed_error(
        self,
        plugin: Plugin,
        host: ContractHost,
        provider: Provider,
        hook: str,
        change: Change,
        expected: type[DeploycoreError],
    ) -> None:
        webhook_host(plugin, host, *MANAGING)
        (shop,) = host.arrange(ONE)
        host.faults.add(Fault(change))
        with must_raise(expected, hook, f"{expected.__name__} for this response of the host"):
            _manage(provider, hook, identity(shop))

    def test_the_secret_of_a_webhook_shows_nowhere(
        self,
        plugin: Plugin,
        host: ContractHost,
        provider: Provider,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        webhook_host(plugin, host, *MANAGING)
        caplog.set_level(logging.DEBUG)
        (shop,) = host.arrange(ONE)
        leaks = Leaks([SECRET, *host.secrets])
        shown = [repr(provider.register_webhook(identity(shop), NOWHERE_ELSE, SECRET))]
        shown += map(repr, provider.list_webhooks(identity(shop)))
        for change in (*map(_repeating, (200, 201, 400, 403, 409, 422, 500)), html()):
            for method in ("POST", "PUT", "PATCH"):
                host.faults.clear()
                host.faults.add(Fault(change, method=method))
                shown += _shown_by_errors(provider, identity(shop))
        host.faults.clear()
        shown += [
            f"{record.name}: {record.getMessage()} {record.args}" for record in caplog.records
        ]
        shown += [*capfd.readouterr()]
        shown += [
            f"{request.path}?{request.query}".replace("********", SECRET.get_secret_value())
            for request in getattr(host, "requests", ())
        ]
        assert [leaks.within(text) for text in shown if leaks.within(text)] == [], asked(
            "secrets", "no secret in a result, an address, a log line or an error"
        )

    @pytest.mark.parametrize("status", [302, 307, 308])
    def test_the_secret_of_a_webhook_is_not_sent_on(
        self, plugin: Plugin, host: ContractHost, provider: Provider, status: int
    ) -> None:
        webhook_host(plugin, host, *MANAGING)
        (shop,) = host.arrange(ONE)
        with LoopbackHost() as stranger:
            elsewhere = answer(status, headers={"Location": f"{stranger.url}/api"})
            for method in ("POST", "PUT", "PATCH"):
                host.faults.add(Fault(elsewhere, method=method))
            with suppress(DeploycoreError):
                provider.register_webhook(identity(shop), NOWHERE_ELSE, SECRET)
            assert stranger.requests == [], asked(
                "secrets", "secrets are sent only to the configured origin: use the http client"
            )


def _manage(provider: Provider, hook: str, repository: RepositoryId) -> object:
    """Call one of the hooks that manage webhooks."""
    if hook == "register_webhook":
        return provider.register_webhook(repository, NOWHERE_ELSE, SECRET)
    if hook == "list_webhooks":
        return list(provider.list_webhooks(repository))
    return provider.remove_webhook(repository, "1")


def _repeating(status: int) -> Change:
    """A host whose response repeats the request's body as text."""
    told = echoing(status)
    return Change(
        f"body repeated with status {status}",
        lambda request, found: replace(told.apply(request, found), body=request.body),
    )


def _shown_by_errors(provider: Provider, repository: RepositoryId) -> list[str]:
    try:
        made = provider.register_webhook(repository, NOWHERE_ELSE, SECRET)
    except DeploycoreError as error:
        whole = traceback.TracebackException.from_exception(error, capture_locals=True)
        said = [str(error), repr(error), error.hint, str(error.as_dict())]
        return [*said, "".join(line for line in whole.format() if "SECRET" not in line)]
    return [repr(made)]


def _wrong_proofs(proof: str, body: bytes) -> Iterator[str]:
    """Yield invalid signatures that resemble a valid one."""
    yield from ("", " ", "=", proof[:-1], proof[: len(proof) // 2], proof + "0", proof[::-1])
    algorithm, separator, digest = proof.rpartition("=")
    yield f"{proof},{proof}"
    if separator:
        yield from (f"{algorithm}=", f"sha1={digest}", f"md5={digest}", f"none={digest}", "sha1=")
        yield f"sha1={hashlib.sha1(body, usedforsecurity=False).hexdigest()}"
        yield f"{algorithm}={'0' * len(digest)}"
