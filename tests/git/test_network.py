"""Errors, failures and attacks of servers, during which no credential is sent to another origin."""

from __future__ import annotations

import base64
import io
import itertools
import shutil
import socket
import subprocess
import threading
import time
import traceback
import zlib
from dataclasses import replace

import pytest
from dulwich.protocol import pkt_line

from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    CorruptPack,
    GitError,
    LimitExceeded,
    RemoteRefused,
)
from deploycore.git import Cancellation, export
from deploycore.models import CloneUrl, GitCredential
from tests.git.servers import SECRET, nothing_left, source

NO_HANG = 60  # seconds: more than any machine needs, less than what would hang

ADVERTISEMENT = "application/x-git-upload-pack-advertisement"


@pytest.fixture
def fails(target, settings):
    """Runs an export that must fail and leave nothing; returns its error."""

    def run(url, kind=GitError, *, secret=SECRET, **changed):
        with pytest.raises(kind) as caught:
            export(
                source(url, secret=secret), "main", target, settings=replace(settings, **changed)
            )
        assert nothing_left(target)
        chain, error = [], caught.value
        while error is not None:
            chain.append(repr(error) + str(error) + str(getattr(error, "details", "")))
            error = error.__cause__ or error.__context__
        text = "".join(chain) + "".join(traceback.format_exception(caught.value))
        assert SECRET not in text
        assert base64.b64encode(f"ada:{SECRET}".encode()).decode() not in text
        return caught.value

    return run


@pytest.fixture
def helps(make, server, target, settings):
    """Follows a hint about the server or its address, and exports again."""

    def run(url=None, **changed):
        server.interfere = server.alter = None
        url = url or make("followed", {"a": b"1"}).url
        export(source(url), "main", target, settings=replace(settings, **changed))
        assert (target / "a").read_bytes() == b"1"

    return run


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (401, "does not accept the credentials"),
        (403, "does not allow"),
        (404, "did not find the repository"),
        (410, "no longer offers"),
        (418, "refused"),
        (429, "received too many requests"),
    ],
)
def test_each_http_error_is_explained(server, fails, status, meaning):
    server.always(f"{status} No", b"because \x1b[31mof " + SECRET.encode() + b"\n" * 9)
    error = fails(f"{server.origin}/shop.git")
    assert isinstance(error, RemoteRefused)
    assert error.details["status"] == status
    assert meaning in error.message
    assert "because [31mof ********" in error.message
    assert len(server.requests) == 1


def test_a_long_reason_is_truncated(server, fails):
    server.always("403 No", b"x" * 1_000_000)
    assert len(fails(f"{server.origin}/shop.git").message) < 600


@pytest.mark.parametrize(("status", "tries"), [(500, 1), (502, 3), (503, 3), (504, 3)])
def test_temporary_server_errors_are_retried(server, fails, status, tries):
    server.always(f"{status} Trouble")
    error = fails(f"{server.origin}/shop.git")
    assert type(error) is GitError
    assert error.details["status"] == status
    assert len(server.requests) == tries


def test_invalid_credentials_are_rejected(make, server, fails):
    server.credential = "ada:another"
    error = fails(make("shop", {"a": b"1"}).url)
    assert isinstance(error, RemoteRefused)
    assert error.details["status"] == 401


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server, other_server, fails, status):
    server.always(f"{status} Elsewhere", Location=f"{other_server.origin}/shop.git/info/refs")
    error = fails(f"{server.origin}/shop.git")
    assert isinstance(error, RemoteRefused)
    assert "redirects" in error.message
    assert other_server.requests == []


