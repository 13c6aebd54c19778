"""Checks of error responses, rate limits, outages and invalid responses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    NotFound,
    PermissionDenied,
    PluginError,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    UnexpectedAnswer,
)
from deploycore.models import BranchQuery, RepositoryId
from deploycore.provider import Provider
from deploycore.testing.contract.base import (
    ENDS,
    HASTY,
    NO_API,
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
    connection_cut,
    connection_reset,
    html,
    latency,
    malformed_json,
    truncated_json,
    wrong_types,
)
from deploycore.testing.messages import Answer, Request
from deploycore.testing.scenarios import ONE, TWO, ContractHost

__all__ = ["REMOVED", "REPLACEMENTS", "Damage", "Failures", "places", "replaced", "run", "run_here"]

HOOKS = ("authenticate", "list_repos", "list_branches")
OF_JSON = frozenset({truncated_json().name, wrong_types().name})
"""Changes that apply only to JSON responses."""
REMOVED = object()
REPLACEMENTS: tuple[object, ...] = (None, 7, -1.5, True, "text", "", [], {}, [[]], REMOVED)
UNKNOWN_FIELD = "added_by_the_host_today"


def run(provider: Provider, hook: str, repository: RepositoryId) -> list[object]:
    """Return all results of a hook that sends requests; fail if it takes too long."""
    return promptly(hook, ENDS, lambda: run_here(provider, hook, repository))


def run_here(provider: Provider, hook: str, repository: RepositoryId) -> list[object]:
    """Return all results of a hook, in the caller's thread and without a time limit."""
    if hook == "authenticate":
        return [provider.authenticate()]
    if hook == "list_repos":
        return list(provider.list_repos())
    return list(provider.list_branches(repository))


