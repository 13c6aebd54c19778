"""Shared objects are the same as those that a test would create alone."""

from __future__ import annotations

import importlib
import sys

import pytest
from sqlalchemy import create_engine, func, select

from deploycore.provider.registry import PROVIDER_GROUP, distribution_name, entry_points_by_name
from tests.distributions import write_distribution


def test_a_new_distribution_is_found_and_a_removed_one_is_not_found(tmp_path, monkeypatch):
    before = entry_points_by_name(PROVIDER_GROUP)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert entry_points_by_name(PROVIDER_GROUP) == before
    write_distribution(tmp_path, "deploycore-acme", "acme", "")
    importlib.invalidate_caches()
    assert entry_points_by_name(PROVIDER_GROUP).keys() == {"acme", *before}
    sys.path.remove(str(tmp_path))
    assert entry_points_by_name(PROVIDER_GROUP) == before


def test_a_rewritten_distribution_is_read_again(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    write_distribution(tmp_path, "deploycore-acme", "acme", "")
    importlib.invalidate_caches()
    (found,) = entry_points_by_name(PROVIDER_GROUP)["acme"]
    assert (found.value, distribution_name(found)) == (
        "deploycore_acme:AcmeProvider",
        "deploycore-acme",
    )
    metadata = tmp_path / "deploycore_acme-1.0.dist-info"
    (metadata / "entry_points.txt").write_text(f"[{PROVIDER_GROUP}]\nacme = other:Provider\n")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: deploycore-other\n")
    (found,) = entry_points_by_name(PROVIDER_GROUP)["acme"]
    assert (found.value, distribution_name(found)) == ("other:Provider", "deploycore-other")


def connected(url: str, **options):
    engine = create_engine(url, **options)
    with engine.connect() as connection:
        assert connection.scalar(select(func.abs(-1))) == 1
    engine.dispose()
    return engine


def test_engines_share_compiled_statements_after_the_first_connection():
    connected("sqlite://")
    first, second = connected("sqlite://"), connected("sqlite://")
    assert first.dialect is second.dialect
    assert first._compiled_cache is second._compiled_cache


@pytest.mark.parametrize(
    "options",
    [{"json_deserializer": repr}, {"paramstyle": "named"}, {"isolation_level": "SERIALIZABLE"}],
)
def test_engines_with_other_options_share_nothing(options):
    connected("sqlite://")
    plain, other = connected("sqlite://"), connected("sqlite://", **options)
    assert plain.dialect is not other.dialect
    assert plain._compiled_cache is not other._compiled_cache


def test_an_installed_distribution_is_read_once():
    first, second = (entry_points_by_name(PROVIDER_GROUP)["bitbucket"] for _ in range(2))
    assert first == second
    assert first[0] is second[0]
