"""A repository that ``git-lfs`` has created and pushed over SSH is checked out as ``git-lfs``
does."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess

import pytest

from deploycore.git import clone, export
from tests.git.lfs_server import StockLfsServer
from tests.git.servers import SECRET, snapshot

pytestmark = pytest.mark.skipif(not shutil.which("git-lfs"), reason="git-lfs is not installed")

FILES = {
    "page.txt": b"not in LFS\n",
    "logo.bin": bytes(range(256)) * 40,
    "same.bin": bytes(range(256)) * 40,
    "empty.bin": b"",
    "a directory/näme with spaces.bin": b"\0\r\n" * 3000,
    "design/poster.psd": b"8BPS" * 5000,
    "design/raw/kept.bin": b"in git, by the attributes of its directory\n",
    "tools/run.bin": b"#!/bin/sh\n",
}


@pytest.fixture
def lfs():
    running = StockLfsServer()
    running.credential = f"ada:{SECRET}"
    yield running
    running.stop()


@pytest.fixture
def asked(sshd, lfs, tmp_path):
    """What ``git-lfs-authenticate`` was asked; it grants access to the server."""
    file = tmp_path / "asked"
    basic = "Basic " + base64.b64encode(lfs.credential.encode()).decode()
    granted = {"href": f"{lfs.url}/info/lfs", "header": {"Authorization": basic}}
    program = sshd.programs / "git-lfs-authenticate"
    granted = json.dumps(granted | {"expires_in": 600})
    program.write_text(f"#!/bin/sh\necho \"$2\" >> {file}\necho '{granted}'\n")
    program.chmod(0o755)
    yield lambda: file.read_text().split()
    program.unlink()


@pytest.fixture
def git(stock_git, sshd, tmp_path, monkeypatch):
    """Git with what ``git lfs install`` sets up, and a key for the server."""
    configuration = tmp_path / "gitconfig"
    for name, value in (sshd.git_environment() | {"HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    installing = os.environ | {"GIT_CONFIG_GLOBAL": str(configuration)}
    subprocess.run(["git", "lfs", "install"], check=True, capture_output=True, env=installing)

    def run(*arguments, at=None):
        return stock_git("-c", f"include.path={configuration}", *arguments, at=at)

    return run


@pytest.fixture
def pushed(sshd, git, tmp_path):
    """The path of a repository with files in LFS, at the server."""
    tree, there = tmp_path / "tree", sshd.root / f"{tmp_path.name}-lfs" / "shop.git"
    git("init", "-q", "-b", "main", tree)
    git("init", "-q", "--bare", "-b", "main", there)
    git("lfs", "install", "--local", at=tree)
    git("lfs", "track", "*.bin", at=tree)
    git("lfs", "track", "--lockable", "*.psd", at=tree)
    for name, content in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    (tree / "tools/run.bin").chmod(0o755)
    (tree / "design/raw/.gitattributes").write_text("*.bin !filter !diff !merge -text\n")
    git("remote", "add", "origin", sshd.url(there), at=tree)
    git("config", f"lfs.{sshd.url(there)}/info/lfs.locksverify", "true", at=tree)
    git("add", ".", at=tree)
    git("commit", "-qm", "first", at=tree)
    git("push", "-q", "origin", "main", at=tree)
    return there


def test_an_export_equals_a_checkout_with_git_lfs(
    sshd, lfs, asked, git, pushed, target, tmp_path, settings
):
    assert set(asked()) == {"upload"}
    assert len(lfs.objects) == 4  # two files are the same, one is empty, and one is in git
    assert any(path.endswith("/locks/verify") for _, path, _ in lfs.requests)
    git("clone", "-q", sshd.url(pushed), tmp_path / "by-git")
    assert asked()[-1] == "download"
    lfs.requests.clear()
    export(sshd.source(pushed), "main", target, lfs=True, settings=settings)
    assert asked()[-1] == "download"
    assert len(lfs.downloads()) == 4
    checked_out = snapshot(tmp_path / "by-git")
    assert snapshot(target) == checked_out
    assert {name.encode(): content for name, content in FILES.items()} == {
        name: found[1] for name, found in checked_out.items() if name.decode() in FILES
    }


def test_git_lfs_works_in_a_clone(sshd, asked, git, pushed, target, tmp_path, settings):
    clone(sshd.source(pushed), "main", target, settings=settings)
    assert (target / "logo.bin").read_bytes().startswith(b"version https://git-lfs.github.com/")
    git("lfs", "pull", at=target)
    git("clone", "-q", sshd.url(pushed), tmp_path / "by-git")
    assert snapshot(target) == snapshot(tmp_path / "by-git")
    assert git("status", "--porcelain", at=target) == ""
    assert "OK" in git("lfs", "fsck", at=target)
