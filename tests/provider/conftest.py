"""What the contract is tested with: plugins that are installed for one test."""

from __future__ import annotations

import pytest

from tests.distributions import GOOD_PROVIDER


@pytest.fixture
def good_provider() -> str:
    """The source of a provider that fulfils the contract."""
    return GOOD_PROVIDER
