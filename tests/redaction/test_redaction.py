"""Known secrets are masked in every known form, wherever a stream is split."""

from __future__ import annotations

import base64
import html
import json
import random
import re
import shlex
import shutil
import string
import subprocess
import time
from itertools import pairwise
from urllib.parse import quote, quote_plus
from xml.sax import saxutils

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from deploycore.redaction import MASK, Redactor, StreamRedactor, secrets_in
from deploycore.redaction.forms import forms_of

secrets = st.text(min_size=6, max_size=60).filter(lambda text: text.strip())
# Without "*", since a form that is a part of a mask can't be told from it.
AWKWARD = string.ascii_letters + string.digits + " '\"$`\\/+%&<>_-=:\n\r\tä€𝄞"
awkward_secrets = st.text(AWKWARD, min_size=4, max_size=90)

KEY = "-----BEGIN PRIVATE KEY-----\n{}\nAg==\n-----END PRIVATE KEY-----\n".format(
    "\n".join("".join(random.Random(n).choices(string.ascii_letters, k=64)) for n in range(4))
)


@given(secret=secrets, before=st.text(max_size=5), after=st.text(max_size=5))
def test_plain_and_percent_encoded_forms_are_masked(secret, before, after):
    redactor = Redactor([SecretStr(secret)])
    for form in (secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]):
        assert form not in redactor.mask(f"{before} {form} {after}").replace(MASK, "")


@given(secret=st.text(min_size=8, max_size=60), user=st.text(max_size=9))
def test_basic_authorization_headers_are_masked(secret, user):
    encoded = base64.b64encode(f"{user}:{secret}".encode()).decode()
    masked = Redactor([SecretStr(secret)]).mask(f"Authorization: Basic {encoded}")
    assert MASK in masked
    tail = base64.b64encode(secret.encode()).decode().rstrip("=")
    assert tail not in masked


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(lambda secret: shlex.quote(secret), id="shlex"),
        pytest.param(lambda secret: "'" + secret.replace("'", "'\\''") + "'", id="bash -x"),
        pytest.param(json.dumps, id="JSON"),
        pytest.param(lambda secret: json.dumps(secret, ensure_ascii=False), id="JSON in UTF-8"),
        pytest.param(lambda secret: json.dumps(secret).replace("/", "\\/"), id="JSON by PHP"),
        pytest.param(lambda secret: json.dumps(secret).replace("<", "\\u003c"), id="JSON by Go"),
        pytest.param(lambda secret: quote(secret, safe="!'()*"), id="encodeURIComponent"),
        pytest.param(lambda secret: quote(secret, safe="").lower(), id="lower-case percent"),
        pytest.param(repr, id="repr"),
        pytest.param(lambda secret: repr(secret.encode())[1:], id="repr of bytes"),
        pytest.param(lambda secret: secret.encode().hex(), id="hex"),
        pytest.param(lambda secret: secret.encode().hex().upper(), id="hex in capitals"),
        pytest.param(html.escape, id="HTML"),
        pytest.param(lambda secret: html.escape(secret, quote=False), id="HTML text"),
        pytest.param(
            lambda secret: (
                html.escape(secret).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
            ),
            id="HTML by Jinja",
        ),
        pytest.param(lambda secret: html.escape(secret).replace("&#x27;", "&apos;"), id="XML"),
        pytest.param(saxutils.escape, id="XML text"),
        pytest.param(lambda secret: json.dumps(json.dumps(secret)[1:-1]), id="JSON in JSON"),
        pytest.param(lambda secret: quote(quote(secret, safe=""), safe=""), id="double percent"),
        pytest.param(lambda secret: quote(quote_plus(secret), safe=""), id="percent of plus"),
        pytest.param(
            lambda secret: (
                json.dumps(secret)
                .replace('\\"', "\\u0022")
                .replace("'", "\\u0027")
                .replace("<", "\\u003C")
            ),
            id="JSON by .NET",
        ),
        pytest.param(lambda secret: secret.encode("utf-16-le").decode("latin-1"), id="UTF-16 LE"),
        pytest.param(lambda secret: secret.encode("utf-16-be").decode("latin-1"), id="UTF-16 BE"),
    ],
)
def test_quoted_and_escaped_forms_are_masked(written):
    secret = 'it\'s/a <"$ecret" \\ with! ä'
    if "\0" in written("A"):
        secret = secret.replace("ä", "z")  # these are bytes, and the text is none of UTF-8
    if written("%") == "%25" and written("A") == "a":
        secret = secret.lower()
    masked = Redactor([SecretStr(secret)]).mask(f"x {written(secret)} y")
    assert re.fullmatch(r"x ['\"]?\*{8}['\"]? y", masked)


