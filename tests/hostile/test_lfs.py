"""Malicious pointers of Git LFS, and malicious LFS servers."""

from __future__ import annotations

import pytest

from deploycore.errors import CorruptPack, GitError, LimitExceeded, UnsafeRepository
from deploycore.git.wire.destination import Destinations, resolved
from tests.git.lfs_server import LfsOfGit, LfsServer, pointer_file
from tests.git.servers import EXECUTABLE, LINK, SECRET, source

ATTRIBUTES = {".gitattributes": b"*.film filter=lfs\n"}
PUBLIC = {"git.example.com": ["203.0.114.7"], "example.com": ["198.51.101.3"]}


@pytest.fixture
def both(server):
    """Git's server, with LFS at the same origin."""
    return LfsOfGit(server)


@pytest.fixture
def storage():
    """A server elsewhere, which must not be asked."""
    running = LfsServer()
    yield running
    running.stop()


def leads_to(href, **more):
    """A batch answer that sends every download there."""
    return lambda each: each["actions"]["download"].update(href=href, **more)


INSIDE = [
    ("https://127.0.0.1/x", "a service of the machine that deploys, which trusts loopback"),
    ("https://localhost/x", "as above, by its name"),
    ("https://localhost./x", "as above, fully qualified"),
    ("https://redis.localhost/x", "as above, by a name that some systems know (RFC 6761, 6.3)"),
    ("https://[::1]/x", "as above, over IPv6"),
    ("https://[::ffff:127.0.0.1]/x", "as above, IPv4 within IPv6"),
    ("https://2130706433/x", "as above, as one number"),
    ("https://0x7f.1/x", "as above, as inet_aton reads it"),
    ("https://10.0.0.1/x", "a machine of the network inside"),
    ("https://[fd00::1]/x", "as above, over IPv6"),
]
NOWHERE = [
    ("http://127.0.0.1:9/x", "a service of the machine that deploys, unencrypted"),
    ("https://169.254.169.254/latest/meta-data", "a cloud's own address for credentials"),
    ("https://0.0.0.0/x", "any interface of this machine"),
    ("file:///etc/passwd", "a file of this machine"),
    ("ftp://example.com/x", "another protocol, unencrypted"),
    ("gopher://127.0.0.1:6379/_FLUSHALL", "a protocol that writes what it likes to any port"),
    ("data:application/octet-stream,film", "content that nobody serves"),
    ("//example.com/x", "no scheme"),
    ("../../x", "no host"),
    ("", "no address"),
    ("https://ada:s3cret@example.com/x", "a password that logs would keep"),
    ("https://example.com\\@127.0.0.1/x", "two readers, two hosts"),
    ("https://example.com/\r\nX-Injected: 1", "another header"),
    ("https://example.com/\x1b[2Jx", "clears the screen of who reads the error"),
]


@pytest.mark.parametrize(("href", "reason"), INSIDE + NOWHERE)
def test_a_public_host_cannot_redirect_to_private_addresses(href, reason):
    """The check before the connection, for a host that is not at loopback as our servers are."""
    of = source("https://git.example.com/shop.git")
    elsewhere = Destinations(of, lambda host: PUBLIC.get(host) or resolved(host))
    with pytest.raises(UnsafeRepository):
        elsewhere.refuse_private(href)


@pytest.mark.parametrize(("href", "reason"), NOWHERE)
def test_a_download_from_a_private_address_leaves_nothing_behind(make, both, refused, href, reason):
    shop = make("shop", ATTRIBUTES | {"a.film": both.add(b"film")})
    both.alter = leads_to(href)
    error = refused(UnsafeRepository, shop.url, lfs=True)
    assert "s3cret" not in str(error)
    assert both.asked == []


def test_another_port_of_the_same_machine_is_not_contacted_unencrypted(
    make, both, storage, refused
):
    """Loopback is full of services that take a request from there for one of their own."""
    shop = make("shop", ATTRIBUTES | {"a.film": both.add(b"film")})
    both.alter = leads_to(f"{storage.origin}/x", header={"Authorization": "Basic eA=="})
    refused(UnsafeRepository, shop.url, lfs=True, secret=SECRET)
    assert storage.connections == 0


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"Host": "metadata.internal"}, "another host behind the same address"),
        ({"X\r\nY": "1"}, "a header within a name"),
        ({"X": "1\r\nY: 1"}, "a header within a value"),
        ({"Transfer-Encoding": "chunked"}, "a second request within the first"),
        ({"Content-Length": "5"}, "as above"),
        ({"Proxy-Authorization": "x"}, "what is meant for the proxy"),
    ],
)
def test_server_supplied_headers_cannot_change_the_request(make, both, refused, header, reason):
    shop = make("shop", ATTRIBUTES | {"a.film": both.add(b"film")})
    both.alter = lambda each: each["actions"]["download"].update(header=header)
    refused((UnsafeRepository, CorruptPack), shop.url, lfs=True)
    assert both.asked == []


