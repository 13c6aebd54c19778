"""The conformance kit: every check that a provider has to pass, as one class to inherit.

A check that cannot pass for a host is set aside by overriding it with ``xfail`` and a reason. There
is no other way: defining the class fails, and ``deploycore plugin check`` counts the checks.
"""

# ruff: noqa: E402 - the modules whose assertions pytest rewrites must be registered before their
# import

from __future__ import annotations

from importlib.resources import files

import pytest

# Otherwise, authors would see failed checks without the values that were compared.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{part.name.removesuffix('.py')}"
        for part in files(__name__).iterdir()
        if part.name.endswith(".py") and part.name != "__init__.py"
    )
)

from deploycore.testing.contract.authentication import Authentication
from deploycore.testing.contract.class_and_configuration import ClassAndConfiguration
from deploycore.testing.contract.cloning import Cloning
from deploycore.testing.contract.deploy_keys import DeployKeys
from deploycore.testing.contract.failures import Failures
from deploycore.testing.contract.later_requests import LaterRequests
from deploycore.testing.contract.listing import Listing
from deploycore.testing.contract.optional_listings import OptionalListings
from deploycore.testing.contract.over_ssh import OverSsh
from deploycore.testing.contract.pagination import Pagination
from deploycore.testing.contract.secrecy import Secrecy
from deploycore.testing.contract.setting_aside import SettingAside
from deploycore.testing.contract.side_effects import SideEffects
from deploycore.testing.contract.statuses import HostDeployments, Statuses
from deploycore.testing.contract.threads import Threads
from deploycore.testing.contract.tokens import Tokens
from deploycore.testing.contract.webhooks import Deliveries, Registering
from deploycore.testing.contract.writing import Writing

__all__ = ["OPTIONAL_CHECKS", "ProviderContract"]

OPTIONAL_CHECKS = frozenset(
    name
    for group in (
        Deliveries,
        Registering,
        Statuses,
        HostDeployments,
        Writing,
        Tokens,
        OptionalListings,
        DeployKeys,
        OverSsh,
    )
    for name in vars(group)
    if name.startswith("test_")
)
"""Checks of optional hooks, and of tokens, which a provider may not need."""


# pytest runs the checks of the last base class first. The checks of side effects must be the first
# that call the provider: what it changes stays changed, and would otherwise count as the state
# before.
class ProviderContract(
    ClassAndConfiguration,
    Authentication,
    Listing,
    Pagination,
    Failures,
    LaterRequests,
    Secrecy,
    Threads,
    Cloning,
    Deliveries,
    Registering,
    Statuses,
    HostDeployments,
    Writing,
    Tokens,
    OptionalListings,
    DeployKeys,
    OverSsh,
    SettingAside,
    SideEffects,
):
    """All checks of the kit. Inherit it, and set the attributes that ``ContractBase`` describes.

    In a test module, name the subclass ``Test…``, so that pytest collects it.
    """
