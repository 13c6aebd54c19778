"""The kit's checks of modes over SSH fail for a faulty plugin, and say why."""

from __future__ import annotations

import os

import pytest

from deploycore.testing.contract.over_ssh import OverSsh
from tests import forked

MODULE = """
from deploycore.models import Account, Branch, CloneUrl, SshAddress
from deploycore.refs_only import RefsOnlyConfig, RefsOnlyProvider
from deploycore.hookspecs import hookimpl
from deploycore_gitea.contract import GiteaContract
from deploycore_gitea.key_only import GiteaKeyProvider as Right

{change}

class TestBroken(GiteaContract):
    pass
"""

LISTS = "test_a_deploy_key_lists_and_clones"
REFUSES = "test_a_key_that_is_not_registered_reads_nothing"
WRONG = {
    "other-server": (
        "RefsOnlyConfig.ssh_address_of = lambda self, repository: SshAddress("
        "url='ssh://git@127.0.0.1:9/' + repository.path)",
        LISTS,
    ),
    "other-refs": (
        "Right._refs = lambda self, repository, prefix, name: [('main', 'a' * 40)]",
        LISTS,
    ),
    "no-default-branch": (
        "RefsOnlyProvider._default_branch = lambda self, repository: None",
        LISTS,
    ),
    "without-git": (
        "Right.authenticate = hookimpl(lambda self: Account(username='acme'))",
        REFUSES,
    ),
}


def run(tmp_path, change, check, **environment):
    module = tmp_path / "test_broken.py"
    module.write_text(MODULE.replace("{change}", change))
    (tmp_path / "none.ini").write_text("[pytest]\n")
    options = ["-q", "-rs", "-c", str(tmp_path / "none.ini"), "-p", "no:cacheprovider"]
    own = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", **environment}
    done = forked.run(
        "pytest",
        [str(module), "-k", check, *options, "-p", "no:xdist"],
        directory=tmp_path,
        environment={**os.environ, **own},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(WRONG))
def test_an_incorrect_ssh_mode_is_detected(name, tmp_path):
    code, said = run(tmp_path, *WRONG[name])
    assert code == 1, said
    assert "The contract requires" in said, said


def test_each_check_detects_something():
    checks = {name for name in vars(OverSsh) if name.startswith("test_")}
    assert {check for _, check in WRONG.values()} == checks


def test_the_checks_are_skipped_if_the_extra_is_missing(tmp_path):
    hidden = "import sys; sys.modules['asyncssh'] = None"
    code, said = run(tmp_path, hidden, f"{LISTS} or {REFUSES}")
    assert code == 0, said
    assert said.count("pip install 'deploycore[ssh]'") + said.count("SKIPPED [2]") >= 2, said
