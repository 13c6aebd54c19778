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


def test_links_in_a_clone_are_as_in_git_or_as_requested(shell, provider):
    shell.succeed("clone", provider, "acme/site", "copy")
    assert os.readlink(shell.directory / "copy" / "test" / "passwd") == "/etc/passwd"
    shell.succeed("clone", provider, "acme/site", "files", "--links", "write-as-files")
    assert (shell.directory / "files" / "test" / "passwd").read_text() == "/etc/passwd"
    code, said = shell.fail("clone", provider, "acme/site", "none", "--links", "refuse")
    assert code == 7
    assert "a link to '/etc/passwd'" in " ".join(said.split())
    assert "--links write-as-links" in " ".join(said.split())
    assert not (shell.directory / "none").exists()


def test_the_option_named_in_the_error_raises_the_limit(shell, provider):
    code, said = shell.fail("clone", provider, "acme/site", "copy", "--limit", "files=2")
    assert code == 7
    assert "raise the limit: --limit files=NUMBER" in " ".join(said.split())
    assert "application" not in said
    assert not (shell.directory / "copy").exists()
    shell.succeed(
        "clone", provider, "acme/site", "copy", "--limit", "files=3", "--limit", "objects=100"
    )
    assert (shell.directory / "copy" / "page").read_bytes() == b"one"


def test_an_unknown_or_invalid_limit_is_reported_before_any_request(shell, provider):
    for given, expected in {
        "flies=3": "Did you mean 'files'?",
        "files": "--limit NAME=NUMBER",
        "files=many": "--limit files should be a whole number",
        "submodule_depth=65": "--limit submodule_depth should be 64 or less",
    }.items():
        code, said = shell.fail("clone", provider, "acme/site", "copy", "--limit", given)
        assert code == 2
        assert expected in " ".join(said.split())
