"""Checks of tokens that a provider obtains from the host and that expire.

``sign_in_path`` matches the requests for tokens. Other checks inject no faults into them.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from pydantic import SecretStr

from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    PermissionDenied,
    ProviderUnavailable,
    UnexpectedAnswer,
)
from deploycore.models import RepositoryId
from deploycore.provider import Provider
from deploycore.testing.contract.base import (
    SECONDS_MOST,
    SKIPPED_BY_THE_KIT,
    Connect,
    ContractBase,
    Leaks,
    asked,
    identity,
    must_raise,
    sent,
)
from deploycore.testing.contract.failures import HOOKS, places, run
from deploycore.testing.faults import (
    Change,
    Fault,
    answer,
    connection_reset,
    html,
    latency,
    truncated_json,
)
from deploycore.testing.messages import Answer, Request
from deploycore.testing.scenarios import ONE, Access, ContractHost

__all__ = ["Tokens"]

NO_SECRET = "no error contains a token, even if the response with the token could not be read"
SECRET_FIELD = re.compile(r"token|secret|password|jwt|assertion", re.IGNORECASE)
EXPIRY_FIELD = re.compile(r"expir", re.IGNORECASE)
SHORTEST_SECRET = 8
EPOCH_FROM = 1_000_000_000
"""A greater number is a time in seconds since 1970; a smaller one is a number of seconds."""
JUST_NOW_SECONDS = 1
SOON_SECONDS = 30
"""Seconds within which a careful provider renews the token, and which are longer than the check
takes."""
AT_ONCE = 8

Values = Callable[..., dict[str, str | SecretStr]]


class Tokens(ContractBase):
    """Requests for tokens: failures, renewal in time, and errors without tokens."""

    @pytest.fixture
    def signing_in(self, request: pytest.FixtureRequest) -> None:
        """Skips the check if the provider obtains no tokens."""
        if not self.sign_in_path:
            pytest.skip(SKIPPED_BY_THE_KIT[request.function.__name__])

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            pytest.param(answer(401, "no"), AuthenticationFailed, id="401"),
            pytest.param(answer(403, "no"), PermissionDenied, id="403"),
            pytest.param(answer(500, "no"), ProviderUnavailable, id="500"),
            pytest.param(connection_reset(), ProviderUnavailable, id="reset"),
            pytest.param(html(), UnexpectedAnswer, id="html"),
            pytest.param(answer(200, "{}"), UnexpectedAnswer, id="no-token"),
        ],
    )
    def test_a_sign_in_that_fails_is_a_typed_error(
        self,
        signing_in: None,
        host: ContractHost,
        connect: Connect,
        values: Values,
        mode: str,
        change: Change,
        expected: type[DeploycoreError],
    ) -> None:
        (shop,) = host.arrange(ONE)
        settings = values(Access.FULL, mode)
        for hook in HOOKS:
            host.faults.clear()
            before = self._sign_ins(host)
            run(connect(settings=settings), hook, identity(shop))
            if self._sign_ins(host) > before:
                host.faults.add(Fault(change, signing_in=True))
                rule = f"{expected.__name__} if the request for a token fails in this way"
                with must_raise(expected, hook, rule):
                    run(connect(settings=settings), hook, identity(shop))

    def test_a_token_that_is_refused_is_renewed_once(
        self, signing_in: None, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        provider = connect(mode=mode)
        run(provider, "list_branches", identity(shop))
        before = self._sign_ins(host)
        if not before:
            return  # this way to sign in needs no token
        host.faults.add(Fault(answer(401, "revoked"), times=1))
        with suppress(AuthenticationFailed):
            run(provider, "list_branches", identity(shop))
        run(provider, "list_branches", identity(shop))
        renewed = self._sign_ins(host) - before
        assert renewed == 1, asked(
            "class", "after the host rejects a token (401), a new token is obtained once"
        )

    def test_a_token_that_has_expired_is_renewed_before_it_is_used(
        self, signing_in: None, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        provider = connect(mode=mode)
        expired: list[str] = []
        host.faults.add(Fault(_expiring(expired), signing_in=True, times=1))
        run(provider, "list_branches", identity(shop))
        before = self._sign_ins(host)
        if not expired:
            return  # no token was needed, or the host does not report when it expires
        run(provider, "list_branches", identity(shop))
        assert self._sign_ins(host) > before, asked(
            "class", "an expired token is replaced before it is used, not after the host rejects it"
        )

    def test_threads_share_one_token(
        self, signing_in: None, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        run(connect(mode=mode), "list_branches", identity(shop))
        needed = self._sign_ins(host)
        if not needed:
            return  # this way to sign in needs no token
        host.faults.add(Fault(latency(0.2), signing_in=True))
        provider, together = connect(mode=mode), Barrier(AT_ONCE, timeout=SECONDS_MOST)

        def work(_: int) -> None:
            together.wait()
            run(provider, "list_branches", identity(shop))

        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(work, range(AT_ONCE)))
        assert self._sign_ins(host) - needed == needed, asked(
            "class", "threads that need a token at the same time obtain only one"
        )

    def test_a_token_is_used_while_it_cannot_be_renewed(
        self, signing_in: None, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        provider = connect(mode=mode)
        expiring: list[str] = []
        host.faults.add(Fault(_expiring(expiring, seconds=SOON_SECONDS), signing_in=True, times=1))
        run(provider, "list_branches", identity(shop))
        if not expiring:
            return  # no token was needed, or the host does not say when it expires
        host.faults.add(Fault(answer(500, "away"), signing_in=True))
        try:
            run(provider, "list_branches", identity(shop))
        except DeploycoreError:
            pytest.fail(
                asked("class", "a token that is still valid is used if no new one is issued")
            )

    def test_a_token_is_not_quoted_in_an_error(
        self, signing_in: None, host: ContractHost, connect: Connect, values: Values, mode: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        settings = values(Access.FULL, mode)
        for change in _unreadable():
            given: list[SecretStr] = []
            host.faults.clear()
            host.faults.add(Fault(_noting_secrets(change, given), signing_in=True))
            for hook in HOOKS:
                shown = _shown(connect(settings=settings), hook, identity(shop))
                leaks = Leaks([*given, *host.secrets])
                found = [leaks.within(text) for text in shown if leaks.within(text)]
                assert found == [], asked("secrets", f"{NO_SECRET} ({change.name})")

    def _sign_ins(self, host: ContractHost) -> int:
        return sum(host.faults.is_sign_in(request.path) for request in sent(host))


def _expiring(expired: list[str], *, seconds: int = 0) -> Change:
    """Change every expiry in a response to now, or to a number of seconds from now."""

    def apply(_: Request, found: Answer) -> Answer:
        body = found.json()
        if not isinstance(body, dict):
            return found
        for container, key, path in list(places(body, "")):
            if EXPIRY_FIELD.search(str(key)):
                container[key] = _in_seconds(container[key], seconds)
                expired.append(path)
        return replace(found, body=json.dumps(body).encode())

    return Change("a token that has expired", apply)


def _in_seconds(value: Any, seconds: int) -> Any:
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(at.timestamp()) if value > EPOCH_FROM else seconds or JUST_NOW_SECONDS
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, str) else value


def _unreadable() -> Iterator[Change]:
    """Changes after which a response still contains a token, but cannot be read."""

    def body(found: Answer) -> bytes:
        return found.body if isinstance(found.body, bytes) else b""

    def told(name: str, change: Callable[[Answer], Answer]) -> Change:
        return Change(name, lambda _, found: change(found))

    def with_status(status: int) -> Change:
        return told(f"status {status}", lambda found: replace(found, status=status))

    yield truncated_json()
    yield told("a comma lost", lambda found: replace(found, body=body(found).replace(b",", b" ")))
    yield told("text after it", lambda found: replace(found, body=body(found) + b"}"))
    yield told("a list", lambda found: replace(found, body=b"[" + body(found) + b"]"))
    yield told("an expiry of another type", _without_expiry)
    yield from map(with_status, (400, 401, 403, 500))


def _without_expiry(found: Answer) -> Answer:
    """Return a response that has only the token, without the other required fields."""
    body = found.json()
    if not isinstance(body, dict):
        return found
    kept = {key: value if SECRET_FIELD.search(key) else [value] for key, value in body.items()}
    return replace(found, body=json.dumps(kept).encode())


def _noting_secrets(change: Change, given: list[SecretStr]) -> Change:
    """Wrap a change, so that the tokens in the original response are recorded."""

    def apply(request: Request, found: Answer) -> Answer:
        body = found.json()
        if isinstance(body, dict | list):
            given.extend(
                SecretStr(container[key])
                for container, key, _ in places(body, "")
                if SECRET_FIELD.search(str(key))
                and isinstance(container[key], str)
                and len(container[key]) >= SHORTEST_SECRET
            )
        return change.apply(request, found)

    return Change(change.name, apply)


def _shown(provider: Provider, hook: str, repository: RepositoryId) -> list[str]:
    """Return all text that the error of a call shows."""
    try:
        run(provider, hook, repository)
    except DeploycoreError as error:
        whole = traceback.TracebackException.from_exception(error, capture_locals=True)
        said = [str(error), repr(error), error.hint, str(error.as_dict())]
        return [*said, "".join(whole.format())]
    return []
