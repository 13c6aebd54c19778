"""A ref is resolved by the host's API where that knows it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploycore.deploy.resolving import resolve_ref
from deploycore.errors import NotFound
from deploycore.models import RepositoryId

SHOP = RepositoryId(owner="acme", slug="shop")
UNUSED = {"open_cache": None, "cancellation": None, "settings": None}


def test_a_branch_is_resolved_without_the_git_server():
    branch = SimpleNamespace(commit="a" * 40)
    provider = SimpleNamespace(find_branch=lambda repository, name: branch)
    assert resolve_ref(provider, SHOP, "main", **UNUSED) == "a" * 40


def test_a_missing_repository_is_reported_at_once():
    def find_branch(repository, name):
        raise NotFound("There is no repository acme/shop.", repository=str(repository))

    with pytest.raises(NotFound, match="no repository"):
        resolve_ref(SimpleNamespace(find_branch=find_branch), SHOP, "main", **UNUSED)
