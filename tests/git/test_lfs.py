"""Files in Git LFS: pointers, requests, the destinations of credentials, and verification."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import os
import socket
import threading
import time
import traceback
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPSConnectionPool

from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    CorruptPack,
    GitError,
    LimitExceeded,
    RemoteRefused,
    UnsafeRepository,
)
from deploycore.git import RepositoryCache, export
from deploycore.git.lfs.batch import lfs_endpoint
from deploycore.git.lfs.client import LfsClient
from deploycore.git.lfs.pointers import Pointer, parse_pointer
from deploycore.git.operation import Operation
from deploycore.git.progress import Cancellation, no_progress
from deploycore.git.wire.destination import Destinations, resolved
from tests.git.lfs_server import MEDIA_TYPE, LfsOfGit, LfsServer, pointer_to
from tests.git.servers import EXECUTABLE, GITLINK, SECRET, nothing_left, snapshot, source

NO_HANG = 60  # seconds: more than any machine needs, less than what would hang

OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
VERSION = b"version https://git-lfs.github.com/spec/v1\n"
LINES = b"oid sha256:%s\nsize 12345\n" % OID.encode()
BASIC = "Basic " + base64.b64encode(f"ada:{SECRET}".encode()).decode()
GIVEN = "RemoteAuth given-by-the-batch-answer"


@pytest.fixture
def lfs():
    """A server that the source may name by http, as it is the source's own origin."""
    running = LfsServer()
    yield running
    running.stop()


@pytest.fixture
def secure(certificate):
    running = LfsServer(certificate=certificate)
    yield running
    running.stop()


@pytest.fixture
def storage(certificate):
    """Another origin than the source's, which may be asked since both are on loopback."""
    running = LfsServer(certificate=certificate)
    yield running
    running.stop()


@pytest.fixture
def trusting(settings, certificate):
    return replace(settings, ca_bundle=str(certificate))


class Written:
    """Sinks in memory.

    Attributes:
        whole: Contents by hash, of those whose sink ended well.
        opened: Which pointers a sink was opened for.
    """

    def __init__(self):
        self.whole = {}
        self.opened = []
        self.steps = []

    @contextmanager
    def __call__(self, pointer):
        self.opened.append(pointer)
        content = bytearray()
        yield self._Sink(content, self.steps)
        self.whole[pointer.oid] = bytes(content)

    class _Sink:
        def __init__(self, content, steps):
            self._content = content
            self._steps = steps

        def write(self, data):
            self._content += data
            self._steps.append(len(data))


@pytest.fixture
def written():
    return Written()


@pytest.fixture
def fetch(settings, written):
    def run(url, *pointers, secret=SECRET, ref=None, settings=settings, cancellation=None):
        operation = Operation(settings, no_progress, cancellation or Cancellation())
        LfsClient(source(url, secret=secret), operation, ref).fetch(pointers, written)
        return written.whole

    return run


@pytest.fixture
def fails(fetch, written):
    """Runs a fetch that must fail and complete no sink; returns its error."""

    def run(kind, url, *pointers, **options):
        with pytest.raises(GitError) as caught:
            fetch(url, *pointers, **options)
        error = caught.value
        assert type(error) is kind
        assert written.whole == {}
        assert error.hint
        assert error.__cause__ is None
        assert error.__context__ is None
        text = repr(error) + str(error) + error.hint + json.dumps(error.details)
        text += "".join(traceback.format_exception(error))
        for secret in (SECRET, BASIC.removeprefix("Basic "), GIVEN, "signature"):
            assert secret not in text
        return error

    return run


@pytest.fixture
def helps(lfs, fetch):
    """Follows a hint about the server: it then serves as it should, and the object arrives."""

    def run():
        lfs.alter, lfs.interfere = lambda answer: answer, lambda handler: False
        pointer = lfs.add(b"one")
        assert fetch(lfs.url, pointer)[pointer.oid] == b"one"

    return run


def altered(change):
    """Changes the first object of a batch answer in place."""

    def alter(answer):
        change(answer["objects"][0])
        return answer

    return alter


def sent_to(storage, href="/objects/x?signature=s", **action):
    """Batch answers whose first object is at another origin."""
    at = storage.origin + href
    return altered(lambda each: each.update(actions={"download": {"href": at, **action}}))


# Pointers


def test_a_pointer_is_read():
    assert parse_pointer(VERSION + LINES) == Pointer(OID, 12345)


@pytest.mark.parametrize(
    "version", [b"https://hawser.github.com/spec/v1", b"http://git-media.io/v/2"]
)
def test_a_pointer_of_the_first_git_lfs_releases_is_read(version):
    assert parse_pointer(b"version %s\n" % version + LINES) == Pointer(OID, 12345)


@pytest.mark.parametrize(
    "content",
    [
        VERSION + LINES[:-1],
        VERSION + LINES + b"\n",
        VERSION + b"\n" + LINES,
        (VERSION + LINES).replace(b"\n", b"\r\n"),
        (VERSION + LINES).replace(b"\n", b"\r\n")[:-2],
        VERSION + LINES.replace(b"\n", b"\r\n"),
        VERSION + LINES[:-1] + b" \t\n",
        b" \n" + VERSION + LINES,
        VERSION + LINES.replace(b"12345", b"+12345"),
        VERSION + LINES.replace(b"12345", b"0012345"),
    ],
    ids=itertools.count(),
)
def test_pointers_are_recognized_as_in_git_lfs(content):
    assert parse_pointer(content) == Pointer(OID, 12345)


def test_unknown_keys_are_ignored():
    content = VERSION + b"note caf\xc3\xa9 au lait\n" + LINES + b"x-colour blue\n"
    assert parse_pointer(content) == Pointer(OID, 12345)


