"""Applications are added one at a time, and what belongs to them is found without reading all."""

from __future__ import annotations

import re
import secrets
import sqlite3
import threading
from contextlib import closing

import pytest
from pydantic import SecretStr
from sqlalchemy.dialects import postgresql, sqlite

from deploycore.applications.application import AutoDeploy
from deploycore.errors import ConfigurationError
from deploycore.secrets import SecretBox
from deploycore.store import Store
from deploycore.store.definitions import definition_for
from deploycore.store.sealed import ROWS_AT_ONCE
from tests.sent import sent_statements

RACES = 20


SAME_NAME = ("one", "/srv/one"), ("one", "/srv/two")
SAME_TARGET = ("one", "/srv/one"), ("two", "/srv/one")
NESTED = ("one", "/srv/one"), ("two", "/srv/one/within")


@pytest.mark.parametrize(
    ("first", "second", "is_applied"),
    [
        *((*SAME_NAME, False), (*SAME_TARGET, False), (*NESTED, False)),
        *((*SAME_TARGET, True), (*NESTED, True)),
    ],
    ids=["name", "target", "nested", "target of an applied one", "nested in an applied one"],
)
def test_of_two_concurrent_applications_that_collide_one_is_stored(
    any_settings, provider, application, first, second, is_applied
):
    outcomes = []
    with Store(any_settings) as one, Store(any_settings) as two:
        one.add_provider(provider())
        for _ in range(RACES):
            start = threading.Barrier(2)

            def store(store, name, target, start=start):
                start.wait()
                try:
                    if is_applied and store is two:
                        store.put_applications([application(name, target=target)])
                    else:
                        store.add_application(application(name, target=target))
                except Exception as error:
                    outcomes.append(error)

            threads = [
                threading.Thread(target=store, args=(one, *first)),
                threading.Thread(target=store, args=(two, *second)),
            ]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            (stored,) = one.list_applications()
            one.remove_application(stored.name)
    assert len(outcomes) == RACES
    for each in outcomes:
        assert isinstance(each, ConfigurationError), each
        assert "is taken" in each.message or "already has the target" in each.message


@pytest.mark.parametrize("noun", ["provider", "user", "token"])
def test_of_two_concurrent_records_with_the_same_name_one_is_stored(any_settings, provider, noun):
    errors = []
    with Store(any_settings) as one, Store(any_settings) as two:
        one.list_providers()
        for number in range(RACES):
            start = threading.Barrier(2)

            def add(store, start=start, name=f"name{number}"):
                start.wait()
                try:
                    if noun == "provider":
                        store.add_provider(provider(name))
                    elif noun == "user":
                        store.users.add(name, role="read")
                    else:
                        digest = secrets.token_hex(32)
                        store.tokens.add(name, digest=digest, role="read", expires_at=None)
                except Exception as error:
                    errors.append(error)

            threads = [threading.Thread(target=add, args=(each,)) for each in (one, two)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
    assert len(errors) == RACES
    for each in errors:
        assert isinstance(each, ConfigurationError), each
        assert re.search("is taken|is already used", each.message)


def test_a_poll_that_an_earlier_application_left_is_replaced(
    settings, database, provider, application
):
    with Store(settings) as store:
        store.add_provider(provider())
    with closing(sqlite3.connect(database)) as damaged, damaged:
        damaged.execute("PRAGMA foreign_keys = OFF")
        for name in ("polled", "other"):
            damaged.execute(
                "INSERT INTO polls (application, due_at, seconds, question)"
                " VALUES (?, '2026-01-01 00:00:00.000000', 5.0, 'of the earlier one')",
                [name],
            )
    with Store(settings) as store:
        polled = application("polled").model_copy(update={"auto_deploy": AutoDeploy()})
        store.add_application(polled)
        store.add_application(application("other"))
    with closing(sqlite3.connect(database)) as connection:
        polls = connection.execute("SELECT application, seconds, question FROM polls").fetchall()
    assert [(name, seconds) for name, seconds, _ in polls] == [("polled", 0.0)]
    assert polls[0][2] != "of the earlier one"


def test_sealed_secrets_are_searched_in_parts(store, provider, application, any_settings):
    store.add_provider(provider())
    count = 2 * ROWS_AT_ONCE + 1
    store.put_applications([application(f"shop{number:03}") for number in range(count)])
    with sent_statements() as seen:
        assert not store.holds_sealed_secrets()
    read = [each for each, _ in seen if "FROM applications" in each]
    assert len(read) == 3
    sealed = SecretBox(any_settings).seal(SecretStr("of-the-shop"))
    store.keep_application_secret("shop100", "TOKEN", sealed)
    assert store.find_sealed_secret() == sealed
    store.keep_application_secret("shop000", "TOKEN", sealed)
    with sent_statements() as seen:
        assert store.holds_sealed_secrets()
    assert len([each for each, _ in seen if "FROM applications" in each]) == 1


@pytest.mark.parametrize("name", ["targets within", "resolved targets within"])
def test_targets_are_compared_byte_by_byte_in_postgresql(name):
    found = definition_for("postgresql", name).compile(dialect=postgresql.dialect())
    assert str(found).count('COLLATE "C"') == 2
    plain = definition_for("sqlite", name).compile(dialect=sqlite.dialect())
    assert "COLLATE" not in str(plain)