@given(token=st.from_regex(r"[A-Za-z0-9_.~-]{4,60}", fullmatch=True))
def test_characters_that_no_quoting_changes_need_no_quoted_forms(token):
    """So the quoted forms of such a token, which most tokens are, are not even looked for."""
    written = json.dumps(json.dumps(token)[1:-1])[1:-1]
    assert written == repr(token)[1:-1] == quote(token, safe="") == html.escape(token) == token
    assert shlex.quote(token).strip("'") == token
    assert forms_of([SecretStr(token)]).count(token.encode()) == 1


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_quotes_none_of_these_characters():
    token = f"a{string.ascii_letters}{string.digits}_.~-"
    script = 'printf "%q" "$1"; : "$1"'
    done = subprocess.run(
        ["bash", "-xc", script, "bash", token], capture_output=True, text=True, check=True
    )
    assert done.stdout == token
    assert f": {token}\n" in done.stderr


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("options", "script"),
    [(["-x"], ': "$1"'), ([], 'printf "%q\\n" "$1"'), ([], 'echo "${1@Q}"')],
)
def test_bash_output_of_a_secret_is_masked(options, script):
    secret = 'it\'s a "$ecret" & more'
    done = subprocess.run(
        ["bash", *options, "-c", script, "bash", secret],
        capture_output=True,
        text=True,
        check=True,
    )
    masked = Redactor([SecretStr(secret)]).mask(done.stdout + done.stderr)
    assert "cret" not in masked
    assert "more" not in masked


def test_the_longest_secret_is_masked_first():
    redactor = Redactor([SecretStr("token"), SecretStr("token-and-more")])
    assert redactor.mask("x token-and-more y token z") == f"x {MASK} y {MASK} z"


def test_overlapping_secrets_are_masked_completely():
    redactor = Redactor([SecretStr("abcdef"), SecretStr("defghi")])
    assert redactor.mask("x abcdefghi y") == f"x {MASK} y"


def test_adjacent_masked_parts_become_one_mask():
    assert Redactor([SecretStr("aaaa")]).mask("-aaaaaaa-aaa-") == f"-{MASK}-aaa-"


def test_very_short_values_are_not_masked():
    assert Redactor([SecretStr("a")]).mask("banana") == "banana"


def test_without_secrets_nothing_is_changed():
    assert Redactor().mask("text") == "text"


def test_values_that_are_not_utf_8_are_masked():
    secret = b"caf\xe9-password".decode("utf-8", "surrogateescape")
    assert Redactor([SecretStr(secret)]).mask(f"x {secret} \ud800") == f"x {secret} \ud800"
    assert Redactor([SecretStr(secret)]).mask(f"x {secret} y") == f"x {MASK} y"
    stream = StreamRedactor([SecretStr(secret)])
    assert stream.feed(b"x caf\xe9-password y") + stream.finish() == f"x {MASK} y".encode()


def test_each_line_of_a_key_is_a_secret_except_short_ones():
    redactor = Redactor([SecretStr(KEY)])
    for line in KEY.splitlines():
        shown = redactor.mask(f"\t{line}\r\n")
        assert shown == (f"\t{MASK}\r\n" if len(line) >= 8 else f"\t{line}\r\n")
    assert redactor.mask(f"x {KEY}y") == f"x {MASK}y"
    assert MASK + "\\nAg==" not in redactor.mask(json.dumps({"key": KEY}))


def test_secrets_are_found_in_nested_models():
    class Inner(BaseModel):
        token: SecretStr

    class Outer(BaseModel):
        name: str
        empty: SecretStr
        inner: Inner

    outer = Outer(name="n", empty=SecretStr(""), inner=Inner(token=SecretStr("deep")))
    assert [found.get_secret_value() for found in secrets_in(outer)] == ["deep"]


def test_a_secret_added_later_is_masked_from_then_on():
    redactor = Redactor([SecretStr("given-before")])
    assert redactor.mask("given-before obtained-later") == f"{MASK} obtained-later"
    redactor.learn(SecretStr("obtained-later"))
    redactor.learn(SecretStr("obtained-later"))
    assert redactor.mask("given-before obtained-later") == f"{MASK} {MASK}"
    assert redactor.secrets == (SecretStr("given-before"), SecretStr("obtained-later"))


