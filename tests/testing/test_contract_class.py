"""What the kit makes of what an author says on the contract class."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploycore.testing import ProviderContract
from deploycore.testing.contract.base import (
    ABOUT_APIS,
    NO_CREDENTIALS,
    OF_CREDENTIALS,
    SKIPPED_BY_THE_KIT,
)
from deploycore.testing.contract.setting_aside import knobs


class Harbour(ProviderContract):
    modes = ("token", "password")
    modes_without_scopes = ("password",)


class PlainHarbour(ProviderContract):
    modes = ("token", "public")
    modes_without_credentials = ("public",)
    has_api = False


def runs_of(checks, asked_for, check):
    """For which values a check is run."""
    runs = {}
    metafunc = SimpleNamespace(
        fixturenames=[asked_for], parametrize=runs.__setitem__, function=getattr(checks, check)
    )
    checks().pytest_generate_tests(metafunc)
    return runs[asked_for]


@pytest.mark.parametrize(
    ("asked_for", "given"),
    [("mode", ("token", "password")), ("scoped_mode", ["token"])],
)
def test_a_mode_without_scopes_is_left_out_where_a_scope_is_missing(asked_for, given):
    assert runs_of(Harbour, asked_for, "test_a_missing_scope_is_named") == given


def test_what_needs_credentials_is_left_out_where_a_mode_shows_none():
    for check in OF_CREDENTIALS:
        assert runs_of(PlainHarbour, "mode", check) == ["token"]
    check = "test_the_core_clones_with_it"
    assert runs_of(PlainHarbour, "mode", check) == ("token", "public")


def test_a_mode_that_shows_none_is_skipped_by_the_kit_where_there_is_no_other():
    class Public(PlainHarbour):
        modes = ("public",)

    [check] = runs_of(Public, "mode", "test_wrong_credentials_clone_nothing")
    [mark] = check.marks
    assert mark.kwargs["reason"] == NO_CREDENTIALS


def test_each_check_that_is_set_apart_is_one_of_the_kit():
    for check in ABOUT_APIS | OF_CREDENTIALS:
        assert callable(getattr(ProviderContract, check))
        assert check in SKIPPED_BY_THE_KIT


def test_what_a_contract_says_of_a_host_without_an_api_is_shown():
    assert knobs(PlainHarbour).keys() >= {"has_api", "modes_without_credentials"}
    assert "has_api" not in knobs(Harbour)
