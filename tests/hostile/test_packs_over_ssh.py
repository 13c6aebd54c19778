"""The malicious packs and repositories over SSH: they are rejected as over HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploycore.errors import DeploycoreError, LimitExceeded
from deploycore.git import export
from tests.git.servers import nothing_left, snapshot
from tests.hostile.conftest import assert_fit_for_people
from tests.hostile.packs import blob, commit, pack, pack_of, tree
from tests.hostile.server import Request, Script
from tests.hostile.test_packs import ALL, CASES, CONTENT, RIGHT, TIP

ASKED = Request("POST", "/", None, 2, b"command=fetch")
LISTED = replace(ASKED, body=b"command=ls-refs")
DISCOVERED = replace(ASKED, method="GET")

pytestmark = pytest.mark.usefixtures("ssh_runs")


@pytest.fixture
def attempt(sshd, upload_pack, tmp_path, target, settings):
    """Exports from an SSH server that sends a script's answers one after another, unasked.

    Returns the files on the disk, or the typed error.
    """
    said = tmp_path / "said"
    upload_pack(f"cat {said}; exec > /dev/null; cat")

    def run(script, **changed):
        said.write_bytes(b"".join(script.answer(each).body for each in (DISCOVERED, LISTED, ASKED)))
        try:
            export(sshd.source("x.git"), "main", target, settings=replace(settings, **changed))
        except DeploycoreError as error:
            assert nothing_left(target)
            assert_fit_for_people(error)
            return error
        return snapshot(target)

    return run


def serving(tip, content):
    script = Script()
    script.serve_pack(tip, content)
    return script


def test_inconsistent_packs_are_rejected(attempt):
    for case in CASES:
        outcome = attempt(serving(TIP, case.pack()))
        assert isinstance(outcome, case.kind), (case.name, outcome)
    assert attempt(serving(TIP, pack(*ALL))) == RIGHT


@pytest.mark.parametrize("name", [b"..", b".git", b"a/b", b".GIT", b"git~1"])
def test_names_that_escape_the_target_are_rejected(attempt, name):
    root = tree((0o100644, name, CONTENT))
    outcome = attempt(serving(commit(root), pack_of(commit(root), root, CONTENT)))
    assert isinstance(outcome, DeploycoreError), outcome


def test_a_file_beyond_the_limit_is_refused(attempt):
    large = blob(bytes(2_000_000))
    root = tree((0o100644, b"a", large))
    outcome = attempt(
        serving(commit(root), pack_of(commit(root), root, large)), max_object_bytes=1_000_000
    )
    assert isinstance(outcome, LimitExceeded), outcome
