"""What the kit makes of what an author says on the contract class."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploycore.testing import ProviderContract


class Harbour(ProviderContract):
    modes = ("token", "password")
    modes_without_scopes = ("password",)


@pytest.mark.parametrize(
    ("asked_for", "given"),
    [("mode", ("token", "password")), ("scoped_mode", ["token"])],
)
def test_a_mode_without_scopes_is_left_out_where_a_scope_is_missing(asked_for, given):
    runs = {}
    metafunc = SimpleNamespace(fixturenames=[asked_for], parametrize=runs.__setitem__)
    Harbour().pytest_generate_tests(metafunc)
    assert runs == {asked_for: given}