def test_the_maximum_size_is_that_of_a_signed_integer():
    content = VERSION + LINES.replace(b"12345", b"%d")
    assert parse_pointer(content % (2**63 - 1)).size == 2**63 - 1
    assert parse_pointer(content % 2**63) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version",
        VERSION,
        LINES,
        LINES + VERSION,
        VERSION + b"".join(reversed(LINES.splitlines(keepends=True))),
        VERSION + LINES + LINES,
        VERSION + VERSION + LINES,
        VERSION + LINES.replace(b"\n", b"\r\r\n"),
        VERSION + LINES.replace(b"\n", b"\r"),
        VERSION + b" \n" + LINES,
        VERSION.replace(b"\n", b" \n") + LINES,
        VERSION + LINES.replace(b"oid ", b"oid  "),
        VERSION + LINES.replace(b"oid ", b"oid\t"),
        VERSION + LINES.replace(b"sha256", b"sha512"),
        VERSION + LINES.replace(b"sha256:", b""),
        VERSION + LINES.replace(b"4d7a", b"4D7A"),
        VERSION + LINES.replace(b"4d7a", b""),
        VERSION + LINES.replace(b"12345", b"-1"),
        VERSION + LINES.replace(b"12345", b"1_000"),
        VERSION + LINES.replace(b"12345", b"1e3"),
        VERSION + LINES.replace(b"12345", "１".encode()),
        VERSION + LINES + b"UPPER case\n",
        VERSION + LINES + b"z \xff\n",
        VERSION + LINES + b"z " + b"a" * 1024 + b"\n",
        VERSION.replace(b"v1", b"v2") + LINES,
        VERSION.upper() + LINES,
        b"\xef\xbb\xbf" + VERSION + LINES,
    ],
    ids=itertools.count(),
)
def test_other_content_is_not_a_pointer(content):
    assert parse_pointer(content) is None


def test_a_pointer_ends_below_1024_bytes():
    start = VERSION + LINES + b"z "
    assert parse_pointer(start + b"a" * (1022 - len(start)) + b"\n") is not None
    assert parse_pointer(start + b"a" * (1023 - len(start)) + b"\n") is None


def test_an_unsupported_git_lfs_extension_is_reported():
    content = VERSION + b"ext-0-case sha256:" + OID.encode() + b"\n" + LINES
    with pytest.raises(GitError, match="with an extension"):
        parse_pointer(content)
    assert parse_pointer(VERSION + LINES) == Pointer(OID, 12345)


@given(st.binary(max_size=1100))
def test_no_input_crashes_the_reader(content):
    assert parse_pointer(content) is None


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=130))
def test_no_modified_pointer_crashes_the_reader(content, at):
    whole = VERSION + LINES
    found = parse_pointer(whole[:at] + content + whole[at + len(content) :])
    assert found is None or len(found.oid) == 64


# The endpoint


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://git.example.com/foo/bar", "https://git.example.com/foo/bar.git/info/lfs"),
        ("https://git.example.com/foo/bar.git", "https://git.example.com/foo/bar.git/info/lfs"),
        ("https://git.example.com/foo/bar/", "https://git.example.com/foo/bar.git/info/lfs"),
    ],
)
def test_the_lfs_server_is_below_the_repository_url(url, endpoint):
    found = lfs_endpoint(source(url, secret=SECRET))
    assert found.url == endpoint
    assert found.credential.username == "ada"


# Downloads


def test_objects_are_downloaded_and_verified(lfs, fetch, written):
    first, second = lfs.add(b"one"), lfs.add(b"x" * 200_000)
    assert fetch(lfs.url, first, second) == lfs.objects
    assert written.steps == [3, 65536, 65536, 65536, 200_000 - 3 * 65536]


def test_the_request_follows_the_batch_api(lfs, fetch):
    pointer = lfs.add(b"one")
    fetch(lfs.url, pointer, ref=b"refs/heads/main")
    method, path, headers = lfs.requests[0]
    assert (method, path) == ("POST", "/shop.git/info/lfs/objects/batch")
    assert headers["accept"] == headers["content-type"] == MEDIA_TYPE
    assert headers["authorization"] == BASIC
    assert lfs.batches == [
        {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": pointer.oid, "size": 3}],
            "ref": {"name": "refs/heads/main"},
        }
    ]


def test_a_ref_that_is_not_fully_qualified_is_omitted(lfs, fetch):
    fetch(lfs.url, lfs.add(b"one"), ref=b"HEAD")
    assert "ref" not in lfs.batches[0]


def test_objects_are_requested_in_batches_of_a_hundred(lfs, fetch):
    pointers = [lfs.add(b"%d" % number) for number in range(150)]
    assert fetch(lfs.url, *pointers, *pointers) == lfs.objects
    assert [len(batch["objects"]) for batch in lfs.batches] == [100, 50]
    assert len(lfs.downloads()) == 150
    assert lfs.connections == 2


def test_without_objects_no_request_is_sent(lfs, fetch):
    assert fetch(lfs.url) == {}
    assert lfs.requests == []


def test_the_empty_object_requires_no_server(lfs, fetch):
    empty = pointer_to(b"")
    assert fetch(lfs.url, empty) == {empty.oid: b""}
    assert lfs.requests == []


def test_a_public_repository_is_accessed_without_a_credential(lfs, fetch):
    fetch(lfs.url, lfs.add(b"one"), secret=None)
    assert not any("authorization" in headers for *_, headers in lfs.requests)


def test_the_bytes_are_counted(lfs, settings, written):
    received = []
    operation = Operation(settings, no_progress, Cancellation())
    operation.receive = received.append
    LfsClient(source(lfs.url), operation).fetch([lfs.add(b"x" * 100_000)], written)
    assert received[-2:] == [65536, 100_000 - 65536]


# Where credentials go


