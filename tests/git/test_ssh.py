"""Repositories over SSH: the same fetch, cache, limits and errors as over HTTPS."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from deploycore.cli.host_keys import with_host_keys
from deploycore.errors import HostKeyRefused, KeyRefused, RemoteRefused
from deploycore.git import RepositoryCache, clone, export, resolve
from tests.git.servers import nothing_left, snapshot
from tests.ssh_server import make_key

pytestmark = pytest.mark.usefixtures("ssh_runs")


@pytest.fixture
def shop(sshd, stock_git, tmp_path_factory):
    """A bare repository that the server has, and a work tree to commit to it."""
    return Served(sshd, stock_git, tmp_path_factory.mktemp("shop"))


class Served:
    def __init__(self, sshd, git, tree):
        self.sshd, self.git, self.tree = sshd, git, tree
        self.name = f"it's {tree.name}!.git"
        git("init", "-q", "-b", "main", tree)
        self.commit({"a.txt": "one\n", "b/c.txt": "two\n", "b/run": "#!/bin/sh\n"})
        git("clone", "-q", "--bare", tree, sshd.root / self.name)

    def commit(self, files):
        for name, content in files.items():
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).write_text(content)
        self.git("add", "-A", at=self.tree)
        self.git("commit", "-q", "-m", "change", at=self.tree)

    def push(self):
        self.git("push", "-q", self.sshd.root / self.name, "main", at=self.tree)

    @property
    def head(self):
        return self.git("rev-parse", "HEAD", at=self.tree).strip()

    def source(self, **more):
        return self.sshd.source(self.name, **more)


@pytest.mark.parametrize("version", [2, 0])
def test_an_exported_commit_equals_the_git_checkout(shop, target, settings, version):
    (shop.tree / "link").symlink_to("b/c.txt")
    (shop.tree / "b/run").chmod(0o755)
    shop.commit({})
    shop.push()
    port = shop.sshd.port if version == 2 else shop.sshd.port_0
    done = export(shop.source(port=port), "main", target, settings=settings)
    assert (done.commit, done.ref) == (shop.head, "main")
    assert snapshot(target) == snapshot(shop.tree)


@pytest.mark.parametrize("version", [2, 0])
def test_stock_git_can_fetch_in_a_clone(shop, target, settings, stock_git, version, monkeypatch):
    port = shop.sshd.port if version == 2 else shop.sshd.port_0
    clone(shop.source(port=port), None, target, settings=settings)
    for name, value in shop.sshd.git_environment().items():
        monkeypatch.setenv(name, value)
    shop.commit({"a.txt": "three\n"})
    shop.push()
    stock_git("pull", "-q", at=target)
    assert stock_git("status", "--porcelain", at=target) == ""
    assert snapshot(target) == snapshot(shop.tree)


@pytest.mark.parametrize("version", [2, 0])
def test_a_redeployment_fetches_only_new_objects(shop, tmp_path, settings, version):
    port = shop.sshd.port if version == 2 else shop.sshd.port_0
    cache, received = RepositoryCache(tmp_path / "cache"), []
    for number in range(3):
        shop.commit({"b/c.txt": f"{number}\n", "big": "\n".join(map(str, range(50_000)))})
        shop.push()
        figures = []
        export(
            shop.source(port=port),
            "main",
            tmp_path / f"target{number}",
            settings=settings,
            cache=cache,
            progress=figures.append,
        )
        received.append(figures[-1].received_bytes)
        assert snapshot(tmp_path / f"target{number}") == snapshot(shop.tree)
    assert max(received[1:]) < received[0] / 10
    same = export(shop.source(), "main", tmp_path / "same", settings=settings, cache=cache)
    assert same.commit == shop.head


@pytest.mark.parametrize("version", [2, 0])
def test_refs_and_commits_are_found(shop, target, settings, version):
    port = shop.sshd.port if version == 2 else shop.sshd.port_0
    source = shop.source(port=port)
    shop.git("tag", "-a", "v1", "-m", "first", at=shop.tree)
    shop.git("push", "-q", shop.sshd.root / shop.name, "v1", at=shop.tree)
    assert resolve(source, "v1", settings=settings) == shop.head
    with pytest.raises(RemoteRefused, match="has no branch or tag 'nope'"):
        export(source, "nope", target, settings=settings)
    former = shop.head
    shop.commit({"a.txt": "later"})
    shop.push()
    if version == 0:
        with pytest.raises(RemoteRefused, match=f"did not send commit {former}.*not our ref"):
            export(source, former, target, settings=settings)
    else:
        assert export(source, former, target, settings=settings).commit == former


@pytest.mark.parametrize(
    ("kind", "form", "passphrase"),
    [
        ("ed25519", "RFC4716", "correct horse"),
        ("rsa", "PEM", ""),
        ("rsa", "PEM", "correct horse"),
        ("rsa", "RFC4716", "correct horse"),
        ("ecdsa", "RFC4716", ""),
    ],
)
def test_keys_of_all_types_can_authenticate(
    shop, tmp_path, target, settings, kind, form, passphrase
):
    key = make_key(tmp_path / "key", kind, passphrase, form)
    shop.sshd.authorize(key)
    source = shop.source(key=key, passphrase=passphrase or None)
    assert export(source, "main", target, settings=settings).commit == shop.head


def test_an_unknown_client_key_is_rejected(shop, tmp_path, target, settings):
    source = shop.source(key=make_key(tmp_path / "stranger"))
    with pytest.raises(KeyRefused, match="does not accept the key for user") as caught:
        export(source, "main", target, settings=settings)
    assert caught.value.exit_code == 4
    assert "Add the public key to the repository" in caught.value.hint
    assert nothing_left(target)
    shop.sshd.authorize(tmp_path / "stranger")
    assert export(source, "main", target, settings=settings).commit == shop.head


def pinned_as_told(shop, error, tmp_path):
    """Where the repository is, once the host's key is pinned by the option of the hint."""
    assert "pin it: deploycore provider edit NAME --host-key FILE" in error.hint
    file = tmp_path / "of-the-host"
    file.write_text(f"{error.details['line']}\n")
    fields = with_host_keys({}, [str(file)])
    return shop.source(host_keys=tuple(fields["ssh_host_keys"].splitlines()))


