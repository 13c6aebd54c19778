from __future__ import annotations

import gzip
import os
import stat

import pytest
from deploycore_bitbucket.sandbox import Executable, Fault, Submodule, Symlink, faults
from dulwich import porcelain
from dulwich.repo import Repo

from deploycore.errors import ConfigurationError, NotFound

FILES = {
    "README.md": b"# Shop\n",
    "bin/start": Executable(b"#!/bin/sh\n"),
    "current": Symlink("bin/start"),
    "a/deep/er/file": b"deep",
}


@pytest.fixture
def shop(sandbox):
    """The hash of the second of two commits to acme/shop."""
    sandbox.commit("acme", "shop", "main", {"old": b"old", "README.md": b"first"}, "First")
    return sandbox.commit("acme", "shop", "main", {**FILES, "old": None}, "Second")


def check_files(directory):
    assert (directory / "README.md").read_bytes() == b"# Shop\n"
    assert (directory / "a/deep/er/file").read_bytes() == b"deep"
    assert (directory / "bin/start").stat().st_mode & stat.S_IXUSR
    assert os.readlink(directory / "current") == "bin/start"
    assert not (directory / "old").exists()


def test_stock_git_clones_by_the_url_of_each_mode(
    sandbox, shop, git, tmp_path, credential, joined_url
):
    done = git("clone", joined_url(credential, "acme/shop"), "clone")
    assert done.returncode == 0, done.stderr
    check_files(tmp_path / "clone")
    assert git("rev-list", "--count", "HEAD", at=tmp_path / "clone").stdout.strip() == "2"


def test_stock_git_clones_shallow(shop, git, tmp_path, credential, joined_url):
    done = git("clone", "--depth", "1", joined_url(credential, "acme/shop"), "clone")
    assert done.returncode == 0, done.stderr
    check_files(tmp_path / "clone")
    assert git("rev-list", "HEAD", at=tmp_path / "clone").stdout.split() == [shop]


@pytest.mark.parametrize("branch", ["release/2.0", "größe/日本", "fix-#17", "discount-50%"])
def test_stock_git_clones_one_branch_of_an_odd_name(
    sandbox, shop, ada, git, tmp_path, joined_url, branch
):
    commit = sandbox.commit("acme", "shop", branch, {"on-branch": b"yes"}, "Branch")
    url = joined_url(sandbox.add_api_token(ada), "acme/shop")
    done = git("clone", "--depth", "1", "--branch", branch, url, "clone")
    assert done.returncode == 0, done.stderr
    assert git("rev-parse", "HEAD", at=tmp_path / "clone").stdout.strip() == commit


@pytest.mark.parametrize("depth", [[], ["--depth", "1"]])
def test_stock_git_fetches_later_commits(sandbox, shop, ada, git, tmp_path, joined_url, depth):
    url = joined_url(sandbox.add_api_token(ada), "acme/shop")
    assert git("clone", *depth, url, "clone").returncode == 0
    later = sandbox.commit("acme", "shop", "main", {"later": b"1"}, "Later")
    done = git("fetch", *depth, "origin", "main", at=tmp_path / "clone")
    assert done.returncode == 0, done.stderr
    assert git("rev-parse", "FETCH_HEAD", at=tmp_path / "clone").stdout.strip() == later


@pytest.mark.parametrize("depth", [None, 1])
def test_dulwich_clones(sandbox, shop, credential, tmp_path, depth):
    cloned = porcelain.clone(
        f"{sandbox.git_url}/acme/shop.git",
        str(tmp_path / "clone"),
        depth=depth,
        username=credential.git_username,
        password=credential.secret.get_secret_value(),
    )
    with cloned:
        assert cloned.head().decode() == shop
        assert len(list(cloned.get_walker())) == (depth or 2)
    check_files(tmp_path / "clone")


def test_a_public_repository_needs_no_credentials(sandbox, git, tmp_path):
    sandbox.add_repository("acme", "open", private=False, files={"a": b"1"})
    done = git("clone", f"{sandbox.git_url}/acme/open.git", "clone")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clone" / "a").read_bytes() == b"1"


