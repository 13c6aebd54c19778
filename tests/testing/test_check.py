"""``deploycore plugin check``: its output for correct, faulty and incomplete providers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import deploycore.testing
from deploycore.provider.scaffold import render_template
from tests import forked


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A provider, made from the template and installed as pip would leave it."""
    return render_template("harbour", tmp_path_factory.mktemp("plugin") / "made")


@pytest.fixture
def check(template, tmp_path):
    """Runs the command on a copy of the provider with some text replaced."""

    def run(
        *options,
        groups=("providers", "sandboxes", "contracts"),
        addopts="",
        command="tests.testing.forked_checks",
        **replaced,
    ):
        site = tmp_path / "site"
        package = site / "deploycore_harbour"
        package.mkdir(parents=True)
        for source in (template / "deploycore_harbour").glob("*.py"):
            text = source.read_text()
            for old, new in replaced.get(source.stem, ()):
                assert old in text
                text = text.replace(old, new)
            (package / source.name).write_text(text)
        names = {
            "providers": "deploycore_harbour:HarbourProvider",
            "sandboxes": "deploycore_harbour.sandbox:HarbourSandbox",
            "contracts": "deploycore_harbour.contract:HarbourContract",
        }
        metadata = site / "deploycore_harbour-0.1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Name: deploycore-harbour\nVersion: 0.1.0\n")
        points = [f"[deploycore.{group}]\nharbour = {names[group]}\n" for group in groups]
        (metadata / "entry_points.txt").write_text("".join(points))
        return forked.run(
            command,
            ["plugin", "check", "harbour", *options],
            directory=tmp_path,
            environment={
                "PYTHONPATH": str(site),
                "PATH": "/usr/bin:/bin",
                "HOME": str(tmp_path),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_ADDOPTS": addopts,
            },
            timeout=500,
        )

    return run


def test_a_correct_provider_passes(check):
    """Every check that no provider can go without runs, and passes: the mutants of
    ``test_mutants.py`` are changes of this provider."""
    done = check(command="deploycore")  # with a process of its own
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deploycore-harbour 0.1.0 fulfils the provider contract." in done.stdout
    (passed,) = re.findall(r"^(\d+) checks passed in", done.stdout, re.MULTILINE)
    readme = (Path(deploycore.testing.__file__).parent / "README.md").read_text()
    assert f"in {passed} runs for a provider with one way to sign in" in readme
    assert "has no verify_webhook, which is optional" in done.stdout
    assert done.stdout.count("Skipped") <= 11  # a line for each optional feature
    assert "Failed" not in done.stdout


def test_an_incorrect_provider_gets_requirement_observed_value_and_location(check):
    wrong = [("private=self.private", "private=True")]
    done = check("--json", "--only", "described", answers=wrong)
    assert done.returncode == 10
    found = json.loads(done.stdout)
    assert not found["conforms"]
    assert set(found["failed"]) == {"test_public_and_empty_repositories_are_described_as_such"}
    (said,) = found["failed"].values()
    assert "The contract requires of list_repos: private" in said
    assert "Documented in: deploycore.hookspecs.ProviderSpec.list_repos" in said
    assert "assert True is False" in said


def test_a_broken_plugin_is_named_before_anything_runs(check):
    done = check(provider=[("API_VERSION = 1", "")])
    assert done.returncode == 10
    assert "deploycore-harbour 0.1.0 does not implement the provider contract" in done.stderr
    assert "API_VERSION" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plugin_without_a_contract_class_gets_the_next_step(check):
    done = check(groups=("providers",))
    assert done.returncode == 3
    assert "deploycore.contracts" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_kind_is_an_error(tmp_path):
    arguments = ["plugin", "check", "nowhere", "--json"]
    done = forked.run("deploycore", arguments, directory=tmp_path, environment=os.environ)
    assert done.returncode == 3
    assert json.loads(done.stderr)["error"]["code"] == "configuration"


def test_a_contract_class_that_omits_a_check_fails(check):
    left_out = [
        ("    required_scope = READ_SCOPE\n",
         "    required_scope = READ_SCOPE\n    test_a_missing_scope_is_named = None\n"),
    ]  # fmt: skip
    done = check(contract=left_out)
    assert done.returncode == 10
    assert "overridden without such a reason" in done.stdout + done.stderr


