"""Submodules and Git LFS of repositories over SSH, and the servers that the key is used for."""

from __future__ import annotations

import base64
import json

import pytest

from deploycore.errors import GitError, RemoteRefused, UnsafeRepository
from deploycore.git import export
from deploycore.git.submodules import find_submodules
from deploycore.git.wire.destination import SubmoduleDestinations
from deploycore.models import CloneUrl
from tests.git.lfs_server import LfsServer, pointer_file
from tests.git.servers import SECRET, Content, snapshot
from tests.git.test_submodules import GITLINK, modules, tip


@pytest.fixture
def make(sshd, tmp_path_factory):
    """Makes repositories that the SSH server has: ``make("shop", {"a.txt": b"…"})``."""
    made, root = [], tmp_path_factory.mktemp("served", numbered=True)
    below = sshd.root / root.name
    below.mkdir()

    def make_one(name, files):
        made.append(Content(below / f"{name}.git"))
        made[-1].commit(made[-1].files(files))
        return made[-1]

    make_one.below = below
    yield make_one
    for each in made:
        each.repo.close()


@pytest.mark.parametrize(
    "url",
    [
        "../lib.git",
        "ssh://{user}@127.0.0.1:{port}{below}/lib.git",
        "ssh://else@127.0.0.1{below}/lib.git",
        "git@127.0.0.1:{below}/lib.git",
    ],
)
def test_submodules_on_the_own_host_are_fetched_with_the_key(sshd, make, target, settings, url):
    lib = make("lib", {"lib.txt": b"lib"})
    url = url.format(user=sshd.user, port=sshd.port, below=make.below)
    link = {"vendor/lib": (GITLINK, tip(lib)), ".gitmodules": modules(lib=("vendor/lib", url))}
    shop = make("shop", {"a": b"1", **link})
    done = export(sshd.source(shop.path), "main", target, submodules=True, settings=settings)
    assert (target / "vendor/lib/lib.txt").read_bytes() == b"lib"
    assert done.submodules == 1


def test_submodules_equal_a_git_checkout(
    sshd, make, target, settings, stock_git, tmp_path, monkeypatch
):
    for name, value in sshd.git_environment().items():
        monkeypatch.setenv(name, value)
    inner, files = make("inner", {"deep.txt": b"deep"}), {"lib.txt": b"lib"}
    link = {"inner": (GITLINK, tip(inner)), ".gitmodules": modules(i=("inner", "../inner.git"))}
    lib = make("lib", files | link)
    link = {"vendor/lib": (GITLINK, tip(lib)), ".gitmodules": modules(l=("vendor/lib", "../lib"))}
    (make.below / "lib").symlink_to("lib.git")
    shop = make("shop", {"a": b"1", **link})
    export(sshd.source(shop.path), "main", target, submodules=True, settings=settings)
    by_git = tmp_path / "by-git"
    stock_git("clone", "-q", "--recurse-submodules", sshd.url(shop.path), by_git)
    for each in ("vendor/lib/.git", "vendor/lib/inner/.git"):
        (by_git / each).unlink()  # where git keeps their repositories
    assert snapshot(target) == snapshot(by_git)
    assert (target / "vendor/lib/inner/deep.txt").read_bytes() == b"deep"


LINK = {b"lib": bytes(20)}


def found(url, parent, key=None):
    above = CloneUrl(url=parent, credential=key)
    content = modules(lib=("lib", url))
    [each] = find_submodules(
        LINK, lambda path: content, above, SubmoduleDestinations(above), prefix=b"", depth=1
    )
    return each.source


@pytest.mark.parametrize(
    ("parent", "url", "fetched"),
    [
        ("ssh://git@h:7999/a/b.git", "git@h:a/c.git", "ssh://git@h:7999/a/c.git"),
        ("ssh://git@h:7999/a/b.git", "ssh://git@h:7999/a/c", "ssh://git@h:7999/a/c"),
        ("ssh://git@h/a/b.git", "../c.git", "ssh://git@h/a/c.git"),
        ("ssh://git@h/a/b.git", "ssh://git@ssh.h:443/a/c.git", "ssh://git@h/a/c.git"),
        ("ssh://git@ssh.h:443/a/b.git", "git@h:a/c.git", "ssh://git@ssh.h:443/a/c.git"),
        ("ssh://git@h/a/b.git", "git://h/a/c.git", "ssh://git@h/a/c.git"),
    ],
)
def test_submodule_urls_on_the_own_host_use_the_scheme_of_the_parent(sshd, parent, url, fetched):
    key = sshd.credential()
    assert found(url, parent, key) == CloneUrl(url=fetched, credential=key)


