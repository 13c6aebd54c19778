"""Each write that replaces a credential fails in turn: the previous or the new credential still
works."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from deploycore_audit import AuditFile

from deploycore import Installation, Settings
from deploycore.credentials.authorize import AuthorizationRequest, redirect_uri
from deploycore.errors import StoreError
from deploycore.provider import Provider
from tests.faults.refusals import CALLS
from tests.faults.statements import CALLS_MOST


@pytest.fixture
def sandbox(demo_sandbox):
    rules = demo_sandbox.oauth.rules
    # Used refresh tokens are rejected at once, and end the grant.
    demo_sandbox.oauth.rules = replace(rules, grace=0, ports_matter=False)
    demo_sandbox.oauth.account = "ada"
    return demo_sandbox


@pytest.fixture
def opened(home):
    """A new installation each time, as a new process has it."""
    return lambda: Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(home)}))


def add(installation, sandbox, mode) -> None:
    given = next(each for each in sandbox.connections if each.settings["mode"] == mode).settings
    store(installation, given)


def store(installation, given) -> None:
    settings = {key: value for key, value in given.items() if isinstance(value, str)}
    secrets = {key: value for key, value in given.items() if not isinstance(value, str)}
    installation.add_provider("work", "bitbucket", settings, secrets)


def proof(provider: Provider) -> None:
    provider.authenticate()


def sweep(opened, refuse, act, works) -> int:
    """Refuse each call of an act in turn; how many there were.

    Args:
        act: Gets an installation, and does what is tested.
        works: Gets an installation afterwards, and raises where a credential was lost.
    """
    for at in range(1, CALLS_MOST):
        with opened() as installation:
            error, count = refuse(lambda each=installation: act(each), at)
        if error is not None:
            assert isinstance(error, StoreError), (at, error)
            assert error.hint, at
        with opened() as installation:
            works(installation, error)
        if count < at:
            assert error is None
            return count
    raise AssertionError("there is no end")


def test_a_failed_system_call_while_changing_a_provider_keeps_the_previous_one(
    opened, refuse, sandbox
):
    with opened() as installation:
        add(installation, sandbox, "api-token")
        before = installation.store.get_provider("work")
        present = installation.secrets.reveal(before.secrets["token"])
    others = [sandbox.add_credential("api-token").secret for _ in range(2)]
    valid = {each.get_secret_value() for each in (present, *others)}
    turn = iter(range(CALLS_MOST))

    def act(installation):
        number = next(turn)
        changes = installation.provider_changes
        plan = changes.plan(
            "work", {"prefetch_pages": str(1 + number % 2)}, {"token": others[number % 2]}
        )
        changes.store(plan, verify=proof, keep_former=timedelta(hours=1))

    known = {"record": before}

    def works(installation, error):
        record = installation.store.get_provider("work")
        if error is not None:
            assert record == known["record"]
        else:
            assert record.generation == known["record"].generation + 1
            assert record.former_secrets == known["record"].secrets
        known["record"] = record
        assert installation.secrets.reveal(record.secrets["token"]).get_secret_value() in valid
        with installation.open_provider("work") as provider:
            provider.authenticate()

    assert sweep(opened, refuse, act, works) > 2


def test_a_failed_system_call_during_sign_in_or_renewal_keeps_the_grant(opened, refuse, sandbox):
    """The host ends a grant whose used refresh token it sees again."""
    with opened() as installation:
        store(installation, sandbox.add_sign_in())
        sign_in(installation)

    def act(installation):
        sign_in(installation)

    def works(installation, error):
        sandbox.oauth.expire_all()
        with installation.open_provider("work") as provider:
            provider.authenticate()

    assert sweep(opened, refuse, act, works) > 2

    def renew(installation):
        sandbox.oauth.expire_all()
        with installation.open_provider("work") as provider:
            provider.authenticate()
            # Where the new token could not be stored, it is stored with a later use of it.
            installation._connections._token_memory._slots["work", ""][1].held.save_at = 0.0
            provider.authenticate()

    assert sweep(opened, refuse, renew, works) > 5


def sign_in(installation) -> None:
    with installation.provider_changes.sign_in("work") as signing:
        request = AuthorizationRequest.new(signing.flow, redirect_uri(8912))
        answer = requests.get(request.address, allow_redirects=False, timeout=10)
        query = answer.headers["Location"].partition("?")[2]
        signing.store(signing.exchange(request, request.read_query(query)), verify=proof)


def test_a_failed_system_call_while_editing_an_application_keeps_the_old_one(
    opened, refuse, sandbox, tmp_path
):
    with opened() as installation:
        add(installation, sandbox, "api-token")
        installation.add_application(
            "site", provider="work", repository="acme/shop", ref="main", target=tmp_path / "site"
        )
        known = {"record": installation.store.get_application("site")}

    turn = iter(range(CALLS_MOST))

    def act(installation):
        values = installation.store.get_application("site").definition.as_dict()
        from deploycore.applications.application import parse_application

        keep = 3 + next(turn) % 2
        installation.apply([parse_application(values | {"keep": keep})], verify=False)

    def works(installation, error):
        record = installation.store.get_application("site")
        if error is not None:
            assert record == known["record"]
        known["record"] = record
        assert not (tmp_path / "site" / "current").exists()

    assert sweep(opened, refuse, act, works) > 2


AUDIT_CALLS = (*CALLS, "write", "pread", "ftruncate", "makedirs")


def test_an_audit_entry_whose_write_failed_is_written_once_and_completely(refuse, tmp_path):
    """Also where the refusal comes after the entry was written, and while a file is rotated."""
    for at in range(1, CALLS_MOST):
        path = tmp_path / f"log-{at}" / "audit.jsonl"
        log = AuditFile(path, max_bytes=100, keep=3)
        entry = {"at": datetime(2026, 1, 1, tzinfo=UTC).isoformat(), "text": "x" * 20}
        for number in range(4):
            log.write({"n": number} | entry)

        def act(log=log, entry=entry):
            log.write({"n": 4} | entry)
            log.write({"n": 5} | entry)

        error, count = refuse(act, at, AUDIT_CALLS)
        assert error is None
        log.write({"n": 6} | entry)
        assert numbers(path)[-4:] == [3, 4, 5, 6], at
        assert len(set(numbers(path))) == len(numbers(path)), at
        if count < at:
            break
    assert count > 20


def test_the_last_audit_entry_is_written_if_an_old_file_cannot_be_removed(
    tmp_path, monkeypatch, caplog
):
    """No later entry may come that would be written with it."""
    path = tmp_path / "audit.jsonl"
    log = AuditFile(path, max_bytes=20, keep=1)
    for number in range(2):
        log.write({"n": number, "text": "x" * 20})

    def refused(path):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.unlink", refused)
    log.write({"n": 2})
    assert numbers(path) == [0, 1, 2]
    assert "cannot be rotated" in caplog.text


def numbers(path: Path) -> list[int]:
    found = [each for each in path.parent.glob(f"{path.name}.*") if each.suffix != ".lock"]
    lines = [line for each in [*sorted(found), path] for line in each.read_text().splitlines()]
    return [json.loads(line)["n"] for line in lines]