def test_a_contract_class_that_does_not_import_is_reported(check):
    done = check(contract=[("import READ_SCOPE", "import NO_SUCH_SCOPE")])
    assert done.returncode == 10
    assert "NO_SUCH_SCOPE" in done.stdout
    assert "Traceback" not in done.stderr


def test_excluded_checks_are_shown_with_their_reason(check):
    aside = [
        ("from deploycore.testing import ProviderContract",
         "import pytest\nfrom deploycore.testing import ProviderContract"),
        ("    required_scope = READ_SCOPE\n",
         "    required_scope = READ_SCOPE\n\n"
         '    @pytest.mark.xfail(reason="Harbour has no scopes at all")\n'
         "    def test_a_missing_scope_is_named(self):\n        assert False\n"),
    ]  # fmt: skip
    done = check("--json", "--only", "scope", contract=aside)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["set_aside"] == {"test_a_missing_scope_is_named": "Harbour has no scopes at all"}


def test_running_part_of_the_checks_gives_no_overall_verdict(check):
    done = check("--only", "rate_limit")
    assert done.returncode == 0
    assert "checks passed" in done.stdout
    assert "fulfils" not in done.stdout


def test_pytest_options_of_the_caller_do_not_change_the_verdict(check):
    done = check("--only", "clone_url", addopts="--dist=worksteal")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checks passed" in done.stdout


def test_an_empty_selection_of_checks_is_an_error(check):
    done = check("--only", "no_such_check")
    assert done.returncode == 10
    assert "No check has 'no_such_check' in its name." in done.stdout


IMPORT = ("from deploycore.testing import ProviderContract",
          "import pytest\nfrom deploycore.testing import ProviderContract")  # fmt: skip
SCOPE = "    required_scope = READ_SCOPE\n"
FIXTURE = """
    @pytest.fixture(autouse=True)
    def not_today(self):
        {}("Harbour is closed today")
"""

NO_STATUS = "the provider has no report_status, which is optional"


@pytest.mark.parametrize(
    ("way", "told"), [("pytest.skip", "outside the kit"), ("pytest.xfail", "at run time")]
)
def test_a_contract_class_that_skips_all_checks_fails(check, way, told):
    done = check("--json", contract=[IMPORT, (SCOPE, SCOPE + FIXTURE.format(way))])
    found = json.loads(done.stdout)
    assert done.returncode == 10
    assert found["conforms"] is False
    assert found["passed"] == 0
    assert told in found["failed"]["test_signing_in_is_cheap[token]"]
    assert "Harbour is closed today" in found["failed"]["test_signing_in_is_cheap[token]"]


def test_checks_skipped_by_the_kit_are_not_failures(check):
    no_scopes = [(SCOPE, SCOPE + '    modes_without_scopes = ("token",)\n')]
    done = check("--json", "--only", "scope", contract=no_scopes)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["failed"] == {}
    assert "modes_without_scopes" in found["skipped"]["test_a_missing_scope_is_named[none]"]
    assert found["knobs"] == {"modes_without_scopes": "('token',)"}


def test_a_contract_class_of_another_kind_fails(check):
    done = check("--json", contract=[('kind = "harbour"', 'kind = "anchorage"')])
    found = json.loads(done.stdout)
    assert done.returncode == 10
    assert set(found["failed"]) == {"the contract class"}
    assert "has kind = 'anchorage'" in found["failed"]["the contract class"]


def test_a_class_that_does_not_extend_the_kit_fails(check):
    done = check("--json", contract=[("(ProviderContract)", "")])
    found = json.loads(done.stdout)
    assert done.returncode == 10
    assert set(found["failed"]) == {"the contract class"}
    assert "is not a ProviderContract" in found["failed"]["the contract class"]


def test_checks_of_a_missing_optional_hook_are_skipped(check):
    done = check("--json", "--only", "a_status")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert set(found["skipped"].values()) == {NO_STATUS}


def test_other_checks_are_not_skipped_for_a_missing_optional_hook(check):
    fixture = SCOPE + FIXTURE.format("pytest.skip").replace("Harbour is closed today", NO_STATUS)
    done = check("--json", "--only", "cheap", contract=[IMPORT, (SCOPE, fixture)])
    found = json.loads(done.stdout)
    assert done.returncode == 10
    assert "outside the kit" in found["failed"]["test_signing_in_is_cheap[token]"]
