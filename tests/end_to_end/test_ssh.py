"""A provider that clones over SSH, with its key and its host's key from the command line."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distributions import GOOD_PROVIDER, write_distribution
from tests.ssh_server import make_key

SSH_HOOK = """
    @hookimpl
    def ssh_clone_url(self, repository):
        from deploycore.models import SshAddress
        return SshAddress(url="{address}/" + repository.slug + ".git", host_keys={published})
"""
CALLS = "execve,write,writev,pwrite64,sendto,sendmsg"


@pytest.fixture
def served(sshd, tmp_path):
    """A repository of the name that the provider lists first, below a directory of its own."""
    root = sshd.root / f"{tmp_path.name}-served"
    tree = tmp_path / "tree"
    environment = os.environ | {
        f"GIT_{who}_{what}": "ada@example.com"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    tree.mkdir()
    (tree / "a.txt").write_text("one")
    for command in (
        ["git", "init", "-q", "-b", "main", tree],
        ["git", "-C", tree, "add", "-A"],
        ["git", "-C", tree, "commit", "-q", "-m", "first"],
        ["git", "clone", "-q", "--bare", tree, root / "repository-0.git"],
    ):
        subprocess.run(list(map(str, command)), check=True, env=environment)
    return sshd.url(root.name)


@pytest.fixture
def acme(shell, served, monkeypatch, tmp_path):
    """Installs a plugin whose host publishes these keys: ``acme(())``."""
    site = shell.directory / "site"
    monkeypatch.setenv("PYTHONPATH", str(site))

    def install(published):
        source = GOOD_PROVIDER + SSH_HOOK.format(address=served, published=repr(tuple(published)))
        commit = subprocess.check_output(["git", "-C", tmp_path / "tree", "rev-parse", "HEAD"])
        source = source.replace('"1" * 40', repr(commit.decode().strip()))
        write_distribution(site, "deploycore-acme", "acme", source)

    return install


def add(shell, key, *more, name="work"):
    return (
        *("provider", "add", name, "--kind", "acme", "--token-stdin"),
        *("--ssh-private-key-file", str(key), *more),
    )


def test_a_host_key_is_pinned_after_a_user_has_confirmed_it(shell, acme, sshd, tmp_path):
    acme(())
    given = shell.made_up + "\n"
    _, said = shell.fail(*add(shell, sshd.key), given=given)
    [line, _] = sshd.host_keys
    shown = " ".join(said.split())
    assert "is not known" in shown
    assert "ssh-ed25519 SHA256:" in shown
    assert "--host-key" in shown
    shell.succeed(*add(shell, sshd.key, "--host-key", line), given=given)
    assert shell.json("provider", "show", "work")["settings"]["ssh_host_keys"] == line
    shell.succeed("clone", "work", "ada/repository-0", "here")
    assert (shell.directory / "here/.git").is_dir()
    other = make_key(tmp_path / "other")
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {Path(f'{other}.pub').read_text()}")
    _, said = shell.fail("provider", "edit", "work", "--host-key", str(known))
    assert said.count("SHA256:") == 2
    shell.succeed("provider", "edit", "work", "--host-key", str(known), "--no-verify")
    _, said = shell.fail("clone", "work", "ada/repository-0", "there")
    assert said.count("SHA256:") == 2


def test_published_keys_require_no_pin_and_a_wrong_key_is_not_stored(shell, acme, sshd, tmp_path):
    acme(sshd.host_keys)
    given = shell.made_up + "\n"
    stranger = make_key(tmp_path / "stranger")
    _, said = shell.fail(*add(shell, stranger), given=given)
    assert "does not accept the key" in " ".join(said.split())
    assert shell.json("provider", "list") == []
    _, said = shell.fail(*add(shell, Path(f"{sshd.key}.pub")), given=given)
    assert "is a public key" in said
    shell.succeed(*add(shell, sshd.key), given=given)
    shell.succeed("clone", "work", "ada/repository-0", "here")
    declared = {"provider": "work", "repository": "ada/repository-0", "ref": "main"}
    declared["target"] = str(shell.directory / "target")
    (shell.directory / "shop.yaml").write_text(json.dumps({"applications": {"shop": declared}}))
    shell.succeed("apply", "shop.yaml")
    shell.succeed("deploy", "shop")
    assert (shell.directory / "target/current/a.txt").read_text() == "one"


def can_trace():
    found = shutil.which("strace")
    return bool(found) and not subprocess.run([found, "-o", "/dev/null", "true"]).returncode


def tracing(calls):
    """The beginning of a command line that writes to a file what a program gives to the system."""
    return [
        *("strace", "-f", "--seccomp-bpf", "-v", "-s", "100000"),
        *("-e", f"trace={CALLS}", "-o", str(calls)),
    ]


@pytest.mark.skipif(not can_trace(), reason="strace cannot be used here")
def test_a_private_key_never_appears_in_files_arguments_or_variables(shell, acme, sshd, tmp_path):
    acme(sshd.host_keys)
    key = make_key(tmp_path.parent / f"{tmp_path.name}-key", passphrase=shell.made_up)
    sshd.authorize(key)
    text = Path(key).read_text()
    calls = tmp_path / "calls"
    given = f"{shell.made_up}\n{text}{shell.made_up}\n"
    secrets = "--token-stdin --ssh-private-key-stdin --ssh-passphrase-stdin"
    commands = (
        f"provider add work --kind acme {secrets}",
        "clone work ada/repository-0 here",
    )
    lines = [each for each in text.splitlines() if len(each) > 40]
    for command in commands:
        done = subprocess.run(
            [*tracing(calls), sys.executable, "-m", "deploycore", *command.split()],
            input=given,
            capture_output=True,
            text=True,
            env=shell.environment(),
            cwd=shell.directory,
        )
        assert done.returncode == 0, done.stderr
        traced = calls.read_text(errors="replace") + done.stdout + done.stderr
        assert "execve(" in traced
        # The private key goes to another process, which signs in.
        assert ("SCM_RIGHTS" in traced) == command.startswith("clone")
        assert not any(line in traced for line in (*lines, shell.made_up))
        calls.unlink()
    for path in shell.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(line.encode() in content for line in lines), path
            if path.name != "deploycore.log":
                assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
