"""Run deploycore's conformance kit."""

from deploycore_acme.contract import AcmeContract


class TestAcme(AcmeContract):
    """The checks are inherited.

    If a check cannot pass for the host, override it with a reason::

        @pytest.mark.xfail(reason="Acme has no private repositories")
        def test_a_repository_that_is_unknown_or_hidden_is_not_found(self):
            raise AssertionError
    """
