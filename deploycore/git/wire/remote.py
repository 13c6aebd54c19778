"""One fetch of one commit from a server, over smart HTTP.

dulwich speaks the protocol; this decides what it may do. It may ask two addresses of one
repository and nothing else: whatever it is told to follow (packfile URIs, dumb HTTP) is refused
here. So are redirects, but for one of the first request within the same origin: hosts redirect
so from a repository's address without ``.git``, or from its former name. All other refs of the
server are ignored, so that nobody can block others by pushing an odd one.

Sources: https://git-scm.com/docs/http-protocol and https://git-scm.com/docs/protocol-v2
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

from dulwich.client import (
    AbstractHttpGitClient,
    FetchPackResult,
    build_ls_refs_request_v2,
    extract_object_format_from_capabilities,
    read_pkt_refs_v2,
)
from dulwich.errors import GitProtocolError, HangupException
from dulwich.objects import ObjectID
from dulwich.protocol import Protocol as PacketLines
from dulwich.protocol import capability_object_format, pkt_line
from dulwich.refs import Ref, check_ref_format
from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import HTTPError

from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    CorruptPack,
    DeploycoreError,
    GitError,
    LimitExceeded,
    RemoteRefused,
    UnsafeRepository,
)
from deploycore.git.operation import Operation
from deploycore.git.packs.objects import OBJECT_FORMATS, SHA1, ObjectFormat
from deploycore.git.wire.address import refuse_unusable_source
from deploycore.git.wire.connections import media_type, open_pool
from deploycore.git.wire.destination import Destinations
from deploycore.git.wire.translation import (
    http_refusal,
    is_transient,
    network_failure,
    protocol_refusal,
)
from deploycore.git.wording import clean, raising
from deploycore.http import BasicAuth
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl

__all__ = ["Fetched", "Intake", "Wanted", "fetch"]

_HEAD = Ref(b"HEAD")
_BRANCHES = b"refs/heads/"
_TAGS = b"refs/tags/"
_AT_ONCE = 64 * 1024
# What a server says besides the pack is held in memory: refs, and each line with its overhead.
_TALK_BYTES_MOST = 16 * 1024 * 1024
_LINE_OVERHEAD = 32
_CAPABILITY_BYTES_MOST = 64 * 1024
_VERSION_2 = b"version 2"
_PROTOCOL_2 = 2
_REASON_BYTES_MOST = 2048
_LENGTH = 4
_ERROR_BAND = b"\x03"
_BANDS = (b"\x01", b"\x02", _ERROR_BAND)
_PKT_LENGTH = re.compile(rb"[0-9a-fA-F]{4}")
_SERVICE = "git-upload-pack"
_QUESTION = f"info/refs?service={_SERVICE}"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MOST = 3
_FORMAT = b"object-format"
_HASH = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")

Discovered = tuple[dict[Ref, ObjectID | None], set[bytes], str, dict[Ref, Ref], dict[Ref, ObjectID]]


@dataclass(frozen=True)
class Wanted:
    """What to fetch: the commit of a branch or of a tag, or one commit by its hash.

    Attributes:
        ref: A branch, a tag, the full name of any ref, or a full hash. ``None`` with no
            commit given: the branch that the server's HEAD names.
        commit: Exactly this commit, wherever the ref is now; ``None`` for where it is.
        is_seen: Whether who names the commit has seen it on the host, with this credential. If
            not, what is held is no answer: the host is asked whether one may have it.
    """

    ref: str | None = None
    commit: str | None = None
    is_seen: bool = False

    @property
    def exactly(self) -> str | None:
        """The hash that is wanted, if it is known without asking."""
        if self.commit is None and self.ref is not None and _HASH.fullmatch(self.ref):
            return self.ref
        return self.commit

    @property
    def refs(self) -> list[Ref]:
        """The refs that may be meant, the first that the server has is."""
        if self.ref is None or self.exactly == self.ref:
            return [_HEAD]
        name = self.ref.encode("utf-8", "surrogateescape")
        if name.startswith(b"refs/"):
            return [Ref(name)]
        return [Ref(_BRANCHES + name), Ref(_TAGS + name)]

    def refuse_malformed(self) -> None:
        """Refuse names that no server can have.

        Raises:
            ConfigurationError: Git does not allow the ref's name, or this is no hash.
        """
        if not self._is_named_rightly:
            raise ConfigurationError(
                f"Git does not allow a branch or tag named {clean(self.ref or '')!r}.",
                hint="Check the name.",
            )
        if self.commit is not None and not _HASH.fullmatch(self.commit):
            raise ConfigurationError(
                f"{clean(self.commit)!r} is not the full hash of a commit.",
                hint="Give all of its hexadecimal digits, in lower case.",
            )

    @property
    def _is_named_rightly(self) -> bool:
        try:
            return self.refs == [_HEAD] or check_ref_format(self.refs[0])
        except UnicodeEncodeError:  # half of a surrogate pair
            return False


@dataclass(frozen=True)
class Fetched:
    """What was found on the server.

    Attributes:
        commit: Full hash; that of a tag object where the server did not say what it tags.
        ref: The ref's full name; ``HEAD`` where a commit was asked for by its hash.
        shallow: Whether the server left out the commit's parents, should it have any.
        received: Whether there was anything to receive: nothing is, where the commit is held.
        tag: The hash of the annotated tag that the ref is, which was received too; else empty.
        capabilities: Of the server, in protocol version 2; empty if it speaks another.
        redirected_to: The repository's address, if the server redirected to another one.
    """

    commit: str
    ref: bytes
    shallow: bool
    received: bool
    tag: str = ""
    capabilities: frozenset[bytes] = frozenset()
    redirected_to: str = ""

    @property
    def name(self) -> str:
        """The name of the branch or tag, for people; the hash where there is none."""
        if self.ref == _HEAD:
            return self.commit
        return clean(self.ref.removeprefix(_BRANCHES).removeprefix(_TAGS))


class Intake(Protocol):
    """Where what is fetched goes to.

    Attributes:
        capabilities: What the server said formerly, in protocol version 2; may be empty.
    """

    capabilities: frozenset[bytes]

    def holds(self, commit: str) -> bool:
        """Whether a commit need not be fetched."""

    def haves(self) -> list[str]:
        """Commits that are held, which the server may build upon."""

    def begin(self, commit: str) -> None:
        """A pack with this commit is going to come; one that came before counts no more.

        The commit's name tells the object format: what is held in another one is of no use.
        """

    def feed(self, data: bytes) -> None:
        """The next bytes of the pack."""


def fetch(
    source: CloneUrl,
    wanted: Wanted,
    intake: Intake,
    operation: Operation,
    *,
    within: Destinations | None = None,
) -> Fetched:
    """Fetch one commit, without its history.

    Broken connections and timeouts are tried again, from the beginning.

    Args:
        intake: Gets the pack.
        within: Where a submodule may be; ``None`` if the repository is none.

    Raises:
        ConfigurationError: The URL or the ref's name can't be used.
        RemoteRefused: Credentials, repository, ref or commit are refused or unknown.
        LimitExceeded: Too many bytes, or too much time.
        UnsafeRepository: The address is none that a submodule may have.
        Cancelled: The operation was asked to stop.
        GitError: The server can't be reached, failed, or does not speak git.
    """
    refuse_unusable_source(source, allow_plain_http=operation.settings.allow_plain_http)
    exactly = wanted.exactly
    if exactly and wanted.is_seen and intake.holds(exactly):
        return Fetched(exactly, wanted.refs[0], shallow=False, received=False)
    retries, wait = operation.settings.retries, operation.settings.retry_wait
    while True:
        outcome = _Attempt(source, wanted, intake, operation, within).outcome()
        if isinstance(outcome, Fetched):
            return outcome
        if intake.capabilities and _may_have_changed(outcome.error):
            # The server may no longer be what it was: ask it from the beginning.
            intake.capabilities = frozenset()
            continue
        if not outcome.again or not retries:
            # Without the frames below, whose local variables hold the credential.
            raise outcome.error.with_traceback(None)
        operation.wait(wait)
        retries, wait = retries - 1, wait * 2


def _may_have_changed(error: DeploycoreError) -> bool:
    if isinstance(error, LimitExceeded | UnsafeRepository | CorruptPack | Cancelled):
        return False
    return isinstance(error, GitError) and error.details.get("status") not in (401, 403, 429)


@dataclass(frozen=True)
class _Failure:
    error: DeploycoreError
    again: bool


class _Attempt:
    def __init__(
        self,
        source: CloneUrl,
        wanted: Wanted,
        intake: Intake,
        operation: Operation,
        within: Destinations | None,
    ) -> None:
        self._source = source
        self._within = within
        self._wanted = wanted
        self._intake = intake
        self._operation = operation
        self._ref = _HEAD
        self._tip: ObjectID | None = None
        self._tag = ""
        self._asked = False
        self._received = 0

    def outcome(self) -> Fetched | _Failure:
        caught: Exception
        with open_pool(self._source.url, self._operation) as pool:
            client = _Client(self._source, pool, self._operation, self._wanted, self._intake)
            try:
                if self._within is not None:
                    self._within.refuse_private(self._source.url)
                    self._within.watch(pool, self._source.url)
                return self._fetched(client)
            except Exception as error:
                caught = error
            finally:
                client.close()
        if not isinstance(caught, DeploycoreError):
            # The reason why a connection broke may be that we cut it.
            self._operation.check()
        return self._failure(client, caught)

    def _failure(self, client: _Client, caught: Exception) -> _Failure:
        client.take_error_band(caught)
        if client.refusal:
            refusal = protocol_refusal(self._source, client.refusal)
            return _Failure(self._explained(refusal), self._may_have_moved)
        if isinstance(caught, DeploycoreError):
            again = is_transient(caught) or (_failed(caught) and self._may_have_moved)
            return _Failure(self._explained(caught), again)
        if client.odd_type is not None and not client.pack_has_begun and not is_transient(caught):
            return _Failure(client.is_not_git(client.odd_type), again=False)
        if isinstance(caught, GitProtocolError) and client.ended_early:
            caught = HangupException()
        return _Failure(network_failure(self._source, caught), is_transient(caught))

    def _fetched(self, client: _Client) -> Fetched:
        walker = _Haves(self._intake)
        result = client.fetch_pack(
            b"",
            lambda refs, depth=None: self._wants(client, refs),
            walker,
            partial(self._feed, client),
            depth=1,
            ref_prefix=[_HEAD, *(each for each in self._wanted.refs if each != _HEAD)],
        )
        return self._described(client, result)

    def _feed(self, client: _Client, data: bytes) -> int:
        client.pack_has_begun = True
        self._operation.enter("receiving")
        self._received += len(data)
        if self._received > self._operation.settings.pack_bytes_most:
            raise _too_many_bytes(self._operation)
        self._intake.feed(data)
        return len(data)

    def _described(self, client: _Client, result: FetchPackResult) -> Fetched:
        commit = self._commit
        if not commit:
            raise self._nothing_there()
        ref: bytes = self._ref
        if ref == _HEAD and not self._wanted.exactly:
            ref = result.symrefs.get(_HEAD, _HEAD)
            if not ref.startswith(_BRANCHES) or not check_ref_format(Ref(ref)):
                raise RemoteRefused(
                    f"The git server of {self._source.url} does not name its default branch.",
                    hint="Name a branch.",
                    url=self._source.url,
                )
        return Fetched(
            commit,
            ref,
            shallow=bool(result.new_shallow),
            received=self._asked,
            tag=self._tag,
            capabilities=client.server_capabilities,
            redirected_to=client.redirected_to,
        )

    @property
    def _commit(self) -> str:
        return self._wanted.exactly or (self._tip or b"").decode()

    @property
    def _may_have_moved(self) -> bool:
        """Whether the server does not give what it has just offered: then it is asked anew."""
        return self._asked and self._commit.encode() == self._tip

    def _wants(self, client: _Client, refs: Mapping[Ref, ObjectID]) -> list[ObjectID]:
        self._ref = next((each for each in self._wanted.refs if each in refs), _HEAD)
        tip = refs.get(self._ref)
        self._tip = client.peeled.get(self._ref) or tip
        if self._ref not in self._wanted.refs and not client.has_not_asked_for_refs:
            is_all = client.protocol_version != _PROTOCOL_2
            raise self._unknown_ref(empty=not refs if is_all or refs else None)
        commit = self._commit
        if commit:
            self._refuse_other_format(commit, client.object_formats)
        if not commit or self._intake.holds(commit):
            return []
        self._asked = True
        self._intake.begin(commit)
        if tip and tip != self._tip and commit.encode() == self._tip:
            # The commit comes along; and servers of version 0 give only what they advertise.
            self._tag = tip.decode()
            return [tip]
        return [ObjectID(commit.encode())]

    def _refuse_other_format(self, commit: str, formats: Set[str]) -> None:
        """Refuse a commit that the server can't have, or that can't be read here."""
        known = [each for each in OBJECT_FORMATS if each.name in formats]
        if not known:
            raise RemoteRefused(
                f"The repository {self._source.url} has the object format"
                f" {clean(' '.join(sorted(formats)))!r}, which is not supported.",
                hint=f"Supported formats: {' and '.join(each.name for each in OBJECT_FORMATS)}.",
                url=self._source.url,
            )
        if not any(_names(commit, each) for each in known):
            raise RemoteRefused(
                f"{clean(commit)!r} names no commit in the repository {self._source.url}, whose"
                f" object format is {known[0].name}: it would have {known[0].digits} hexadecimal"
                " digits.",
                hint="Check that the commit is one of this repository.",
                url=self._source.url,
            )

    def _unknown_ref(self, *, empty: bool | None) -> RemoteRefused:
        """The error for a ref that the server does not have.

        Args:
            empty: Whether it has no refs at all; ``None`` if it was asked for this one alone.
        """
        ref = clean(self._wanted.ref or "")
        check = "Check the name; upper and lower case differ."
        push = "Push a first commit to it."
        both = f"{check} If nothing was pushed to the repository yet, push a first commit."
        return RemoteRefused(
            f"The repository {self._source.url} has no branch or tag {ref!r}"
            f"{': it is empty' if empty else ''}.",
            hint=both if empty is None else push if empty else check,
            url=self._source.url,
            ref=ref,
        )

    def _nothing_there(self) -> RemoteRefused:
        return RemoteRefused(
            f"The repository {self._source.url} is empty, or has no default branch.",
            hint="Push a first commit, or name a branch.",
            url=self._source.url,
        )

    def _explained(self, error: DeploycoreError) -> DeploycoreError:
        """Say what else is known where a commit, and not a branch, was refused."""
        commit = self._wanted.exactly
        if not self._asked or commit is None or commit == (self._tip or b"").decode():
            return error
        if not isinstance(error, RemoteRefused) and not _failed(error):
            return error
        where = f"{self._source.url} has no commit {commit} to give"
        named = self._wanted.ref if self._wanted.ref != commit else None
        moved_to = None
        if self._tip is not None and named is not None:
            moved_to = self._tip.decode()
            where = (
                f"{clean(named)!r} of {self._source.url} has moved from"
                f" {commit} to {moved_to}, and the server does not give the former"
            )
        return RemoteRefused(
            f"{where} ({error.message})",
            hint="Deploy the newest commit of the branch."
            if named
            else "Check that the commit was pushed, and that it is the tip of a branch there.",
            url=self._source.url,
            commit=commit,
            moved_to=moved_to,
        )


def _failed(error: DeploycoreError) -> bool:
    """Whether a server may have refused a commit: some fail instead."""
    return error.details.get("status") == 500


class _Haves:
    """Tells the server what is held: commits whose parents are not.

    dulwich's own can't be told by a server that it has a commit with a hash of SHA-256. What is
    held is asked for late, since that depends on the server's object format.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._left: Iterator[str] | None = None

    @property
    def shallow(self) -> set[ObjectID]:
        return {ObjectID(each.encode()) for each in self._intake.haves()}

    def __next__(self) -> ObjectID | None:
        if self._left is None:
            self._left = iter(self._intake.haves())
        have = next(self._left, None)
        return ObjectID(have.encode()) if have else None

    def ack(self, sha: ObjectID) -> None:
        """All is told in one request, so that nothing depends on what the server has of it."""

    def nak(self) -> None:
        """As above."""


