"""The forms in which a secret may appear: unchanged, quoted, escaped or encoded.

These forms are covered:

* the secret itself, in UTF-8 and in UTF-16 of both byte orders;
* percent-encoded once and twice, with ``+`` or ``%20`` for a space;
* quoted by a shell, by Python's ``repr``, or within HTML and XML;
* escaped for JSON once and twice;
* in hexadecimal digits without separators;
* in base64, standard and URL-safe, of UTF-8 and of little-endian UTF-16, alone or within a longer
  text such as ``user:secret`` in a Basic authorisation header (RFC 7617).

Base64 and hexadecimal are also covered in lines of at least 60 characters, as tools wrap them (64
and 76 for base64, 60 for ``xxd -p``), without indentation.

These are not covered: parts of a secret, other cases of letters, hexadecimal with separators
(``xxd``, ``od``), other alphabets (base32, base58, base85), other escapes for each character,
combinations of two encodings except those above, and everything that is compressed or encrypted.

The forms are bytes, because pipes and files contain bytes, and because base64 encodes bytes.
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
"""Minimum length of a value that is masked. Masking every ``a`` in a log would hide nothing and
make the log useless."""
_SHORTEST_LINE = 8
# What no quoting changes, as most tokens and the lines of keys are.
_NEVER_ESCAPED = re.compile("[A-Za-z0-9_.~-]*")
# The characters that encodeURIComponent leaves unchanged, besides letters, digits and "_.-~".
_COMPONENT = b"!'()*"
_ESCAPE = re.compile(rb"%..")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_NET_JSON = str.maketrans({each: f"\\u{ord(each):04X}" for each in "\"'<>&+`"})
_GO_JSON = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def as_bytes(text: str) -> bytes:
    """Return the bytes of a text in files, arguments and variables. This never fails.

    If the value of a variable is not UTF-8, it has lone surrogates, which ``os.fsencode`` converts
    back to the original bytes.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def forms_of(secrets: Iterable[SecretStr]) -> list[bytes]:
    """Return every form of every secret, without repetitions, the longest first.

    The module's docstring lists the forms. Each line of at least eight characters is a secret too,
    because programs print keys line by line, indented or with other line ends.
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
    if not _NEVER_ESCAPED.fullmatch(value):
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
    yield from _base64_forms(little)  # the form of PowerShell


def _percent_forms(raw: bytes) -> Iterator[bytes]:
    encoded = quote_from_bytes(raw, safe="").encode()
    component = encoded
    for each in _COMPONENT:
        component = component.replace(b"%%%02X" % each, bytes((each,)))
    forms = {encoded, encoded.replace(b"%2F", b"/"), component}
    for form in forms | {_ESCAPE.sub(lambda escape: escape[0].lower(), form) for form in forms}:
        with_plus = form.replace(b"%20", b"+")
        yield form
        yield with_plus
        yield form.replace(b"%", b"%25")
        yield with_plus.replace(b"%", b"%25").replace(b"+", b"%2B")


def _shell_forms(raw: bytes) -> Iterator[bytes]:
    """Yield the text within quotes, which may contain more than the secret."""
    yield raw.replace(b"'", b"'\"'\"'")  # shlex.quote, dash -x
    yield raw.replace(b"'", b"'\\''")  # bash -x
    yield re.sub(rb'(["$`\\])', rb"\\\1", raw)  # in double quotes
    yield re.sub(rb"([^\w%+./:=@~#\x80-\xff-])", rb"\\\1", raw)  # printf %q


def _escaped_forms(value: str) -> Iterator[bytes]:
    written = repr(value)[1:-1]
    yield as_bytes(written)
    yield as_bytes(written.replace("'", "\\'"))  # $'…' of bash and ksh
    is_plain = value.isascii() and value.isprintable()  # then both kinds of JSON are the same
    for ascii_alone in (True,) if is_plain else (True, False):
        escaped = json.dumps(value, ensure_ascii=ascii_alone)[1:-1]
        for form in {
            escaped,
            escaped.replace("/", "\\/"),  # PHP
            escaped.translate(_GO_JSON),
            escaped.replace('\\"', '"').translate(_NET_JSON),
        }:
            yield as_bytes(form)
            yield as_bytes(json.dumps(form, ensure_ascii=ascii_alone)[1:-1])
    yield as_bytes(repr(as_bytes(value))[2:-1])


_ESCAPED_IN_HTML = frozenset("&<>\"'")


def _html_forms(value: str) -> Iterator[bytes]:
    """The names and numbers for quotes differ between Python, Jinja, PHP and XML."""
    if _ESCAPED_IN_HTML.isdisjoint(value):
        return
    import html  # the import of its table of names is slow, and few secrets need it

    yield as_bytes(html.escape(value, quote=False))
    escaped = html.escape(value)
    for apostrophe in ("&#x27;", "&#39;", "&#039;", "&apos;", "'"):
        for quote in ("&quot;", "&#34;"):
            yield as_bytes(escaped.replace("&#x27;", apostrophe).replace("&quot;", quote))


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """Return the characters that ``raw`` alone determines, for each of the three base64
    alignments."""
    for offset in range(3):
        padded = base64.b64encode(b"\0" * offset + raw)
        start = (offset * 8 + 5) // 6
        whole_sextets = (offset + len(raw)) * 8 // 6
        stable = padded[start:whole_sextets]
        if len(stable) >= SHORTEST_FORM:
            yield stable
            yield stable.translate(_URL_SAFE)
