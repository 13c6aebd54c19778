"""Tests on real sockets: connections, interruptions, slow and large responses, redirects, and the
destinations of credentials."""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import logging
import socket
import ssl
import struct
import threading
import time
import traceback
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    DeploycoreError,
    ProviderUnavailable,
    UnexpectedAnswer,
)
from deploycore.http import BasicAuth, BearerAuth, HeaderAuth, HttpClient
from deploycore.http.host_clock import HostClock
from deploycore.http.origin import Origin

NO_HANG = 60  # seconds: more than any machine needs, less than what would hang

OK = b'{"ok": true}'


def ok(handler) -> None:
    handler.send(OK)


def in_turn(*replies):
    """One reply after the other, the last one for ever."""
    waiting = list(replies)

    def reply(handler) -> None:
        (waiting.pop(0) if len(waiting) > 1 else waiting[0])(handler)

    return reply


def reset(handler) -> None:
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()
    handler.close_connection = True


def cut(handler) -> None:
    handler.send(OK, **{"Content-Length": "500"})
    handler.close_connection = True


def cut_chunk(handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"20\r\n" + OK)
    handler.close_connection = True


def test_connections_are_reused_even_after_errors(serve, client):
    refuse = lambda handler: handler.send(b"no", status=404)  # noqa: E731
    empty = lambda handler: handler.send(b"", status=204)  # noqa: E731
    server = serve(in_turn(ok, refuse, empty, ok))
    opened = client(server.url)
    for _ in range(8):
        try:
            opened.get_json("x")
        except DeploycoreError:
            continue
    assert len(server.asked) == 8
    assert server.connections == 1


@pytest.mark.parametrize("fault", [reset, cut, cut_chunk])
def test_a_broken_connection_is_retried(serve, client, waited, fault):
    server = serve(in_turn(fault, fault, ok))
    assert client(server.url).get_json("x") == {"ok": True}
    assert len(waited) == 2


@pytest.mark.parametrize("fault", [reset, cut, cut_chunk])
def test_a_connection_that_keeps_breaking_is_unavailable(serve, client, fault):
    server = serve(fault)
    with pytest.raises(ProviderUnavailable, match=r"GET /x on 127\.0\.0\.1 failed"):
        client(server.url, retries=1).get_json("x")
    assert len(server.asked) == 2
    server.reply = ok
    assert client(server.url).get_json("x") == {"ok": True}


@pytest.mark.parametrize("fault", [reset, cut])
def test_a_post_is_not_sent_twice(serve, client, fault):
    server = serve(fault)
    with pytest.raises(ProviderUnavailable):
        client(server.url).send_json("POST", "x", body={})
    assert len(server.asked) == 1


def test_a_silent_server_times_out(serve, client):
    server = serve(lambda handler: time.sleep(0.5))
    with pytest.raises(ProviderUnavailable, match="timed out"):
        client(server.url, read_timeout=0.05, retries=0).get_json("x")


def test_a_refused_connection_is_reported_as_refused(client):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ProviderUnavailable, match="Connection refused"):
        client(f"http://127.0.0.1:{port}/", retries=0).get_json("x")


def test_a_dripping_body_ends_at_the_total_timeout(serve, client):
    def drip(handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.02)

    server = serve(drip)
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable, match="it timed out"):
        client(server.url, total_timeout=0.2).get_json("x")
    assert time.monotonic() - started < NO_HANG


