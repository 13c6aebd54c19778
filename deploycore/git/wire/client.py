"""dulwich's git client over our own connections: what HTTP and SSH have in common.

dulwich speaks the protocol, and this module decides what it may do. What a server sends is counted,
bounded, and searched for the reason of a refusal. Packfile URIs and dumb HTTP are refused.

Sources: https://git-scm.com/docs/protocol-v2 and https://git-scm.com/docs/pack-protocol
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set

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

from deploycore.errors import LimitExceeded, RemoteRefused
from deploycore.git.operation import Operation
from deploycore.git.packs.objects import OBJECT_FORMATS, SHA1
from deploycore.git.wire.destination import Destinations
from deploycore.git.wire.request import FetchReceiver, Wanted
from deploycore.git.wire.translation import NOT_GIT
from deploycore.git.wording import clean, limit_hint
from deploycore.models import CloneUrl

__all__ = ["SERVICE", "Discovered", "GitClient", "Lost", "Reader", "too_many_bytes"]

SERVICE = "git-upload-pack"

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
_FORMAT = b"object-format"

Discovered = tuple[dict[Ref, ObjectID | None], set[bytes], str, dict[Ref, Ref], dict[Ref, ObjectID]]


class Lost(Exception):
    """A connection broke: dulwich would take an ``OSError`` for a fault of the protocol."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error


class GitClient(AbstractHttpGitClient):
    """dulwich's protocol, with its limits.

    A subclass sends requests and has the answers read by ``Reader``. dulwich's class for HTTP is
    the base of both, since it separates the refs from the pack; over SSH, the same requests follow
    each other in one connection.

    Attributes:
        server_capabilities: The server's capabilities in protocol version 2.
        object_formats: The object formats that the server announces, usually one.
        peeled: The commits of annotated tags.
        has_not_asked_for_refs: Whether the request for refs was skipped.
        refusal: The message of an ``ERR`` line, which dulwich ignores in protocol version 2, of the
            error band, or of a command that failed; empty if there was none.
        ended_early: Whether an answer ended before the expected data was complete.
        pack_has_begun: Whether the pack has started to arrive.
        redirected_to: The repository's new URL, if the server redirected to another one.
        odd_type: The media type of the last answer, if it is not the expected one.
    """

    def __init__(
        self,
        source: CloneUrl,
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
        self.error_band = b""
        self._wanted = wanted
        self._receiver = receiver
        self._source = source
        self._operation = operation

    def stay_within(self, allowed: Destinations) -> None:
        """Refuse an address that a submodule must not have.

        Raises:
            UnsafeRepository: It is not allowed.
        """
        allowed.refuse_private(self._source.url)

    def list_refs(
        self, prefixes: Sequence[bytes]
    ) -> tuple[Mapping[Ref, ObjectID | None], Mapping[Ref, Ref], Mapping[Ref, ObjectID]]:
        """Ask for refs, without a fetch.

        Args:
            prefixes: What the names begin with; a server may send others too.

        Returns:
            The refs, the targets of symbolic refs, and the commits of annotated tags.
        """
        place = self._source.url.rstrip("/") + "/"
        refs, _, _, symrefs, peeled = self._discover_references(
            SERVICE.encode(), place, ref_prefix=list(prefixes)
        )
        return refs, symrefs, peeled

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
        response, read = self._smart_request(SERVICE, base_url, b"".join(lines))
        try:
            lines_read = PacketLines(read, lambda data: None).read_pkt_seq()
            refs, symrefs, peeled = read_pkt_refs_v2(lines_read)
        finally:
            response.close()
        return refs, capabilities, base_url, symrefs, peeled

    def take_refusal(self, error: Exception) -> None:
        """Use dulwich's exception as the refusal, if its message came in the error band."""
        if self.error_band and str(error) == self.error_band.decode("utf-8", "replace"):
            self.refusal = clean(self.error_band, self._source)

    def is_not_git(self, kind: str) -> RemoteRefused:
        """Return the error for an answer that is not git, by its media type."""
        return RemoteRefused(
            f"{self._source.url} is not a git repository: the answer has"
            f" {'the content type ' + clean(kind) if kind else 'no content type'}.",
            hint="Use the repository's clone URL, not the address of a web page.",
            url=self._source.url,
            reason=NOT_GIT,
        )


class Reader:
    """Reads what a server sends, within the limits.

    Args:
        more: Gives the next bytes, and none at the end.
    """

    def __init__(
        self, client: GitClient, source: CloneUrl, operation: Operation, more: Callable[[], bytes]
    ) -> None:
        self._client = client
        self._source = source
        self._operation = operation
        self._more = more
        self._limit = operation.settings.max_pack_bytes + _MAX_TALK_BYTES
        self._received = 0
        self._buffer = b""
        self._position = 0
        self.begin_answer()

    def begin_answer(self) -> None:
        """Expect the beginning of an answer, which may contain an error."""
        self._talk = _Talk()
        self._head = b""

    def read(self, size: int) -> bytes:
        """Read so many bytes; fewer only at the end."""
        while len(self._buffer) - self._position < size and self._receive():
            pass
        data = self._buffer[self._position : self._position + size]
        self._position += len(data)
        client = self._client
        client.ended_early = len(data) < size
        if not client.pack_has_begun:
            self._talk.take(data, begins_line=size == _LENGTH)
        if data[:1] == _ERROR_BAND and size > _LENGTH:
            client.error_band = data[1:]
        return data

    def _receive(self) -> bool:
        try:
            data = self._more()
        except OSError as error:
            raise Lost(error) from None
        self._received += len(data)
        self._operation.receive(len(data))
        if self._received > self._limit:
            raise too_many_bytes(self._operation)
        self._buffer, self._position = self._buffer[self._position :] + data, 0
        if len(self._head) < _MAX_REASON_BYTES:
            self._head += data[:_MAX_REASON_BYTES]
            self._client.refusal = _err_line(self._head, self._source)
        return bool(data)


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
                hint="Delete branches and tags that are not needed: hundreds of thousands are too"
                " many. git ls-remote lists them.",
                limit="talk",
            )


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
