"""Plugins that are installed for one test of the contract."""

from __future__ import annotations

import pytest

from tests.distributions import GOOD_PROVIDER


@pytest.fixture
def good_provider() -> str:
    """The source of a provider that fulfils the contract."""
    return GOOD_PROVIDER