def test_the_credential_is_sent_to_a_download_on_its_own_origin(lfs, fetch):
    fetch(lfs.url, lfs.add(b"one"))
    assert lfs.downloads()[0][2]["authorization"] == BASIC


def test_a_pre_authenticated_download_receives_no_credential(lfs, fetch):
    lfs.alter = altered(lambda each: each.update(authenticated=True))
    fetch(lfs.url, lfs.add(b"one"))
    assert "authorization" not in lfs.downloads()[0][2]


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_an_authorization_header_of_the_server_overrides_the_credential(lfs, fetch, name):
    lfs.alter = altered(lambda each: each["actions"]["download"].update(header={name: GIVEN}))
    fetch(lfs.url, lfs.add(b"one"))
    assert lfs.downloads()[0][2]["authorization"] == GIVEN


def test_another_origin_receives_the_supplied_headers_but_no_credential(
    secure, storage, fetch, trusting
):
    pointer = secure.add(b"one")
    storage.objects["x"] = b"one"
    path = "/objects/x"
    secure.alter = sent_to(storage, path, header={"X-Token": GIVEN, "Accept": "text/x"})
    fetch(secure.url, pointer, settings=trusting)
    [(_, asked, headers)] = storage.requests
    assert asked == path
    assert (headers["x-token"], headers["accept"]) == (GIVEN, "text/x")
    assert "authorization" not in headers


def test_a_supplied_header_is_sent_only_for_its_own_object(lfs, fetch):
    one, two = lfs.add(b"one"), lfs.add(b"two")
    lfs.alter = altered(lambda each: each["actions"]["download"].update(header={"X-T": GIVEN}))
    fetch(lfs.url, one, two)
    assert ["x-t" in headers for *_, headers in lfs.requests] == [False, True, False]


def test_the_query_of_a_download_url_is_preserved(lfs, fetch):
    target = "//objects/x?signature=a%2Fb&signature=%e2"
    lfs.objects["x?signature=a%2Fb&signature=%e2"] = b"one"
    asked = []
    lfs.alter = sent_to(lfs, target + "#fragment")

    def interfere(handler):
        if handler.command == "GET":
            asked.append(handler.requestline.split()[1])
            handler.give(200, b"one")
        return handler.command == "GET"

    lfs.interfere = interfere
    fetch(lfs.url, lfs.add(b"one"))
    assert asked[0].lower() == target.lower()


def test_a_credential_is_not_sent_over_plain_http_to_another_machine(fetch, secure, trusting):
    with pytest.raises(ConfigurationError, match="not encrypted"):
        fetch("http://git.example.com/shop.git", pointer_to(b"one"))
    fetch(secure.url, secure.add(b"one"), settings=trusting)
    assert secure.downloads()[0][2]["authorization"] == BASIC


@pytest.mark.parametrize(
    "header",
    [
        {"Host": "metadata"},
        {"host": "metadata"},
        {"Content-Length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "upgrade"},
        {"Proxy-Authorization": GIVEN},
        {"Range": "bytes=0-1"},
        {"Accept-Encoding": "gzip"},
        {"X-Token": f"{GIVEN}\r\nX-More: 1"},
        {"X-Token": f"{GIVEN}\0"},
        {"X-Token": f"{GIVEN}\u2028"},
        {"X-Token\r\nX-More": GIVEN},
        {"X Token": GIVEN},
        {"X-Token:": GIVEN},
        {"": GIVEN},
        {"X-Tökèn": GIVEN},
    ],
    ids=itertools.count(),
)
def test_headers_that_change_the_request_are_refused(lfs, fails, header, helps):
    lfs.alter = altered(lambda each: each["actions"]["download"].update(header=header))
    error = fails(UnsafeRepository, lfs.url, lfs.add(b"one"))
    assert "asked to send it the header" in error.message
    assert error.message.isprintable()
    assert lfs.downloads() == []
    helps()


# Redirects


def redirecting(location, status=302):
    def interfere(handler):
        if handler.command == "POST" or "redirected" in handler.path:
            return False
        handler.give(status, b"", Location=location)
        return True

    return interfere


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_origin_keeps_the_headers(lfs, fetch, status):
    pointer = lfs.add(b"one")
    lfs.interfere = redirecting(f"/redirected/{pointer.oid}", status)
    fetch(lfs.url, pointer)
    assert [headers["authorization"] for *_, headers in lfs.downloads()] == [BASIC, BASIC]


def test_a_redirect_to_another_origin_drops_credential_and_headers(
    secure, storage, fetch, trusting
):
    pointer = secure.add(b"one")
    storage.add(b"one")
    secure.interfere = redirecting(f"{storage.origin}/{pointer.oid}")
    given = {"X-Token": GIVEN}
    secure.alter = altered(lambda each: each["actions"]["download"].update(header=given))
    fetch(secure.url, pointer, settings=trusting)
    assert secure.downloads()[0][2]["x-token"] == GIVEN
    assert secure.downloads()[0][2]["authorization"] == BASIC
    [(_, _, headers)] = storage.requests
    assert not {"x-token", "authorization"} & headers.keys()


def test_a_redirect_back_to_the_origin_does_not_restore_the_credential(
    secure, storage, fetch, trusting
):
    pointer = secure.add(b"one")
    secure.interfere = redirecting(f"{storage.origin}/away")
    storage.interfere = redirecting(f"{secure.origin}/redirected/{pointer.oid}")
    fetch(secure.url, pointer, settings=trusting)
    assert ["authorization" in headers for *_, headers in secure.downloads()] == [True, False]


def test_at_most_three_redirects_are_followed(lfs, fails, helps):
    lfs.interfere = redirecting("/again")
    error = fails(RemoteRefused, lfs.url, lfs.add(b"one"))
    assert "more than 3 times" in error.message
    assert len(lfs.downloads()) == 4
    helps()


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "https://ada:signature@localhost/x",
        "https://[broken/x?signature",
        "https://169.254.169.254/latest/meta-data",
        "https://a\tb/",
    ],
    ids=itertools.count(),
)
def test_redirects_must_pass_the_same_checks(lfs, fails, location):
    lfs.interfere = redirecting(location)
    error = fails(UnsafeRepository, lfs.url, lfs.add(b"one"))
    assert "is not followed" in error.message
    assert len(lfs.downloads()) == 1


