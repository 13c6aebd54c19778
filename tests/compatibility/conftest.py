"""The older plugin, installed for one module of tests."""

from __future__ import annotations

import importlib

import pytest

from tests.compatibility import HERE


@pytest.fixture(scope="module")
def older_plugin(tmp_path_factory):
    """Install ``deploycore_quay`` for deploycore 0.1; yield the name of its distribution."""
    site = tmp_path_factory.mktemp("site")
    metadata = site / "deploycore_quay-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: deploycore-quay\nVersion: 0.1.0\n"
        "Requires-Dist: deploycore<1,>=0.1\nRequires-Dist: pydantic>=2.7\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[deploycore.providers]\nquay = deploycore_quay:QuayProvider\n"
        "[deploycore.sandboxes]\nquay = deploycore_quay.sandbox:QuaySandbox\n"
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(HERE))
        patched.syspath_prepend(str(site))
        importlib.invalidate_caches()
        yield "deploycore-quay"
