"""A process that dies while it renews a token leaves a token that can be renewed."""

from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from deploycore.credentials import keeper as module
from deploycore.credentials.keeper import TokenSource
from deploycore.errors import AuthenticationFailed, StoreError
from deploycore.secrets import SecretBox
from deploycore.store import Store
from deploycore.store.token_vault import TokenVault
from deploycore.tokens import RenewableAuth, Token

STEPS = ["begin", "before the host", "after the host", "before it is stored", "after it is stored"]


class Host:
    """Issues tokens whose refresh tokens work once, and again until the next one was used: hosts
    allow for a lost answer. What it has issued is in a file, since its clients die."""

    def __init__(self, path):
        self.path = path
        path.write_text("r0\n")

    def obtain(self, http, held):
        issued = self.path.read_text().split()
        given = held.refresh_token.get_secret_value()
        if given not in issued[-2:]:
            raise AuthenticationFailed("The refresh token is not valid.", hint="Sign in again.")
        if given == issued[-1]:
            issued.append(f"r{len(issued)}")
            self.path.write_text("\n".join(issued) + "\n")
        return token(issued[-1])


def token(refresh_token, lifetime=1):
    return Token(
        value=SecretStr(f"t-of-{refresh_token}"),
        refresh_token=SecretStr(refresh_token),
        expires_at=datetime.now(UTC) + timedelta(seconds=lifetime),
    )


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path / "issued")


def opened(settings, host):
    """A keeper as a new process has it, and its store."""
    store = Store(settings)
    vault = TokenVault("work", lambda: store.provider_tokens, SecretBox(settings))
    source = TokenSource(storage=vault, provider="work")
    return store, vault, source.keeper(RenewableAuth(host.obtain, is_stored=True), lambda: None)


def die_at(step, keeper, vault):
    """Have this process killed at a step of a renewal."""

    def dying(method, *, before):
        def call(*arguments):
            if before:
                os.kill(os.getpid(), signal.SIGKILL)
            method(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)

        return call

    if step == "begin":
        vault.begin_renewal = dying(vault.begin_renewal, before=False)
    elif step in ("before the host", "after the host"):
        obtain = dying(keeper._auth.obtain, before=step.startswith("before"))
        object.__setattr__(keeper._auth, "obtain", obtain)
    else:
        vault.finish_renewal = dying(vault.finish_renewal, before=step.startswith("before"))


def in_child(run):
    child = os.fork()
    if not child:
        try:
            run()
        finally:
            os._exit(3)
    return os.waitpid(child, 0)[1]


@pytest.fixture
def given(any_settings, provider, host, monkeypatch):
    """An installation whose token is about to expire, and whose leases are short."""
    monkeypatch.setattr(module, "_RENEWAL_SECONDS", 0.5)
    store, vault, _ = opened(any_settings, host)
    with store:
        store.add_provider(provider("work"))
        vault.put("", token("r0", lifetime=-1))
    return any_settings


@pytest.mark.parametrize("step", STEPS)
def test_after_a_crash_the_next_process_gets_a_valid_token(given, host, step):
    def run():
        _, vault, keeper = opened(given, host)
        die_at(step, keeper, vault)
        keeper.token()

    assert os.WTERMSIG(in_child(run)) == signal.SIGKILL
    store, vault, keeper = opened(given, host)
    with store:
        found = keeper.token()
        assert found.refresh_token.get_secret_value() == host.path.read_text().split()[-1]
        assert vault.load("").token.refresh_token == found.refresh_token


def test_processes_and_threads_renew_one_at_a_time(given, host, monkeypatch):
    """Were a refresh token used after the next one, the host would refuse it."""
    monkeypatch.setattr(module, "_RENEWAL_SECONDS", 90.0)  # nobody dies here, and all may be slow
    host_path = host.path

    def run():
        store, _, keeper = opened(given, host)
        with store:
            found = []
            threads = [
                threading.Thread(target=lambda: found.append(keeper.token())) for _ in range(5)
            ]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
        os._exit(0 if len(found) == 5 else 1)

    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            try:
                run()
            finally:
                os._exit(3)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in children] == [0] * 4
    assert len(host_path.read_text().split()) >= 2


@pytest.mark.parametrize("content", ["[]", "{}", "not JSON", '{"value": 5}'])
def test_an_invalid_stored_token_is_an_error_that_does_not_show_it(given, host, content):
    store, _, keeper = opened(given, host)
    with store:
        sealed = SecretBox(given).seal(SecretStr(content))
        store.provider_tokens.put("work", "", sealed, 3600)
        with pytest.raises(StoreError, match="A stored token of provider work") as caught:
            keeper.token()
        assert "deploycore provider authorize work" in caught.value.hint
        vault = TokenVault("work", lambda: store.provider_tokens, SecretBox(given))
        vault.put("", token("r0", lifetime=3600))  # as authorize does
        assert keeper.token() is not None
    assert content not in caught.value.message
    assert caught.value.__context__ is None
