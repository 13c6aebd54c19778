"""The conformance kit: every check that a provider has to pass, as one class to inherit.

A check that can't hold for a host is set aside by overriding it with ``xfail`` and a reason,
and in no other way: the class refuses to be made, and ``deploycore plugin check`` counts.
"""

# ruff: noqa: E402 - what is to be rewritten has to be named before it is imported

from __future__ import annotations

from importlib.resources import files

import pytest

# Or authors see failed checks without the values that failed.
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
    )
    for name in vars(group)
    if name.startswith("test_")
)
"""Those of hooks that a provider may leave out, and of tokens that it may not need."""


class ProviderContract(
    ClassAndConfiguration,
    Authentication,
    Listing,
    Pagination,
    Failures,
    LaterRequests,
    Secrecy,
    SideEffects,
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
    SettingAside,
):
    """All checks of the kit; an author's class says what ``ContractBase`` asks for.

    Name the subclass ``Test…`` where pytest collects it.
    """
