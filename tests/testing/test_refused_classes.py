"""Which contract classes ``plugin check`` refuses."""

from __future__ import annotations

import pytest

from deploycore.testing import ProviderContract
from deploycore.testing.check_run import refuse_other_classes


class Contract(ProviderContract):
    __test__ = False
    kind = "git_hub"


def test_a_contract_class_of_the_kind_is_accepted():
    refuse_other_classes(Contract, "git-hub")


@pytest.mark.parametrize(
    ("contract", "kind", "reason"),
    [
        (object(), "acme", "is not a ProviderContract"),
        (Contract, "acme", "its entry point is 'acme'"),
    ],
)
def test_anything_else_is_refused_with_the_reason(contract, kind, reason):
    with pytest.raises(pytest.Collector.CollectError, match=reason):
        refuse_other_classes(contract, kind)