def test_the_latest_of_many_added_secrets_and_the_initial_ones_are_masked():
    redactor = Redactor([SecretStr("given-before")])
    for number in range(200):
        redactor.learn(SecretStr(f"obtained-{number:03}"))
    assert redactor.mask("given-before obtained-199") == f"{MASK} {MASK}"
    assert len(redactor.secrets) == 65


@given(
    first=st.lists(secrets, max_size=4),
    further=st.lists(st.lists(secrets, max_size=3), max_size=3),
    text=st.text(max_size=20),
)
def test_a_secret_added_to_a_search_is_found_as_an_initial_one(first, further, text):
    known = [SecretStr(secret) for secret in first]
    learning, extended = Redactor(known), Redactor(known)
    learning.mask(text), extended.mask("\0" * 9_000)  # each has its search now, one an index
    for more in further:
        known += map(SecretStr, more)
        extended = extended.extended(map(SecretStr, more))
        for secret in more:
            learning.learn(SecretStr(secret))
    shown = f"{text}".join([*(secret.get_secret_value() for secret in known), text])
    at_once = Redactor(known)
    assert learning.mask(shown) == extended.mask(shown) == at_once.mask(shown)
    pieces = [text.encode(), *(secret.get_secret_value().encode()[:-1] for secret in known)]
    streams = [learning.stream(), extended.stream(), at_once.stream()]
    for piece in pieces:
        left = {stream.feed(piece) for stream in streams}
        assert len(left) == 1
        assert len({stream.held for stream in streams}) == 1


def test_the_repr_of_a_redactor_shows_nothing():
    redactor = Redactor([SecretStr("secret-value")])
    stream = redactor.stream()
    stream.feed(b"a secret-va")
    assert "secret" not in repr(redactor) + repr(stream)


# --- streams ---


def streamed(known: list[str], pieces: list[bytes]) -> bytes:
    stream = StreamRedactor(map(SecretStr, known))
    return b"".join(map(stream.feed, pieces)) + stream.finish()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ordered = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(ordered)]


def wrapped(data: bytes, width: int, end: bytes = b"\n") -> bytes:
    encoded = base64.b64encode(data)
    return end.join(encoded[at : at + width] for at in range(0, len(encoded), width)) + end


