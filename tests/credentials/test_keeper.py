"""One token for all threads and processes: obtained once, renewed in time, and never lost."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from deploycore.credentials.keeper import StoredToken, TokenKeeper, TokenMemory
from deploycore.errors import AuthenticationFailed, ProviderUnavailable, StoreError
from deploycore.http.grants import explain_code
from deploycore.tokens import RenewableAuth, Token


class Clock:
    """Seconds that pass when somebody sleeps."""

    def __init__(self):
        self.seconds = 1000.0

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


@dataclass
class Host:
    """Issues numbered tokens whose refresh tokens work once."""

    lifetime: float | None = 3600
    issued: list[str] = field(default_factory=list)
    given: list[str | None] = field(default_factory=list)
    failure: Exception | None = None
    refresh_tokens: set[str] = field(default_factory=lambda: {"r0"})

    def obtain(self, http, held):
        given = held.refresh_token.get_secret_value() if held and held.refresh_token else None
        self.given.append(given)
        if self.failure is not None:
            raise self.failure
        if given is not None and given not in self.refresh_tokens:
            raise AuthenticationFailed("The refresh token is not valid.", hint="Sign in again.")
        number = len(self.issued) + 1
        self.issued.append(f"t{number}")
        self.refresh_tokens = {f"r{number}"}
        return token(f"t{number}", f"r{number}", self.lifetime)


def token(value, refresh_token=None, lifetime=3600):
    return Token(
        value=SecretStr(value),
        refresh_token=refresh_token and SecretStr(refresh_token),
        expires_at=None if lifetime is None else datetime.now(UTC) + timedelta(seconds=lifetime),
    )


class Storage:
    """What several processes share, as the store does it."""

    def __init__(self, clock, stored=None):
        self.clock, self.row, self.leased_until = clock, None, float("-inf")
        self.failures = 0
        if stored is not None:
            self.row = (stored, 1, 3600.0, clock.now(), None)

    def load(self, key):
        if self.row is None:
            return None
        stored, generation, lifetime, at, former = self.row
        left = None if lifetime is None else lifetime - (self.clock.now() - at)
        return StoredToken(stored, generation, lifetime, left, former)

    def begin_renewal(self, key, generation, seconds):
        known = self.row[1] if self.row else 0
        if known != generation or self.clock.now() < self.leased_until:
            return False
        self.leased_until = self.clock.now() + seconds
        return True

    def finish_renewal(self, key, generation, new, lifetime):
        if self.failures:
            self.failures -= 1
            raise StoreError("The disk is full.", hint="Free some space.")
        former = self.row[0] if self.row else None
        if self.row and self.row[1] >= generation:
            return False
        self.row = (new, generation, lifetime, self.clock.now(), former)
        self.leased_until = float("-inf")
        return True

    def give_up_renewal(self, key):
        self.leased_until = float("-inf")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def keeper(clock, host):
    """Makes keepers; those of one memory are of one process."""

    def make(storage=None, *, memory=None, **options):
        auth = RenewableAuth(host.obtain, is_stored=storage is not None, **options)
        slot = (memory or TokenMemory()).slot("work", auth.key, 1)
        return TokenKeeper(
            auth,
            lambda: None,
            slot,
            storage=storage,
            subject="provider work",
            now=clock.now,
            sleep=clock.sleep,
        )

    return make


def shown(keeper):
    return keeper.token().value.get_secret_value()


def test_a_token_is_obtained_once_and_sent_as_a_header(keeper, host):
    ours = keeper()
    name, value = ours.header()
    assert (name, value.get_secret_value()) == ("Authorization", "Bearer t1")
    assert [shown(ours) for _ in range(5)] == ["t1"] * 5
    assert host.issued == ["t1"]


def test_a_token_is_renewed_before_it_expires(keeper, host, clock):
    ours = keeper(renew_before=timedelta(minutes=5))
    shown(ours)
    clock.seconds += 3600 - 301
    assert shown(ours) == "t1"
    clock.seconds += 2
    assert shown(ours) == "t2"


def test_a_short_token_is_used_for_half_of_its_lifetime(keeper, host, clock):
    host.lifetime = 300
    ours = keeper(renew_before=timedelta(minutes=5))
    shown(ours)
    clock.seconds += 149
    assert shown(ours) == "t1"
    clock.seconds += 2
    assert shown(ours) == "t2"


@pytest.mark.parametrize("lifetime", [-86400, 0, None])
def test_a_host_with_a_wrong_clock_is_not_contacted_for_each_request(keeper, host, clock, lifetime):
    host.lifetime = lifetime
    ours = keeper()
    used = [shown(ours) for _ in range(100)]
    assert len(host.issued) <= 2
    assert used[2:] == [used[2]] * 98
    clock.seconds += 9
    shown(ours)
    assert len(host.issued) <= 2


def test_a_token_without_an_expiry_is_kept(keeper, host, clock):
    host.lifetime = None
    ours = keeper()
    shown(ours)
    clock.seconds += 10**8
    assert shown(ours) == "t1"


def test_a_hundred_threads_make_one_request(keeper, host):
    ours, entered, go = keeper(), threading.Barrier(100), threading.Event()
    obtain, seen = host.obtain, []

    def slowly(http, held):
        go.wait(30)
        return obtain(http, held)

    object.__setattr__(ours._auth, "obtain", slowly)

    def run():
        entered.wait(30)
        seen.append(shown(ours))

    threads = [threading.Thread(target=run) for _ in range(100)]
    for each in threads:
        each.start()
    go.set()
    for each in threads:
        each.join(30)
    assert seen == ["t1"] * 100
    assert host.issued == ["t1"]


class CountedLock:
    """Counts who has come to it."""

    def __init__(self):
        self.lock, self.arrived = threading.Lock(), threading.Semaphore(0)

    def __enter__(self):
        self.arrived.release()
        self.lock.acquire()

    def __exit__(self, *exception):
        self.lock.release()


def test_threads_that_waited_for_a_failed_attempt_do_not_retry(keeper, host):
    ours, go = keeper(), threading.Event()
    ours._slot.lock = CountedLock()
    host.failure = ProviderUnavailable("No answer.", hint="Try again.")
    obtain, errors = host.obtain, []

    def slowly(http, held):
        go.wait(30)
        return obtain(http, held)

    object.__setattr__(ours._auth, "obtain", slowly)

    def run():
        try:
            ours.token()
        except ProviderUnavailable as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(20)]
    for each in threads:
        each.start()
    for _ in threads:
        assert ours._slot.lock.arrived.acquire(timeout=30)
    go.set()
    for each in threads:
        each.join(30)
    assert len(errors) == 20
    assert len(host.given) == 1
    host.failure = None
    assert shown(ours) == "t1"


def test_the_current_token_is_used_while_it_cannot_be_renewed(keeper, host, clock, caplog):
    ours = keeper()
    shown(ours)
    clock.seconds += 3400
    host.failure = ProviderUnavailable("No answer.", hint="Try again.")
    assert shown(ours) == "t1"
    assert "provider work: the token was not renewed: No answer." in caplog.text
    clock.seconds += 5
    assert shown(ours) == "t1"
    assert len(host.given) == 2  # not for each request
    clock.seconds += 200
    with pytest.raises(ProviderUnavailable):
        shown(ours)
    host.failure = None
    assert shown(ours) == "t2"


def test_a_rejected_token_is_replaced_once(keeper, host, clock):
    ours = keeper()
    _, first = ours.header()
    assert ours.refused(first)
    _, second = ours.header()
    assert second.get_secret_value() == "Bearer t2"
    assert ours.refused(first)  # by a request that was under way: the present one is another
    assert shown(ours) == "t2"
    assert not ours.refused(second)  # it is not the token that the host objects to
    assert shown(ours) == "t2"
    clock.seconds += 61
    assert ours.refused(second)
    assert shown(ours) == "t3"


def test_a_rejected_token_is_not_used_if_it_cannot_be_renewed(keeper, host):
    ours = keeper()
    _, first = ours.header()
    ours.refused(first)
    host.failure = ProviderUnavailable("No answer.", hint="Try again.")
    with pytest.raises(ProviderUnavailable):
        ours.header()


def test_another_configuration_finds_no_token(keeper, host, clock):
    memory = TokenMemory()
    assert shown(keeper(memory=memory)) == "t1"
    assert shown(keeper(memory=memory)) == "t1"
    memory.slot("work", "", 2)
    assert shown(keeper(memory=memory)) == "t2"


class TestStoredTokens:
    @pytest.fixture
    def storage(self, clock):
        return Storage(clock, token("t0", "r0"))

    def test_a_stored_token_is_used(self, keeper, host, storage):
        assert shown(keeper(storage)) == "t0"
        assert host.issued == []

    def test_another_process_uses_the_renewed_token(self, keeper, host, storage, clock):
        ours, theirs = keeper(storage), keeper(storage)
        assert shown(ours) == shown(theirs) == "t0"
        clock.seconds += 3400
        assert shown(ours) == shown(theirs) == "t1"
        assert host.given == ["r0"]

    def test_a_token_rejected_in_two_processes_is_renewed_once(self, keeper, host, storage):
        ours, theirs = keeper(storage), keeper(storage)
        for each in (ours, theirs):
            _, header = each.header()
            each.refused(header)
        assert shown(ours) == shown(theirs) == "t1"
        assert host.issued == ["t1"]

    def test_one_process_waits_while_another_renews(self, keeper, host, storage, clock):
        ours = keeper(storage)
        shown(ours)
        clock.seconds += 3400
        assert storage.begin_renewal("", 1, 90)
        at, sleep = clock.seconds, clock.sleep

        def until_it_is_there(seconds):
            sleep(seconds)
            if clock.seconds > at + 5:
                storage.finish_renewal("", 2, token("theirs", "r9"), 3600.0)

        ours._sleep = until_it_is_there
        assert shown(ours) == "theirs"
        assert host.issued == []

    def test_a_renewal_by_a_dead_process_is_waited_for_until_its_lease_ends(
        self, keeper, host, storage, clock
    ):
        assert storage.begin_renewal("", 1, 90)
        clock.seconds += 3400
        storage.leased_until = clock.seconds + 60
        assert shown(keeper(storage)) == "t1"

    def test_a_renewal_that_never_finishes_is_an_error(self, keeper, host, storage, clock):
        clock.seconds += 3400
        storage.leased_until = float("inf")
        with pytest.raises(ProviderUnavailable, match="Another process has been renewing"):
            shown(keeper(storage))
        storage.leased_until = float("-inf")  # the other process has ended
        assert shown(keeper(storage))

    def test_a_refresh_token_used_by_a_dead_process_loses_nothing(
        self, keeper, host, storage, clock
    ):
        """It died after the host's answer and before it stored the new token; the host still
        takes the former refresh token for minutes, as Bitbucket does."""
        host.refresh_tokens = {"r0", "lost"}
        clock.seconds += 3400
        assert shown(keeper(storage)) == "t1"
        assert storage.row[0].refresh_token == SecretStr("r1")

    def test_the_previous_refresh_token_is_tried_if_the_current_one_is_rejected(
        self, keeper, host, storage, clock
    ):
        storage.row = (*storage.row[:4], token("t-1", "r-1"))
        host.refresh_tokens = {"r-1"}
        clock.seconds += 3400
        assert shown(keeper(storage)) == "t1"
        assert host.given == ["r0", "r-1"]

    def test_the_previous_refresh_token_is_not_sent_for_other_errors(
        self, keeper, host, storage, clock
    ):
        """A host that sees a used refresh token may revoke the present one with it."""
        storage.row = (*storage.row[:4], token("t-1", "r-1"))
        host.failure = explain_code("invalid_client")
        clock.seconds += 3400
        with pytest.raises(AuthenticationFailed, match="invalid_client"):
            shown(keeper(storage))
        assert host.given == ["r0"]

    def test_a_token_stored_by_a_sign_in_during_a_renewal_is_used(
        self, keeper, host, storage, clock
    ):
        """The renewed token is of the former sign-in."""
        ours, obtain = keeper(storage), host.obtain

        def obtain_slowly(http, held):
            found = obtain(http, held)
            storage.row = (token("signed in", "r9"), 5, 3600.0, clock.now(), None)
            return found

        object.__setattr__(ours._auth, "obtain", obtain_slowly)
        clock.seconds += 3400
        assert shown(ours) == "signed in"
        assert storage.row[0].value == SecretStr("signed in")

    def test_a_token_that_could_not_be_stored_is_replaced_by_a_newer_one(
        self, keeper, host, storage, clock
    ):
        storage.failures = 1
        clock.seconds += 3400
        ours = keeper(storage)
        assert shown(ours) == "t1"
        storage.row = (token("signed in", "r9"), 5, 3600.0, clock.now(), None)
        clock.seconds += 11
        assert shown(ours) == "signed in"

    def test_the_error_of_a_host_that_rejects_both_tokens_is_reported(
        self, keeper, host, storage, clock
    ):
        storage.row = (*storage.row[:4], token("t-1", "r-1"))
        host.refresh_tokens = set()
        clock.seconds += 3400
        with pytest.raises(AuthenticationFailed, match="refresh token"):
            shown(keeper(storage))
        assert storage.leased_until == float("-inf")  # others may try at once
        assert storage.row[0].refresh_token == SecretStr("r0")

    def test_a_token_that_cannot_be_stored_is_used_and_stored_later(
        self, keeper, host, storage, clock, caplog
    ):
        storage.failures = 2
        clock.seconds += 3400
        ours = keeper(storage)
        assert shown(ours) == "t1"
        assert "could not be stored" in caplog.text
        assert storage.row[0].value == SecretStr("t0")
        clock.seconds += 11
        shown(ours)
        clock.seconds += 11
        assert shown(ours) == "t1"
        assert storage.row[0].value == SecretStr("t1")
        assert host.issued == ["t1"]

    def test_no_secret_is_logged(self, keeper, host, storage, clock, caplog):
        caplog.set_level("DEBUG")
        storage.failures = 1
        clock.seconds += 3400
        shown(keeper(storage))
        assert not {"t0", "r0", "t1", "r1"} & set(caplog.text.split())
        assert "t1" not in repr(storage.row) + repr(replace(keeper(storage)._auth))
