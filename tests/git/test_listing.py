"""Listing refs as ``git ls-remote`` does: over HTTP and SSH, in each version of the protocol."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from deploycore.errors import ConfigurationError, GitError, KeyRefused, RemoteRefused
from deploycore.git import list_refs
from deploycore.models import CloneUrl, GitCredential
from tests.git.servers import SECRET, source
from tests.ssh_server import make_key

HEADS = "refs/heads/"


@pytest.fixture
def tree(stock_git, tmp_path):
    """A work tree with branches, a light tag and an annotated one."""
    place = tmp_path / "tree"
    stock_git("init", "-q", "-b", "trunk", place)
    for number in range(2):
        stock_git("commit", "-q", "--allow-empty", "-m", str(number), at=place)
    stock_git("branch", "topic/größe", "HEAD~1", at=place)
    stock_git("branch", "topics", at=place)
    stock_git("tag", "light", "HEAD~1", at=place)
    stock_git("tag", "-a", "-m", "annotated", "annotated", at=place)
    return place


@pytest.fixture(params=["http-2", "http-0", "ssh-2", "ssh-0"])
def place(request, tree, stock_git, tmp_path):
    """The tree's repository on each kind of server."""
    transport, version = request.param.split("-")
    if transport == "http":
        root, address = request.getfixturevalue("http_backend")
        name = f"{tmp_path.name}-refs.git"
        old = "" if version == "2" else "/version-0"
        found = source(f"{address}{old}/{name}", secret=SECRET)
    else:
        sshd = request.getfixturevalue("sshd")
        root, name = sshd.root, f"{tmp_path.name}-refs.git"
        found = sshd.source(name, port=sshd.port if version == "2" else sshd.port_0)
    stock_git("clone", "-q", "--bare", tree, root / name)
    return found


def test_listed_refs_equal_those_of_stock_git(place, tree, stock_git, settings):
    listed = stock_git("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", at=tree)
    rows = [line.split() for line in listed.splitlines()]
    wanted = {row[0]: row[-1] for row in rows}
    found = list_refs(place, ["refs/"], settings=settings)
    assert found.refs == wanted
    assert found.head is None
    found = list_refs(place, [f"{HEADS}topic"], settings=settings)
    assert set(found.refs) == {f"{HEADS}topic/größe", f"{HEADS}topics"}
    assert list_refs(place, ["HEAD"], settings=settings).head == "trunk"
    assert list_refs(place, [f"{HEADS}none"], settings=settings).refs == {}


def test_a_missing_repository_is_reported(http_backend, sshd, settings):
    _, address = http_backend
    with pytest.raises(RemoteRefused) as caught:
        list_refs(source(f"{address}/nothing.git", secret=SECRET), [HEADS], settings=settings)
    assert caught.value.details["status"] == 404
    with pytest.raises(RemoteRefused, match="does not appear to be a git repository"):
        list_refs(sshd.source("nothing.git"), [HEADS], settings=settings)


def test_invalid_credentials_are_reported(http_backend, sshd, tmp_path, settings):
    _, address = http_backend
    credential = GitCredential(username="ada", password=SecretStr("made-up-7d1f"))
    wrong = CloneUrl(url=f"{address}/nothing.git", credential=credential)
    with pytest.raises(RemoteRefused) as caught:
        list_refs(wrong, [HEADS], settings=settings)
    assert caught.value.details["status"] == 401
    assert "made-up" not in str(caught.value.as_dict())
    stranger = make_key(tmp_path / "stranger")
    with pytest.raises(KeyRefused):
        list_refs(sshd.source("nothing.git", key=stranger), [HEADS], settings=settings)


def test_unsupported_addresses_are_rejected(settings):
    for url in ("ssh://git@git.example.com/shop", "https://git.example.com:x/shop"):
        with pytest.raises(ConfigurationError):
            list_refs(CloneUrl(url=url), [HEADS], settings=settings)


def test_an_unreachable_server_is_retried_and_reported(settings):
    with pytest.raises(GitError, match="cannot be reached") as caught:
        list_refs(CloneUrl(url="http://127.0.0.1:1/shop"), [HEADS], settings=settings)
    assert not isinstance(caught.value, RemoteRefused)