def test_an_empty_repository_can_be_cloned(sandbox, ada, git, joined_url):
    sandbox.add_repository("acme", "empty")
    done = git("clone", joined_url(sandbox.add_api_token(ada), "acme/empty"), "clone")
    assert done.returncode == 0, done.stderr


def test_a_listed_repository_can_be_committed_to(sandbox, ada, git, tmp_path, joined_url):
    sandbox.listed_repositories("acme", 5)
    sandbox.commit("acme", "repository-3", "main", {"a": b"1"}, "One")
    url = joined_url(sandbox.add_api_token(ada), "acme/repository-3")
    assert git("clone", url, "clone").returncode == 0
    assert (tmp_path / "clone" / "a").read_bytes() == b"1"


INFO_REFS = "/acme/shop.git/info/refs?service=git-upload-pack"


def test_anonymous_fetching_of_a_private_repository_requires_authentication(sandbox, shop, session):
    answer = session.get(sandbox.git_url + INFO_REFS, timeout=10)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_an_unknown_repository_is_not_found(sandbox, ada, git, session, joined_url):
    path = "/acme/nothing.git/info/refs?service=git-upload-pack"
    assert session.get(sandbox.git_url + path, timeout=10).status_code == 404
    done = git("clone", joined_url(sandbox.add_api_token(ada), "acme/nothing"), "clone")
    assert done.returncode != 0
    assert "not found" in done.stderr


def test_a_foreign_repository_is_not_found(sandbox, git, joined_url):
    sandbox.add_workspace("elsewhere")
    sandbox.add_repository("elsewhere", "secret", files={"a": b"1"})
    done = git("clone", joined_url(sandbox.add_access_token("acme"), "elsewhere/secret"), "clone")
    assert done.returncode != 0
    assert "not found" in done.stderr


@pytest.mark.parametrize(
    ("kind", "username", "works"),
    [
        ("app_password", "ada", True),
        ("app_password", "ada@example.com", False),
        ("app_password", "x-token-auth", False),
        ("api_token", "ada", True),
        ("api_token", "x-bitbucket-api-token-auth", True),
        ("api_token", "ada@example.com", False),
        ("api_token", "x-token-auth", False),
        ("access_token", "x-token-auth", True),
        ("access_token", "ada", False),
    ],
)
def test_git_requires_the_username_of_each_mode(
    sandbox, shop, ada, git, joined_url, kind, username, works
):
    owner = "acme" if kind == "access_token" else ada
    secret = getattr(sandbox, f"add_{kind}")(owner)
    done = git("ls-remote", joined_url(secret, "acme/shop", username))
    assert (done.returncode == 0) is works, done.stderr
    assert works or "Authentication failed" in done.stderr


def test_an_expired_token_does_not_fetch(sandbox, shop, ada, git, joined_url):
    token = sandbox.add_api_token(ada, expired=True)
    done = git("ls-remote", joined_url(token, "acme/shop"))
    assert "Authentication failed" in done.stderr


def test_a_token_without_the_scope_does_not_fetch(sandbox, shop, ada, session):
    token = sandbox.add_api_token(ada, scopes=["read:user:bitbucket"])
    login = (token.git_username, token.secret.get_secret_value())
    answer = session.get(sandbox.git_url + INFO_REFS, auth=login, timeout=10)
    assert answer.status_code == 403
    assert "scopes" in answer.text


@pytest.mark.parametrize("known", [True, False])
def test_removed_app_passwords_are_gone_for_git(make_populated, session, known):
    sandbox = make_populated(app_passwords="removed")
    removed = sandbox.add_app_password(sandbox.add_user("eve"))
    secret = removed.secret.get_secret_value() if known else "ATBBfromlongago"
    answer = session.get(sandbox.git_url + INFO_REFS, auth=("eve", secret), timeout=10)
    assert answer.status_code == 410
    assert answer.text.startswith("CHANGE-3222 - Functionality has been deprecated")
    assert "must be replaced with API tokens" in answer.text


