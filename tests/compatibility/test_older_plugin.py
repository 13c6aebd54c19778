"""A provider that was written for deploycore 0.1 passes the whole kit of this deploycore."""

from __future__ import annotations

import sys

import pytest

from deploycore.testing import ProviderContract
from tests.compatibility import HERE

sys.path.insert(0, str(HERE))
from deploycore_quay.configuration import READ_PERMISSION
from deploycore_quay.sandbox import QuaySandbox

sys.path.remove(str(HERE))


@pytest.mark.usefixtures("older_plugin")
class TestOlderPlugin(ProviderContract):
    """The checks are inherited."""

    kind = "quay"
    sandbox = QuaySandbox
    required_scope = READ_PERMISSION
