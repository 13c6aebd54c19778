"""With any umask, other users cannot write deploycore's files, and cannot read its private
files."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deploycore.deploy.releases import Releases
from deploycore.disk.durable import lock_file
from deploycore.git import clone
from tests.git.servers import EXECUTABLE, Content, Server, source

pytestmark = pytest.mark.unprivileged

LARGE = bytes(8 * 1024 * 1024)
STEPS = {
    "build": [
        {"shell": "until cp ../../.deploycore.step storage/record; do sleep 0.02; done"},
        {
            "shell": "until stat -c %a ../../.deploycore.step > storage/mode; do sleep 0.02; done",
        },
    ]
}
OTHERS = 0o002
ANYBODY_ELSE = 0o077


@pytest.fixture
def no_umask():
    former = os.umask(0)
    yield
    os.umask(former)


def modes(directory):
    """The mode of everything in a directory and of itself, links left out."""
    for path in (directory, *directory.rglob("*")):
        found = path.lstat()
        if not stat.S_ISLNK(found.st_mode):
            yield path.relative_to(directory.parent), stat.S_IMODE(found.st_mode)


def open_to(directory, mask):
    return {str(path): oct(mode) for path, mode in modes(directory) if mode & mask}


def test_with_umask_0_a_deployment_creates_no_world_writable_files(
    no_umask, tmp_path, demo_sandbox
):
    from deploycore import Installation, RepositoryId, Settings

    home, target = tmp_path / "data" / "home", tmp_path / "sites" / "live"
    connection = next(c for c in demo_sandbox.connections if c.settings["mode"] == "access-token")
    settings = dict(connection.settings)
    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(home)})) as installation:
        installation.add_provider("work", "bitbucket", settings, {"token": settings.pop("token")})
        installation.add_application(
            "site",
            provider="work",
            repository=RepositoryId(owner="acme", slug="site"),
            ref="main",
            target=target,
            shared={"directories": ["storage"], "files": ["conf/local.ini"]},
            steps=STEPS,
        )
        for content in ("one", "two"):
            files = {"page": content.encode(), "deep/er/file": b"x", "large": LARGE}
            demo_sandbox.publish("acme", "site", "main", files, content)
            assert installation.engine.deploy("site").state == "healthy"
    assert open_to(tmp_path / "data", ANYBODY_ELSE) == {}
    written_by_steps = {"live/shared/storage/record", "live/shared/storage/mode"}
    found = open_to(target, OTHERS)
    assert found.keys() <= written_by_steps
    assert stat.S_IMODE(target.parent.stat().st_mode) & OTHERS == 0
    assert stat.S_IMODE(Releases(target).lock.stat().st_mode) == 0o600
    assert (target / "shared/storage/mode").read_text() == "600\n"


def test_with_umask_0_a_clone_has_no_world_writable_files(no_umask, tmp_path):
    server = Server()
    content = Content(tmp_path / "served.git")
    try:
        server.backend.repos["/shop.git"] = content.repo
        files = {"a": b"", "run": (EXECUTABLE, b""), "d/large": LARGE}
        content.commit(content.files(files))
        clone(source(f"{server.origin}/shop.git"), "main", tmp_path / "made" / "clone")
    finally:
        content.repo.close()
        server.stop()
    assert open_to(tmp_path / "made", OTHERS) == {}
    assert (tmp_path / "made/clone/run").stat().st_mode & 0o111


def test_with_umask_0_a_server_creates_only_private_files(tmp_path):
    home = tmp_path / "data" / "home"
    command = [sys.executable, "-m", "deploycore", "serve", "--port", "0", "--workers", "1"]
    running = subprocess.Popen(
        command,
        env={**os.environ, "DEPLOYCORE_HOME": str(home)},
        stdout=subprocess.PIPE,
        umask=0,
        text=True,
    )
    try:
        assert "serves at http://" in running.stdout.readline()
    finally:
        running.terminate()
        running.communicate()
    assert (home / "deploycore.db").exists()
    assert open_to(tmp_path / "data", ANYBODY_ELSE) == {}


def test_a_lock_file_accessible_to_others_is_replaced(tmp_path):
    """As earlier versions left them; somebody may have opened it then."""
    path = tmp_path / "lock"
    path.write_text("site\n")
    path.chmod(0o644)
    opened_before = os.open(path, os.O_RDONLY)
    held = lock_file(path)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() == "site\n"
        assert not os.path.samestat(os.fstat(opened_before), path.stat())
        with pytest.raises(BlockingIOError):
            lock_file(path)
    finally:
        os.close(held)
        os.close(opened_before)
    os.close(lock_file(path))
    assert os.listdir(tmp_path) == ["lock"]


@pytest.mark.parametrize("what", ["link", "directory", "fifo"])
def test_a_lock_that_is_not_a_regular_file_is_rejected(tmp_path, what):
    path = tmp_path / "lock"
    if what == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif what == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(OSError, match=r"symbolic|directory|regular"):
        lock_file(path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
@pytest.mark.skipif(not shutil.which("flock"), reason="needs flock of util-linux")
def test_other_users_cannot_hold_the_lock_of_a_target():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        releases = Releases(Path(directory) / "live")
        releases.prepare()
        with releases.locked():
            pass
        for path, may_be_opened in ((releases.target, True), (releases.lock, False)):
            done = subprocess.run(
                ["flock", "--shared", "--nonblock", path, "true"],
                user=65534,
                group=65534,
                extra_groups=[],
                stderr=subprocess.DEVNULL,
            )
            assert (done.returncode == 0) is may_be_opened