def test_redirects_of_the_batch_api_to_other_origins_are_not_followed(lfs, storage, fails):
    def interfere(handler):
        handler.give(307, b"", Location=f"{storage.origin}/batch")
        return True

    lfs.interfere = interfere
    error = fails(RemoteRefused, lfs.url, lfs.add(b"one"))
    assert error.details["status"] == 307
    assert storage.requests == []


# Where downloads may lead

ADDRESSES = {
    "git.example.com": ["203.0.114.7"],
    "storage.example.com": ["2606:4700::1", "198.51.101.3"],
    "half.example.com": ["198.51.101.3", "127.0.0.1"],
    "stray.example.com": ["10.0.0.5", "198.51.101.3"],
    "git.internal": ["10.0.0.5"],
    "storage.internal": ["192.168.7.7"],
    "localhost": ["::1", "127.0.0.1"],
    "nowhere.example.com": [],
}


def injected(host):
    return ADDRESSES.get(host) or resolved(host)


def may_lead(url, *, of="https://git.example.com/shop.git"):
    try:
        Destinations(source(of), injected).refuse_private(url)
    except UnsafeRepository:
        return False
    return True


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/x",
        "https://git.example.com:8443/x",
        "https://storage.example.com/x?signature=s",
        "https://nowhere.invalid/x",
        "https://198.51.101.3/x",
        "https://[2606:4700::1]/x",
        "https://[64:ff9b::198.51.101.3]/x",
    ],
)
def test_a_download_from_a_public_address_is_allowed(url):
    assert may_lead(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://git.example.com/x",
        "http://storage.example.com/x",
        "HTTP://storage.example.com/x",
        "ftp://storage.example.com/x",
        "file:///etc/passwd",
        "data:,x",
        "//storage.example.com/x",
        "/x",
        "",
        "https:///x",
        "https://",
        "https://ada@storage.example.com/x",
        "https://ada:signature@storage.example.com/x",
        "https://@storage.example.com/x",
        "https://storage.example.com\\@localhost/x",
        "https://storage.example.com/\r\nHost: localhost",
        "https://storage.example.com/ x",
        "https://störage.example.com/x",
        "https://storage.example.com:0x/x",
        "https://storage.example.com:99999/x",
    ],
    ids=itertools.count(),
)
def test_other_schemes_user_information_and_invalid_urls_are_rejected(url):
    assert not may_lead(url)


FORBIDDEN = [
    "localhost",
    "half.example.com",
    "git.internal",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::127.0.0.1]",
    "[64:ff9b::10.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:db8::1]",
    "[fc00::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
]


@pytest.mark.parametrize("host", FORBIDDEN)
def test_a_public_source_cannot_use_private_addresses(host):
    assert not may_lead(f"https://{host}/x")


@pytest.mark.parametrize(
    ("of", "host", "allowed"),
    [
        ("https://git.internal/shop.git", "storage.internal", True),
        ("https://git.internal/shop.git", "git.internal:9000", True),
        ("https://git.internal/shop.git", "storage.example.com", True),
        ("https://git.internal/shop.git", "127.0.0.1", False),
        ("https://git.internal/shop.git", "169.254.169.254", False),
        ("https://stray.example.com/shop.git", "storage.internal", False),
        ("http://localhost/shop.git", "127.0.0.1", True),
        ("http://localhost/shop.git", "storage.internal", True),
        ("http://127.0.0.1/shop.git", "169.254.169.254", False),
        ("http://127.0.0.1/shop.git", "[ff02::1]", False),
        ("https://nowhere.invalid/shop.git", "127.0.0.1", False),
    ],
)
def test_a_private_host_can_only_use_addresses_as_public_as_its_own(of, host, allowed):
    assert may_lead(f"https://{host}/x", of=of) is allowed


def test_plain_http_is_only_allowed_on_the_origin_of_a_plain_http_source():
    of = "http://127.0.0.1:8080/shop.git"
    assert may_lead("http://127.0.0.1:8080/x", of=of)
    assert not may_lead("http://127.0.0.1:8081/x", of=of)
    assert not may_lead("http://localhost:8080/x", of=of)


def elsewhere(href):
    return altered(lambda each: each.update(actions={"download": {"href": href}}))


@pytest.mark.parametrize(
    ("href", "shown"),
    [
        ("https://169.254.169.254/x?signature", "https://169.254.169.254:443"),
        ("https://[fe80::1]/x?signature", "https://[fe80::1]:443"),
        ("https://ada:signature@localhost/x", "https://localhost:443"),
        ("http://localhost:1/x?signature", "http://localhost:1"),
        ("https://[broken/x?signature", "a malformed address"),
    ],
    ids=itertools.count(),
)
def test_a_download_from_a_forbidden_address_is_not_requested(lfs, fails, href, shown, helps):
    lfs.alter = elsewhere(href)
    error = fails(UnsafeRepository, lfs.url, lfs.add(b"one"))
    assert f"redirects to {shown}, which is not followed" in error.message
    assert lfs.downloads() == []
    helps()


def test_an_address_is_checked_again_on_connection(secure):
    answers = iter([["198.51.101.3"]])
    rebound = Destinations(
        source("https://git.example.com/shop.git"), lambda host: next(answers, ["203.0.114.7"])
    )
    url = f"{secure.origin}/x"
    rebound.refuse_private(url)
    with HTTPSConnectionPool("localhost", int(secure.origin.rpartition(":")[2])) as pool:
        rebound.watch(pool, url)
        with pytest.raises(UnsafeRepository, match=r"127\.0\.0\.1 is not a public address"):
            pool.urlopen("GET", "/x", retries=False)
    assert secure.requests == []


