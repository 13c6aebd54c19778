"""Owners within owners (``acme/web``): their slash separates segments of an address, and the kit's
git server does not accept an encoded slash."""

from __future__ import annotations

import pytest

from deploycore.testing.git_http import SmartHttp
from deploycore.testing.messages import Request
from tests.testing.kit import install_template, run_kit
from tests.testing.mutants import Replacement

CHECKS = (
    "test_the_core_clones_with_it",
    "test_names_are_quoted_once_in_the_address",
    "test_the_address_is_clean_and_the_credential_apart",
    "test_all_pages_are_listed_in_the_hosts_order",
    "test_all_branches_of_all_pages_are_listed_with_their_commits",
)
NESTED = Replacement("sandbox.py", 'PREFIX = "acme_"', 'PREFIX = "acme_"\n    OWNER = "guild/web"')
WHOLE = Replacement(
    "provider.py", "{repository.path}", "{_quoted(repository.owner)}/{_quoted(repository.slug)}"
)


def results(tmp_path, *replacements):
    site = install_template(tmp_path, replacements)
    module = (
        "from deploycore_acme.contract import AcmeContract\n\n\n"
        "class TestAcme(AcmeContract):\n    pass\n"
    )
    outcomes = run_kit(tmp_path, site, module=module, checks=CHECKS)
    return {name: {run.result for run in runs} for name, runs in outcomes.items()}


def test_the_template_lists_and_clones_repositories_of_a_nested_owner(tmp_path):
    found = results(tmp_path, NESTED)
    assert found["test_the_core_clones_with_it"] == {"passed"}
    assert set().union(*found.values()) == {"passed"}


def test_a_provider_that_encodes_a_nested_owner_as_one_segment_cannot_clone(tmp_path):
    found = results(tmp_path, NESTED, WHOLE)
    assert found["test_the_core_clones_with_it"] == {"failure"}


@pytest.mark.parametrize("slash", ["%2F", "%2f"])
@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", "/info/refs?service=git-upload-pack"),
        ("POST", "/git-upload-pack"),
        ("GET", "/info/refs?service=git-receive-pack"),
    ],
)
def test_an_encoded_slash_is_not_a_separator(slash, method, rest):
    def permit(request, name, service):
        raise AssertionError(name)

    request = Request(method, f"/acme{slash}web/shop.git{rest}", {})
    answer = SmartHttp(repositories=None, permit=permit).answer(request)
    assert answer.status == 404