def test_a_redirect_of_the_second_request_is_not_followed(make, server, other_server, fails):
    shop = make("shop", {"a": b"1"})

    def interfere(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            start_response("307 Elsewhere", [("Location", f"{other_server.origin}/x")])
            return [b""]
        return None

    server.interfere = interfere
    fails(shop.url)
    assert other_server.requests == []


def protocol_2(*bodies):
    """Answers requests one after another: the capabilities, the refs, the pack."""
    left = list(bodies)

    def interfere(environ, start_response):
        first = environ["REQUEST_METHOD"] == "GET"
        kind = ADVERTISEMENT if first else "application/x-git-upload-pack-result"
        start_response("200 OK", [("Content-Type", kind)])
        return [left.pop(0)]

    return interfere


CAPABILITIES = b"".join(
    pkt_line(line) for line in (b"version 2\n", b"ls-refs\n", b"fetch=shallow\n", None)
)
REFS = pkt_line(b"1" * 40 + b" refs/heads/main\n") + pkt_line(None)


def test_a_pack_at_another_address_is_not_fetched(server, other_server, fails):
    elsewhere = f"{'2' * 40} {other_server.origin}/pack\n".encode()
    uris = pkt_line(b"packfile-uris\n") + pkt_line(elsewhere) + b"0001"
    named_first = f"{other_server.origin}/pack sha1 {'2' * 40}\n".encode()
    as_dulwich_reads = pkt_line(b"packfile-uris\n") + pkt_line(named_first) + b"0001"
    for answer in (uris, as_dulwich_reads):
        server.interfere = protocol_2(CAPABILITIES, REFS, answer + pkt_line(b"packfile\n"))
        fails(f"{server.origin}/shop.git", retries=0)
    assert other_server.requests == []


def test_an_error_line_of_the_server_is_reported(server, fails):
    refusal = pkt_line(b"ERR upload-pack: no \x1b[1mway\n")
    server.interfere = protocol_2(CAPABILITIES, REFS, refusal)
    error = fails(f"{server.origin}/shop.git", retries=0)
    assert isinstance(error, RemoteRefused)
    assert "upload-pack: no [1mway" in error.message


def test_an_error_band_message_of_the_server_is_reported(server, fails):
    band = pkt_line(b"packfile\n") + pkt_line(b"\x03out of memory\n") + pkt_line(None)
    server.interfere = protocol_2(CAPABILITIES, REFS, band)
    assert "out of memory" in fails(f"{server.origin}/shop.git", retries=0).message


@pytest.mark.parametrize("name", [b"a" * 300, b"\x1b[31m", b"x/../../y", b"\xff\xfe"])
def test_other_unusual_refs_are_ignored(make, server, target, settings, name):
    shop = make("shop", {"a": b"1"})
    tip = shop.repo.refs[b"refs/heads/main"]
    capabilities = b"\0shallow side-band-64k ofs-delta thin-pack"
    lines = [b"# service=git-upload-pack\n", None, tip + b" refs/heads/main" + capabilities]
    lines += [tip + b" refs/heads/" + name, tip + b" refs/heads/main/below", None]

    def interfere(environ, start_response):
        if environ["REQUEST_METHOD"] == "GET":
            start_response("200 OK", [("Content-Type", ADVERTISEMENT)])
            return [b"".join(map(pkt_line, lines))]
        return None

    server.interfere = interfere
    export(source(shop.url), "main", target, settings=settings)
    assert (target / "a").read_bytes() == b"1"


@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream", "text/plain"])
def test_an_html_page_is_not_a_repository(server, fails, kind, helps):
    server.always("200 OK", b"<html>", Content_Type=kind)
    error = fails(f"{server.origin}/shop.git")
    assert isinstance(error, RemoteRefused)
    assert "is not a git repository" in error.message
    assert len(server.requests) == 1
    helps()


@pytest.mark.parametrize("body", [b"", b"garbage", b"0004", b"ffff", pkt_line(b"hello")])
def test_an_invalid_protocol_response_is_an_error(server, fails, body, helps):
    server.always("200 OK", body, Content_Type=ADVERTISEMENT)
    assert fails(f"{server.origin}/shop.git").hint
    helps()


def test_a_host_that_is_down_is_unreachable(fails, helps):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = fails(f"http://127.0.0.1:{unused.getsockname()[1]}/shop.git")
    assert "cannot be reached" in error.message
    helps()


def test_a_host_name_without_an_address_is_unreachable(fails):
    assert "cannot be reached" in fails("https://nowhere.invalid/shop.git").message


def test_an_untrusted_certificate_is_rejected_before_the_credential_is_sent(
    secure_server, make, fails, helps, certificate
):
    url = make(files={"a": b"1"}, on=secure_server).url
    error = fails(url)
    assert "not secure" in error.message
    assert "REQUESTS_CA_BUNDLE" in error.hint
    assert secure_server.requests == []
    helps(url, ca_bundle=str(certificate))


def test_a_private_certificate_authority_can_be_trusted(
    secure_server, make, target, settings, certificate, monkeypatch
):
    url = make(files={"a": b"1"}, on=secure_server).url
    trusting = replace(settings, ca_bundle=str(certificate))
    export(source(url, secret=SECRET), "main", target, settings=trusting)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    export(source(url, secret=SECRET), "main", target.with_name("again"), settings=settings)
    assert (target.with_name("again") / "a").read_bytes() == b"1"


def test_a_directory_of_certificates_can_be_trusted(
    secure_server, make, target, settings, certificate, tmp_path
):
    if not shutil.which("openssl"):
        pytest.skip("openssl, which names the files in such a directory, is not installed")
    command = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(certificate)]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / f"{name}.0").write_bytes(certificate.read_bytes())
    url = make(files={"a": b"1"}, on=secure_server).url
    trusting = replace(settings, ca_bundle=str(tmp_path / "trusted"))
    export(source(url, secret=SECRET), "main", target, settings=trusting)
    assert (target / "a").read_bytes() == b"1"