def test_the_address_check_on_connection_skips_proxies():
    destinations = Destinations(source("https://git.example.com/shop.git"), injected)
    pool = HTTPSConnectionPool("storage.example.com", 443)
    kept, pool.proxy = pool.ConnectionCls, object()
    destinations.watch(pool, "https://storage.example.com/x")
    assert pool.ConnectionCls is kept


# Limits


def endless():
    for number in itertools.count():
        yield pointer_to(b"%d" % number)


def test_the_number_of_pointers_is_limited(lfs, settings, written):
    few = replace(settings, max_lfs_objects=1000)
    client = LfsClient(source(lfs.url), Operation(few, no_progress, Cancellation()))
    with pytest.raises(LimitExceeded, match="more than 1,000 files") as caught:
        client.fetch(endless(), written)
    assert caught.value.details == {"limit": "max_lfs_objects"}
    assert lfs.requests == []


def test_sizes_are_summed_before_the_first_download(lfs, fails, settings):
    pointers = [lfs.add(b"a" * 60), lfs.add(b"b" * 41)]
    little = replace(settings, max_lfs_bytes=100)
    error = fails(LimitExceeded, lfs.url, *pointers, settings=little)
    assert error.details == {"limit": "max_lfs_bytes"}
    assert lfs.requests == []


def test_an_object_required_twice_counts_once(lfs, fetch, settings):
    pointer = lfs.add(b"a" * 60)
    little = replace(settings, max_lfs_bytes=100, max_lfs_objects=1)
    assert fetch(lfs.url, pointer, pointer, settings=little) == lfs.objects


def test_pointers_with_conflicting_sizes_are_rejected(lfs, fails):
    pointer = lfs.add(b"one")
    fails(CorruptPack, lfs.url, pointer, replace(pointer, size=4))
    assert lfs.requests == []


def test_an_oversized_response_is_not_read_completely(lfs, fails, helps):
    def interfere(handler):
        handler.give(200, b" " * (4 * 1024 * 1024 + 1), Content_Type=MEDIA_TYPE)
        return True

    lfs.interfere = interfere
    error = fails(LimitExceeded, lfs.url, lfs.add(b"one"))
    assert "4,194,304 bytes" in error.message
    helps()


def slowly(lfs):
    def interfere(handler):
        if handler.command == "GET":
            handler.send_response(200)
            handler.send_header("Content-Length", "3")
            handler.end_headers()
            handler.wfile.write(b"o")
            lfs.released.wait(10)
        return handler.command == "GET"

    return interfere


def test_the_deadline_ends_a_slow_download(lfs, fails, settings):
    lfs.interfere = slowly(lfs)
    began = time.monotonic()
    hasty = replace(settings, total_timeout=0.3)
    error = fails(LimitExceeded, lfs.url, lfs.add(b"one"), settings=hasty)
    assert error.details["limit"] == "total_timeout"
    assert time.monotonic() - began < NO_HANG