@st.composite
def outputs(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """Secrets, and output with them in all their forms, whole, cut off and wrapped."""
    known = draw(st.lists(awkward_secrets, min_size=1, max_size=3))
    forms = forms_of(map(SecretStr, known)) or [b"none"]
    form = st.sampled_from(forms)
    piece = st.one_of(
        st.binary(max_size=8),
        st.text(AWKWARD, max_size=12).map(str.encode),
        form,
        st.builds(lambda form, size: form[:size], form, st.integers(1, 120)),
        st.builds(lambda form, size: form[size:], form, st.integers(1, 120)),
        st.builds(
            lambda secret, before, width, end: wrapped(before + secret.encode(), width, end),
            st.sampled_from(known),
            st.binary(max_size=90),
            st.sampled_from([60, 64, 76]),
            st.sampled_from([b"\n", b"\r\n"]),
        ),
    )
    return known, b"".join(draw(st.lists(piece, max_size=8)))


def masked_slowly(known: list[str], data: bytes) -> bytes:
    """The same by the definition alone: a byte is hidden if any form covers it."""
    hidden = bytearray(len(data))
    break_ = re.compile(rb"(?<=[A-Za-z0-9+/_-]{60})(?:\r?\n)")
    removed = {at for found in break_.finditer(data) for at in range(*found.span())}
    kept = [at for at in range(len(data)) if at not in removed]
    for places in (list(range(len(data))), kept):
        view = bytes(data[at] for at in places)
        for form in forms_of(map(SecretStr, known)):
            for start in range(len(view) - len(form) + 1):
                if view.startswith(form, start):
                    stop = places[start + len(form) - 1] + 1
                    hidden[places[start] : stop] = b"\1" * (stop - places[start])
    shown = bytearray()
    for at, byte in enumerate(data):
        if not hidden[at]:
            shown.append(byte)
        elif not at or not hidden[at - 1]:
            shown += MASK.encode()
    return bytes(shown)


@given(given=outputs(), places=st.lists(st.integers(0, 900), max_size=12))
@example(given=(["abcdef", "defghi"], b"abcdefghi"), places=[6, 7])
@example(given=(["aaaa"], b"aaaaaaaaa"), places=[1, 2, 3, 4, 5, 6, 7, 8])
def test_chunk_boundaries_change_nothing_and_reveal_no_secret(given, places):
    known, data = given
    whole = masked_slowly(known, data)
    assert streamed(known, [data]) == whole
    assert streamed(known, cut(data, places)) == whole
    assert not [form for form in forms_of(map(SecretStr, known)) if form in whole]


@given(given=outputs(), before=st.sampled_from([0, 100, 9_000]))
def test_a_whole_text_is_masked_as_a_stream_however_much_was_masked_before(given, before):
    """Much text is searched in another way than little."""
    known, data = given
    redactor = Redactor(map(SecretStr, known))
    redactor.mask("\0" * before)
    text = data.decode("utf-8", "surrogateescape")
    assert redactor.mask(text).encode("utf-8", "surrogateescape") == masked_slowly(known, data)
    stream = redactor.stream()
    assert stream.feed(data) + stream.finish() == masked_slowly(known, data)


@given(given=outputs())
def test_bytes_can_arrive_one_at_a_time(given):
    known, data = given
    assert streamed(known, [bytes([byte]) for byte in data]) == masked_slowly(known, data)


@given(
    secret=st.text(string.ascii_letters + string.digits, min_size=30, max_size=200),
    before=st.binary(max_size=80),
    end=st.sampled_from([b"\n", b"\r\n"]),
    width=st.sampled_from([64, 76]),
    place=st.integers(0, 400),
)
def test_wrapped_base64_is_masked(secret, before, end, width, place):
    data = wrapped(before + secret.encode() + b"after", width, end)
    shown = streamed([secret], cut(data, [place])).replace(MASK.encode(), b"\0")
    left = base64.b64encode(before).rstrip(b"=") + b"...." + base64.b64encode(b"after....")
    assert len(re.sub(rb"\s", b"", shown)) <= len(left)
    assert b"\0" in shown


@pytest.mark.parametrize("width", [60, 64, 76])
@pytest.mark.parametrize(
    ("encode", "encoding"),
    [(base64.b64encode, "utf-8"), (base64.b64encode, "utf-16-le"), (bytes.hex, "utf-8")],
    ids=["base64", "base64 by PowerShell", "hex"],
)
def test_wrapped_encodings_of_long_secrets_are_masked(encode, encoding, width):
    secret = "".join(random.Random(1).choices(string.ascii_letters, k=150))
    found = encode(b"abcde" + secret.encode(encoding) + b"vwxyz")
    text = found if isinstance(found, str) else found.decode()
    lines = "\n".join(text[at : at + width] for at in range(0, len(text), width))
    masked = Redactor([SecretStr(secret)]).mask(lines)
    assert MASK in masked
    assert len(masked) < 60


def test_output_of_the_base64_tool_is_masked():
    secret = "s3cret" * 30
    done = subprocess.run(
        ["base64"], input=f"user:{secret}".encode(), capture_output=True, check=True
    )
    assert b"\n" in done.stdout.strip()
    assert re.fullmatch(rb"dXNlcjp?\*{8}.{0,3}\n", streamed([secret], [done.stdout]))


def test_only_a_possible_start_of_a_secret_is_buffered():
    stream = StreamRedactor([SecretStr("secret-token")])
    assert stream.feed(b"password: ") == b"password: "
    assert stream.feed(b"a sec") == b"a "
    assert stream.held == 3
    assert stream.feed(b"ond\n") == b"second\n"
    assert stream.feed(b"secret-toke") == b""
    assert stream.feed(b"n!") == b"********!"
    assert stream.feed(b"secret") == b""
    assert stream.finish() == b"secret"


def test_hostile_output_takes_no_extra_work():
    secret = "".join(random.Random(1).choices(string.ascii_letters, k=200))
    known = [SecretStr(secret), SecretStr("a" * 200), SecretStr("a" * 199 + "b")]
    for pattern in (secret[:-1], "a", "a" * 198 + "c", secret, secret[0]):
        data = (pattern * (2_000_000 // len(pattern))).encode()
        stream = StreamRedactor(known)
        begun = time.process_time()
        for start in range(0, len(data), 16_384):
            stream.feed(data[start : start + 16_384])
        stream.finish()
        assert time.process_time() - begun < 10  # some 0.1 are usual