def test_a_decompression_bomb_stops_at_the_limit_in_little_memory(serve, client):
    bomb = gzip.compress(b"\0" * 200_000_000, 1)
    server = serve(lambda handler: handler.send(bomb, **{"Content-Encoding": "gzip"}))
    tracemalloc.start()
    try:
        with pytest.raises(UnexpectedAnswer, match="larger than 1000000 bytes"):
            client(server.url, answer_bytes_most=1_000_000).get_json("x")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_the_body_of_a_redirect_is_limited(serve, client):
    """requests would read all of it, before anybody could say how much is wanted."""

    def endless(handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/x")
        handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        try:
            for _ in range(2000):
                handler.wfile.write(bytes(2**20))
        except OSError:
            handler.close_connection = True

    opened = client(serve(endless).url, answer_bytes_most=1000, retries=0)
    tracemalloc.start()
    try:
        with pytest.raises(UnexpectedAnswer, match="larger than 1000 bytes"):
            opened.get_json("x")
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_invalid_compression_is_unexpected(serve, client):
    server = serve(lambda handler: handler.send(b"no gzip", **{"Content-Encoding": "gzip"}))
    with pytest.raises(UnexpectedAnswer, match="compression is broken"):
        client(server.url).get_json("x")


def redirect(location: str, status: int = 302):
    return lambda handler: handler.send(b"", status=status, Location=location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_origin_is_followed(serve, client, status):
    server = serve(in_turn(redirect("/there?a=%2b", status), ok))
    assert client(server.url + "/api").get_json("here") == {"ok": True}
    assert [path for _, path, _ in server.asked] == ["/api/here", "/there?a=%2B"]


def test_the_number_of_redirects_is_limited(serve, client):
    server = serve(redirect("/again"))
    with pytest.raises(UnexpectedAnswer, match="more than 5 redirects"):
        client(server.url).get_json("x")
    assert len(server.asked) == 6


def test_a_post_is_not_redirected(serve, client):
    server = serve(redirect("/there", 307))
    with pytest.raises(UnexpectedAnswer, match="redirect"):
        client(server.url).send_json("POST", "x", body={})
    assert len(server.asked) == 1


def test_a_redirect_to_another_origin_sends_no_request_or_credentials(serve, client):
    other = serve(ok)
    server = serve(redirect(f"{other.url}/steal"))
    with pytest.raises(UnexpectedAnswer, match="another origin"):
        client(server.url).get_json("x")
    page = serve(lambda handler: handler.send(json.dumps({"next": f"{other.url}/p"}).encode()))
    pages = client(page.url).pages("x", next_url=lambda answer: answer["next"])
    next(pages)
    with pytest.raises(UnexpectedAnswer, match="another origin"):
        next(pages)
    assert other.asked == []
    assert other.connections == 0


@pytest.mark.parametrize(
    "link",
    [
        "https://127.0.0.1:{port}/x",
        "http://localhost:{port}/x",
        "http://127.0.0.1:1/x",
        "http://user@127.0.0.1:{port}/x",
        "http://127.0.0.1:{port}@evil.example/x",
        "http://evil.example\\@127.0.0.1:{port}/x",
        "http://127.0.0.1:{port}\\.evil.example/x",
        "//evil.example/x",
        "http://127.0.0.1:{port}/x y",
        "http://127.0.0.1:{port}/\u00e9",
        "http://127.0.0.1:port/x",
        "javascript://127.0.0.1:{port}/x",
        "http://[",
        "http://[::1:{port}/x",
    ],
)
def test_a_link_not_clearly_within_the_origin_is_rejected(serve, client, link):
    server = serve(ok)
    with pytest.raises(UnexpectedAnswer, match="another origin"):
        client(server.url).get_json(link.format(port=server.server_address[1]))
    assert server.asked == []


@pytest.mark.parametrize(
    ("rest", "sent"),
    [
        ("/p?q=a%20b&x=%2F+%2B", "/p?q=a%20b&x=%2F+%2B"),
        ("/a%2Fb/c", "/a%2Fb/c"),
        ("/~x?next=http://other/", "/~x?next=http://other/"),
        ("/{y}?z=[1]&q=%", "/%7By%7D?z=%5B1%5D&q=%25"),
    ],
)
def test_links_are_sent_unchanged_except_for_encoded_illegal_characters(serve, client, rest, sent):
    server = serve(ok)
    client(server.url).get_json(server.url + rest)
    assert server.asked[0][1] == sent


def test_a_malformed_link_of_pages_or_redirects_is_unexpected(serve, client):
    server = serve(lambda handler: handler.send(b'{"next": "http://["}'))
    with pytest.raises(UnexpectedAnswer, match="another origin"):
        list(client(server.url).pages("/first", next_url=lambda page: page["next"]))
    elsewhere = serve(redirect("http://["))
    with pytest.raises(UnexpectedAnswer, match="another origin"):
        client(elsewhere.url).get_json("/first")


@pytest.mark.parametrize("link", ["7", "true", "{}", '["/next"]'])
def test_a_link_that_is_not_a_string_is_unexpected(serve, client, link):
    server = serve(lambda handler: handler.send(b'{"next": %s}' % link.encode()))
    with pytest.raises(UnexpectedAnswer, match="is not text"):
        list(client(server.url).pages("/first", next_url=lambda page: page["next"]))


def linked(header: str):
    def reply(handler) -> None:
        number = int(handler.path.partition("page=")[2] or 1)
        headers = {"Link": header.format(next=number + 1)} if number < 3 else {}
        handler.send(b"[%d]" % number, **headers)

    return reply


@pytest.mark.parametrize(
    "header",
    [
        '</list?page={next}>; rel="next"',
        '</list?page=1>; rel="first", </list?page={next}>; rel=next; title="a, <b>; c"',
        '<?page={next}>; title="x";REL = "last next"',
        ', </list?page=9>; title="; rel=next"; rel=last,, </list?page={next}>; rel="next"',
    ],
    ids=["alone", "among-others", "relative", "empty-elements-and-quotes"],
)
def test_link_headers_are_followed_lazily_until_the_end(serve, client, header):
    server = serve(linked(header))
    pages = client(server.url).linked_pages("/list", params={"size": 5})
    assert server.asked == []
    assert next(pages) == [1]
    assert [path for _, path, _ in server.asked] == ["/list?size=5"]
    assert list(pages) == [[2], [3]]
    assert [path for _, path, _ in server.asked[1:]] == ["/list?page=2", "/list?page=3"]


@pytest.mark.parametrize(
    "header",
    ["next", "<http://[>; rel=next", '</x?page={next}; rel="next"'],
    ids=["no-link", "no-address", "no-end"],
)
def test_an_invalid_link_header_does_not_end_a_listing(serve, client, header):
    server = serve(linked(header))
    with pytest.raises(UnexpectedAnswer, match="Link header"):
        list(client(server.url).linked_pages("/list"))


def test_a_link_header_to_another_origin_is_rejected(serve, client):
    other = serve(ok)
    server = serve(linked(f"<{other.url}/list?page={{next}}>; rel=next"))
    with pytest.raises(UnexpectedAnswer, match="another origin"):
        list(client(server.url).linked_pages("/list"))
    assert other.asked == []


def test_a_chain_of_pages_is_followed_lazily_until_the_end(serve, client):
    def page(handler) -> None:
        number = int(handler.path.partition("=")[2] or 1)
        link = f"http://{handler.headers['Host']}/x?page={number + 1}" if number < 3 else ""
        handler.send(json.dumps({"n": number, "next": link}).encode())

    server = serve(page)
    pages = client(server.url).pages("x", next_url=lambda answer: answer["next"])
    assert next(pages)["n"] == 1
    assert len(server.asked) == 1
    assert [answer["n"] for answer in pages] == [2, 3]


def test_a_loop_of_pages_is_detected(serve, client):
    server = serve(ok)
    pages = client(server.url).pages("a", next_url=lambda _: server.url + "/b")
    with pytest.raises(UnexpectedAnswer, match="loop"):
        list(pages)
    assert len(server.asked) == 2


def test_the_number_of_pages_is_limited(serve, client):
    server = serve(ok)
    links = (f"{server.url}/{number}" for number in range(10_000))
    pages = client(server.url, pages_most=20).pages("a", next_url=lambda _: next(links))
    with pytest.raises(UnexpectedAnswer, match="more than 20 pages"):
        list(pages)


def test_cookies_netrc_and_proxy_variables_are_ignored(serve, client, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login eve password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = serve(lambda handler: handler.send(OK, **{"Set-Cookie": "session=1"}))
    opened = client(server.url)
    opened.get_json("x")
    opened.get_json("x")
    for _, _, headers in server.asked:
        assert headers["Authorization"] == "Bearer hunter2-very-secret"
        assert headers["User-Agent"].startswith("deploycore/")
        assert "Cookie" not in headers


def test_a_port_without_a_listener_is_unavailable(client):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ProviderUnavailable, match=r"GET /x on 127\.0\.0\.1 failed"):
            client(url, retries=1).get_json("x")


def test_an_unknown_host_name_is_not_retried(client, waited):
    with pytest.raises(ProviderUnavailable, match="cannot be resolved"):
        client("https://no-such-host.invalid").get_json("x")
    assert waited == []


@pytest.fixture
def tls(certificate):
    """A TLS server with a certificate that nobody signed: its address, and the certificate."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(OK)

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"https://localhost:{server.server_address[1]}", certificate
    server.shutdown()
    server.server_close()


def test_an_untrusted_certificate_is_rejected_without_a_retry(tls, client, waited):
    with pytest.raises(ProviderUnavailable, match="TLS: self") as caught:
        client(tls[0]).get_json("x")
    assert "REQUESTS_CA_BUNDLE" in caught.value.hint
    assert waited == []


def test_a_private_certificate_authority_can_be_trusted(tls, client):
    assert client(tls[0], ca_bundle=str(tls[1])).get_json("x") == {"ok": True}


def test_a_certificate_for_another_name_is_refused(tls, client):
    url = tls[0].replace("localhost", "127.0.0.1")
    with pytest.raises(ProviderUnavailable, match="TLS"):
        client(url, ca_bundle=str(tls[1])).get_json("x")


FAILING = {
    "refused": lambda handler: handler.send(b"no", status=401),
    "reset": reset,
    "cut": cut,
    "html": lambda handler: handler.send(b"<html>"),
    "echo": lambda handler: handler.send(
        handler.headers.get("Authorization", handler.headers.get("X-Token", "")).encode(), 403
    ),
    "elsewhere": redirect("https://other.example/"),
}


@pytest.mark.parametrize("reply", FAILING.values(), ids=FAILING.keys())
@pytest.mark.parametrize("kind", ["basic", "bearer", "header"])
def test_no_error_contains_the_secret(serve, client, caplog, secret, reply, kind):
    caplog.set_level(logging.DEBUG)
    hidden = SecretStr(secret)
    auth = {
        "basic": BasicAuth("ada", hidden),
        "bearer": BearerAuth(hidden),
        "header": HeaderAuth("X-Token", hidden),
    }[kind]
    server = serve(reply)
    with pytest.raises(DeploycoreError) as caught:
        client(server.url, auth=auth, retries=1).get_json("x", params={"q": "1"})
    sent = server.asked[0][2]
    assert secret in str(sent) or base64.b64encode(f"ada:{secret}".encode()).decode() in str(sent)
    assert_free_of(secret, caught.value, caplog.text)


@pytest.mark.parametrize("odd", ["new\nline", "snowman \u2603"])
def test_a_secret_invalid_in_a_header_is_not_shown(serve, client, caplog, secret, odd):
    server = serve(ok)
    with pytest.raises(UnexpectedAnswer, match="cannot be sent") as caught:
        client(server.url, auth=BearerAuth(SecretStr(secret + odd))).get_json("x")
    assert server.asked == []
    assert_free_of(secret, caught.value, caplog.text)


def assert_free_of(secret: str, error: BaseException, logged: str) -> None:
    assert error.__cause__ is None
    assert error.__context__ is None
    ours = error.__traceback__.tb_next  # without the test's own frame, which knows the secret
    shown = traceback.TracebackException(type(error), error, ours, capture_locals=True)
    text = "".join(shown.format()) + repr(error) + logged
    encoded = base64.b64encode(f"ada:{secret}".encode()).decode()
    assert secret not in text
    assert encoded not in text


def test_one_client_serves_many_threads(serve, client):
    server = serve(lambda handler: handler.send(json.dumps(handler.path).encode()))
    opened = client(server.url)
    wrong = []

    def ask(thread: int) -> None:
        for number in range(50):
            path = f"/{thread}/{number}"
            if opened.get_json(path) != path:
                wrong.append(path)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(server.asked) == 400


def test_the_authentication_header_is_requested_for_each_request(serve, client):
    server = serve(lambda handler: handler.send(b"no", status=401))
    with pytest.raises(AuthenticationFailed):
        client(server.url).get_json("x")


def test_alternate_authorization_uses_the_same_host_and_connections(serve, client):
    server = serve(ok)
    first = client(server.url)
    second = first.authorised_by(BearerAuth(SecretStr("hunter2-of-this-hour")))
    for opened in (first, second, first):
        opened.get_json("x")
    assert [headers["Authorization"] for _, _, headers in server.asked] == [
        "Bearer hunter2-very-secret",
        "Bearer hunter2-of-this-hour",
        "Bearer hunter2-very-secret",
    ]
    assert server.connections == 1


def test_alternate_authorization_is_never_sent_unencrypted_to_other_hosts():
    anonymous = HttpClient("http://host.example")
    with pytest.raises(ConfigurationError, match="unencrypted"):
        anonymous.authorised_by(BearerAuth(SecretStr("hunter2-of-this-hour")))


@pytest.mark.parametrize(
    "auth",
    [
        BearerAuth(SecretStr("hunter2-of-this-hour")),
        BasicAuth("ada", SecretStr("hunter2-of-this-hour")),
        HeaderAuth("X-Token", SecretStr("hunter2-of-this-hour")),
    ],
)
def test_the_secret_of_an_alternate_authorization_is_masked(serve, client, auth):
    server = serve(lambda handler: handler.send(b"you sent hunter2-of-this-hour"))
    with pytest.raises(UnexpectedAnswer) as caught:
        client(server.url).authorised_by(auth).get_json("x")
    assert "you sent ********" in str(caught.value)


def test_an_authorization_failure_is_raised_by_the_request(serve, client):
    class Refused:
        def header(self):
            raise AuthenticationFailed("no token to be had")

    server = serve(ok)
    with pytest.raises(AuthenticationFailed, match="no token to be had"):
        client(server.url).authorised_by(Refused()).get_json("x")
    assert server.asked == []


def test_host_specific_headers_are_sent(serve, client):
    server = serve(ok)
    plain = client(server.url)
    plain.with_headers({"Accept": "application/x+json"}).with_headers({"X-Api": "2"}).get_json("x")
    plain.get_json("x")
    (_, _, versioned), (_, _, usual) = server.asked
    assert (versioned["Accept"], versioned["X-Api"]) == ("application/x+json", "2")
    assert (usual["Accept"], usual.get("X-Api")) == ("application/json", None)


@pytest.mark.parametrize("fault", [reset, cut])
def test_an_idempotent_post_is_retried(serve, client, fault):
    server = serve(in_turn(fault, ok))
    assert client(server.url).repeating("POST").send_json("POST", "x", body={}) == {"ok": True}
    assert len(server.asked) == 2


HOSTS = st.sampled_from(["host.example", "HOST.example", "evil.example", "host.example.evil"])
ODD = st.text(st.sampled_from("/\\@:?#[]. %a1\t"), max_size=6)


@given(
    scheme=st.sampled_from(["https", "HTTPS", "http"]), host=HOSTS, between=ODD, port=ODD, rest=ODD
)
def test_origin_matching_agrees_with_urllib3(scheme, host, between, port, rest):
    import urllib3.util

    origin = Origin.of("https://host.example/api")
    url = f"{scheme}://{between}{host}{port}{rest}"
    if origin.covers(url):
        place = urllib3.util.parse_url(url)
        assert (place.scheme, place.host, place.port or 443) == ("https", "host.example", 443)
        assert place.auth is None


@given(path=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\")))
def test_an_origin_covers_links_to_itself(path):
    assert Origin.of("https://host.example").covers("https://HOST.example:443/" + path)


def test_a_closed_client_does_not_retry(serve, client, waited):
    began, go_on = threading.Event(), threading.Event()

    def late(handler) -> None:
        began.set()
        go_on.wait()
        handler.send(b"{}", status=503)

    server = serve(late)
    http = client(server.url)
    errors = []

    def ask() -> None:
        try:
            http.get_json("x")
        except ProviderUnavailable as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    began.wait()
    http.explaining(lambda answer: None).close()
    go_on.set()
    asking.join()
    assert len(server.asked) == 1
    assert "the connection was closed" in str(errors[0])
    with pytest.raises(ProviderUnavailable, match="the connection was closed"):
        http.get_json("x")


@pytest.mark.parametrize(
    ("headers", "offset"),
    [
        ({"Date": "Wed, 25 Nov 2026 12:00:00 GMT"}, 3600.0),
        ({"Date": "Wed, 25 Nov 2026 10:00:00 GMT"}, -3600.0),
        ({"Date": "Wed, 25 Nov 2026 10:50:00 GMT", "Age": "600"}, 0.0),
        ({"Date": "Wed, 25 Nov 2026 11:00:00 GMT", "Age": "-1"}, 0.0),
        ({"Date": "yesterday"}, None),
        ({"Date": "Wed, 99 Nov 2026 11:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_clock_of_a_host_is_read_from_its_responses(headers, offset):
    clock = HostClock()
    clock.note(headers, datetime(2026, 11, 25, 11, tzinfo=UTC))
    assert clock.offset == offset


def test_a_client_reads_the_clock_of_its_host_even_from_errors(serve, client):
    def refuse(handler) -> None:
        handler.date_time_string = lambda: "Wed, 25 Nov 2020 11:00:00 GMT"
        handler.send(b"{}", status=401)

    http = client(serve(refuse).url)
    assert http.clock_offset is None
    with pytest.raises(AuthenticationFailed):
        http.explaining(lambda answer: None).get_json("x")
    assert http.clock_offset < -1000
