"""Malicious submodules: addresses that only this machine can reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploycore.errors import UnsafeRepository
from deploycore.git import RepositoryCache, export, run
from deploycore.git.granted import GrantedSource
from deploycore.git.lfs.client import LfsClient
from deploycore.git.operation import Operation
from deploycore.git.progress import Cancellation, no_progress
from deploycore.git.submodules import find_submodules
from deploycore.git.wire.destination import Destinations, SubmoduleDestinations, resolved
from deploycore.models import CloneUrl
from tests.git.conftest import secure_server
from tests.git.lfs_server import LfsOfGit, LfsServer
from tests.git.servers import GITLINK, SECRET, nothing_left, source

__all__ = ["secure_server"]

PUBLIC = "https://git.example.com/shop.git"
INTERNET = ["203.0.114.7"]


def modules(url):
    return f'[submodule "lib"]\n\tpath = lib\n\turl = {url}\n'.encode()


def tip(content):
    return content.repo.refs[b"refs/heads/main"]


def injected(host):
    """Our own server is at loopback; for these tests it is taken for one on the internet."""
    return INTERNET if host in ("git.example.com", "127.0.0.1") else resolved(host)


@pytest.fixture
def shop(make):
    """A repository with one submodule, at an address that is given."""

    def build(url, commit=b"1" * 40):
        return make("shop", {"lib": (GITLINK, commit), ".gitmodules": modules(url)})

    return build


@pytest.fixture
def as_if_public(monkeypatch):
    """Makes the outermost repository one on the internet."""

    def use(resolve=injected):
        monkeypatch.setattr(
            run, "SubmoduleDestinations", lambda top: SubmoduleDestinations(top, resolve)
        )

    return use


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://127.0.0.1/x", "a service of the machine that deploys, which trusts loopback"),
        ("https://localhost/x", "as above, by its name"),
        ("https://redis.localhost/x", "as above, by a name that some systems know"),
        ("https://[::1]:8443/x", "as above, over IPv6"),
        ("https://[::ffff:127.0.0.1]/x", "as above, IPv4 within IPv6"),
        ("https://2130706433/x", "as above, as one number"),
        ("https://10.0.0.5/x.git", "a machine of the network inside"),
        ("https://[fd00::1]/x", "as above, over IPv6"),
        ("https://169.254.169.254/latest/meta-data", "a cloud's own address for credentials"),
        ("https://0.0.0.0/x", "any interface of this machine"),
    ],
)
def test_a_public_repository_cannot_have_a_private_submodule(url, reason):
    allowed = SubmoduleDestinations(
        source(PUBLIC), lambda host: INTERNET if host == "git.example.com" else resolved(host)
    )
    found = find_submodules(
        {b"lib": b"1" * 20},
        lambda path: modules(url),
        source(PUBLIC),
        allowed,
        prefix=b"",
        depth=1,
    )
    with pytest.raises(UnsafeRepository, match="not a public address"):
        allowed.refuse_private(found[0].source.url)


@pytest.mark.parametrize("url", ["https://10.0.0.5/lib.git", "ssh://git@10.0.0.5/lib.git"])
def test_only_the_origin_of_a_named_provider_can_be_private(url):
    top = source(PUBLIC)
    allowed = SubmoduleDestinations(
        top, lambda host: INTERNET if host == "git.example.com" else resolved(host)
    )
    granted = GrantedSource(CloneUrl(url=url))
    [found] = find_submodules(
        {b"lib": b"1" * 20},
        lambda path: modules("https://git.other.example/lib.git"),
        top,
        allowed,
        prefix=b"",
        depth=1,
        find=lambda asked: granted,
    )
    allowed.refuse_private(found.source.url)
    for other in ("https://10.0.0.5:9200/x", "https://10.0.0.6/x", "https://127.0.0.1/x"):
        for at in (allowed, Destinations(found.source, resolved, within=allowed)):
            with pytest.raises(UnsafeRepository, match="not a public address"):
                at.refuse_private(other)
    elsewhere = Destinations(source("https://git.example.com/x.git"), injected, within=allowed)
    with pytest.raises(UnsafeRepository):
        elsewhere.refuse_private(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:2375/x", "http://localhost:9200/x", "http://[::1]/x"]
)
def test_plain_http_to_this_machine_is_only_allowed_for_local_repositories(url):
    with pytest.raises(UnsafeRepository, match="is not https"):
        find_submodules(
            {b"lib": b"1" * 20},
            lambda path: modules(url),
            source(PUBLIC),
            SubmoduleDestinations(source(PUBLIC)),
            prefix=b"",
            depth=1,
        )


def test_a_local_service_is_not_contacted(shop, other_server, as_if_public, refused, make, attempt):
    """Its answer, in an error, would be told to whoever may read the log."""
    as_if_public()
    other_server.always("500 Internal Server Error", b"token=hunter2")
    url = other_server.origin.replace("127.0.0.1", "localhost") + "/admin/api"
    error = refused(UnsafeRepository, shop(url).url, submodules=True)
    assert "hunter2" not in str(error)
    assert error.details["submodule"] == "lib"
    assert other_server.requests == []
    assert "one of the same origin, in .gitmodules" in error.hint
    lib = make("lib", {"f": b""})
    files = {"lib": (GITLINK, tip(lib)), ".gitmodules": modules("../lib.git")}
    assert b"lib/f" in attempt(make("corrected", files).url, submodules=True)


def test_a_host_name_that_is_rebound_to_a_private_address_is_not_contacted(
    shop, secure_server, certificate, as_if_public, refused
):
    """DNS rebinding: looked up as a public address, connected to another one."""
    as_if_public(lambda host: INTERNET)
    url = f"{secure_server.origin}/lib.git"
    error = refused(UnsafeRepository, shop(url).url, submodules=True, ca_bundle=str(certificate))
    assert "not a public address" in error.message
    assert secure_server.requests == []


def test_nested_submodules_follow_the_rules_of_the_outermost_repository(
    make, shop, other_server, as_if_public, refused
):
    """One host on the way that may be asked for anything is no way around."""
    as_if_public()
    url = other_server.origin.replace("127.0.0.1", "localhost") + "/x"
    middle = make(
        "middle",
        {"in": (GITLINK, b"1" * 40), ".gitmodules": modules(url).replace(b"= lib", b"= in")},
    )
    error = refused(UnsafeRepository, shop("../middle.git", tip(middle)).url, submodules=True)
    assert error.details["submodule"] == "lib/in"
    assert other_server.requests == []


def test_a_link_local_address_is_never_contacted(shop, refused):
    refused(UnsafeRepository, shop("https://169.254.169.254/x").url, submodules=True)


def test_lfs_files_of_a_submodule_follow_the_rules_of_the_outermost_repository(
    make, shop, other_server, as_if_public, target, tmp_path, settings
):
    """It came from the cache, so that nothing was asked before."""
    both = LfsOfGit(other_server)
    files = {".gitattributes": b"*.film filter=lfs\n", "a.film": both.add(b"film")}
    lib = make("lib", files, on=other_server)
    url = other_server.origin.replace("127.0.0.1", "localhost") + "/lib.git"
    top = source(shop(url, tip(lib)).url)
    cache = RepositoryCache(tmp_path / "cache")
    options = {"submodules": True, "cache": cache, "settings": settings}
    export(top, "main", target.parent.parent / "before", **options)
    as_if_public()
    with pytest.raises(UnsafeRepository, match="not a public address"):
        export(top, "main", target, lfs=True, **options)
    assert (both.batches, both.asked) == (0, [])
    assert nothing_left(target)


def test_the_address_of_a_submodule_lfs_server_is_checked_on_connection(settings, certificate):
    secure = LfsServer(certificate=certificate)
    trusting = replace(settings, ca_bundle=str(certificate))
    allowed = SubmoduleDestinations(source(PUBLIC), lambda host: INTERNET)
    client = LfsClient(
        source(secure.url),
        Operation(trusting, no_progress, Cancellation()),
        within=allowed,
    )
    try:
        with pytest.raises(UnsafeRepository, match="not a public address"):
            client.fetch([secure.add(b"film")], None)
        assert secure.requests == []
    finally:
        secure.stop()


@pytest.mark.parametrize("secret", [None, SECRET], ids=["anonymous", "with-credential"])
def test_submodules_of_a_plain_http_source_can_use_its_origin(
    make, server, shop, target, settings, secret
):
    """``127.1`` is none of the names by which a source is known to be on this machine."""
    lib = make("lib", {"f": b"lib"})
    url = shop("../lib.git", tip(lib)).url.replace("127.0.0.1", "127.1")
    plain = replace(settings, allow_plain_http=True)
    export(source(url, secret=secret), "main", target, submodules=True, settings=plain)
    assert (target / "lib/f").read_bytes() == b"lib"


def test_submodules_of_a_plain_http_source_need_https_on_other_origins(
    make, other_server, shop, target, settings
):
    lib = make("lib", {"f": b"lib"}, on=other_server)
    url = shop(lib.url, tip(lib)).url.replace("127.0.0.1", "127.1")
    plain = replace(settings, allow_plain_http=True)
    with pytest.raises(UnsafeRepository, match="is not https"):
        export(source(url), "main", target, submodules=True, settings=plain)
    assert other_server.requests == []
