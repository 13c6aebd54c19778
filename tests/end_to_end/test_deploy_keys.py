"""Deploy keys, tested with a standard git client, a deployment and a crash."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploycore import Installation, Settings
from tests.distributions import GOOD_PROVIDER, write_distribution
from tests.end_to_end.test_ssh import SSH_HOOK, can_trace, tracing

KEY_HOOKS = """
    def _lines(self):
        from pathlib import Path
        return [each.split(" ", 2) for each in Path({authorized!r}).read_text().splitlines()]

    def _write(self, lines):
        from pathlib import Path
        Path({authorized!r}).write_text("".join(" ".join(each) + "\\n" for each in lines))

    @hookimpl
    def add_deploy_key(self, repository, key):
        from deploycore.events import RegisteredKey
        kind, data = key.public_key.split()
        lines = [each for each in self._lines() if each[1] != data]
        self._write([*lines, [kind, data, key.label]])
        return RegisteredKey(id=data[-16:], public_key=key.public_key)

    @hookimpl
    def list_deploy_keys(self, repository):
        from deploycore.events import RegisteredKey
        for kind, data, *_ in self._lines():
            yield RegisteredKey(id=data[-16:], public_key=f"{{kind}} {{data}}")

    @hookimpl
    def remove_deploy_key(self, repository, key_id):
        lines = [each for each in self._lines() if not each[1].endswith(key_id)]
        was_there = len(lines) < len(self._lines())
        self._write(lines)
        return was_there

    @hookimpl
    def deploy_keys_page(self, repository):
        return f"https://acme.example/{{repository}}/keys"