def test_a_cancellation_ends_a_download_at_once(lfs, fetch, written):
    lfs.interfere = slowly(lfs)
    cancellation = Cancellation()
    threading.Timer(0.2, cancellation.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        fetch(lfs.url, lfs.add(b"one"), cancellation=cancellation)
    assert time.monotonic() - began < NO_HANG
    assert written.whole == {}


# Objects that are not what was promised


@pytest.mark.parametrize("served", [b"onE", b"onee", b"one" * 100_000], ids=len)
def test_different_content_is_rejected(lfs, fails, served, written, helps):
    pointer = lfs.add(b"one")
    lfs.objects[pointer.oid] = served
    error = fails(CorruptPack, lfs.url, pointer)
    assert error.details["oid"] == pointer.oid
    assert sum(written.steps) <= 3
    assert len(lfs.downloads()) == 1
    helps()


def test_truncated_content_is_rejected(lfs, fails):
    pointer = lfs.add(b"one")
    lfs.objects[pointer.oid] = b"on"
    assert "2 bytes long instead of 3" in fails(CorruptPack, lfs.url, pointer).message


def test_a_download_stops_after_the_expected_size(lfs, fails, written):
    def interfere(handler):
        if handler.command == "GET":
            handler.send_response(200)
            handler.end_headers()
            while not lfs.released.is_set():
                try:
                    handler.wfile.write(b"x" * 65536)
                except OSError:
                    break
        return handler.command == "GET"

    lfs.interfere = interfere
    pointer = lfs.add(b"x" * 100_000)
    assert "longer than 100,000 bytes" in fails(CorruptPack, lfs.url, pointer).message
    assert sum(written.steps) <= 100_000


def test_a_size_that_differs_from_the_server_is_rejected(lfs, fails):
    lfs.alter = altered(lambda each: each.update(size=4))
    fails(CorruptPack, lfs.url, lfs.add(b"one"))
    assert lfs.downloads() == []


def test_compressed_content_is_not_decompressed(lfs, fails):
    packed = gzip.compress(b"one" * 1000)
    pointer = replace(pointer_to(b"one" * 1000), size=len(packed))
    lfs.objects[pointer.oid] = b""

    def interfere(handler):
        if handler.command == "GET":
            assert handler.headers["Accept-Encoding"] == "identity"
            handler.give(200, packed, Content_Encoding="gzip")
        return handler.command == "GET"

    lfs.interfere = interfere
    assert "a different SHA-256" in fails(CorruptPack, lfs.url, pointer).message


# Broken connections


def broken(times, body=b"o", *, length="3"):
    """Downloads that end early, so many times."""
    left = itertools.count(times, -1)

    def interfere(handler):
        if handler.command == "POST" or next(left) <= 0:
            return False
        handler.close_connection = True
        handler.give(200, body, Content_Length=length, Connection="close")
        return True

    return interfere


@pytest.mark.parametrize("length", ["3", None])
def test_an_interrupted_download_restarts_from_the_beginning(lfs, fetch, written, length):
    pointer = lfs.add(b"one")
    lfs.interfere = broken(2, length=length)
    assert fetch(lfs.url, pointer) == {pointer.oid: b"one"}
    assert written.opened == [pointer] * 3


def test_a_download_that_keeps_failing_is_abandoned(lfs, fails, settings):
    lfs.interfere = broken(100)
    error = fails(GitError, lfs.url, lfs.add(b"one"), settings=replace(settings, retries=1))
    assert "was closed before" in error.message
    assert len(lfs.downloads()) == 2


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_temporary_server_error_is_retried(lfs, fetch, method):
    pointer = lfs.add(b"one")
    asked = []

    def interfere(handler):
        if handler.command != method or asked:
            return False
        asked.append(handler.path)
        handler.give(503, b"")
        return True

    lfs.interfere = interfere
    assert fetch(lfs.url, pointer) == lfs.objects


def test_an_error_of_the_sink_ends_the_download(lfs, settings):
    @contextmanager
    def full(pointer):
        raise OSError("no space left")
        yield

    client = LfsClient(source(lfs.url), Operation(settings, no_progress, Cancellation()))
    with pytest.raises(OSError, match="no space left"):
        client.fetch([lfs.add(b"one")], full)
    assert len(lfs.downloads()) == 1


@pytest.mark.parametrize(
    "expiry",
    [
        {"expires_in": -1},
        {"expires_at": "2016-11-10T15:29:07Z"},
        {"expires_at": "2016-11-10T15:29:07"},
    ],
)
def test_an_expired_download_url_is_requested_again(lfs, fetch, expiry):
    def alter(answer):
        for each in answer["objects"]:
            each["actions"]["download"].update(expiry)
        return answer

    lfs.alter = alter
    pointers = [lfs.add(b"%d" % number) for number in range(3)]
    assert fetch(lfs.url, *pointers) == lfs.objects
    assert [len(batch["objects"]) for batch in lfs.batches] == [3, 2, 1]


@pytest.mark.parametrize(
    "expiry",
    [
        {"expires_in": 3600, "expires_at": "2016-11-10T15:29:07Z"},
        {"expires_at": "0001-01-01T00:00:00Z"},
        {"expires_at": "9999-12-31T23:59:59Z"},
        {"expires_at": None, "expires_in": None, "header": None},
    ],
    ids=itertools.count(),
)
def test_an_unexpired_download_url_is_requested_once(lfs, fetch, expiry):
    def alter(answer):
        for each in answer["objects"]:
            each["actions"]["download"].update(expiry)
        return answer

    lfs.alter = alter
    assert fetch(lfs.url, lfs.add(b"1"), lfs.add(b"2")) == lfs.objects
    assert len(lfs.batches) == 1


# Refusals and nonsense


@pytest.mark.parametrize(
    ("status", "kind", "hint"),
    [
        (401, RemoteRefused, "secret"),
        (403, RemoteRefused, "right to read"),
        (404, RemoteRefused, "enabled"),
        (410, RemoteRefused, ""),
        (413, RemoteRefused, "to 100"),
        (422, RemoteRefused, ""),
        (429, RemoteRefused, "Wait"),
        (500, GitError, "Try again"),
        (501, GitError, "has Git LFS"),
        (503, GitError, "Try again"),
        (509, GitError, "bandwidth"),
    ],
)
def test_each_batch_api_error_is_reported(lfs, fails, status, kind, hint, helps):
    def interfere(handler):
        said = json.dumps({"message": f"No \x1b[1mway, {BASIC}", "request_id": "1"}).encode()
        handler.give(status, said, Content_Type=MEDIA_TYPE)
        return True

    lfs.interfere = interfere
    error = fails(kind, lfs.url, lfs.add(b"one"))
    assert error.details["status"] == status
    assert hint in error.hint
    assert "No [1mway" in error.message
    helps()


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (401, "may read Git LFS"),
        (403, "right to read"),
        (404, "Push the object again"),
        (410, "Push the object again"),
        (422, "server's log"),
        (500, "Try again later"),
    ],
)
def test_the_hint_for_a_single_object_describes_that_object(lfs, fails, code, hint, helps):
    pointer = lfs.add(b"one")
    error = {"oid": pointer.oid, "size": 3, "error": {"code": code, "message": "no"}}
    lfs.alter = lambda answer: answer | {"objects": [error]}
    kind = GitError if code == 500 else RemoteRefused
    assert hint in fails(kind, lfs.url, pointer).hint
    helps()


@pytest.mark.parametrize(
    ("status", "hint"), [(404, "Push the object again"), (403, "Try again later")]
)
def test_the_hint_covers_an_object_missing_from_storage(lfs, fails, status, hint):
    def interfere(handler):
        if handler.command == "GET":
            handler.give(status, b"")
        return handler.command == "GET"

    lfs.interfere = interfere
    assert hint in fails(RemoteRefused, lfs.url, lfs.add(b"one")).hint


def test_a_wrong_credential_is_refused(lfs, fails):
    lfs.credential = "ada:another"
    assert fails(RemoteRefused, lfs.url, lfs.add(b"one")).details["status"] == 401


