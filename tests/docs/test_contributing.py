"""The tools that CONTRIBUTING.md names work as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMIT = ROOT / ".venv/bin/pre-commit"


def test_the_hooks_and_the_session_check_run_the_same_tools():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    session = (ROOT / "noxfile.py").read_text().partition("def check(")[2].partition("\n\n")[0]
    of_session = re.findall(r'run\("([a-z-]+)"(?:, "([a-z]+)")?', session)
    of_hooks = re.findall(r"exec ([a-z-]+)(?: ([a-z]+))?", hooks)
    assert of_hooks == of_session
    assert len(of_hooks) == 4


@pytest.mark.skipif(
    not (COMMIT.exists() and shutil.which("git") and (ROOT / ".git").exists()),
    reason="there is no .venv with pre-commit, or no git repository",
)
def test_the_hooks_find_their_tools_without_an_active_environment(tmp_path):
    outside = [each for each in os.environ["PATH"].split(":") if ".venv" not in each]
    done = subprocess.run(
        [COMMIT, "run", "--files", "noxfile.py", "--verbose"],
        env=os.environ
        | {"PATH": ":".join(outside), "PRE_COMMIT_HOME": str(tmp_path), "SKIP": "mypy,imports"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Passed") == 2
