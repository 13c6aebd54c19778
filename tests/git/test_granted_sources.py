"""Submodules at other origins with their own credentials: each credential is sent only to its
origin."""

from __future__ import annotations

import base64
import json

import pytest
from pydantic import SecretStr

from deploycore.errors import LimitExceeded, RemoteRefused, UnsafeRepository
from deploycore.git import GitSettings, GrantedSource, export
from deploycore.git.submodules import find_submodules
from deploycore.git.wire.destination import SubmoduleDestinations
from deploycore.models import CloneUrl, GitCredential
from tests.git.lfs_server import pointer_file, pointer_to
from tests.git.servers import GITLINK, nothing_left
from tests.git.test_submodules import modules, tip

OLD, NEW = "granted-old-1", "granted-new-2"


def credential(secret):
    return GitCredential(username="ada", password=SecretStr(secret))


def finder(url, secret=OLD, renew=None):
    """Grants one URL a credential, and notes what it was asked for."""

    def find(asked):
        find.asked.append(asked)
        if asked != url:
            return None
        return GrantedSource(CloneUrl(url=url, credential=credential(secret)), renew)

    find.asked = []
    return find


@pytest.fixture
def lib(make, other_server):
    made = make("lib", {"lib.txt": b"lib"}, on=other_server)
    other_server.credential = f"ada:{OLD}"
    return made


@pytest.fixture
def shop(make, lib):
    return make("shop", {"lib": (GITLINK, tip(lib)), ".gitmodules": modules(lib=("lib", lib.url))})


def shown_to(server):
    return {authorization for _, _, authorization in server.requests}


def test_only_the_granted_origin_receives_the_credential(
    shop, lib, server, other_server, target, settings
):
    find = finder(lib.url)
    source = CloneUrl(url=shop.url)
    export(source, "main", target, submodules=True, settings=settings, find_source=find)
    assert (target / "lib/lib.txt").read_bytes() == b"lib"
    assert find.asked == [lib.url]
    assert shown_to(server) == {None}
    assert None not in shown_to(other_server)


def test_without_a_grant_another_origin_receives_no_credential(
    shop, other_server, target, settings
):
    source = CloneUrl(url=shop.url, credential=credential(OLD))
    find = finder("https://git.example.com/lib.git")
    with pytest.raises(RemoteRefused):
        export(source, "main", target, submodules=True, settings=settings, find_source=find)
    assert shown_to(other_server) == {None}
    assert nothing_left(target)


def test_each_origin_renews_its_own_credential(shop, lib, server, other_server, target, settings):
    """Also if two hosts were given the same secret: what replaces it is for one of them."""
    server.credential, other_server.credential = "ada:home-new-3", f"ada:{NEW}"
    find = finder(lib.url, renew=lambda rejected: credential(NEW))
    source = CloneUrl(url=shop.url, credential=credential(OLD))
    renew = lambda rejected: credential("home-new-3")  # noqa: E731
    export(
        source, "main", target, submodules=True, settings=settings, renew=renew, find_source=find
    )
    assert (target / "lib/lib.txt").read_bytes() == b"lib"
    assert not shown_to(other_server) & (shown_to(server) - shown_to(other_server))
    assert len(shown_to(server)) == len(shown_to(other_server)) == 2
    assert len(shown_to(server) & shown_to(other_server)) == 1


def test_credentials_are_not_requested_for_a_flood_of_submodules(make, lib, target):
    links = {f"m{n}": (GITLINK, tip(lib)) for n in range(9)}
    listed = modules(**{name: (name, lib.url) for name in links})
    shop = make("shop", {**links, ".gitmodules": listed})
    find = finder("https://git.example.com/lib.git")
    settings = GitSettings(max_submodules=3)
    with pytest.raises(LimitExceeded):
        export(
            CloneUrl(url=shop.url),
            "main",
            target,
            submodules=True,
            settings=settings,
            find_source=find,
        )
    assert len(find.asked) == 3