class _Client(AbstractHttpGitClient):
    """dulwich's protocol over our connections.

    Attributes:
        server_capabilities: What the server can do in protocol version 2.
        object_formats: Those that the server says to have: one, unless it translates.
        peeled: The commits of annotated tags.
        has_not_asked_for_refs: Whether that was left out.
        refusal: What the server said in an ``ERR`` line, which dulwich overlooks in
            protocol version 2, or in the error band; empty if there was neither.
        ended_early: Whether an answer ended within what was being read.
        pack_has_begun: Whether any of the pack has come; what comes before is held in memory.
        redirected_to: The address of the repository, if the server redirected to another one.
        odd_type: The media type of the last answer, if it is not the one that it should have.
    """

    def __init__(
        self,
        source: CloneUrl,
        pool: HTTPConnectionPool,
        operation: Operation,
        wanted: Wanted,
        intake: Intake,
    ) -> None:
        # Thin packs are allowed: who has something gets less, and some servers insist.
        super().__init__(source.url, thin_packs=True, quiet=True)
        # Who does not say it back in version 0 is taken for one who knows SHA-1 alone; dulwich
        # does so in version 2 only (gitprotocol-capabilities, "object-format").
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
        self._intake = intake
        self._source = source
        self._pool = pool
        self._operation = operation
        place = source.url.rstrip("/") + "/"
        self._asking = urljoin(place, _QUESTION)
        self._fetching = urljoin(place, _SERVICE)
        self._place = place
        self._error_band = b""
        self._responses: list[BaseHTTPResponse] = []

    def _discover_references(
        self,
        service: bytes,
        base_url: str,
        protocol_version: int | None = None,
        ref_prefix: Sequence[bytes] | None = None,
    ) -> Discovered:
        """Ask for refs, by as few requests as may be.

        What a server of protocol version 2 can do was told before, if there was a before;
        and who fetches one commit needs no refs: the fetch is refused where these would be.
        """
        known = set(self._intake.capabilities)
        if known:
            return self._discovered(self._ask_at_once(base_url, known, ref_prefix))
        return self._discovered(
            super()._discover_references(service, base_url, protocol_version, ref_prefix)
        )

    def _discovered(self, found: Discovered) -> Discovered:
        if found[1] and not _can_be_shallow(found[1]):
            raise RemoteRefused(
                f"The git server of {self._source.url} cannot send a commit without its history"
                " (it has no shallow fetches), which is needed here.",
                hint="Ask the server's administrator to upgrade it, or deploy from another host:"
                " git has had shallow fetches since 2006.",
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
        if exactly and not self._intake.holds(exactly):
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
        """Note as refusal what dulwich raised, if that is what came in the error band."""
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
        response = self._send(headers or {}, data)
        for _ in range(_REDIRECTS_MOST):
            if data is not None or not self._follows(response):
                break
            response = self._send(headers or {}, data)
        if response.status != 200:
            raise self._refused(response)
        # As git: the type of the first answer tells whether this is git, no other one is read
        # (discover_refs and rpc_service in remote-curl.c). It is told where the content is not.
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
        response = self._pool.urlopen(
            "GET" if data is None else "POST",
            url[len(_origin(url)) :],
            body=data,
            headers={**headers, **_own_headers(self._source)},
            redirect=False,
            retries=False,
            preload_content=False,
        )
        self._responses.append(response)
        return response

    def _follows(self, response: BaseHTTPResponse) -> bool:
        """Whether an answer is a redirect to a repository of the same origin, asked from now on.

        Its address is that of the same question, as git requires (update_url_from_redirect in
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
        limit = self._operation.settings.pack_bytes_most + _TALK_BYTES_MOST
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
                raise _too_many_bytes(self._operation)
            buffer, position = buffer[position:] + data, 0
            if len(head) < _REASON_BYTES_MOST:
                head += data[:_REASON_BYTES_MOST]
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
                said = clean(response.read(_REASON_BYTES_MOST), self._source)
        to = _joined(self._place, response.headers.get("Location", ""))
        return http_refusal(self._source, response.status, said, redirected_to=to)

    def is_not_git(self, kind: str) -> RemoteRefused:
        """The error for an answer that is something else, by its media type."""
        return RemoteRefused(
            f"{self._source.url} is not served as a git repository, but as"
            f" {clean(kind) or 'something without a type'}.",
            hint="Use the address that git clones from, not that of a web page.",
            url=self._source.url,
        )


class _Talk:
    """Counts what one answer says before a pack."""

    def __init__(self) -> None:
        self._left = _TALK_BYTES_MOST

    def take(self, data: bytes, *, begins_line: bool) -> None:
        if data.strip() == _VERSION_2:  # what follows are capabilities, and no refs
            self._left = _CAPABILITY_BYTES_MOST
        self._left -= len(data) + (_LINE_OVERHEAD if begins_line else 0)
        if self._left < 0:
            raise LimitExceeded(
                "The git server sent too much data before it sent any files.",
                hint="Check how many refs the repository has: hundreds of thousands are too many.",
                limit="talk",
            )


@dataclass(frozen=True)
class _Answer:
    """What dulwich reads of an HTTP response."""

    response: BaseHTTPResponse
    content_type: str
    redirect_location: str = ""

    def close(self) -> None:
        self.response.close()


def _own_headers(source: CloneUrl) -> dict[str, str]:
    # Some hosts treat only clients whose name begins with git/ as such.
    headers = {"User-Agent": "git/deploycore", "Pragma": "no-cache"}
    if source.credential:
        auth = BasicAuth(source.credential.username, source.credential.password)
        name, value = auth.header()
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
    """What an ``ERR`` line says, which ends an answer in the place of any line before the pack.

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
    """Whether a server leaves out history, by what it says in version 0 or 2."""
    pairs = (each.strip().partition(b"=") for each in capabilities)
    return any(
        key == b"shallow" or (key == b"fetch" and b"shallow" in value.split())
        for key, _, value in pairs
    )


def _object_formats(capabilities: Set[bytes]) -> frozenset[str]:
    """Who says nothing has SHA-1 (gitprotocol-capabilities, "object-format")."""
    pairs = (each.strip().partition(b"=") for each in capabilities)
    said = (value.decode("ascii", "replace") for key, _, value in pairs if key == _FORMAT)
    return frozenset(said) or frozenset({SHA1.name})


def _names(commit: str, object_format: ObjectFormat) -> bool:
    return len(commit) == object_format.digits and _HASH.fullmatch(commit) is not None


def _too_many_bytes(operation: Operation) -> LimitExceeded:
    return LimitExceeded(
        f"The server sends more than {operation.settings.pack_bytes_most:,} bytes.",
        hint=raising("pack_bytes_most"),
        limit="pack_bytes_most",
    )
