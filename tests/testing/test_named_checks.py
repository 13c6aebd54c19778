"""Every check of the kit that documentation, template and examples name exists."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from deploycore.testing import ProviderContract
from deploycore.testing.contract.base import ContractBase
from deploycore.testing.contract.key_only import KeyOnlyMode

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    source
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "deploycore/testing/**/*.md",
        "deploycore/testing/**/*.py",
        "plugins/*/*.md",
        "plugins/*/tests/test_contract.py",
        "plugins/*/deploycore_*/contract.py",
        "examples/*/*.md",
        "examples/*/tests/test_contract.py",
        "examples/*/deploycore_*/contract.py",
    )
    for source in ROOT.glob(pattern)
)
MODULES = {
    module.stem
    for directory in ("tests", "plugins/*/tests", "examples/*/tests")
    for module in ROOT.glob(f"{directory}/**/test_*.py")
}
NAMED = re.compile(r"(?<!::)\btest_\w+\b(?!\.py|[*…/])")
ATTRIBUTES = [name for name in vars(ContractBase)["__annotations__"] if not name.startswith("_")]


def unknown_checks(source):
    """Names in a text that look like those of checks, and are neither checks nor test modules."""
    named = set(NAMED.findall(source.read_text()))
    return sorted(
        name
        for name in named
        if not any(hasattr(kit, name) for kit in (ProviderContract, KeyOnlyMode))
        and name not in MODULES
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_every_check_named_in_the_documentation_exists(source):
    assert unknown_checks(source) == []


def test_an_unknown_check_is_detected(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Set `test_a_hidden_repository_is_not_found` aside in `tests/test_contract.py`."
    )
    assert unknown_checks(page) == ["test_a_hidden_repository_is_not_found"]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_attribute_of_the_class_is_documented(attribute):
    described = inspect.getdoc(ContractBase).partition("Attributes:")[2]
    assert re.search(rf"^ {{4}}{attribute}: .", described, re.MULTILINE)
    page = (ROOT / "docs/how-to/test-a-provider.md").read_text()
    assert f"| `{attribute}` |" in page
