"""Malicious servers: a typed error in limited time, or a correct checkout."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import replace

import pytest

from deploycore.errors import DeploycoreError, GitError, LimitExceeded, RemoteRefused
from tests.git.servers import SECRET
from tests.hostile.packs import blob, commit, tree
from tests.hostile.server import (
    ADVERTISEMENT,
    FLUSH,
    RESULT,
    Answer,
    advertised,
    band,
    line,
    lines,
    preamble,
)

CONTENT = blob(b"the content of a file\n")
ROOT = tree((0o100644, b"a", CONTENT))
TIP = commit(ROOT)
RIGHT = {b"a": ("file", CONTENT.content, False)}
ESCAPE = b"\x1b[2J\x1b]0;owned\x07\x9b31m\r\n"


@pytest.fixture(autouse=True)
def served(script):
    script.serve(TIP, ROOT, CONTENT)


PAGES = [
    ("text/html", "a login page, answered with 200"),
    ("text/plain", "a proxy's notice"),
    ("application/json", "the API instead of git"),
    ("application/octet-stream", "a file server: the dumb protocol has no checks here"),
    ("", "no type at all"),
    ("\x1b[31mtext/html", "escapes for who reads the error"),
]


@pytest.mark.parametrize("step", ["discover", "list_refs", "fetch"])
@pytest.mark.parametrize(("kind", "reason"), PAGES)
def test_a_response_of_another_content_type_is_rejected(script, refused, kind, reason, step):
    setattr(script, step, lambda request: Answer(b"<html>Log in</html>", kind))
    refused(GitError)


# What git takes and what it refuses, in both versions of its protocol.
TYPES = [
    (ADVERTISEMENT, True),
    (f"{ADVERTISEMENT}; charset=utf-8", True),  # kubitron/redmine_git_hosting#63
    (f"{ADVERTISEMENT};charset=utf-8", True),
    (f"{ADVERTISEMENT} ; charset=UTF-8", True),
    (f"{ADVERTISEMENT} ", True),
    (ADVERTISEMENT.upper(), True),
    (ADVERTISEMENT.title(), True),
    (f"{ADVERTISEMENT}x", False),
    (f"{ADVERTISEMENT}, {ADVERTISEMENT}", False),
    (ADVERTISEMENT.replace("upload", "receive"), False),
    ("application/octet-stream", False),
    ("", False),
]


@pytest.mark.parametrize(("kind", "is_git"), TYPES)
def test_the_content_type_of_the_first_response_is_compared_as_in_git(
    script, attempt, kind, is_git
):
    """RFC 9110: a type has parameters, which do not change it, and may be in upper case."""
    script.discover = lambda request: replace(script._discovered(request), kind=kind)
    outcome = attempt()
    assert outcome == RIGHT if is_git else "is not a git repository" in outcome.message


@pytest.mark.parametrize(
    "kind",
    [
        f"{RESULT}; charset=utf-8",
        RESULT.upper(),
        ADVERTISEMENT,  # libgit2/libgit2#4844
        "application/octet-stream",
        "text/html",
        "",
    ],
)
def test_the_content_types_of_later_responses_are_ignored(script, attempt, kind):
    """git does not read them: servers and proxies on the way have sent all kinds."""
    script.fetch = lambda request: replace(script._fetched(request), kind=kind)
    script.list_refs = lambda request: replace(script._listed(request), kind=kind)
    assert attempt() == RIGHT


@pytest.mark.parametrize("step", ["list_refs", "fetch"])
def test_an_html_page_in_place_of_a_later_response_is_reported_by_its_type(script, refused, step):
    page = Answer(b"<html>Log in</html>", "text/html; charset=utf-8")
    setattr(script, step, lambda request: page)
    assert "the answer has the content type text/html" in refused(GitError).message


@pytest.mark.parametrize("step", ["discover", "list_refs", "fetch"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400 Bad Request", DeploycoreError),
        ("401 Unauthorized", RemoteRefused),
        ("403 Forbidden", RemoteRefused),
        ("404 Not Found", RemoteRefused),
        ("429 Too Many Requests", RemoteRefused),
        ("500 Internal Server Error", GitError),
        ("503 Service Unavailable", GitError),
    ],
)
def test_an_error_at_each_step_is_reported_once(script, refused, step, status, kind):
    setattr(script, step, lambda request: Answer(b"because " + ESCAPE, "text/plain", status))
    refused(kind)


@pytest.mark.parametrize("step", ["discover", "list_refs", "fetch"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(script, other_hostile, refused, step, status):
    """The credential, or the request itself, would go to whom the server names."""
    to = (("Location", f"{other_hostile.origin}/shop.git/info/refs"),)
    setattr(script, step, lambda request: Answer(b"", "text/plain", f"{status} Gone", to))
    refused(RemoteRefused, secret=SECRET)
    assert other_hostile.requests == []


@pytest.mark.parametrize("step", ["discover", "list_refs", "fetch"])
def test_a_silent_server_ends_at_the_read_timeout(script, hostile, refused, step):
    """A server that accepts and says nothing would hold a deploy for ever."""

    def silent(request):
        hostile.released.wait(10)
        return Answer(status="500 Late")

    setattr(script, step, silent)
    refused(GitError, read_timeout=0.2)


@pytest.mark.parametrize("step", ["discover", "list_refs", "fetch"])
def test_a_dripping_server_ends_at_the_total_timeout(script, hostile, refused, step):
    """A byte now and then resets the time for reading, and never ends."""

    def dripping():
        yield b"ff"
        while not hostile.released.wait(0.05):
            yield b"f"

    kind = ADVERTISEMENT if step == "discover" else "application/x-git-upload-pack-result"
    setattr(script, step, lambda request: Answer(dripping(), kind))
    refused(GitError, total_timeout=0.5)


def test_endless_progress_messages_are_stopped(script, refused):
    """Progress is no part of the pack, so it must count, too."""

    def answer(request):
        noise = band(2, b"Counting objects\r" * 3000)
        return Answer(itertools.chain([preamble(request)], itertools.repeat(noise)))

    script.fetch = answer
    refused(LimitExceeded, max_pack_bytes=5_000_000, total_timeout=8)


def test_endless_keep_alives_are_stopped(script, refused):
    """Empty bands are what git sends to keep a connection: they carry nothing, for ever."""

    def answer(request):
        return Answer(itertools.chain([preamble(request)], itertools.repeat(line(b"\x02") * 1000)))

    script.fetch = answer
    refused(LimitExceeded, total_timeout=2)


def test_escape_sequences_in_progress_do_not_reach_the_terminal(script, attempt, capfd):
    """A remote's progress could retitle, clear or paste into the terminal."""
    script.before = band(2, ESCAPE)
    assert attempt() == RIGHT
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err


