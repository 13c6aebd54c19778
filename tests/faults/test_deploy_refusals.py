"""Each file-system call of activation, cleaning and pruning fails in turn.

After each failure, for a user who is not root: nothing outside the removed trees has changed, the
record is correct, and another user can read the live release.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deploycore.deploy import Releases
from tests.deploy.conftest import create, installation, provider, publish
from tests.faults.refusals import NUMBERS, ROUNDS
from tests.forked import ForkedProcess
from tests.processes import Process

__all__ = ["create", "installation", "provider", "publish"]

ROOT = Path(__file__).parents[2]
DEPLOYER, READER = 64_991, 64_992
CALLS_MOST = 500
BUILD = "mkdir -p r/.bin r/d; ln -s ../x r/.bin/a; touch r/d/f; chmod -R a-w r"
IS_ROOT = os.getuid() == 0


@pytest.fixture
def base():
    """A directory that every user may enter, which those of pytest are not."""
    made = Path(tempfile.mkdtemp(prefix="refusals-"))
    made.chmod(0o755)
    yield made
    subprocess.run(["chmod", "-R", "u+rwx", str(made)], check=True)  # steps close directories
    shutil.rmtree(made)


@pytest.fixture
def home(base, empty_home):
    return shutil.copytree(empty_home, base / "home")


@pytest.fixture
def place(base):
    """Where the target is made, beside that of somebody else."""
    other = base / "apps" / "other" / "releases" / "one"
    other.mkdir(parents=True)
    (other / "page").write_text("other")
    other.chmod(0o500)
    return base / "apps"


@pytest.fixture
def target(place):
    return place / "site"


@pytest.fixture
def run(installation, base, home, place):
    """Deploys as another user: ``run("deploy", at=3, number=EPERM)`` gives how that ended."""
    command = [sys.executable, "-m", "tests.faults.refusals", str(home), str(place), str(DEPLOYER)]
    runner = ForkedProcess(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def perform(what: str = "deploy", **wanted) -> dict:
        runner.stdin.write(json.dumps({"what": what} | wanted) + "\n")
        runner.stdin.flush()
        return json.loads(runner.stdout.readline())

    yield perform
    runner.stdin.close()
    runner.stdout.close()
    assert runner.wait(60) == 0


def give(path: Path) -> None:
    """Give a tree to the user who deploys."""
    if IS_ROOT:
        for each in (path, *path.rglob("*")):
            os.chown(each, DEPLOYER, DEPLOYER, follow_symlinks=False)


def around(place: Path, target: Path) -> dict:
    """All that no deployment may change: mode, owner and content, by path."""
    alone = [place, target, target / "releases"]
    trees = [place / "other", target / "releases" / "backup"]
    found = [*alone, *trees, *(each for tree in trees for each in tree.rglob("*"))]
    return {
        str(each): (
            stat.filemode(each.lstat().st_mode),
            each.lstat().st_uid,
            each.read_bytes() if each.is_file() else None,
        )
        for each in found
    }


@pytest.fixture
def read_by_a_third_user():
    """Reads a file of one line as another user.

    It is one program for all files: to start one as another user copies this process's page tables.
    """
    third = {"user": READER, "group": READER, "extra_groups": []} if IS_ROOT else {}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    program = 'while read -r path; do cat "$path" && echo || exit; done'
    with Process(["sh", "-c", program], **pipes, **third) as reader:

        def read(path: Path) -> str:
            reader.stdin.write(f"{path}\n")
            reader.stdin.flush()
            return reader.line().removesuffix("\n")

        yield read


def last(installation):
    return installation.store.deployments.list("site", limit=1)[0]


KINDS = {
    "healthy": {"health_check": {"shell": "test -e page", "retries": 0}},
    "ill": {"health_check": {"shell": "test ! -e ill", "retries": 0}},
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", ROUNDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_system_call_changes_nothing_else_and_is_recorded(
    installation,
    create,
    publish,
    home,
    place,
    target,
    run,
    read_by_a_third_user,
    kind,
    first,
    record_property,
):
    create(**KINDS[kind], keep=2, steps={"build": [{"shell": BUILD}]})
    give(home)
    give(place)
    for content in ("a", "b"):
        publish(content)
        assert run()["how"] == "healthy"
    backup = target / "releases" / "backup"
    backup.mkdir(mode=0o750)
    (backup / "dump").write_text("dump")
    give(backup)
    before, live, calls = around(place, target), "b", 0
    for at in range(1, CALLS_MOST):
        content = f"content {at}"
        publish(content, **({"ill": b""} if kind == "ill" else {}))
        done = run(at=at, number=NUMBERS[(at + first) % len(NUMBERS)])
        assert around(place, target) == before, at
        if not last(installation).is_finished:
            assert done["how"] != "healthy", at
            run("recover")
        record = last(installation)
        assert record.is_finished, at
        if done["how"] == "healthy":
            assert record.state == "healthy", at
        assert (record.state == "healthy") <= (kind == "healthy"), at
        live = content if record.state == "healthy" else live
        assert read_by_a_third_user(target / "current" / "page") == live, (at, record.state)
        assert Releases(target).current.name in os.listdir(target / "releases")
        assert around(place, target) == before, at
        if done["count"] < at:
            break
        calls += 1
    assert done["how"] == ("healthy" if kind == "healthy" else "health_check_failed")
    assert calls > 40
    record_property("calls refused", calls)
    left = [each for each in os.listdir(target / "releases") if each != "backup"]
    assert len(left) == 2, left