def asked_for(url, parent="https://home.example/a/b.git", secret=OLD, found=None):
    """What the finder is asked when ``.gitmodules`` has a URL."""
    asked, above = [], CloneUrl(url=parent, credential=credential(secret) if secret else None)

    def find(plain):
        asked.append(plain)
        return found

    content = modules(lib=("lib", url))
    try:
        allowed = SubmoduleDestinations(above)
        find_submodules(
            {b"lib": bytes(20)},
            lambda path: content,
            above,
            allowed,
            prefix=b"",
            depth=1,
            find=find,
        )
    except UnsafeRepository:
        pass
    return asked


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://user@h.example/c/d", "https://h.example/c/d"),
        ("git@h.example:c/d.git", "ssh://h.example/c/d.git"),
        ("git+ssh://git@h.example:7999/c/d.git", "ssh://h.example:7999/c/d.git"),
    ],
)
def test_credentials_are_requested_with_a_normalized_url(url, plain):
    assert asked_for(url) == [plain]


@pytest.mark.parametrize(
    "url",
    [
        "../c.git",
        "https://home.example/c/d.git",
        "git@home.example:c/d.git",
        "git://h.example/c/d.git",
        "file:///etc",
        "https://h.example/c?d=e",
        "https://[h/c",
        "ssh:///c/d.git",
    ],
)
def test_no_credential_is_requested_for_the_own_origin_or_an_invalid_url(url):
    assert asked_for(url) == []


def test_the_own_origin_is_requested_if_the_parent_has_no_credential():
    assert asked_for("https://home.example/c/d.git", secret="") == ["https://home.example/c/d.git"]


def test_a_granted_source_must_use_https():
    above = CloneUrl(url="https://home.example/a/b.git")
    granted = GrantedSource(CloneUrl(url="http://h.example/c/d.git", credential=credential(OLD)))
    content = modules(lib=("lib", "http://h.example/c/d.git"))
    with pytest.raises(UnsafeRepository, match="is not https"):
        find_submodules(
            {b"lib": bytes(20)},
            lambda path: content,
            above,
            SubmoduleDestinations(above),
            prefix=b"",
            depth=1,
            find=lambda url: granted,
        )


def test_lfs_files_of_a_granted_submodule_use_its_credential(
    make, server, other_server, target, settings
):
    """A token that expires between git and LFS is renewed for both."""
    pointer = pointer_to(b"large")
    files = {
        ".gitattributes": b"*.bin filter=lfs\n",
        "a.bin": pointer_file(pointer.oid, pointer.size),
    }
    lib = make("lib", files, on=other_server)
    other_server.credential = f"ada:{OLD}"
    link = {"lib": (GITLINK, tip(lib)), ".gitmodules": modules(lib=("lib", lib.url))}
    shop = make("shop", link)
    other_server.interfere = lfs_at(other_server, f"ada:{NEW}", b"large")
    find = finder(lib.url, renew=lambda rejected: credential(NEW))
    export(
        CloneUrl(url=shop.url),
        "main",
        target,
        submodules=True,
        lfs=True,
        settings=settings,
        find_source=find,
    )
    assert (target / "lib/a.bin").read_bytes() == b"large"
    assert shown_to(server) == {None}


def lfs_at(server, accepted, content):
    """Answers the requests of Git LFS at a git server's own origin."""
    wanted = "Basic " + base64.b64encode(accepted.encode()).decode()

    def interfere(environ, start_response):
        path = environ["PATH_INFO"]
        if path.endswith("/large"):
            start_response("200 OK", [("Content-Length", str(len(content)))])
            return [content]
        if not path.endswith("/info/lfs/objects/batch"):
            return None
        kind = [("Content-Type", "application/vnd.git-lfs+json")]
        if environ.get("HTTP_AUTHORIZATION") != wanted:
            start_response("401 Unauthorized", kind)
            return [b"{}"]
        pointer = pointer_to(content)
        offer = {"oid": pointer.oid, "size": pointer.size}
        offer["actions"] = {"download": {"href": f"{server.origin}/large"}}
        start_response("200 OK", kind)
        return [json.dumps({"transfer": "basic", "objects": [offer]}).encode()]

    return interfere


def test_a_redirect_to_another_origin_receives_no_credential(
    shop, lib, server, other_server, target, settings
):
    def interfere(environ, start_response):
        if environ["PATH_INFO"].startswith("/lib.git"):
            to = f"{server.origin}/lib.git/info/refs?service=git-upload-pack"
            start_response("302 Found", [("Location", to)])
            return [b""]
        return None

    other_server.interfere = interfere
    find = finder(lib.url)
    with pytest.raises(RemoteRefused, match="does not follow redirects"):
        export(
            CloneUrl(url=shop.url),
            "main",
            target,
            submodules=True,
            settings=settings,
            find_source=find,
        )
    assert not any("lib" in path for _, path, _ in server.requests)
    assert shown_to(server) == {None}