def test_stock_git_pushes_and_rest_sees_it(sandbox, shop, ada, git, get, tmp_path, joined_url):
    token = sandbox.add_api_token(ada)
    clone = tmp_path / "clone"
    assert git("clone", joined_url(token, "acme/shop"), "clone").returncode == 0
    (clone / "new").write_bytes(os.urandom(2_000_000))
    git("add", ".", at=clone)
    assert git("commit", "-m", "Pushed", at=clone).returncode == 0
    done = git("push", "origin", "HEAD:main", "HEAD:feature/pushed", at=clone)
    assert done.returncode == 0, done.stderr
    head = git("rev-parse", "HEAD", at=clone).stdout.strip()
    rows = get("/repositories/acme/shop/refs/branches", token).json()["values"]
    assert {row["name"]: row["target"]["hash"] for row in rows} == {
        "main": head,
        "feature/pushed": head,
    }


def test_pushing_requires_the_write_scope(sandbox, shop, ada, git, tmp_path, joined_url):
    reader = sandbox.add_api_token(ada, scopes=["read:repository:bitbucket"])
    assert git("clone", joined_url(reader, "acme/shop"), "clone").returncode == 0
    done = git("push", "origin", "HEAD:other", at=tmp_path / "clone")
    assert done.returncode != 0
    assert "403" in done.stderr


def test_pushing_to_a_public_repository_needs_credentials(sandbox, session):
    sandbox.add_repository("acme", "open", private=False, files={"a": b"1"})
    url = f"{sandbox.git_url}/acme/open.git/info/refs?service=git-receive-pack"
    assert session.get(url, timeout=10).status_code == 401


@pytest.mark.parametrize("form", ["plain", "gzip", "chunked", "chunked gzip"])
def test_requests_may_be_compressed_and_chunked(sandbox, shop, session, form):
    want = f"want {shop} multi_ack_detailed side-band-64k ofs-delta thin-pack no-progress\n"
    line = f"{len(want) + 4:04x}{want}".encode()
    body = line + b"0000" + b"0009done\n"
    headers = {"Content-Type": "application/x-git-upload-pack-request"}
    if "gzip" in form:
        body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
    token = sandbox.add_access_token("acme")
    answer = session.post(
        f"{sandbox.git_url}/acme/shop.git/git-upload-pack",
        data=iter([body[:10], body[10:]]) if "chunked" in form else body,
        headers=headers,
        auth=("x-token-auth", token.secret.get_secret_value()),
        timeout=10,
    )
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/x-git-upload-pack-result"
    assert b"PACK" in answer.content


def test_requesting_an_unknown_object_is_a_protocol_error(sandbox, shop, session):
    want = f"want {'1' * 40} multi_ack_detailed side-band-64k ofs-delta thin-pack\n"
    body = f"{len(want) + 4:04x}{want}".encode() + b"00000009done\n"
    token = sandbox.add_access_token("acme")
    answer = session.post(
        f"{sandbox.git_url}/acme/shop.git/git-upload-pack",
        data=body,
        auth=("x-token-auth", token.secret.get_secret_value()),
        timeout=10,
    )
    assert answer.content[4:8] == b"ERR "


def test_old_git_clients_are_rejected(sandbox, shop, session):
    answer = session.get(f"{sandbox.git_url}/acme/shop.git/info/refs", timeout=10)
    assert answer.status_code == 403


def test_a_pack_can_be_truncated(sandbox, ada, git, joined_url):
    sandbox.commit("acme", "shop", "main", {"big": os.urandom(500_000)}, "Big")
    fault = Fault(faults.connection_cut(after=100_000), path="*/git-upload-pack")
    sandbox.faults.add(fault)
    done = git("clone", joined_url(sandbox.add_api_token(ada), "acme/shop"), "clone")
    assert done.returncode != 0
    assert sandbox.requests[-1].path == "/acme/shop.git/git-upload-pack"


