"""The kit finds faulty providers, each with the checks that are meant for its mistake."""

from __future__ import annotations

import os

import pytest

from deploycore.testing.contract import ProviderContract
from deploycore.testing.contract.base import ContractBase
from deploycore.testing.contract.later_requests import LaterRequests
from deploycore.testing.contract.pagination import Pagination
from deploycore.testing.contract.side_effects import SideEffects
from deploycore.testing.contract.tokens import Tokens
from tests.testing.kit import install_template, run_kit, standard_checks
from tests.testing.mutants import CURSORS, LISTING_ALL, MUTANTS, TOKENS, signing_in

FEWEST = 60
NO_MUTANT_NEEDED = {
    "test_nothing_is_set_aside_without_a_reason": (
        "looks at the author's test class, not at the provider: test_setting_aside.py"
    ),
}

LATER_CHECKS = {
    name
    for checks in (LaterRequests, SideEffects, Tokens)
    for name in vars(checks)
    if name.startswith("test_")
}
LATER_MUTANTS = [each for each in MUTANTS if LATER_CHECKS.intersection(each.caught_by)]


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_an_incorrect_provider_is_detected(mutant, tmp_path):
    site = install_template(tmp_path, mutant.replacements)
    outcomes = run_kit(tmp_path, site, checks=mutant.caught_by, impatient=True)
    for name in mutant.caught_by:
        failed = [run for run in outcomes[name] if run.result in ("failure", "error")]
        assert failed, f"{name} did not catch a provider that {mutant.mistake}"
        if mutant.refused:
            assert all(mutant.refused in run.text for run in failed), failed[0].text
        else:
            assert {run.result for run in failed} == {"failure"}, failed[0].text
        assert any(
            "The contract requires" in run.text and "Documented in" in run.text for run in failed
        ), failed[0].text


@pytest.mark.skipif(
    not os.environ.get("DEPLOYCORE_WHOLE_KIT"),
    reason="runs the whole kit for each of these providers, which takes minutes: by hand, with"
    " DEPLOYCORE_WHOLE_KIT=1",
)
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutant", LATER_MUTANTS, ids=str)
def test_a_mutant_is_not_detected_by_the_older_checks(mutant, tmp_path):
    """Else the checks of later requests, side effects and tokens would be of no use for it."""
    outcomes = run_kit(tmp_path, install_template(tmp_path, mutant.replacements))
    caught_by = {
        name
        for name, runs in outcomes.items()
        if any(run.result in ("failure", "error") for run in runs)
    }
    assert set(mutant.caught_by) <= caught_by <= LATER_CHECKS


@pytest.mark.timeout(600)
def test_a_correct_provider_that_obtains_tokens_passes_the_related_checks(tmp_path):
    outcomes = run_kit(
        tmp_path,
        install_template(tmp_path, signing_in()),
        checks=[
            *(name for name in vars(Tokens) if name.startswith("test_")),
            "test_signing_in_is_cheap",
            "test_what_goes_wrong_is_a_typed_error",
            "test_a_limit_is_kept_and_saves_requests",
            "test_the_core_clones_with_it",
        ],
    )
    wrong = {
        name: run.text for name, runs in outcomes.items() for run in runs if run.result != "passed"
    }
    assert wrong == {}


def test_cursor_pagination_is_checked_like_link_pagination(tmp_path):
    checks = [name for name in vars(Pagination) if name.startswith("test_")]
    outcomes = run_kit(
        tmp_path, install_template(tmp_path, CURSORS), checks=[*checks, *LISTING_ALL]
    )
    wrong = [(name, run.text) for name, runs in outcomes.items() for run in runs if run.text]
    assert wrong == []


def test_there_are_many_mutants_and_all_differ():
    assert len(MUTANTS) >= FEWEST
    assert len({mutant.mistake for mutant in MUTANTS}) == len(MUTANTS)
    assert len({mutant.replacements for mutant in MUTANTS}) == len(MUTANTS)


def test_every_check_of_the_kit_detects_something():
    named = {name for mutant in MUTANTS for name in mutant.caught_by}
    of_tokens = {name for mutant in TOKENS for name in mutant.caught_by}
    assert (named - of_tokens) | set(NO_MUTANT_NEEDED) == standard_checks()
    assert of_tokens == {name for name in vars(Tokens) if name.startswith("test_")}
    assert not named & set(NO_MUTANT_NEEDED)


@pytest.mark.parametrize("mistake", ["changes the environment", "sets the time-out of all sockets"])
def test_a_persistent_change_is_detected_when_other_checks_run_first(tmp_path, mistake):
    """An earlier check has the provider make the change, which then looks like the state before."""
    mutant = next(each for each in MUTANTS if each.mistake == mistake)
    site = install_template(tmp_path, mutant.replacements)
    checks = ["test_importing_it_changes_nothing", "test_nothing_is_printed", *mutant.caught_by]
    outcomes = run_kit(tmp_path, site, checks=checks)
    assert {run.result for run in outcomes[mutant.caught_by[0]]} >= {"failure"}


def test_side_effects_are_checked_first():
    """Else what a provider has changed already would be taken for the state before."""
    assert ProviderContract.__mro__[-3:-1] == (SideEffects, ContractBase)
