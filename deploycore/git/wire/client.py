"""dulwich's git client over our own connections.

dulwich speaks the protocol, and this module decides what it may do. It may request two URLs of one
repository and nothing else: packfile URIs and dumb HTTP are refused. Redirects are refused, too,
except for the first request within the same origin, because hosts redirect there from a
repository's URL without ``.git``, or from its former name.

Sources: https://git-scm.com/docs/http-protocol and https://git-scm.com/docs/protocol-v2
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from dulwich.client import (
    AbstractHttpGitClient,
    build_ls_refs_request_v2,
    extract_object_format_from_capabilities,
    read_pkt_refs_v2,
)
from dulwich.objects import ObjectID
from dulwich.protocol import Protocol as PacketLines
from dulwich.protocol import capability_object_format, pkt_line
from dulwich.refs import Ref
from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import HTTPError

from deploycore.errors import GitError, LimitExceeded, RemoteRefused
from deploycore.git.credentials import authorization_of, password_of
from deploycore.git.operation import Operation
from deploycore.git.packs.objects import OBJECT_FORMATS, SHA1
from deploycore.git.wire.connections import media_type
from deploycore.git.wire.request import FetchReceiver, Wanted
from deploycore.git.wire.translation import http_refusal
from deploycore.git.wording import clean, limit_hint
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl, GitCredential

__all__ = ["GitClient", "too_many_bytes"]

_AT_ONCE = 64 * 1024
# What a server sends besides the pack is in memory: refs, each line with its overhead.
_MAX_TALK_BYTES = 16 * 1024 * 1024
_LINE_OVERHEAD = 32
_MAX_CAPABILITY_BYTES = 64 * 1024
_VERSION_2 = b"version 2"
_MAX_REASON_BYTES = 2048
_LENGTH = 4
_ERROR_BAND = b"\x03"
_BANDS = (b"\x01", b"\x02", _ERROR_BAND)
_PKT_LENGTH = re.compile(rb"[0-9a-fA-F]{4}")
_SERVICE = "git-upload-pack"
_QUESTION = f"info/refs?service={_SERVICE}"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_FORMAT = b"object-format"

Discovered = tuple[dict[Ref, ObjectID | None], set[bytes], str, dict[Ref, Ref], dict[Ref, ObjectID]]


class GitClient(AbstractHttpGitClient):
    """dulwich's protocol over our connections.

    Attributes:
        server_capabilities: The server's capabilities in protocol version 2.
        object_formats: The object formats that the server announces, usually one.
        peeled: The commits of annotated tags.
        has_not_asked_for_refs: Whether the request for refs was skipped.
        refusal: The message of an ``ERR`` line, which dulwich ignores in protocol version 2, or of
            the error band; empty if there was neither.
        ended_early: Whether an answer ended before the expected data was complete.
        pack_has_begun: Whether the pack has started to arrive.
        redirected_to: The repository's new URL, if the server redirected to another one.
        odd_type: The media type of the last answer, if it is not the expected one.
    """

    def __init__(
        self,
        source: CloneUrl,
        pool: HTTPConnectionPool,
        operation: Operation,
        wanted: Wanted,
        receiver: FetchReceiver,
    ) -> None:
        # Thin packs are smaller, and some servers send nothing else.
        super().__init__(source.url, thin_packs=True, quiet=True)
        # In version 0, a client that does not send this capability counts as one with SHA-1 only;
        # dulwich sends it in version 2 only (gitprotocol-capabilities, "object-format").
        self._fetch_capabilities |= {capability_object_format(e.name) for e in OBJECT_FORMATS}
        self.refusal = ""
        self.ended_early = False
        self.pack_has_begun = False
        self.redirected_to = ""
        self.odd_type: str | None = None
        self.server_capabilities: frozenset[bytes] = frozenset()
        self.object_formats: frozenset[str] = frozenset()
        self.peeled: Mapping[Ref, ObjectID] = {}
        self.has_not_asked_for_refs = False
        self._wanted = wanted
        self._receiver = receiver
        self._source = source
        self._pool = pool
        self._operation = operation
        place = source.url.rstrip("/") + "/"
        self._asking = urljoin(place, _QUESTION)
        self._fetching = urljoin(place, _SERVICE)
        self._place = place
        self._error_band = b""
        self._sent: GitCredential | None = None
        self._responses: list[BaseHTTPResponse] = []

    def _discover_references(
        self,
        service: bytes,
        base_url: str,
        protocol_version: int | None = None,
        ref_prefix: Sequence[bytes] | None = None,
    ) -> Discovered:
        """Ask for refs, with as few requests as possible.

        If the capabilities of a server with protocol version 2 are known, they are not requested
        again. To fetch one commit by its hash, no refs are needed: without access, the fetch itself
        is refused.
        """
        known = set(self._receiver.capabilities)
        if known:
            return self._discovered(self._ask_at_once(base_url, known, ref_prefix))
        return self._discovered(
            super()._discover_references(service, base_url, protocol_version, ref_prefix)
        )

    def _discovered(self, found: Discovered) -> Discovered:
        if found[1] and not _can_be_shallow(found[1]):
            raise RemoteRefused(
                f"The git server of {self._source.url} does not support shallow fetches, which"
                " deploycore needs.",
                hint="Ask the server's administrator to upgrade git, which has supported shallow"
                " fetches since 2006, or deploy from another host.",
                url=self._source.url,
            )
        self.peeled = found[4]
        self.object_formats = _object_formats(found[1])
        if self.protocol_version == 2:
            self.server_capabilities = frozenset(found[1])
        return found

    def _ask_at_once(
        self, base_url: str, capabilities: set[bytes], ref_prefix: Sequence[bytes] | None
    ) -> Discovered:
        self.protocol_version = 2
        self.dumb = False
        exactly = self._wanted.exactly
        if exactly and not self._receiver.holds(exactly):
            self.has_not_asked_for_refs = True
            return {}, capabilities, base_url, {}, {}
        object_format = extract_object_format_from_capabilities(capabilities)
        command, arguments = build_ls_refs_request_v2(capabilities, object_format, ref_prefix)
        lines = [*map(pkt_line, command), b"0001", *map(pkt_line, arguments), b"0000"]
        response, read = self._smart_request(_SERVICE, base_url, b"".join(lines))
        try:
            lines_read = PacketLines(read, lambda data: None).read_pkt_seq()
            refs, symrefs, peeled = read_pkt_refs_v2(lines_read)
        finally:
            response.close()
        return refs, capabilities, base_url, symrefs, peeled

    def take_error_band(self, error: Exception) -> None:
        """Use dulwich's exception as the refusal, if its message came in the error band."""
        if self._error_band and str(error) == self._error_band.decode("utf-8", "replace"):
            self.refusal = clean(self._error_band, self._source)

    def close(self) -> None:
        """Close all connections."""
        for each in self._responses:
            each.close()

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,
    ) -> tuple[Any, Callable[[int], bytes]]:
        self._operation.check()
        if url != (self._asking if data is None else self._fetching):
            raise RemoteRefused(
                f"The git server of {self._source.url} redirects to another address, which is"
                " not followed.",
                url=self._source.url,
            )
        if data is not None and not isinstance(data, bytes):
            data = b"".join(data)  # it may have to be sent again
        response = self._send(headers or {}, data)
        while response.status == 401 and self._operation.credentials.replace(self._sent):
            response.close()
            response = self._send(headers or {}, data)
        for _ in range(_MAX_REDIRECTS):
            if data is not None or not self._follows(response):
                break
            response = self._send(headers or {}, data)
        if response.status != 200:
            raise self._refused(response)
        self._operation.credentials.accept(self._sent)
        # As in git, only the type of the first answer decides whether this is git (discover_refs
        # and rpc_service in remote-curl.c). The type of a later one only explains invalid content.
        kind = "advertisement" if data is None else "result"
        expected = f"application/x-{_SERVICE}-{kind}"
        found = media_type(response)
        if data is None and found != expected:
            raise self.is_not_git(found)
        self.odd_type = None if found == expected else found
        return _Answer(response, expected), self._reader(response)

    def _send(
        self, headers: Mapping[str, str], data: bytes | Iterator[bytes] | None
    ) -> BaseHTTPResponse:
        url = self._place + (_QUESTION if data is None else _SERVICE)
        self._sent = self._operation.credentials.current(password_of(self._source))
        response = self._pool.urlopen(
            "GET" if data is None else "POST",
            url[len(_origin(url)) :],
            body=data,
            headers={**headers, **_own_headers(self._sent)},
            redirect=False,
            retries=False,
            preload_content=False,
        )
        self._responses.append(response)
        return response

    def _follows(self, response: BaseHTTPResponse) -> bool:
        """Follow a redirect to a repository of the same origin, if the answer is one.

        The new URL must end like the requested one, as git requires (update_url_from_redirect in
        http.c).
        """
        if response.status not in _REDIRECTS:
            return False
        to = _joined(self._place + _QUESTION, response.headers.get("Location", ""))
        place = to.removesuffix(_QUESTION)
        is_git = to.endswith(f"/{_QUESTION}") and "?" not in place and "#" not in place
        if not is_git or not Origin.of(self._source.url).covers(to):
            return False
        self._place, self.redirected_to = place, place.rstrip("/")
        return True

    def _reader(self, response: BaseHTTPResponse) -> Callable[[int], bytes]:
        limit = self._operation.settings.max_pack_bytes + _MAX_TALK_BYTES
        talk = _Talk()
        received = 0
        head = b""
        buffer = b""
        position = 0

        def more() -> bool:
            nonlocal received, buffer, position, head
            data = response.read(_AT_ONCE)
            received += len(data)
            self._operation.receive(len(data))
            if received > limit:
                raise too_many_bytes(self._operation)
            buffer, position = buffer[position:] + data, 0
            if len(head) < _MAX_REASON_BYTES:
                head += data[:_MAX_REASON_BYTES]
                self.refusal = _err_line(head, self._source)
            return bool(data)

        def read(size: int) -> bytes:
            nonlocal position
            while len(buffer) - position < size and more():
                pass
            data = buffer[position : position + size]
            position += len(data)
            self.ended_early = len(data) < size
            if not self.pack_has_begun:
                talk.take(data, begins_line=size == _LENGTH)
            if data[:1] == _ERROR_BAND and size > _LENGTH:
                self._error_band = data[1:]
            return data

        return read

    def _refused(self, response: BaseHTTPResponse) -> GitError:
        said = ""
        if media_type(response) == "text/plain":
            with suppress(HTTPError):
                said = clean(response.read(_MAX_REASON_BYTES), self._source)
        to = _joined(self._place, response.headers.get("Location", ""))
        return http_refusal(self._source, response.status, said, redirected_to=to)

    def is_not_git(self, kind: str) -> RemoteRefused:
        """Return the error for an answer that is not git, by its media type."""
        return RemoteRefused(
            f"{self._source.url} is not a git repository: the answer has"
            f" {'the content type ' + clean(kind) if kind else 'no content type'}.",
            hint="Use the repository's clone URL, not the address of a web page.",
            url=self._source.url,
        )