@pytest.mark.parametrize("number", [3, 4, 0, 255])
def test_errors_and_unknown_bands_produce_printable_messages(script, refused, number):
    script.before = band(number, b"no" + ESCAPE)
    refused(GitError)


@pytest.mark.parametrize("step", ["discover", "list_refs", "fetch"])
def test_an_error_line_is_reported_without_escape_sequences(script, refused, step):
    kind = ADVERTISEMENT if step == "discover" else "application/x-git-upload-pack-result"
    setattr(script, step, lambda request: Answer(line(b"ERR no" + ESCAPE), kind))
    refused(RemoteRefused)


ODD_REFS = [
    (b"refs/heads/../../../etc/passwd", "a path that climbs"),
    (b"/etc/passwd", "an absolute path"),
    (b"refs/heads/main/below", "a ref below a ref"),
    (b"refs/heads/" + b"x" * 5000, "a name longer than a file's"),
    (b"refs/heads/" + ESCAPE[:-2], "escapes"),
    (b"refs/heads/.lock", "a name that git forbids"),
    (b"refs/heads/\xff\xfe", "no text"),
    (b"refs/heads/a b", "a space"),
    (b"refs/heads/-u./x", "an option"),
]


@pytest.mark.parametrize("version", [2, 0])
@pytest.mark.parametrize(("name", "reason"), ODD_REFS)
def test_unusual_refs_next_to_the_requested_one_are_ignored(script, attempt, name, reason, version):
    script.refs.append((b"2" * 40, name))
    if version == 0:
        script.discover = old(script)
    outcome = attempt()
    assert outcome == RIGHT or isinstance(outcome, GitError)


def old(script):
    """Version 0, whatever is asked for."""
    announced = lines(b"# service=git-upload-pack\n")
    return lambda request: Answer(announced + advertised(script.refs), ADVERTISEMENT)


def test_thousands_of_refs_are_accepted(script, attempt):
    """Some repositories have a ref for every pull request; a hostile one has more."""
    script.refs += [(b"%040x" % number, b"refs/heads/x/%d" % number) for number in range(50_000)]
    assert attempt() == RIGHT


@pytest.mark.parametrize("step", ["discover", "list_refs"])
def test_an_endless_list_of_refs_is_stopped(script, refused, step):
    """A list of refs is held in memory: it must have a limit."""
    many = line(b"2" * 40 + b" refs/heads/" + b"x" * 200 + b"\n") * 500
    kind = ADVERTISEMENT if step == "discover" else "application/x-git-upload-pack-result"
    first = lines(b"# service=git-upload-pack\n") if step == "discover" else b""
    setattr(script, step, lambda r: Answer(itertools.chain([first], itertools.repeat(many)), kind))
    refused(GitError, total_timeout=8)


LINES = [
    (b"", "nothing"),
    (b"0", "an end within a length"),
    (b"zzzz", "no number"),
    (b"-001", "a sign, which some languages read"),
    (b"0x0a", "a prefix, which some languages read"),
    (b"0003", "a length that is shorter than itself"),
    (b"0002", "an end where none may be"),
    (b"ffff" + b"x" * 100, "a length beyond the end"),
    (b"0004" * 1000, "a thousand empty lines"),
    (FLUSH * 1000, "a thousand ends"),
]


@pytest.mark.parametrize("step", ["discover", "list_refs", "fetch"])
@pytest.mark.parametrize(("body", "reason"), LINES)
def test_invalid_lines_are_an_error(script, refused, body, reason, step):
    kind = ADVERTISEMENT if step == "discover" else "application/x-git-upload-pack-result"
    setattr(script, step, lambda request: Answer(body, kind))
    refused(GitError)


RAW = [
    (b"", "closes at once"),
    (b"SSH-2.0-OpenSSH\r\n", "another protocol"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "a negative length"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n", "more headers than anybody needs"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n", "a header without end"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "a chunk of no size"),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        "a chunk of all that there is",
    ),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 500, "answers that are none"),
]


@pytest.mark.parametrize("step", ["discover", "list_refs", "fetch"])
@pytest.mark.parametrize(("raw", "reason"), RAW)
def test_invalid_http_is_an_error(script, refused, raw, reason, step):
    setattr(script, step, lambda request: Answer(raw=[raw]))
    refused(GitError)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_a_compressed_response_is_not_expanded_without_limit(script, refused, encoding):
    """A bomb in the transport: nobody asked for compression, so none is undone."""
    bomb = zlib.compress(bytes(50_000_000), wbits=31 if encoding == "gzip" else 15)
    headers = (("Content-Encoding", encoding),)
    script.fetch = lambda request: Answer(bomb, headers=headers)
    refused(GitError)
