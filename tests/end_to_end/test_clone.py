"""``deploycore clone``: links as git writes them, unless the command line says otherwise."""

from __future__ import annotations

import os

import pytest
from deploycore_bitbucket.sandbox import Symlink


@pytest.fixture
def provider(connect, sandbox):
    name, _ = connect("api-token")
    files = {"test/passwd": Symlink("/etc/passwd"), "page": b"one"}
    sandbox.publish("acme", "site", "main", {"page": b"one"}, "One")
    sandbox.commit("acme", "site", "main", files, "Link")
    return name


def test_links_of_a_clone_are_as_in_git_or_as_asked_for(shell, provider):
    shell.succeed("clone", provider, "acme/site", "copy")
    assert os.readlink(shell.directory / "copy" / "test" / "passwd") == "/etc/passwd"
    shell.succeed("clone", provider, "acme/site", "files", "--links", "write-as-files")
    assert (shell.directory / "files" / "test" / "passwd").read_text() == "/etc/passwd"
    code, said = shell.fail("clone", provider, "acme/site", "none", "--links", "refuse")
    assert code == 7
    assert "a link to '/etc/passwd'" in " ".join(said.split())
    assert "--links write-as-links" in " ".join(said.split())
    assert not (shell.directory / "none").exists()
