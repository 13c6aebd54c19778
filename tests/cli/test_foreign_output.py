"""Output of plugins does not appear in a command's JSON."""

from __future__ import annotations

import json
import os

import pytest

from tests import forked
from tests.distributions import GOOD_PROVIDER, write_distribution

SHOUT = """
import os, subprocess, sys, threading
from pydantic import model_validator

def shout(place):
    print("printed", place, flush=True)
    sys.stdout.write("written " + place + "\\n")
    os.write(1, b"written to the descriptor " + place.encode() + b"\\n")
    subprocess.run(["echo", "a child", place])
    thread = threading.Thread(target=print, args=("in a thread", place))
    thread.start()
    thread.join()

shout("import")
"""
LOUD = SHOUT + (
    GOOD_PROVIDER.replace(
        "    token: SecretStr\n",
        "    token: SecretStr\n\n"
        '    @model_validator(mode="after")\n'
        "    def loud(self):\n"
        '        shout("validator")\n'
        "        return self\n",
    )
    .replace(
        "        self.config = config\n", '        self.config = config\n        shout("init")\n'
    )
    .replace("        return Account", '        shout("authenticate")\n        return Account')
    .replace("            yield Rep", '            shout("list_repos")\n            yield Rep')
    .replace("        yield Branch", '        shout("list_branches")\n        yield Branch')
)
SHOUTED = ("import", "validator", "init", "authenticate", "list_repos", "list_branches")
KINDS = ("printed", "written", "written to the descriptor", "a child", "in a thread")


@pytest.fixture
def run(tmp_path):
    """Runs a command beside a plugin that prints wherever it can."""
    site = tmp_path / "site"
    write_distribution(site, "loud-provider", "loud", LOUD)
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("DEPLOYCORE_")},
        "DEPLOYCORE_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(site),
    }

    def run(*arguments, given=""):
        done = forked.run(
            "deploycore", arguments, environment=environment, directory=tmp_path, given=given
        )
        assert done.returncode == 0, done.stderr
        return done

    run("provider", "add", "work", "--kind", "loud", "--token-stdin", given="a-token-of-no-use")
    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ("provider", "test", "work"),
        ("provider", "list"),
        ("repos", "work"),
        ("branches", "work", "ada/repository-1"),
        ("plugins",),
    ],
    ids=" ".join,
)
def test_standard_output_contains_only_json(run, arguments):
    done = run(*arguments, "--json")
    json.loads(done.stdout)


def test_output_of_other_code_goes_to_standard_error(run):
    done = run("provider", "test", "work", "--json")
    assert json.loads(done.stdout)["repositories"] == 3
    said = [(kind, place) for kind in KINDS for place in SHOUTED[:-1]]
    assert [each for each in said if " ".join(each) not in done.stderr] == []


def test_help_is_printed_even_if_json_is_requested(run):
    assert "Usage" in run("repos", "--json", "--help").stdout