"""
BY_HAND = "add_deploy_key", "list_deploy_keys", "remove_deploy_key"


@pytest.fixture
def served(sshd, tmp_path):
    root = sshd.root / f"{tmp_path.name}-keys"
    tree = tmp_path / "tree"
    people = ("AUTHOR", "COMMITTER")
    names = {f"GIT_{who}_{what}": "ada@example.com" for who in people for what in ("NAME", "EMAIL")}
    tree.mkdir()
    (tree / "index.html").write_text("Hello")
    for command in (
        ["git", "init", "-q", "-b", "main", tree],
        ["git", "-C", tree, "add", "."],
        ["git", "-C", tree, "commit", "-q", "-m", "first"],
        ["git", "clone", "-q", "--bare", tree, root / "repository-0.git"],
    ):
        subprocess.run(list(map(str, command)), check=True, env=os.environ | names)
    before = sshd.authorized.read_text()
    yield sshd.url(root.name)
    sshd.authorized.write_text(before)


@pytest.fixture
def acme(shell, served, sshd, monkeypatch):
    """Installs a plugin that registers keys at the server, or leaves that to a person; then adds a
    provider and an application."""
    site = shell.directory / "site"
    monkeypatch.setenv("PYTHONPATH", str(site))

    def install(*, by_hand=False):
        hooks = KEY_HOOKS.format(authorized=str(sshd.authorized))
        if by_hand:
            for name in BY_HAND:
                hooks = hooks.replace(f"@hookimpl\n    def {name}", f"def {name}")
        published = repr(tuple(sshd.host_keys))
        source = GOOD_PROVIDER + SSH_HOOK.format(address=served, published=published) + hooks
        write_distribution(site, "deploycore-acme", "acme", source)
        given = shell.made_up + "\n"
        shell.succeed("provider", "add", "work", "--kind", "acme", "--token-stdin", given=given)
        shell.succeed(
            *("app", "create", "shop", "--provider", "work", "--repository", "ada/repository-0"),
            *("--ref", "refs/heads/main", "--target", str(shell.directory / "www"), "--offline"),
        )

    return install


def private_key(shell, tmp_path, name="shop"):
    """The key that is in use, in a file for a stock client."""
    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(shell.home)})) as opened:
        if name == "shop":
            found = opened.store.find_deploy_key(opened.store.get_application(name).definition)
            stored = found.secret
        else:
            stored = opened.store.get_provider(name).secrets["ssh_private_key"]
        text = opened.secrets.reveal(stored).get_secret_value()
    path = tmp_path.parent / f"{tmp_path.name}-{name}-key-{len(os.listdir(tmp_path.parent))}"
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def stock_git_reads(sshd, served, key):
    command = ["git", "ls-remote", f"{served}/repository-0.git"]
    environment = os.environ | sshd.git_environment(key)
    return not subprocess.run(command, env=environment, capture_output=True).returncode


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_key_is_created_used_replaced_and_removed(shell, acme, sshd, served, tmp_path, kind):
    acme()
    before = sshd.authorized.read_text().splitlines()
    shell.succeed("key", "create", "shop", "--type", kind)
    first = private_key(shell, tmp_path)
    assert stock_git_reads(sshd, served, first)
    shell.succeed("deploy", "shop")
    assert (shell.directory / "www/current/index.html").read_text() == "Hello"
    _, said = shell.fail("key", "create", "shop")
    assert "key rotate shop" in said
    shell.succeed("key", "rotate", "shop", "--type", kind)
    second = private_key(shell, tmp_path)
    assert stock_git_reads(sshd, served, second)
    assert not stock_git_reads(sshd, served, first)
    [listed] = shell.json("key", "list")
    assert (listed["name"], listed["state"]) == ("shop", "live")
    assert list(listed["registered"]) == ["ada/repository-0"]
    shell.succeed("deploy", "shop", "--force")
    shell.succeed("key", "remove", "shop", "--yes")
    assert sshd.authorized.read_text().splitlines() == before
    assert shell.json("key", "list") == []


def test_a_server_makes_a_key_and_keeps_the_private_part(
    shell, acme, sshd, served, tmp_path, remote
):
    acme()
    before = sshd.authorized.read_text().splitlines()
    said = remote("key", "create", "shop")
    assert "of shop is in use." in said
    assert "Registered for ada/repository-0" in said
    assert stock_git_reads(sshd, served, private_key(shell, tmp_path))
    assert "key rotate shop" in remote("key", "create", "shop", code=3)
    new = json.loads(remote("key", "rotate", "shop", "--json"))
    [listed] = json.loads(remote("key", "list", "--json"))
    assert [listed] == shell.json("key", "list")
    assert new.keys() == shell.json("key", "rotate", "shop").keys()
    new = json.loads(remote("key", "rotate", "shop", "--json"))
    [listed] = json.loads(remote("key", "list", "--json"))
    assert listed == {name: new[name] for name in listed if name != "use"} | {"use": "in use"}
    assert "are removed here and at the git host" in remote("key", "remove", "shop", "--yes")
    assert sshd.authorized.read_text().splitlines() == before


def test_without_the_hooks_a_user_adds_the_key_and_repeats_the_command(
    shell, acme, sshd, served, tmp_path
):
    acme(by_hand=True)
    shown = shell.json("key", "create", "shop")
    assert shown["state"] == "new"
    assert shown["pages"] == ["https://acme.example/ada/repository-0/keys"]
    said = " ".join(shell.succeed("key", "create", "shop").split())
    assert "cannot register deploy keys" in said
    assert shown["public_key"] in said
    assert said.endswith("Then run: deploycore key create shop")
    with sshd.authorized.open("a") as file:
        file.write(shown["public_key"] + "\n")
    assert shell.json("key", "create", "shop")["state"] == "live"
    assert stock_git_reads(sshd, served, private_key(shell, tmp_path))
    new = shell.json("key", "rotate", "shop")
    assert new["state"] == "new"
    assert {each["state"] for each in shell.json("key", "list")} == {"live", "new"}
    with sshd.authorized.open("a") as file:
        file.write(new["public_key"] + "\n")
    done = shell.json("key", "rotate", "shop")
    assert done["state"] == "live"
    assert "ada/repository-0" in done["remains"][0]
    assert [each["state"] for each in shell.json("key", "list")] == ["former", "live"]
    shell.succeed("key", "remove", "shop", "--left-over", "--yes")
    assert [each["state"] for each in shell.json("key", "list")] == ["live"]
    said = " ".join("".join(shell.run("app", "remove", "shop", "--yes").stderr).split())
    assert "Not removed; remove it yourself: The deploy key" in said


def test_a_provider_key_is_its_credential_for_git(shell, acme, sshd, served, tmp_path):
    acme()
    before = sshd.authorized.read_text().splitlines()
    shell.succeed("key", "create", "work")
    key = private_key(shell, tmp_path, "work")
    assert stock_git_reads(sshd, served, key)
    shell.succeed("clone", "work", "ada/repository-0", "here")
    shell.succeed("key", "rotate", "work")
    assert not stock_git_reads(sshd, served, key)
    shell.succeed("deploy", "shop")
    shell.succeed("app", "remove", "shop", "--yes")
    shell.succeed("provider", "remove", "work", "--yes")
    assert sshd.authorized.read_text().splitlines() == before


def test_removing_an_application_removes_its_key_at_the_host(shell, acme, sshd):
    acme()
    before = sshd.authorized.read_text().splitlines()
    shell.succeed("key", "create", "shop")
    shell.succeed("app", "remove", "shop", "--yes")
    assert sshd.authorized.read_text().splitlines() == before
    assert shell.json("key", "list") == []


def test_failed_operations_suggest_the_next_step(shell, acme):
    acme()
    assert "deploycore app list" in shell.fail("key", "create", "nothing")[1]
    assert "shop" in shell.succeed("app", "list")
    assert "key create shop" in shell.fail("key", "rotate", "shop")[1]
    shell.succeed("key", "create", "shop")
    shell.succeed("key", "rotate", "shop")
    shell.succeed("key", "remove", "shop", "--yes")
    assert "key list" in shell.fail("key", "remove", "shop", "--left-over", "--yes")[1]
    shell.succeed("app", "remove", "shop", "--yes")
    assert "--repository" in shell.fail("key", "create", "work")[1]
    shell.succeed("key", "create", "work", "--repository", "ada/repository-0")
    shell.succeed(
        *("app", "create", "work", "--provider", "work", "--repository", "ada/repository-0"),
        *("--ref", "main", "--target", str(shell.directory / "www"), "--offline"),
    )
    assert "--of" in shell.fail("key", "rotate", "work")[1]
    shell.succeed("key", "rotate", "work", "--of", "provider")


@pytest.mark.skipif(not can_trace(), reason="strace cannot be used here")
def test_a_private_key_never_appears_in_files_arguments_or_variables(shell, acme, sshd, tmp_path):
    acme()
    calls = tmp_path.parent / f"{tmp_path.name}-calls"
    seen, lines = [], []
    for command in ("create", "rotate"):
        done = subprocess.run(
            [*tracing(calls), sys.executable, "-m", "deploycore", "key", command, "shop"],
            capture_output=True,
            text=True,
            env=shell.environment(),
            cwd=shell.directory,
        )
        assert done.returncode == 0, done.stderr
        seen.append(calls.read_text(errors="replace") + done.stdout + done.stderr)
        text = private_key(shell, tmp_path).read_text()
        lines += [each for each in text.splitlines()[1:-1] if len(each) > 40]
    calls.unlink()
    assert all("execve(" in each for each in seen)
    # The first line of the OpenSSH format is mostly the same for all keys.
    secret = {line for line in lines if lines.count(line) == 1}
    assert secret
    assert not any(line in each for each in seen for line in secret)
    for path in Path(shell.home).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(line.encode() in content for line in secret), path
            if path.name != "deploycore.log":
                assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