def fingerprint(line):
    digest = hashlib.sha256(base64.b64decode(line.split()[2])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_different_host_key_is_rejected_with_both_fingerprints(
    shop, tmp_path, target, settings, kind
):
    other = Path(f"{make_key(tmp_path / 'other', kind)}.pub").read_text()
    pinned = f"[127.0.0.1]:{shop.sshd.port} {other}"
    with pytest.raises(HostKeyRefused) as caught:
        export(shop.source(host_keys=(pinned,)), "main", target, settings=settings)
    theirs = fingerprint(shop.sshd.host_keys[0])
    assert theirs in str(caught.value)
    assert fingerprint(pinned) in str(caught.value)
    assert caught.value.details["line"] == shop.sshd.host_keys[0]
    assert nothing_left(target)
    export(pinned_as_told(shop, caught.value, tmp_path), "main", target, settings=settings)


def test_a_host_without_a_known_key_is_refused(shop, tmp_path, target, settings):
    with pytest.raises(HostKeyRefused, match="is not known") as caught:
        export(shop.source(host_keys=()), "main", target, settings=settings)
    assert fingerprint(shop.sshd.host_keys[0]) == caught.value.details["fingerprint"]
    export(pinned_as_told(shop, caught.value, tmp_path), "main", target, settings=settings)


def test_a_missing_repository_is_reported_with_the_message_of_the_server(sshd, target, settings):
    with pytest.raises(RemoteRefused, match="does not appear to be a git repository"):
        export(sshd.source("nothing.git"), "main", target, settings=settings)
    assert nothing_left(target)
