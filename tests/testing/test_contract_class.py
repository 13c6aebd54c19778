"""The effects of an author's attributes of the contract class."""

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
def test_a_mode_without_scopes_is_excluded_from_the_missing_scope_check(asked_for, given):
    assert runs_of(Harbour, asked_for, "test_a_missing_scope_is_named") == given


def test_checks_that_require_credentials_exclude_anonymous_modes():
    for check in OF_CREDENTIALS:
        assert runs_of(PlainHarbour, "mode", check) == ["token"]
    check = "test_the_core_clones_with_it"
    assert runs_of(PlainHarbour, "mode", check) == ("token", "public")


def test_a_single_anonymous_mode_is_skipped_by_the_kit():
    class Public(PlainHarbour):
        modes = ("public",)

    [check] = runs_of(Public, "mode", "test_wrong_credentials_clone_nothing")
    [mark] = check.marks
    assert mark.kwargs["reason"] == NO_CREDENTIALS


def test_each_specially_treated_check_exists_in_the_kit():
    for check in ABOUT_APIS | OF_CREDENTIALS:
        assert callable(getattr(ProviderContract, check))
        assert check in SKIPPED_BY_THE_KIT


def test_the_report_shows_contract_settings_for_a_host_without_an_api():
    assert knobs(PlainHarbour).keys() >= {"has_api", "modes_without_credentials"}
    assert "has_api" not in knobs(Harbour)
