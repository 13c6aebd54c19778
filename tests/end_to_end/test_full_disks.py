"""Commands over SSH while a disk is really full: the data directory's, or that of a clone."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.faults.full_disks import PAGE, full, small_disk
from tests.git.conftest import stock_git
from tests.git.servers import snapshot

__all__ = ["stock_git"]

FREE = [each * PAGE for each in (0, 9, 16, 32)]


@pytest.fixture
def sandbox():
    """``shell`` searches for its secrets; these commands talk to OpenSSH's server."""

    class Nothing:
        secrets = ()

    return Nothing()


@pytest.fixture
def disk(tmp_path, empty_home):
    """The data directory of ``shell``, which has to be requested after it."""
    with small_disk(tmp_path / "home", "1m") as made:
        made.chmod(0o700)
        yield shutil.copytree(empty_home, made, dirs_exist_ok=True)


@pytest.fixture
def tree(stock_git, tmp_path):
    """The files of the repository that the server has."""
    place = tmp_path / "tree"
    stock_git("init", "-q", "-b", "main", place)
    for number in range(30):
        (place / f"{number}.txt").write_bytes(os.urandom(4000))
    stock_git("add", ".", at=place)
    stock_git("commit", "-qm", "first", at=place)
    return place


@pytest.fixture
def add(sshd, stock_git, tmp_path, tree):
    """The arguments that add a provider for a repository of OpenSSH's server."""
    root = sshd.root / f"{tmp_path.name}-disk"
    stock_git("clone", "-q", "--bare", tree, root / "acme/shop.git")
    return (
        *("provider", "add", "plain", "--kind", "git", "--mode", "ssh"),
        *("--url", sshd.url(root.name), "--repositories", "acme/shop"),
        *("--ssh-private-key-file", str(sshd.key), "--host-key", sshd.host_keys[0]),
    )


def kept(home):
    """What a data directory has; SQLite's files beside the database come and go."""
    ends = ("-wal", "-shm", ".log")
    return {each.name for each in home.iterdir() if not each.name.endswith(ends)}


def test_a_provider_with_a_pinned_host_key_is_stored_atomically(
    disk, no_home_yet, shell, add, sshd
):
    before = kept(disk)
    for left in FREE:
        with full(disk, left):
            done = shell.run(*add)
        if done.returncode == 0:
            break
        said = " ".join(done.stderr.split())
        assert "the disk is full" in said or "No space left" in said
        assert "Next: Free" in said
        assert kept(disk) <= {*before, "secret.key"}
        assert shell.json("provider", "list") == []
    assert left
    assert shell.json("provider", "show", "plain")["settings"]["ssh_host_keys"] == sshd.host_keys[0]
    shell.succeed("clone", "plain", "acme/shop", "here")


def test_a_first_clone_needs_no_cache_space(disk, no_home_yet, shell, add, tree):
    shell.succeed(*add)
    with full(disk, 0):
        _, said = shell.fail("clone", "plain", "acme/shop", "here")
    assert "Next: Free space" in " ".join(said.split())
    assert not (shell.directory / "here").exists()
    with full(disk, FREE[1]):
        shell.succeed("clone", "plain", "acme/shop", "here")
    assert snapshot(shell.directory / "here") == snapshot(tree)


def test_a_first_deployment_works_without_space_for_a_cache(
    disk, no_home_yet, shell, add, tree, stock_git, sshd, tmp_path
):
    (tree / "large").write_bytes(os.urandom(1_500_000))  # more than the disk has
    stock_git("add", ".", at=tree)
    stock_git("commit", "-qm", "large", at=tree)
    stock_git("push", "-q", sshd.root / f"{tmp_path.name}-disk/acme/shop.git", "main", at=tree)
    shell.succeed(*add)
    www = shell.directory / "www"
    shell.succeed(
        *("app", "create", "shop", "--provider", "plain", "--repository", "acme/shop"),
        *("--branch", "main", "--target", str(www)),
    )
    shell.succeed("deploy", "shop")
    assert snapshot(www / "current") == snapshot(tree)


def test_a_first_clone_to_a_full_disk_leaves_nothing_behind(shell, add, tree, tmp_path):
    shell.succeed(*add)
    with small_disk(tmp_path / "small", "1m") as small:
        for left in (0, PAGE, 10 * PAGE, 20 * PAGE, 40 * PAGE):
            with full(small, left):
                _, said = shell.fail("clone", "plain", "acme/shop", str(small / "here"))
                said = " ".join(said.split())
                assert f"{small}/here cannot be written: No space left on device" in said
                assert "Next: Free space on its disk, then try again." in said
                assert [each.name for each in small.iterdir()] == ["filler"]
        shell.succeed("clone", "plain", "acme/shop", str(small / "here"))
        assert snapshot(small / "here") == snapshot(tree)