def test_missing_certificate_files_are_named(
    secure_server, make, fails, helps, certificate, tmp_path, monkeypatch
):
    missing, url = tmp_path / "missing.pem", make(files={"a": b"1"}, on=secure_server).url
    error = fails(url, ConfigurationError, ca_bundle=str(missing))
    assert str(missing) in error.message
    assert "the provider's ca_bundle" in error.hint
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(missing))
    assert "REQUESTS_CA_BUNDLE" in fails(url, ConfigurationError).hint
    assert secure_server.requests == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    helps(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com:99999/x",
        "https://git.example.com:no/x",
        "https://git example.com/x",
        "https://git..example.com/x",
        "https://git.example.com/x\ny",
        "https://git.example.com/\x1b[2J",
    ],
)
def test_an_invalid_address_is_rejected(fails, url, helps):
    error = fails(url, ConfigurationError)
    assert "not a valid address" in error.message
    assert error.message.isprintable()
    helps()


def test_a_certificate_for_another_name_is_refused(secure_server, make, fails, certificate):
    url = make(files={"a": b"1"}, on=secure_server).url.replace("localhost", "127.0.0.1")
    assert "not secure" in fails(url, ca_bundle=str(certificate)).message


def test_https_to_a_plain_http_server_is_an_insecure_connection(server, fails):
    error = fails(f"https://127.0.0.1:{server.port}/shop.git")
    assert "not secure" in error.message


def test_a_credential_is_not_sent_over_plain_http_to_another_machine(target, settings):
    with pytest.raises(ConfigurationError, match="not encrypted"):
        export(
            source("http://git.example.com/shop.git", secret=SECRET),
            "main",
            target,
            settings=settings,
        )


def test_a_secret_with_special_characters_is_sent_unchanged(make, server, target, settings):
    shop = make("shop", {"a": b"1"})
    credential = GitCredential(username="ada", password="a:b/ü")
    export(CloneUrl(url=shop.url, credential=credential), "main", target, settings=settings)
    expected = "Basic " + base64.b64encode("ada:a:b/ü".encode()).decode()
    assert {authorisation for _, _, authorisation in server.requests} == {expected}


def hanging(server, *, method="GET"):
    def interfere(environ, start_response):
        if environ["REQUEST_METHOD"] != method:
            return None
        server.released.wait(10)
        start_response("500 Late", [])
        return [b""]

    return interfere


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_hanging_server_times_out(make, server, fails, method, helps):
    shop = make("shop", {"a": b"1"})
    server.interfere = hanging(server, method=method)
    error = fails(shop.url, read_timeout=0.05)
    assert "in time" in error.message
    assert sum(request[0] == method for request in server.requests) == 3
    helps(shop.url)


