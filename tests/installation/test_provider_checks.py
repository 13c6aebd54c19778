"""Tests of credentials and of repositories, without a host."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploycore.errors import NotFound, PermissionDenied
from deploycore.installation.provider_test import count_repositories, prove_credentials
from deploycore.installation.verification import suggest_repository, verify_applications
from deploycore.models import RepositoryId

SHOP = RepositoryId(owner="acme", slug="shop")


def refuse(*arguments):
    raise PermissionDenied("The token may not list.", hint="Add a scope.")


@pytest.mark.parametrize(
    ("most", "expected"), [(None, (3, False)), (3, (3, False)), (2, (2, True))]
)
def test_repositories_are_counted_up_to_a_maximum(most, expected):
    provider = SimpleNamespace(list_repos=lambda query: range(3))
    found = count_repositories(provider, None, most=most)
    assert (found.count, found.has_more) == expected


def test_credentials_that_cannot_list_are_tested_with_a_repository():
    provider = SimpleNamespace(
        authenticate=refuse, list_repos=refuse, list_branches=lambda repository, query: []
    )
    assert prove_credentials(provider, SHOP).username == "acme"
    assert count_repositories(provider, SHOP).hint == "The token may not list. Add a scope."
    for test in (prove_credentials, count_repositories):
        with pytest.raises(PermissionDenied):
            test(provider, None)


def test_a_similar_repository_is_suggested():
    error = NotFound("There is no repository acme/shpo.", hint="Check the name.")
    mistyped = RepositoryId(owner="acme", slug="shpo")
    suggest_repository(error, mistyped, lambda query: [SimpleNamespace(id=SHOP)])
    assert "acme/shop" in error.hint
    assert error.hint.endswith("Check the name.")


def test_without_applications_nothing_is_requested():
    assert verify_applications([], refuse, None) is None