class _Talk:
    """Limits the data that an answer has before its pack."""

    def __init__(self) -> None:
        self._left = _MAX_TALK_BYTES

    def take(self, data: bytes, *, begins_line: bool) -> None:
        if data.strip() == _VERSION_2:  # capabilities follow, not refs
            self._left = _MAX_CAPABILITY_BYTES
        self._left -= len(data) + (_LINE_OVERHEAD if begins_line else 0)
        if self._left < 0:
            raise LimitExceeded(
                "The git server sent too much data before it sent any files.",
                hint="Check how many refs the repository has: hundreds of thousands are too many.",
                limit="talk",
            )


@dataclass(frozen=True)
class _Answer:
    """The parts of an HTTP response that dulwich reads."""

    response: BaseHTTPResponse
    content_type: str
    redirect_location: str = ""

    def close(self) -> None:
        self.response.close()


def _own_headers(credential: GitCredential | None) -> dict[str, str]:
    # Some hosts treat only clients whose name begins with git/ as such.
    headers = {"User-Agent": "git/deploycore", "Pragma": "no-cache"}
    if credential is not None:
        name, value = authorization_of(credential)
        headers[name] = value.get_secret_value()
    return headers


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _err_line(head: bytes, source: CloneUrl) -> str:
    """Read the message of an ``ERR`` line, which a server may send instead of any line.

    Source: gitprotocol-pack, "pkt-line format".
    """
    position = 0
    while found := _PKT_LENGTH.match(head, position):
        length = int(found[0], 16)
        line = head[position + _LENGTH : position + max(length, _LENGTH)]
        if line.startswith(b"ERR "):
            return clean(line[_LENGTH:].split(b"\n", 1)[0], source)
        if line[:1] in _BANDS:
            break
        position += max(length, _LENGTH)
    return ""


def _can_be_shallow(capabilities: Set[bytes]) -> bool:
    """Whether a server supports shallow fetches, by its capabilities in version 0 or 2."""
    pairs = (each.strip().partition(b"=") for each in capabilities)
    return any(
        key == b"shallow" or (key == b"fetch" and b"shallow" in value.split())
        for key, _, value in pairs
    )


def _object_formats(capabilities: Set[bytes]) -> frozenset[str]:
    """Object formats of a server: SHA-1 by default (gitprotocol-capabilities, "object-format")."""
    pairs = (each.strip().partition(b"=") for each in capabilities)
    said = (value.decode("ascii", "replace") for key, _, value in pairs if key == _FORMAT)
    return frozenset(said) or frozenset({SHA1.name})


def too_many_bytes(operation: Operation) -> LimitExceeded:
    """Return the error for a server that sends more than the limit."""
    return LimitExceeded(
        f"The server sends more than {operation.settings.max_pack_bytes:,} bytes.",
        hint=limit_hint("max_pack_bytes"),
        limit="max_pack_bytes",
    )
