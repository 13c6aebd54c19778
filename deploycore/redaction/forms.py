"""The forms in which a secret travels: as it is, quoted, escaped, encoded.

Covered are:

* the secret itself, in UTF-8 and in UTF-16 of both byte orders;
* percent-encoded once and twice, with ``+`` or ``%20`` for a space;
* quoted by a shell, by Python's ``repr``, or within HTML and XML;
* escaped for JSON once and twice;
* in hexadecimal digits without separators;
* in base64, standard and URL-safe, of UTF-8 and of little-endian UTF-16, alone or within a longer
  text such as ``user:secret`` in a Basic authorisation header (RFC 7617).

Of base64 and hexadecimal also in lines of at least 60 characters, as tools wrap them (64 and 76
for base64, 60 for ``xxd -p``), without indentation.

Not covered are parts of a secret, other cases of letters, hexadecimal with separators (``xxd``,
``od``), other alphabets (base32, base58, base85), other escapes for each character, two encodings
within each other except those above, and whatever is compressed or encrypted.

Bytes, since that is what goes through pipes and files, and since base64 is of bytes.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote_from_bytes

from pydantic import SecretStr

__all__ = ["SHORTEST_FORM", "as_bytes", "forms_of"]

SHORTEST_FORM = 4
"""Shorter values are not masked: hiding every ``a`` of a log hides nothing and breaks it."""
_SHORTEST_LINE = 8
# What encodeURIComponent leaves as it is, besides letters, digits and "_.-~".
_COMPONENT = "!'()*"
_NET_JSON = str.maketrans({each: f"\\u{ord(each):04X}" for each in "\"'<>&+`"})
_GO_JSON = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def as_bytes(text: str) -> bytes:
    """The text as it stands in files, arguments and variables; never fails.

    Values of variables that are not UTF-8 have lone surrogates, which ``os.fsencode`` turns
    back into the bytes that they were.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def forms_of(secrets: Iterable[SecretStr]) -> list[bytes]:
    """Every form of every secret, each once, the longest first.

    See the module for which those are. Each line of at least eight characters is a secret too:
    programs print keys line by line, indented or with other ends.
    """
    values: set[str] = set()
    for secret in secrets:
        value = secret.get_secret_value()
        lines = [line.strip() for line in value.splitlines()]
        values.add(value)
        if len(lines) > 1:
            values.update(line for line in lines if len(line) >= _SHORTEST_LINE)
    found = {form for value in values if len(value) >= SHORTEST_FORM for form in _forms(value)}
    return sorted(found, key=lambda form: (-len(form), form))


def _forms(value: str) -> Iterator[bytes]:
    raw = as_bytes(value)
    yield raw
    yield from _percent_forms(raw)
    yield from _shell_forms(raw)
    yield from _escaped_forms(value)
    yield from _html_forms(value)
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield from _base64_forms(raw)
    yield value.encode("utf-16-be", "surrogatepass")
    little = value.encode("utf-16-le", "surrogatepass")
    yield little
    yield from _base64_forms(little)  # as PowerShell has it


def _percent_forms(raw: bytes) -> Iterator[bytes]:
    for safe in ("", "/", _COMPONENT):
        encoded = quote_from_bytes(raw, safe=safe).encode()
        lower = re.sub(rb"%..", lambda escape: escape[0].lower(), encoded)
        for form in (encoded, lower):
            with_plus = form.replace(b"%20", b"+")
            yield form
            yield with_plus
            yield form.replace(b"%", b"%25")
            yield with_plus.replace(b"%", b"%25").replace(b"+", b"%2B")


def _shell_forms(raw: bytes) -> Iterator[bytes]:
    """What is within the quotes, which may hold more than the secret."""
    yield raw.replace(b"'", b"'\"'\"'")  # shlex.quote, dash -x
    yield raw.replace(b"'", b"'\\''")  # bash -x
    yield re.sub(rb'(["$`\\])', rb"\\\1", raw)  # in double quotes
    yield re.sub(rb"([^\w%+./:=@~#\x80-\xff-])", rb"\\\1", raw)  # printf %q


def _escaped_forms(value: str) -> Iterator[bytes]:
    written = repr(value)[1:-1]
    yield as_bytes(written)
    yield as_bytes(written.replace("'", "\\'"))  # $'…' of bash and ksh
    for ascii_alone in (True, False):
        escaped = json.dumps(value, ensure_ascii=ascii_alone)[1:-1]
        for form in (
            escaped,
            escaped.replace("/", "\\/"),  # PHP
            escaped.translate(_GO_JSON),
            escaped.replace('\\"', '"').translate(_NET_JSON),
        ):
            yield as_bytes(form)
            yield as_bytes(json.dumps(form, ensure_ascii=ascii_alone)[1:-1])
    yield as_bytes(repr(as_bytes(value))[2:-1])


def _html_forms(value: str) -> Iterator[bytes]:
    """The names and numbers of quotes differ: Python's, Jinja's, PHP's, and XML's."""
    import html  # its tables of entities are large, and many commands have nothing to mask

    yield as_bytes(html.escape(value, quote=False))
    escaped = html.escape(value)
    for apostrophe in ("&#x27;", "&#39;", "&#039;", "&apos;", "'"):
        for quote in ("&quot;", "&#34;"):
            yield as_bytes(escaped.replace("&#x27;", apostrophe).replace("&quot;", quote))


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """The characters that ``raw`` alone decides, at each of the three base64 alignments."""
    for offset in range(3):
        padded = base64.b64encode(b"\0" * offset + raw)
        start = (offset * 8 + 5) // 6
        whole_sextets = (offset + len(raw)) * 8 // 6
        stable = padded[start:whole_sextets]
        if len(stable) >= SHORTEST_FORM:
            yield stable
            yield stable.translate(bytes.maketrans(b"+/", b"-_"))