def test_a_broken_connection_is_retried(make, server, target, settings, fails, helps):
    shop = make("shop", {"a": b"1"})
    answers = []

    def cut_twice(body):
        answers.append(body)
        return body[: len(body) // 2] if len(answers) < 3 else body

    server.alter = cut_twice
    export(source(shop.url), "main", target, settings=settings)
    assert len(answers) == 3
    assert (target / "a").read_bytes() == b"1"
    shutil.rmtree(target)
    answers.clear()
    server.alter = lambda body: answers.append(body) or body[: len(body) // 2]
    assert "was closed before" in fails(shop.url).message
    assert len(answers) == 3
    helps(shop.url)


def test_a_dripping_server_times_out(server, fails, helps):
    def interfere(environ, start_response):
        start_response("200 OK", [("Content-Type", ADVERTISEMENT)])
        return itertools.chain([b"fff0"], iter(lambda: server.released.wait(0.02) or b"x", True))

    server.interfere = interfere
    began = time.monotonic()
    error = fails(f"{server.origin}/shop.git", total_timeout=0.3)
    assert isinstance(error, LimitExceeded)
    assert time.monotonic() - began < NO_HANG
    helps()


def test_the_size_of_a_pack_is_limited(server, fails):
    start = pkt_line(b"packfile\n") + pkt_line(b"\x01PACK\0\0\0\2\xff\xff\xff\xff")
    data = pkt_line(b"\x01" + (b"\x30" + zlib.compress(b"")) * 6_000)

    def interfere(environ, start_response):
        if environ["REQUEST_METHOD"] == "GET":
            start_response("200 OK", [("Content-Type", ADVERTISEMENT)])
            return [CAPABILITIES]
        start_response("200 OK", [("Content-Type", "application/x-git-upload-pack-result")])
        if b"command=ls-refs" in environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])):
            return [REFS]
        return (start if number == 0 else data for number in range(10_000))

    server.interfere = interfere
    endless = {"max_objects": 2**32, "max_pack_bytes": 1_000_000}
    error = fails(f"{server.origin}/shop.git", **endless)
    assert isinstance(error, LimitExceeded)
    assert "1,000,000 bytes" in error.message
    error = fails(f"{server.origin}/shop.git")
    assert isinstance(error, LimitExceeded)
    assert "4,294,967,295 objects; the limit is 1,000,000" in error.message


def test_a_damaged_response_never_produces_wrong_files(make, server, target, settings):
    shop = make("shop", {f"f{number}": b"content %d\n" % number * 9 for number in range(4)})
    original = io.BytesIO()
    server.alter = lambda body: original.write(body) and body
    export(source(shop.url), "main", target, settings=settings)
    right = {path.name: path.read_bytes() for path in target.iterdir()}
    whole = original.getvalue()
    failed = 0
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        server.alter = lambda body, damaged=bytes(damaged): damaged
        other = target.with_name("other")
        try:
            export(source(shop.url), "main", other, settings=replace(settings, retries=0))
        except GitError:
            failed += 1
            assert nothing_left(other) or [each.name for each in other.parent.iterdir()] == [
                "target"
            ]
            continue
        assert {path.name: path.read_bytes() for path in other.iterdir()} == right
        for path in other.iterdir():
            path.unlink()
        other.rmdir()
    assert failed > len(whole) // 7 // 2


def test_a_damaged_pack_is_reported_as_damaged(make, server, fails):
    shop = make("shop", {"a": b"some content\n" * 50})

    def flip(body):
        return body[:-10] + bytes([body[-10] ^ 1]) + body[-9:]

    server.alter = flip
    assert isinstance(fails(shop.url), CorruptPack)


@pytest.mark.parametrize("phase", ["connecting", "receiving", "writing"])
def test_cancellation_in_any_phase_leaves_nothing_behind(make, target, settings, phase):
    shop = make("shop", {f"f{number}": b"x" for number in range(50)})
    cancellation = Cancellation()

    def listen(now):
        if now.phase == phase:
            cancellation.cancel()

    with pytest.raises(Cancelled):
        export(
            source(shop.url),
            "main",
            target,
            progress=listen,
            cancellation=cancellation,
            settings=settings,
        )
    assert nothing_left(target)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_cancellation_interrupts_waiting_for_the_server(make, server, target, settings, method):
    shop = make("shop", {"a": b"1"})
    server.interfere = hanging(server, method=method)
    cancellation = Cancellation()
    timer = threading.Timer(0.1, cancellation.cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        export(source(shop.url), "main", target, cancellation=cancellation, settings=settings)
    assert time.monotonic() - began < NO_HANG
    assert nothing_left(target)
    timer.join()


def test_an_operation_cancelled_before_it_starts_sends_no_request(make, server, target, settings):
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        export(source(make().url), "main", target, cancellation=cancellation, settings=settings)
    assert server.requests == []
