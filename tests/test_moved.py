"""Previous module names work for one release, with a warning."""

from __future__ import annotations

import importlib
import sys

import pytest

from deploycore.moved import FORMER_MODULES, install


@pytest.mark.parametrize("former", sorted(FORMER_MODULES))
def test_an_old_module_has_the_names_of_the_new_one_and_warns(former, monkeypatch):
    monkeypatch.delitem(sys.modules, former, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{former} has moved to") as warned:
        module = importlib.import_module(former)
    present = importlib.import_module(FORMER_MODULES[former])
    assert module.__all__ == present.__all__
    for name in present.__all__:
        assert getattr(module, name) is getattr(present, name)
    assert len(warned) == 1
    monkeypatch.delitem(sys.modules, former)


def test_the_warning_points_to_the_import_statement(monkeypatch):
    monkeypatch.delitem(sys.modules, "deploycore.observers", raising=False)
    with pytest.warns(DeprecationWarning, match="observers") as warned:
        from deploycore.observers import Observers  # noqa: F401
    assert warned[0].filename == __file__
    monkeypatch.delitem(sys.modules, "deploycore.observers")


def test_other_names_are_still_not_found():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        importlib.import_module("deploycore.no_such_module")


def test_the_finder_is_installed_once():
    before = list(sys.meta_path)
    install()
    assert sys.meta_path == before