@pytest.mark.parametrize("status", [201, 206, 401, 403, 404, 429, 500])
def test_a_rejected_download_names_the_object(lfs, fails, status, helps):
    def interfere(handler):
        if handler.command == "GET":
            handler.give(status, GIVEN.encode())
        return handler.command == "GET"

    lfs.interfere = interfere
    pointer = lfs.add(b"one")
    lfs.alter = sent_to(lfs)
    error = fails(GitError if status >= 500 else RemoteRefused, lfs.url, pointer)
    assert error.details["status"] == status
    assert pointer.oid in error.message
    helps()


@pytest.mark.parametrize(
    ("code", "kind", "meaning"),
    [
        (404, RemoteRefused, "does not have"),
        (410, RemoteRefused, "no longer has"),
        (422, RemoteRefused, "does not understand"),
        (403, RemoteRefused, "did not send"),
        (500, GitError, "did not send"),
    ],
)
def test_a_rejected_object_is_named(lfs, fails, code, kind, meaning):
    problem = {"code": code, "message": f"gone\x07 {SECRET}"}
    lfs.alter = altered(lambda each: each.update(error=problem))
    present, gone = lfs.add(b"present"), lfs.add(b"gone")
    error = fails(kind, lfs.url, gone, present)
    assert meaning in error.message
    assert gone.oid in error.message
    assert error.details == {"status": code, "oid": gone.oid, "url": lfs.url}
    assert lfs.downloads() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"objects": null}',
        b'{"objects": {}}',
        b'{"objects": [1]}',
        b'{"objects": []}',
        b'{"objects": [{"oid": 1}]}',
        b'{"objects": [{"oid": "\xff"}]}',
        b"[" * 100_000,
    ],
    ids=itertools.count(),
)
def test_an_invalid_response_is_an_error(lfs, fails, body):
    def interfere(handler):
        handler.give(200, body, Content_Type=MEDIA_TYPE)
        return True

    lfs.interfere = interfere
    assert (
        "the batch API of Git LFS does not allow"
        in fails(GitError, lfs.url, lfs.add(b"one")).message
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda each: each.update(oid=each["oid"].upper()),
        lambda each: each.update(size="3"),
        lambda each: each.update(size=True),
        lambda each: each.update(size=-1),
        lambda each: each.update(authenticated="yes"),
        lambda each: each.update(actions=[]),
        lambda each: each.update(actions={}),
        lambda each: each.update(actions=None),
        lambda each: each.update(actions={"download": {}}),
        lambda each: each.update(actions={"download": {"href": None}}),
        lambda each: each["actions"]["download"].update(header=[GIVEN]),
        lambda each: each["actions"]["download"].update(header={"X": 1}),
        lambda each: each["actions"]["download"].update(expires_in="1"),
        lambda each: each["actions"]["download"].update(expires_in=2**31),
        lambda each: each["actions"]["download"].update(expires_at=GIVEN),
        lambda each: each.update(error=GIVEN),
        lambda each: each.update(error={}),
    ],
    ids=itertools.count(),
)
def test_a_value_of_the_wrong_type_is_an_error(lfs, fails, change, helps):
    lfs.alter = altered(change)
    assert (
        "the batch API of Git LFS does not allow"
        in fails(GitError, lfs.url, lfs.add(b"one")).message
    )
    assert lfs.downloads() == []
    helps()


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer | {"transfer": "tus"},
        lambda answer: answer | {"hash_algo": "sha512"},
        lambda answer: answer | {"objects": answer["objects"] * 2},
        lambda answer: answer | {"objects": answer["objects"][1:]},
        lambda answer: answer | {"objects": [*answer["objects"], {"oid": OID, "size": 1}]},
    ],
    ids=["transfer", "algorithm", "twice", "missing", "extra"],
)
def test_a_response_to_another_request_is_an_error(lfs, fails, change):
    lfs.alter = change
    fails(GitError, lfs.url, lfs.add(b"one"), lfs.add(b"two"))
    assert lfs.downloads() == []


def test_unknown_fields_of_the_server_are_ignored(lfs, fetch):
    lfs.alter = lambda answer: {
        "transfer": "",
        "hash_algo": "sha256",
        "objects": [each | {"_links": 1, "error": None} for each in answer["objects"]],
    }
    assert fetch(lfs.url, lfs.add(b"one")) == lfs.objects


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.git-lfs+json; charset=utf-8",
        "Application/vnd.git-lfs+JSON",
        "application/json",
        "APPLICATION/JSON;charset=UTF-8",
    ],
)
def test_the_content_type_is_parsed_as_in_http(lfs, fetch, monkeypatch, kind):
    monkeypatch.setattr("tests.git.lfs_server.MEDIA_TYPE", kind)
    assert fetch(lfs.url, lfs.add(b"one")) == lfs.objects


@pytest.mark.parametrize("kind", ["text/html", "text/html; a=json", "", "text/\x1b[1m"])
def test_an_html_page_is_not_an_lfs_server(lfs, fails, kind, helps):
    def interfere(handler):
        handler.give(200, b"<html>", Content_Type=kind or None)
        return True

    lfs.interfere = interfere
    error = fails(RemoteRefused, lfs.url, lfs.add(b"one"))
    assert "is not a Git LFS server" in error.message
    assert error.message.isprintable()
    helps()


def test_an_unreachable_server_is_reported(fails):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/shop.git"
        error = fails(GitError, url, pointer_to(b"one"))
    assert "cannot be reached" in error.message


def test_an_untrusted_certificate_is_rejected_before_anything_is_sent(secure, fails):
    error = fails(GitError, secure.url, secure.add(b"one"))
    assert "not secure" in error.message
    assert secure.requests == []


def test_no_output_contains_a_credential(settings):
    client = LfsClient(
        source("https://git.example.com/shop.git", secret=SECRET),
        Operation(settings, no_progress, Cancellation()),
    )
    assert SECRET not in repr(client) + repr(vars(client))