class Failures(ContractBase):
    """Failures: each one becomes a typed error, and never an exception of the plugin's own."""

    @pytest.mark.parametrize("hook", HOOKS)
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            pytest.param(answer(401, "no"), AuthenticationFailed, id="401"),
            pytest.param(answer(403, "no"), PermissionDenied, id="403"),
            pytest.param(answer(500, "no"), ProviderUnavailable, id="500"),
            pytest.param(answer(502, "<h1>Bad gateway</h1>"), ProviderUnavailable, id="502"),
            pytest.param(answer(503, ""), ProviderUnavailable, id="503"),
            pytest.param(connection_reset(), ProviderUnavailable, id="reset"),
            pytest.param(connection_cut(after=1), ProviderUnavailable, id="cut"),
            pytest.param(html(), UnexpectedAnswer, id="html"),
            pytest.param(malformed_json(), UnexpectedAnswer, id="malformed"),
            pytest.param(truncated_json(), UnexpectedAnswer, id="truncated"),
            pytest.param(wrong_types(), UnexpectedAnswer, id="wrong-types"),
            pytest.param(answer(200, ""), UnexpectedAnswer, id="empty-body"),
        ],
    )
    def test_what_goes_wrong_is_a_typed_error(
        self,
        host: ContractHost,
        provider: Provider,
        hook: str,
        change: Change,
        expected: type[DeploycoreError],
    ) -> None:
        if not self.has_api and change.name in OF_JSON:
            pytest.skip(NO_API)
        (shop,) = host.arrange(ONE)
        host.faults.add(Fault(change))
        with must_raise(expected, hook, f"{expected.__name__} for this response of the host"):
            run(provider, hook, identity(shop))

    @pytest.mark.parametrize("hook", ["list_repos", "list_branches"])
    @pytest.mark.parametrize("status", [404, 410])
    def test_what_is_gone_is_not_found(
        self, host: ContractHost, provider: Provider, hook: str, status: int
    ) -> None:
        (shop,) = host.arrange(ONE)
        host.faults.add(Fault(answer(status, "gone")))
        with must_raise(ProviderError, hook, "NotFound for status 410") as caught:
            run(provider, hook, identity(shop))
        assert status == 410 or isinstance(caught[0], NotFound), asked(hook, "NotFound for 404")

    @pytest.mark.parametrize("hook", HOOKS)
    @pytest.mark.parametrize("seconds", [None, 1800], ids=["without-a-date", "with-a-date"])
    def test_a_rate_limit_is_told_with_its_end(
        self, host: ContractHost, provider: Provider, hook: str, seconds: int | None
    ) -> None:
        (shop,) = host.arrange(ONE)
        host.faults.add(Fault(host.rate_limited(seconds)))
        rule = "RateLimited, with retry_at if the host sends a time"
        with must_raise(RateLimited, hook, rule) as caught:
            run(provider, hook, identity(shop))
        retry_at = getattr(caught[0], "retry_at", None)
        if seconds is None:
            assert retry_at is None, asked(hook, f"{rule}: this host sent no time")
            return
        assert retry_at is not None, asked(hook, rule)
        assert retry_at.tzinfo is not None, asked(hook, "retry_at has a time zone")
        off = retry_at - datetime.now(UTC) - timedelta(seconds=seconds)
        assert abs(off) < timedelta(seconds=90), asked(hook, rule)

    @pytest.mark.parametrize("hook", HOOKS)
    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    def test_what_passes_by_itself_is_tried_again(
        self, host: ContractHost, provider: Provider, hook: str, status: int
    ) -> None:
        (shop,) = host.arrange(ONE)
        host.faults.add(Fault(answer(status, "later", headers={"Retry-After": "0"}), times=1))
        assert run(provider, hook, identity(shop)), asked(
            hook, "a temporary failure is retried: send requests with the http client"
        )

    @pytest.mark.parametrize("hook", HOOKS)
    def test_a_slow_host_is_unavailable(
        self, host: ContractHost, connect: Connect, hook: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        provider = connect(http=HASTY)
        host.faults.add(Fault(latency(60)))
        rule = "ProviderUnavailable after the timeouts of the http client"
        with must_raise(ProviderUnavailable, hook, rule):
            run(provider, hook, identity(shop))

    def test_a_redirect_on_the_host_is_followed(
        self, host: ContractHost, provider: Provider
    ) -> None:
        (shop,) = host.arrange(ONE)
        host.faults.add(Fault(_redirect_to_itself(), query="*", times=1))
        assert [row.slug for row in provider.list_repos()] == [shop.slug], asked(
            "list_repos",
            "redirects within the host are followed: send requests with the http client",
        )

    @pytest.mark.parametrize("hook", HOOKS)
    @pytest.mark.parametrize("body", ["null", "7", '"text"', "true", "{}", "[[]]", '[{"x": 1}]'])
    def test_json_of_another_shape_is_unexpected(
        self, host: ContractHost, provider: Provider, hook: str, body: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        host.faults.add(Fault(answer(200, body, content_type="application/json")))
        rule = "UnexpectedAnswer for a response that does not match the host's API"
        if body == "{}" and hook != "authenticate":
            # If a host documents the fields of a page as optional, a page without them is valid.
            with suppress(UnexpectedAnswer):
                assert not run(provider, hook, identity(shop)), asked(hook, rule)
            return
        with must_raise(UnexpectedAnswer, hook, rule):
            run(provider, hook, identity(shop))

    @pytest.mark.parametrize("hook", HOOKS)
    def test_no_field_of_an_answer_is_trusted(
        self, host: ContractHost, provider: Provider, hook: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        for damage in _damages():
            host.faults.clear()
            host.faults.add(Fault(damage.change))
            try:
                run(provider, hook, identity(shop))
            except PluginError as error:
                rule = "UnexpectedAnswer for a field of another type, or a missing field"
                pytest.fail(f"{asked(hook, rule)} with {damage}: {error}", pytrace=False)
            except ProviderError:
                pass
            if not damage.hit:
                return

    @pytest.mark.parametrize("hook", HOOKS)
    def test_fields_that_a_host_adds_are_passed_over(
        self, host: ContractHost, provider: Provider, hook: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        host.faults.add(Fault(Change("another field", _with_another_field)))
        assert run(provider, hook, identity(shop)), asked(
            hook, "unknown fields are ignored, because hosts add fields at any time"
        )

    def test_an_error_in_one_call_leaves_the_next_alone(
        self, host: ContractHost, provider: Provider
    ) -> None:
        arranged = host.arrange(TWO)
        host.faults.add(Fault(answer(500, "broken")))
        for hook in HOOKS:
            with must_raise(ProviderUnavailable, hook, "ProviderUnavailable for status 500"):
                run(provider, hook, identity(arranged[0]))
        host.faults.clear()
        for hook in HOOKS:
            assert run(provider, hook, identity(arranged[0])), asked(
                hook, "a call works again after an error"
            )
        query = BranchQuery(name=arranged[0].default_branch)
        assert list(provider.list_branches(identity(arranged[0]), query))


def _redirect_to_itself() -> Change:
    def redirect(request: Request, found: Answer) -> Answer:
        location = f"{request.origin}{request.target}"
        return replace(found, status=307, headers={"Location": location}, body=b"")

    return Change("redirect", redirect)


def _with_another_field(_: Request, found: Answer) -> Answer:
    body = found.json()
    if not isinstance(body, dict | list):
        return found
    return replace(found, body=json.dumps(_extended(body)).encode())


def _extended(value: Any) -> Any:
    if isinstance(value, dict):
        return {**{key: _extended(item) for key, item in value.items()}, UNKNOWN_FIELD: [1, {}]}
    return [_extended(item) for item in value] if isinstance(value, list) else value


class Damage:
    """Responses in which one field, by its number, is replaced by another value."""

    def __init__(self, number: int, replacement: object) -> None:
        self._number = number
        self._replacement = replacement
        self.hit = False
        self._path = ""
        self.change = Change("damage", self._apply)

    def __str__(self) -> str:
        what = "removed" if self._replacement is REMOVED else f"as {self._replacement!r}"
        return f"{self._path} {what}"

    def _apply(self, _: Request, found: Answer) -> Answer:
        body = found.json()
        if not isinstance(body, dict | list):
            return found
        damageable = list(places(body, ""))
        if self._number >= len(damageable):
            return found
        self.hit = True
        container, key, self._path = damageable[self._number]
        if self._replacement is REMOVED:
            del container[key]
        else:
            container[key] = self._replacement
        return replace(found, body=json.dumps(body).encode())


def _damages() -> Iterator[Damage]:
    """Yield each field with each replacement, until a replacement matches no field."""
    number = 0
    while True:
        for replacement in REPLACEMENTS:
            yield Damage(number, replacement)
        number += 1


@contextmanager
def replaced(container: Any, key: Any, replacement: object) -> Iterator[None]:
    """A context in which a value of decoded JSON is replaced, or ``REMOVED``."""
    before = container.copy()
    if replacement is REMOVED:
        del container[key]
    else:
        container[key] = replacement
    yield
    container.clear()
    if isinstance(container, dict):
        container.update(before)
    else:
        container.extend(before)


def places(value: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield the container, key and path of every value in decoded JSON."""
    keys: Callable[[], Any] = value.keys if isinstance(value, dict) else lambda: range(len(value))
    for key in list(keys()):
        place = f"{path}.{key}".strip(".")
        yield value, key, place
        if isinstance(value[key], dict | list):
            yield from places(value[key], place)