def test_a_submodule_is_an_entry_of_the_tree(sandbox, shop, ada, git, tmp_path, joined_url):
    modules = b'[submodule "lib"]\n\tpath = lib\n\turl = ../shop.git\n'
    files = {".gitmodules": modules, "lib": Submodule(shop)}
    sandbox.commit("acme", "outer", "main", files, "With a submodule")
    url = joined_url(sandbox.add_api_token(ada), "acme/outer")
    done = git("clone", "--recurse-submodules", url, "clone")
    assert done.returncode == 0, done.stderr
    check_files(tmp_path / "clone" / "lib")


def test_removing_the_last_file_of_a_directory_removes_it(sandbox, ada, git, joined_url):
    sandbox.commit("acme", "shop", "main", {"a/b": b"1", "c": b"2"}, "One")
    sandbox.commit("acme", "shop", "main", {"a/b": None}, "Two")
    assert git("clone", joined_url(sandbox.add_api_token(ada), "acme/shop"), "clone").stdout == ""
    assert git("-C", "clone", "ls-tree", "--name-only", "HEAD").stdout.split() == ["c"]


def test_a_branch_name_that_conflicts_with_another_is_an_error(sandbox):
    commit = sandbox.commit("acme", "shop", "a", {"a": b"1"}, "One")
    with pytest.raises(ConfigurationError, match="conflicts with"):
        sandbox.add_branches("acme", "shop", ["a/b"], at=commit)


@pytest.mark.parametrize("names", [["b/c"], ["main/x", "other"], ["a", "a/b"], ["a/b/c", "a/b"]])
def test_a_conflicting_name_among_several_branches_is_an_error(sandbox, names):
    commit = sandbox.commit("acme", "shop", "main", {"a": b"1"}, "One")
    sandbox.add_branches("acme", "shop", ["b", "c", "d/e"], at=commit)
    with pytest.raises(ConfigurationError, match="conflicts with"):
        sandbox.add_branches("acme", "shop", names, at=commit)
    known = sandbox.git.branches(sandbox.existing("acme", "shop"))
    assert set(known) == {"main", "b", "c", "d/e"}


def test_a_branch_of_several_is_moved_like_others(sandbox, ada, git, joined_url):
    first = sandbox.commit("acme", "shop", "main", {"a": b"1"}, "One")
    sandbox.add_branches("acme", "shop", ["b", "c/d"], at=first)
    moved = sandbox.commit("acme", "shop", "b", {"a": b"2"}, "Two")
    url = joined_url(sandbox.add_api_token(ada), "acme/shop")
    told = dict(reversed(line.split()) for line in git("ls-remote", url).stdout.splitlines())
    assert told["refs/heads/b"] == moved
    assert told["refs/heads/c/d"] == told["refs/heads/main"] == told["HEAD"] == first


@pytest.mark.parametrize("name", ["with space", "a..b", "tilde~", "ends.lock"])
def test_branch_names_that_git_refuses_are_refused(sandbox, name):
    with pytest.raises(ConfigurationError, match="does not allow"):
        sandbox.commit("acme", "shop", name, {"a": b"1"}, "One")


def test_committing_to_an_unknown_workspace_is_an_error(sandbox):
    with pytest.raises(NotFound, match="nowhere"):
        sandbox.commit("nowhere", "shop", "main", {"a": b"1"}, "One")


def test_repositories_are_removed_when_the_sandbox_stops(make_populated, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sandbox = make_populated()
    sandbox.commit("acme", "shop", "main", {"a": b"1"}, "One")
    asked = sandbox.git.advertise(sandbox.existing("acme", "shop"), "git-upload-pack")
    asked.body(bytearray().extend)
    (kept,) = tmp_path.iterdir()
    with Repo(str(next(kept.iterdir()))) as repo:
        assert repo.bare
    sandbox.stop()
    assert list(tmp_path.iterdir()) == []
