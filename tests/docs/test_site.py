"""The built site: nothing public without its place in the reference."""

from __future__ import annotations

import html
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

import deploycore
from deploycore import errors
from deploycore.cli import COMMANDS, EXIT_CODES
from deploycore.hookspecs import ObserverSpec, ProviderSpec
from tests.docs.conftest import doctrees_of
from tests.docs.pages import ROOT

sys.path.append(str(ROOT / "docs"))
from render import COMMITTED, render

pytestmark = pytest.mark.timeout(900)  # a busy machine takes minutes to build the site

PROMISED = re.findall(
    r"^\| `(deploycore\.\w+)`", (ROOT / "docs/compatibility.md").read_text(), re.M
)
MODULES = ["deploycore", "deploycore.settings", *PROMISED]
HOOKS = [
    (specification, name)
    for specification in (ProviderSpec, ObserverSpec)
    for name, function in vars(specification).items()
    if hasattr(function, "deploycore_spec")
]
VARIABLES = {
    variable
    for path in Path(deploycore.__file__).parent.rglob("*.py")
    for variable in re.findall(r"\"(DEPLOYCORE_[A-Z_]*[A-Z])\"", path.read_text())
}


def shown(page: Path) -> str:
    """What a person reads on a page, with one space for any white space."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page.read_text())).split())


@pytest.fixture(scope="session")
def documented(site) -> set[str]:
    """The names of everything that the reference describes."""
    from sphinx.util.inventory import InventoryFile

    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    return {
        name
        for kind, entries in inventory.data.items()
        if kind.startswith("py:")
        for name in entries
    }


@pytest.mark.parametrize(
    ("specification", "name"), HOOKS, ids=lambda each: getattr(each, "__name__", each)
)
def test_every_hook_is_in_the_reference_with_signature_and_description(
    site, documented, specification, name
):
    function = vars(specification)[name]
    assert f"deploycore.hookspecs.{specification.__name__}.{name}" in documented
    page = shown(site / "reference/hooks.html").replace("¶", "")
    parameters = [each for each in inspect.signature(function).parameters if each != "self"]
    assert re.search(rf"{name}\({r'[^)]*'.join(f'{each}: ' for each in parameters)}", page)
    first = inspect.getdoc(function).partition("\n\n")[0].replace("``", "")
    assert " ".join(first.split()) in page


def test_the_hook_specifications_checked_by_the_previous_test_exist():
    assert {name for _, name in HOOKS} >= {"authenticate", "explain_git_refusal", "veto_deploy"}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(documented, module):
    public = importlib.import_module(module)
    missing = []
    for name in set(public.__all__) - {"__version__"}:
        thing = getattr(public, name)
        home = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
        if not {f"{module}.{name}", home} & documented:
            missing.append(name)
    assert missing == []


def test_the_promise_names_the_modules_that_plugins_import():
    assert {"deploycore.hookspecs", "deploycore.http", "deploycore.testing"} <= set(PROMISED)


def test_every_error_has_its_code_and_exit_code_in_the_reference(site):
    page = shown(site / "reference/errors.html")
    for name in errors.__all__:
        error = getattr(errors, name)
        assert f"{name} {error.code} {error.exit_code} " in page


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_reference(site, command):
    assert f"deploycore {command}" in shown(site / "reference/command-line.html")


def test_exit_codes_are_the_same_in_the_manual_and_the_reference(site):
    manual = (ROOT / "docs/scripting.md").read_text()
    page = shown(site / "reference/command-line.html")
    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in manual
        assert f"{code} {meaning}" in page


@pytest.mark.parametrize("variable", sorted(VARIABLES))
def test_every_variable_of_the_environment_is_documented(variable):
    assert any(f"`{variable}`" in page.read_text() for page in (ROOT / "docs").rglob("*.md"))


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="signatures differ between versions")
def test_the_committed_reference_matches_the_code(site, tmp_path):
    rendered = render(tmp_path, doctrees_of(site))
    committed = {page.name: page.read_text() for page in COMMITTED.glob("*.md")}
    outdated = sorted(
        name for name in rendered | committed if rendered.get(name) != committed.get(name)
    )
    assert outdated == [], "bring these up to date: python docs/render.py"


@pytest.mark.parametrize("page", sorted(COMMITTED.glob("*.md")), ids=lambda page: page.stem)
def test_the_reference_shows_no_directives_on_a_git_host(page):
    text = page.read_text()
    assert "eval-rst" not in text
    assert not re.search(r"(?m)^% generated", text)
