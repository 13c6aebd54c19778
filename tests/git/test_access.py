"""The cache is used only with credentials that the host accepts now."""

from __future__ import annotations

import pytest

from deploycore.errors import RemoteRefused
from deploycore.git import RepositoryCache, export
from tests.git.servers import GITLINK, SECRET, nothing_left, source


@pytest.fixture
def private(make, server, tmp_path, settings):
    """A private repository that somebody deployed, and its cache."""
    server.credential = f"ada:{SECRET}"
    made = make("private", {"key.txt": b"PRIVATE"})
    made.cache = RepositoryCache(tmp_path / "cache")
    made.commit_there = made.repo.refs[b"refs/heads/main"].decode()
    place = source(made.url, secret=SECRET)
    export(place, "main", tmp_path / "first", cache=made.cache, settings=settings)
    server.requests.clear()
    return made


def naming(private, make, other_server):
    """A repository elsewhere that names the private one as its submodule."""
    modules = f'[submodule "x"]\n\tpath = x\n\turl = {private.url}\n'.encode()
    files = {".gitmodules": modules, "x": (GITLINK, private.commit_there.encode())}
    return make("naming", files, on=other_server)


def test_a_private_submodule_url_is_not_served_from_the_cache(
    private, make, other_server, server, target, settings
):
    other = naming(private, make, other_server)
    with pytest.raises(RemoteRefused) as caught:
        export(
            source(other.url),
            "main",
            target,
            cache=private.cache,
            submodules=True,
            settings=settings,
        )
    assert caught.value.details["status"] == 401
    assert nothing_left(target)
    assert server.requests


def test_a_cached_submodule_costs_one_request(
    private, make, server, other_server, target, settings
):
    server.credential = None
    other = naming(private, make, other_server)
    export(
        source(other.url), "main", target, cache=private.cache, submodules=True, settings=settings
    )
    assert (target / "x/key.txt").read_bytes() == b"PRIVATE"
    assert [method for method, _, _ in server.requests] == ["GET"]


@pytest.mark.parametrize("secret", [None, "revoked"])
def test_a_cached_commit_is_not_returned_without_asking_the_host(
    private, server, target, settings, secret
):
    with pytest.raises(RemoteRefused) as caught:
        export(
            source(private.url, secret=secret),
            private.commit_there,
            target,
            cache=private.cache,
            settings=settings,
        )
    assert caught.value.details["status"] == 401
    assert nothing_left(target)


def test_a_cached_commit_costs_one_request(private, server, target, settings):
    place = source(private.url, secret=SECRET)
    export(place, private.commit_there, target, cache=private.cache, settings=settings)
    assert [method for method, _, _ in server.requests] == ["GET"]


def test_a_commit_already_seen_on_the_host_requires_no_request(private, server, target, settings):
    place = source(private.url, secret=SECRET)
    export(
        place,
        "main",
        target,
        commit=private.commit_there,
        cache=private.cache,
        settings=settings,
    )
    assert server.requests == []


def test_a_host_with_known_capabilities_receives_one_request(
    http_backend, stock_git, tmp_path, settings
):
    """In protocol version 2 a held hash costs one ``ls-refs``, which is refused like any other."""
    root, origin = http_backend
    stock_git("init", "-q", "--bare", "-b", "main", root / "held.git")
    stock_git("init", "-q", "-b", "main", tmp_path / "work")
    (tmp_path / "work/a").write_text("1")
    stock_git("add", "-A", at=tmp_path / "work")
    stock_git("commit", "-qm", "1", at=tmp_path / "work")
    stock_git("push", "-q", root / "held.git", "main", at=tmp_path / "work")
    commit = stock_git("rev-parse", "HEAD", at=tmp_path / "work").strip()
    cache = RepositoryCache(tmp_path / "cache")
    url = f"{origin}/held.git"
    for name in ("1", "2"):
        place = source(url, secret=SECRET)
        export(place, commit, tmp_path / name, cache=cache, settings=settings)
    assert (tmp_path / "2/a").read_text() == "1"
    with pytest.raises(RemoteRefused) as caught:
        export(source(url, secret="no"), commit, tmp_path / "3", cache=cache, settings=settings)
    assert caught.value.details["status"] == 401