def test_another_host_receives_no_key(sshd):
    key = sshd.credential()
    public = found("https://other.example/c.git", "ssh://git@h/a/b.git", key)
    assert public == CloneUrl(url="https://other.example/c.git")
    for url in ("git@other.example:c.git", "ssh://git@other.example/c.git"):
        for parent in ("ssh://git@h/a/b.git", "https://h/a/b.git"):
            with pytest.raises(UnsafeRepository, match=r"SSH on another host|not an http"):
                found(url, parent, key if parent.startswith("ssh") else None)


@pytest.fixture
def lfs():
    running = LfsServer()
    running.credential = f"ada:{SECRET}"
    yield running
    running.stop()


@pytest.fixture
def answer(sshd):
    """Decides what ``git-lfs-authenticate`` does: ``answer("echo …")``, in a shell."""
    program = sshd.programs / "git-lfs-authenticate"

    def give(script):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    yield give
    program.unlink(missing_ok=True)


def access(lfs, **more):
    basic = "Basic " + base64.b64encode(lfs.credential.encode()).decode()
    granted = {"href": lfs.url + "/info/lfs", "header": {"Authorization": basic}, **more}
    return f"echo '{json.dumps(granted)}'"


@pytest.fixture
def shop(make, lfs):
    pointer = lfs.add(b"large")
    attributes = b"*.bin filter=lfs\n"
    files = {".gitattributes": attributes, "a.bin": pointer_file(pointer.oid, pointer.size)}
    return make("shop", files)


def test_lfs_files_are_fetched_with_the_grant_of_the_ssh_server(
    sshd, shop, lfs, answer, target, settings, tmp_path
):
    asked = tmp_path / "asked"
    answer(f"""printf '%s\n' "$@" > {asked}; {access(lfs, expires_in=600)}""")
    export(sshd.source(shop.path), "main", target, lfs=True, settings=settings)
    assert snapshot(target)[b"a.bin"][1] == b"large"
    assert asked.read_text().splitlines() == [str(shop.path), "download"]


def test_an_expired_lfs_grant_is_requested_again(
    sshd, shop, lfs, answer, target, settings, tmp_path
):
    count = tmp_path / "count"
    answer(f"echo x >> {count}; {access(lfs, expires_in=1)}")
    served = [lfs.add(b"%d" % number) for number in range(150)]
    files = {f"{p.oid}.bin": pointer_file(p.oid, p.size) for p in served}
    shop.commit(shop.files({".gitattributes": b"*.bin filter=lfs\n", **files}))
    export(sshd.source(shop.path), "main", target, lfs=True, settings=settings)
    assert len(list(target.glob("*.bin"))) == 150
    assert len(count.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ("echo 'no LFS here \033[31m' >&2; exit 1", RemoteRefused, 'no access.*"no LFS here'),
        ("exit 7", RemoteRefused, r"no access.*\(exit status 7\)"),
        ("echo '{}'", GitError, "not valid"),
        ("echo nonsense", GitError, "not valid"),
        ("""echo '{"href": "ssh://h/x"}'""", GitError, "not valid"),
        ("yes | head -c 1000000", GitError, "not valid"),
        ("""echo '{"href": "http://192.0.2.1/x"}'""", UnsafeRepository, "not https"),
        ("""echo '{"href": "https://h/x", "header": {"Host": "y"}}'""", UnsafeRepository, "'Host'"),
    ],
)
def test_other_responses_are_errors(
    sshd, shop, lfs, answer, target, tmp_path, settings, script, kind, said
):
    answer(script)
    with pytest.raises(kind, match=said) as caught:
        export(sshd.source(shop.path), "main", target, lfs=True, settings=settings)
    assert str(caught.value).isprintable()
    if kind is RemoteRefused:
        assert "or deploy with lfs: false" in caught.value.hint
        export(sshd.source(shop.path), "main", tmp_path / "without", settings=settings)
    if kind is GitError:
        assert "Check what git-lfs-authenticate writes on the server" in caught.value.hint
    answer(access(lfs, expires_in=600))
    export(sshd.source(shop.path), "main", target, lfs=True, settings=settings)
    assert (target / "a.bin").read_bytes() == b"large"


def test_a_granted_token_repeated_by_the_lfs_server_is_masked(
    sshd, shop, lfs, answer, target, settings
):
    def repeat(handler):
        said = {"message": f"refused: {handler.headers['Authorization']}"}
        handler.give(403, json.dumps(said).encode(), **{"Content-Type": "application/json"})
        return True

    lfs.interfere = repeat
    answer(access(lfs, header={"Authorization": "RemoteAuth gAAA-a-token-for-a-minute"}))
    with pytest.raises(RemoteRefused, match="refused:") as caught:
        export(sshd.source(shop.path), "main", target, lfs=True, settings=settings)
    assert "a-token-for" not in f"{caught.value!r} {caught.value.details}"


def test_a_server_without_lfs_is_reported(sshd, shop, target, settings):
    with pytest.raises(RemoteRefused, match=r"no access to Git LFS.*not found"):
        export(sshd.source(shop.path), "main", target, lfs=True, settings=settings)
