"""The message of a failed check: the rule, where it is documented, and what was seen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

import deploycore
from deploycore.errors import AuthenticationFailed, NotFound, PermissionDenied
from deploycore.testing.contract import base
from deploycore.testing.contract.base import asked, must_raise, promptly
from tests.testing.kit import environment, install_template, run_kit
from tests.testing.mutants import MUTANTS

DEFAULT_BRANCH = "calls every default branch main"
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pytest", "_pytest"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


def mutant(mistake):
    """The wrong provider that makes this mistake."""
    return next(each for each in MUTANTS if each.mistake == mistake)


def failed(at, mistake, **arguments):
    """What pytest says of the first check that catches a mistake."""
    wrong = mutant(mistake)
    site = install_template(at, wrong.replacements)
    outcomes = run_kit(at, site, checks=wrong.caught_by[:1], **arguments)
    return outcomes[wrong.caught_by[0]][0].text


def test_a_failed_check_shows_the_rule_the_values_and_the_documentation(tmp_path):
    text = failed(tmp_path, DEFAULT_BRANCH)
    assert "The contract requires of list_repos: default_branch is the host's" in text
    assert "Documented in: deploycore.hookspecs.ProviderSpec.list_repos" in text
    assert "assert 'main' == 'trunk'" in text


def test_values_are_shown_for_an_installed_deploycore(tmp_path):
    installed = tmp_path / "installed"
    package = Path(deploycore.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, installed / "deploycore", ignore=ignored)
    text = failed(tmp_path, DEFAULT_BRANCH, paths=[installed])
    assert "installed/deploycore/testing/contract/listing.py" in text
    assert "assert 'main' == 'trunk'" in text


def test_an_unexpected_error_also_shows_the_rule(tmp_path):
    text = failed(tmp_path, "shortens the hashes of commits")
    assert (
        "The contract requires of list_branches: all branches of all pages are listed with their "
        "commits" in text
    )
    assert "Seen: PluginError: The plugin violates the provider contract: list_branches" in text


def test_a_provider_that_cannot_be_loaded_gets_the_reason(tmp_path):
    text = failed(tmp_path, "names no version of the contract")
    assert "The contract requires of class: it can be loaded" in text
    assert "it has no API_VERSION" in text


def test_a_failing_sandbox_is_distinguished_from_an_incorrect_provider(tmp_path):
    site = install_template(tmp_path)
    sandbox = site / "deploycore_acme" / "sandbox.py"
    sandbox.write_text(sandbox.read_text().replace('"login": caller', '"login": no_such_name'))
    check = "test_right_credentials_say_whose_they_are"
    runs = run_kit(tmp_path, site, checks=[check])[check]
    assert any("the sandbox itself failed" in run.text for run in runs)
    assert any("NameError: name 'no_such_name'" in run.text for run in runs)


@pytest.mark.parametrize(
    ("of", "place"),
    [
        ("clone_url", "deploycore.hookspecs.ProviderSpec.clone_url"),
        ("Config", "deploycore.configuration.ProviderConfig"),
        ("secrets", "deploycore.hookspecs, the rules for every provider hook"),
    ],
)
def test_each_rule_links_to_its_documentation(of, place):
    assert asked(of, "this and that") == (
        f"\nThe contract requires of {of}: this and that\nDocumented in: {place}\nSeen:"
    )


def test_an_error_of_another_type_fails_the_check():
    with (
        pytest.raises(pytest.fail.Exception, match="PermissionDenied: no, and not NotFound"),
        must_raise(NotFound, "list_repos", "NotFound for what is gone"),
    ):
        raise PermissionDenied("no")


def test_a_missing_error_fails_the_check():
    with (
        pytest.raises(pytest.fail.Exception, match="Seen: no error, and not NotFound"),
        must_raise(NotFound, "list_repos", "NotFound for what is gone"),
    ):
        pass


def test_an_expected_error_is_passed_to_the_check():
    error = AuthenticationFailed("no")
    with must_raise(AuthenticationFailed, "authenticate", "an error") as caught:
        raise error
    assert caught == [error]


def test_a_call_that_does_not_finish_fails(monkeypatch):
    monkeypatch.setattr(base, "SECONDS_MOST", 0.05)
    end = Event()
    with pytest.raises(pytest.fail.Exception, match=r"it did not end within 0\.05 seconds"):
        promptly("list_repos", "a listing ends", end.wait)
    end.set()


def test_the_result_or_exception_of_a_prompt_call_is_passed_on():
    assert promptly("list_repos", "a listing ends", lambda: 7) == 7
    with pytest.raises(NotFound):
        promptly("list_repos", "a listing ends", lambda: next(raising()))


def raising():
    """An iterator that fails."""
    raise NotFound("no")
    yield


def test_sandboxes_run_without_pytest(tmp_path):
    done = run_without_pytest(
        tmp_path,
        "import deploycore.testing\n"
        "from deploycore.testing import faults, git_http, host, sandbox\n"
        "from deploycore_acme.sandbox import AcmeSandbox\n"
        "made = AcmeSandbox.demo()\n"
        "print(len(made.connections))\n"
        "made.stop()\n",
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_without_pytest_the_kit_shows_the_install_command(tmp_path):
    done = run_without_pytest(tmp_path, "from deploycore.testing import ProviderContract\n")
    assert done.returncode == 1
    assert "The conformance kit needs pytest: install deploycore[testing]." in done.stderr


def run_without_pytest(at, program):
    """Run a program where pytest can't be imported."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKER + program],
        env=environment(install_template(at)),
        capture_output=True,
        text=True,
        check=False,
    )