def test_an_export_contains_the_files_stored_in_lfs(make, server, settings, tmp_path):
    both = LfsOfGit(server)
    film, tool = b"film" * 700_000, b"#!/bin/sh\n"
    files = {
        ".gitattributes": b"*.film filter=lfs diff=lfs merge=lfs -text\nbin/* filter=lfs\n",
        "a.film": both.add(film),
        "d/again.film": both.add(film),
        "bin/tool": (EXECUTABLE, both.add(tool)),
        "empty.film": both.add(b""),
        "plain.txt": both.add(b"only looks like a pointer"),
        "not.film": b"no pointer",
    }
    shop = make("shop", files)
    cache, former = RepositoryCache(tmp_path / "cache"), None
    for number in range(3):
        target = tmp_path / str(number)
        export(
            source(shop.url),
            "main",
            target,
            lfs=True,
            cache=cache,
            former=former,
            settings=settings,
        )
        found = snapshot(target)
        assert found[b"a.film"] == found[b"d/again.film"] == ("file", film, False)
        assert found[b"bin/tool"] == ("file", tool, True)
        assert found[b"empty.film"] == ("file", b"", False)
        assert found[b"plain.txt"] == ("file", files["plain.txt"], False)
        assert found[b"not.film"] == ("file", b"no pointer", False)
        assert not os.path.samefile(target / "a.film", target / "d/again.film")
        # What did not change is not downloaded again.
        assert len(both.asked) == (2 if number < 2 else 3)
        if number == 1:
            (target / "bin/tool").write_bytes(b"touched")
        former = target
        shop.commit(shop.files(files | {"n": b"%d" % number}))
    export(source(shop.url), "main", tmp_path / "without", cache=cache, former=former)
    assert snapshot(tmp_path / "without")[b"a.film"] == ("file", files["a.film"], False)


def test_an_invalid_lfs_object_leaves_nothing_behind(make, server, settings, tmp_path):
    both = LfsOfGit(server)
    shop = make("shop", {".gitattributes": b"*.film filter=lfs\n", "a.film": both.add(b"film")})
    both.objects = dict.fromkeys(both.objects, b"evil")
    (tmp_path / "place").mkdir()
    with pytest.raises(CorruptPack):
        export(source(shop.url), "main", tmp_path / "place/x", lfs=True, settings=settings)
    assert nothing_left(tmp_path / "place/x")


def test_pointers_with_altered_line_ends_are_downloaded(make, server, settings, tmp_path):
    both = LfsOfGit(server)
    crlf = both.add(b"one").replace(b"\n", b"\r\n")
    cut, plain = both.add(b"two").rstrip(), both.add(b"three").rstrip()
    attributes = b"*.film filter=lfs\n"
    shop = make("shop", {".gitattributes": attributes, "a.film": crlf, "b.film": cut, "c": plain})
    export(source(shop.url), "main", tmp_path / "x", lfs=True, settings=settings)
    assert (tmp_path / "x/a.film").read_bytes() == b"one"
    assert (tmp_path / "x/b.film").read_bytes() == b"two"
    assert (tmp_path / "x/c").read_bytes() == plain


@pytest.mark.parametrize("rest", [b"", LINES[:70], LINES + b"x" * 1024])
def test_a_file_that_only_starts_like_a_pointer_is_reported(make, server, settings, target, rest):
    files = {".gitattributes": b"*.film filter=lfs\n", "d/a.film": VERSION + rest}
    shop = make("shop", files)
    with pytest.raises(GitError, match=r"'d/a\.film' begins like a Git LFS pointer") as caught:
        export(source(shop.url), "main", target, lfs=True, settings=settings)
    assert caught.value.details["path"] == "d/a.film"
    assert nothing_left(target)
    without = target.with_name("without")
    export(source(shop.url), "main", without, settings=settings)
    assert (without / "d/a.film").read_bytes() == VERSION + rest
    files = {".gitattributes": b"*.film filter=lfs\n", "d/a": VERSION + rest}
    shop.commit(shop.files(files | {"d/a.film": LfsOfGit(server).add(b"film")}))
    export(source(shop.url), "main", target, lfs=True, settings=settings)
    assert (target / "d/a").read_bytes() == VERSION + rest
    assert (target / "d/a.film").read_bytes() == b"film"


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({"max_lfs_objects": 3}, "max_lfs_objects"),
        ({"max_lfs_bytes": 399}, "max_lfs_bytes"),
        ({"max_lfs_objects": 4, "max_lfs_bytes": 400}, None),
    ],
)
def test_limits_apply_to_all_submodules_together(make, server, settings, target, limits, limit):
    both = LfsOfGit(server)
    attributes = {".gitattributes": b"*.film filter=lfs\n"}
    lib = make("lib", attributes | {f"{one}.film": both.add(one.encode() * 100) for one in "ab"})
    commit = lib.repo.refs[b"refs/heads/main"]
    modules = b"".join(
        b'[submodule "%s"]\npath=%s\nurl=../lib.git\n' % (n, n) for n in (b"l", b"m")
    )
    shop = make("shop", {".gitmodules": modules, "l": (GITLINK, commit), "m": (GITLINK, commit)})

    def run():
        export(
            source(shop.url),
            "main",
            target,
            lfs=True,
            submodules=True,
            settings=replace(settings, **limits),
        )

    if limit is None:
        run()
        assert (target / "m/b.film").read_bytes() == b"b" * 100
    else:
        with pytest.raises(LimitExceeded) as caught:
            run()
        assert caught.value.details["limit"] == limit
        assert nothing_left(target)


def test_a_failed_attempt_does_not_count_toward_the_limits(settings):
    operation = Operation(replace(settings, max_lfs_objects=1), no_progress, Cancellation())
    before = operation.counts
    operation.expect_lfs(5)
    operation.count_again(before)
    operation.expect_lfs(5)
    assert (operation.counts.lfs_objects, operation.counts.lfs_bytes) == (1, 5)