def test_a_flood_of_pointers_causes_no_request(make, both, refused):
    """Each is an object to ask for, and to hold an entry of; git's trees make them cheap."""
    files = {f"{number}.film": pointer_file(f"{number:064x}", 1) for number in range(2001)}
    shop = make("shop", ATTRIBUTES | files)
    error = refused(LimitExceeded, shop.url, lfs=True, max_lfs_objects=2000)
    assert error.details["limit"] == "max_lfs_objects"
    assert both.batches == 0


def test_pointers_that_exceed_the_disk_space_cause_no_request(make, both, refused):
    """A file of 130 bytes in git may claim nine exabytes."""
    shop = make("shop", ATTRIBUTES | {"a.film": pointer_file("0" * 64, 2**63 - 1)})
    error = refused(LimitExceeded, shop.url, lfs=True)
    assert error.details["limit"] == "max_lfs_bytes"
    assert both.batches == 0


def test_an_object_used_many_times_counts_on_disk_each_time(make, both, refused):
    """Downloaded once, written a thousand times: a disk is filled from one small pack."""
    film = both.add(b"f" * 100_000)
    files = {f"{number}.film": film for number in range(1000)}
    shop = make("shop", ATTRIBUTES | files)
    error = refused(LimitExceeded, shop.url, lfs=True, max_checkout_bytes=1_000_000)
    assert error.details["limit"] == "max_checkout_bytes"


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        (b"filM", "other content of the same size"),
        (b"", "nothing"),
        (b"fil", "less than was said"),
        (b"film" * 1_000_000, "far more than was said"),
    ],
    ids=len,
)
def test_content_that_does_not_match_its_pointer_is_rejected(make, both, refused, served, reason):
    shop = make("shop", ATTRIBUTES | {"a.film": both.add(b"film")})
    both.objects = dict.fromkeys(both.objects, served)
    refused(CorruptPack, shop.url, lfs=True)


@pytest.mark.parametrize("size", [3, 5, 2**70, -1, "4"])
def test_the_server_cannot_change_the_size_of_an_object(make, both, refused, size):
    """Room is made by the pointer's size; a download of another one would not fit it."""
    shop = make("shop", ATTRIBUTES | {"a.film": both.add(b"film")})
    both.alter = lambda each: each.update(size=size)
    refused(GitError, shop.url, lfs=True)
    assert both.asked == []


def test_pointers_with_conflicting_sizes_are_rejected(make, both, refused):
    """The smaller would pass the limit, and the larger be downloaded."""
    files = {"a.film": pointer_file("1" * 64, 1), "b.film": pointer_file("1" * 64, 10**9)}
    shop = make("shop", ATTRIBUTES | files)
    refused(CorruptPack, shop.url, lfs=True)
    assert both.batches == 0


def test_a_response_about_other_objects_is_rejected(make, both, refused):
    """Its content would be written in the place of another file."""
    shop = make("shop", ATTRIBUTES | {"a.film": both.add(b"film")})
    both.alter = lambda each: each.update(oid="2" * 64)
    refused(GitError, shop.url, lfs=True)
    assert both.asked == []


def test_the_lfs_configuration_of_the_repository_is_not_read(make, both, storage, attempt):
    """`.lfsconfig` would send the credential to whoever can push."""
    config = f"[lfs]\n\turl = {storage.url}/info/lfs\n".encode()
    shop = make("shop", ATTRIBUTES | {"a.film": both.add(b"film"), ".lfsconfig": config})
    found = attempt(shop.url, lfs=True, secret=SECRET)
    assert found[b"a.film"] == ("file", b"film", False)
    assert storage.connections == 0


def test_a_link_is_not_treated_as_a_pointer(make, both, attempt):
    """The content of the object would become where the link leads, past all checks."""
    both.add(b"film")
    pointer = pointer_file("3" * 64, 4)
    shop = make("shop", ATTRIBUTES | {"a.film": (LINK, b"b"), "b": pointer})
    assert attempt(shop.url, lfs=True)[b"a.film"] == ("link", b"b")
    assert both.batches == 0


def test_only_files_with_the_lfs_attribute_are_treated_as_pointers(make, both, attempt):
    """Any file that looks like one would be an address of the server's to ask."""
    pointer = pointer_file("4" * 64, 4)
    shop = make("shop", ATTRIBUTES | {"tool": (EXECUTABLE, pointer)})
    assert attempt(shop.url, lfs=True)[b"tool"] == ("file", pointer, True)
    assert both.batches == 0


def test_a_forbidden_name_is_rejected_before_lfs_is_contacted(make, both, refused):
    """The download would be work for nothing, or worse, be written."""
    shop = make()
    inner = shop.files({"a.film": both.add(b"film")})
    attributes = shop.blob(ATTRIBUTES[".gitattributes"])
    shop.commit(shop.tree((0o40000, b"..", inner), (0o100644, b".gitattributes", attributes)))
    refused(UnsafeRepository, shop.url, lfs=True)
    assert both.batches == 0
