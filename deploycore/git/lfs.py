"""Files that are kept in Git LFS: the pointers that git holds, and the download of the contents.

Whoever can push decides which objects are asked for, and the server's answer names hosts of its
choice to get them from. So nothing is believed: objects are hashed as they arrive, sizes are
added up before the first download, our credential goes to the repository's own origin alone, and
what an answer gives us to send goes to the one address that it was given for.

Source: https://github.com/git-lfs/git-lfs/tree/main/docs (spec.md, api/batch.md,
api/basic-transfers.md, api/authentication.md, api/server-discovery.md)
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPException
from math import inf
from typing import Annotated, Literal, Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPHeaderDict
from urllib3.exceptions import HTTPError

from deploycore.errors import (
    CorruptPack,
    DeploycoreError,
    GitError,
    LimitExceeded,
    RemoteRefused,
    UnsafeRepository,
)
from deploycore.git.operation import Operation
from deploycore.git.wire.address import refuse_unusable_source
from deploycore.git.wire.connections import media_type, open_pool
from deploycore.git.wire.destination import Destinations, shown_origin
from deploycore.git.wire.translation import http_refusal, is_transient, network_failure
from deploycore.git.wording import clean
from deploycore.http import BasicAuth
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl
from deploycore.text.validation import find_problems

__all__ = [
    "LfsClient",
    "Pointer",
    "Sink",
    "begins_as_pointer",
    "lfs_endpoint",
    "parse_pointer",
]

_POINTER_BYTES = 1024
_LINE = re.compile(rb"([a-z0-9.-]+) ([^ \r\n][^\r\n]*)")
# The last two are those of the program's first releases, which are still read.
_BEGINNING = re.compile(
    rb"\s*version (?:https://git-lfs\.github\.com/spec/v1|https://hawser\.github\.com/spec/v1"
    rb"|http://git-media\.io/v/2)\r?(?:\n|\Z)"
)
_OID = re.compile(rb"sha256:([0-9a-f]{64})")
_SIZE = re.compile(rb"\+?[0-9]{1,30}")
_SIZE_MOST = 2**63 - 1

_SERVICE = "lfs"
_MEDIA_TYPE = "application/vnd.git-lfs+json"
_OBJECTS_IN_BATCH = 100
_ANSWER_BYTES_MOST = 4 * 1024 * 1024
_REASON_BYTES_MOST = 2048
_CHUNK_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MOST = 3
_ORIGINS_OPEN_MOST = 4

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~\x80-\xff]*")
# What decides where a request ends, whom it reaches, or how its answer is encoded, is ours.
_FORBIDDEN_HEADER = re.compile(
    "accept-encoding|connection|content-length|expect|host|keep-alive|proxy-.*|range|te|trailer"
    "|transfer-encoding|upgrade",
    re.IGNORECASE,
)

_T = TypeVar("_T")


_Model = TypeVar("_Model", bound=BaseModel)

# Some hosts treat only clients whose name begins with git/ as such. Bodies come as they are
# hashed: uncompressed.
_OWN = {"User-Agent": "git/deploycore", "Accept-Encoding": "identity"}

_PUSH_AGAIN = (
    "Push the object again from a clone that has it: git lfs push --all. Without such a clone,"
    " commit the file again, or deploy with lfs: false."
)
_LATER = "Try again later. If it happens again, the host's storage has a problem."
_OBJECT_HINTS = {
    401: "Check whether the credentials may read Git LFS on this host.",
    403: "Give the credentials the right to read this repository's files in Git LFS.",
    422: "Correct the configuration of the LFS server.",
}
_OBJECT_MESSAGES = {404: "does not have", 410: "no longer has", 422: "does not understand"}
_HINTS = {
    404: "Check whether the host has Git LFS, whether it is switched on for this repository, and"
    " whether the credentials may see it.",
    413: "Raise the LFS server's limit of objects in a request to 100.",
    422: "Correct the configuration of the LFS server.",
    501: "Check whether the host has Git LFS.",
    509: "Wait until the host lifts its bandwidth limit, or raise the limit there.",
}


@dataclass(frozen=True)
class Pointer:
    """What git holds in place of a file.

    Attributes:
        oid: SHA-256 of the content: 64 hexadecimal digits, in lower case.
        size: Of the content, in bytes.
    """

    oid: str
    size: int


_EMPTY = Pointer(hashlib.sha256().hexdigest(), 0)


class Sink(Protocol):
    """Where the content of one object goes."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""


OpenSink = Callable[[Pointer], AbstractContextManager[Sink]]


def begins_as_pointer(content: bytes) -> bool:
    """Whether a file has the first line of a pointer, of a version that is known."""
    return _BEGINNING.match(content) is not None


def parse_pointer(content: bytes) -> Pointer | None:
    """Read a pointer file (docs/spec.md, "The Pointer"), as it should be or as git-lfs takes it.

    The program itself (``DecodeFrom`` in lfs/pointer.go) takes white space around all, CR at the
    ends of lines, empty lines, and whatever number Go can parse.

    Returns:
        ``None`` for anything else, such as a file that was never given to Git LFS.

    Raises:
        GitError: It is a pointer, but its content needs a program to be made from the object
            (docs/extensions.md).
    """
    if not begins_as_pointer(content):
        return None
    values = _pointer_values(content)
    oid = _OID.fullmatch(values.get(b"oid", b""))
    size = _SIZE.fullmatch(values.get(b"size", b""))
    if not oid or not size or int(size[0]) > _SIZE_MOST:
        return None
    if any(key.startswith(b"ext-") for key in values):
        raise GitError(
            f"The Git LFS object {oid[1].decode()} was stored through an extension of Git LFS.",
            hint="Store the file without the extension.",
            oid=oid[1].decode(),
        )
    return Pointer(oid[1].decode(), int(size[0]))


def _pointer_values(content: bytes) -> dict[bytes, bytes]:
    """What a pointer says; nothing if it is malformed."""
    lines = [line.removesuffix(b"\r") for line in content.strip().split(b"\n")]
    found = [_LINE.fullmatch(line) for line in lines if line]
    pairs = [(each[1], each[2]) for each in found if each]
    keys = [key for key, _ in pairs]
    is_whole = len(pairs) == len(found) and keys[1:] == sorted(set(keys[1:]) - {b"version"})
    return dict(pairs) if is_whole and len(content) < _POINTER_BYTES and _is_text(content) else {}


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def lfs_endpoint(source: CloneUrl) -> CloneUrl:
    """The LFS server of a repository: below its own address (docs/api/server-discovery.md).

    The repository's ``.lfsconfig``, which may name another server, is not followed: whoever can
    push could send the credential elsewhere with it.

    Returns:
        The address with the source's credential, which belongs to the same origin.
    """
    place = source.url.rstrip("/").removesuffix(".git")
    return CloneUrl(url=f"{place}.git/info/lfs", credential=source.credential)


class _Part(BaseModel):
    """What servers add of their own is left aside; what is read must be of the right type."""

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)


class _Action(_Part):
    href: str
    header: dict[str, str] | None = None
    expires_in: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    expires_at: datetime | None = None


class _Actions(_Part):
    download: _Action | None = None


class _Problem(_Part):
    code: int
    message: str | None = None


class _Object(_Part):
    oid: str
    size: Annotated[int, Field(ge=0)] | None = None
    authenticated: bool | None = None
    actions: _Actions | None = None
    error: _Problem | None = None


class _Batch(_Part):
    transfer: Literal["basic", "", None] = None
    hash_algo: Literal["sha256", "", None] = None
    objects: list[_Object]


class _Complaint(_Part):
    message: str = ""


@dataclass(frozen=True)
class _Offer:
    """Where one object is to be had, and until when (seconds since 1970)."""

    pointer: Pointer
    href: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    until: float


class _Interrupted(Exception):
    """What a network did that may not happen again."""

    def __init__(self, error: GitError) -> None:
        super().__init__()
        self.error = error


class LfsClient:
    """Downloads objects of one repository from its LFS server.

    Args:
        source: The repository.
        operation: Its limits, its deadline, its cancellation.
        ref: Full name of what is being checked out, for servers whose permissions depend on it;
            not told if it is only ``HEAD``.
        within: Where a submodule may lead; ``None`` if the repository is none.
    """

    def __init__(
        self,
        source: CloneUrl,
        operation: Operation,
        ref: bytes | None = None,
        *,
        within: Destinations | None = None,
    ) -> None:
        self._source = source
        self._endpoint = lfs_endpoint(source)
        self._operation = operation
        self._ref = ref
        self._connections = _Connections(Destinations(source, within=within), operation)

    def fetch(self, pointers: Iterable[Pointer], open_sink: OpenSink) -> None:
        """Download objects, each of them once.

        Args:
            open_sink: Gives the place for one object's content, as a context manager. It ends
                with an exception where what was written must be thrown away, else the content
                is whole and verified. After broken connections it is called anew.

        Raises:
            ConfigurationError: The source's URL can't be used.
            RemoteRefused: The server refuses, knows no LFS, or lacks an object;
                ``details["status"]`` is its status, ``details["oid"]`` the object.
            LimitExceeded: Too many objects or bytes, known before the first download; too large
                an answer; too much time.
            UnsafeRepository: The server sends on to an address that must not be asked, or
                gives headers that must not be sent.
            CorruptPack: An object is not of the size or not of the hash that its pointer says.
            Cancelled: The operation was asked to stop.
            GitError: The server can't be reached, failed, or does not speak the batch API.
        """
        allowed = self._operation.settings.allow_plain_http
        refuse_unusable_source(self._source, allow_plain_http=allowed)
        wanted = self._within_limits(pointers)
        if _EMPTY in wanted:  # servers need not have it
            wanted.remove(_EMPTY)
            with open_sink(_EMPTY):
                pass
        for start in range(0, len(wanted), _OBJECTS_IN_BATCH):
            with closing(self._connections):
                self._fetch_batch(wanted[start : start + _OBJECTS_IN_BATCH], open_sink)

    def _within_limits(self, pointers: Iterable[Pointer]) -> list[Pointer]:
        """Distinct objects, counted while they come, since there may be any number."""
        distinct: dict[str, Pointer] = {}
        for pointer in pointers:
            self._operation.check()
            known = distinct.get(pointer.oid)
            if known is None:
                distinct[pointer.oid] = pointer
                self._operation.expect_lfs(pointer.size)
            elif known != pointer:
                raise self._corrupt(pointer, f"has {known.size:,} bytes by another pointer")
        return list(distinct.values())

    def _fetch_batch(self, wanted: list[Pointer], open_sink: OpenSink) -> None:
        while wanted:
            offers = self._persistently(partial(self._ask, wanted))
            for number, offer in enumerate(offers):
                # The first is tried in any case: clocks differ, and each answer must help.
                if number and offer.until <= time.time():
                    break
                self._persistently(partial(self._download, offer, open_sink))
                wanted = wanted[1:]

    def _persistently(self, attempt: Callable[[], _T]) -> _T:
        """Try again, from the beginning, what broken connections and timeouts ended."""
        failure: DeploycoreError
        retries, wait = self._operation.settings.retries, self._operation.settings.retry_wait
        while True:
            try:
                return attempt()
            except _Interrupted as interrupted:
                failure, again = interrupted.error, True
            except DeploycoreError as error:
                failure, again = error, is_transient(error)
            if not again or not retries:
                # Without the frames below, whose local variables hold credentials.
                raise failure.with_traceback(None)
            self._operation.wait(wait)
            retries, wait = retries - 1, wait * 2

    # The batch API

    def _ask(self, wanted: list[Pointer]) -> list[_Offer]:
        """Where all of these are to be had (docs/api/batch.md)."""
        headers = {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE, **self._authorisation()}
        url = f"{self._endpoint.url}/objects/batch"
        with closing(self._send("POST", url, headers, self._request(wanted))) as response:
            most = _ANSWER_BYTES_MOST if response.status == 200 else _REASON_BYTES_MOST
            body = b"".join(self._chunks(response, url, most))
            if response.status != 200:
                raise self._refused(response.status, body)
            kind = media_type(response)
        if len(body) > _ANSWER_BYTES_MOST:
            raise LimitExceeded(
                f"The answer of {self._endpoint.url} is larger than {_ANSWER_BYTES_MOST:,} bytes.",
                hint="Correct the configuration of the LFS server.",
                url=self._source.url,
            )
        if "json" not in kind:
            raise RemoteRefused(
                f"{self._endpoint.url} is not served as Git LFS, but as"
                f" {clean(kind) or 'something without a type'}.",
                hint="Check whether the host has Git LFS, and whether it is switched on for this"
                " repository.",
                url=self._source.url,
            )
        return self._offers(wanted, body)

    def _request(self, wanted: list[Pointer]) -> bytes:
        request: dict[str, object] = {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": each.oid, "size": each.size} for each in wanted],
        }
        if self._ref and self._ref.startswith(b"refs/"):
            request["ref"] = {"name": self._ref.decode("utf-8", "replace")}
        return json.dumps(request).encode()

    def _authorisation(self) -> dict[str, str]:
        credential = self._source.credential
        if credential is None:
            return {}
        name, value = BasicAuth(credential.username, credential.password).header()
        return {name: value.get_secret_value()}

    def _offers(self, wanted: list[Pointer], body: bytes) -> list[_Offer]:
        """Exactly what was asked for, in that order, or an error."""
        answer = _parsed(_Batch, body)
        if isinstance(answer, str):
            raise self._nonsense(answer)
        given = {each.oid: each for each in answer.objects}
        if len(given) != len(answer.objects):
            raise self._nonsense("an object is there twice")
        if given.keys() - {each.oid for each in wanted}:
            raise self._nonsense("it has objects that were not asked for")
        return [self._offer(each, given.get(each.oid)) for each in wanted]

    def _offer(self, pointer: Pointer, given: _Object | None) -> _Offer:
        if given is not None and given.error is not None:
            raise self._object_refused(pointer, given.error)
        action = given.actions.download if given and given.actions else None
        if given is None or action is None:
            raise self._nonsense(f"the object {pointer.oid} is missing")
        if given.size not in (None, pointer.size):
            raise self._corrupt(pointer, f"has {given.size:,} bytes by its server's account")
        headers = self._sendable(action.header or {})
        at_home = Origin.of(self._endpoint.url).covers(action.href)
        if at_home and not given.authenticated and "Authorization" not in headers:
            headers.update(self._authorisation())
        return _Offer(pointer, action.href, headers, _until(action))

    def _sendable(self, given: Mapping[str, str]) -> HTTPHeaderDict:
        """The headers that an answer gives us to send; names are the same in any case."""
        for name, value in given.items():
            well_formed = _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
            if not well_formed or _FORBIDDEN_HEADER.fullmatch(name):
                raise UnsafeRepository(
                    f"The Git LFS server of {self._source.url} wants the header"
                    f" {clean(name, self._source)!r} sent, which is not done.",
                    hint="Correct the configuration of the LFS server.",
                    url=self._source.url,
                )
        return HTTPHeaderDict(given)

    # The transfer

    def _download(self, offer: _Offer, open_sink: OpenSink) -> None:
        """Get one object, from where its server says (docs/api/basic-transfers.md)."""
        url, headers = offer.href, offer.headers
        for _ in range(_REDIRECTS_MOST + 1):
            with closing(self._send("GET", url, headers)) as response:
                if response.status not in _REDIRECTS:
                    self._receive(response, url, offer.pointer, open_sink)
                    return
                onward = _joined(url, response.headers.get("Location", ""))
            if not Origin.of(url).covers(onward):
                headers = {}
            url = onward
        raise RemoteRefused(
            f"The Git LFS object {offer.pointer.oid} of {self._source.url} is redirected more"
            f" than {_REDIRECTS_MOST} times.",
            hint="Correct the configuration of the LFS server.",
            url=self._source.url,
            oid=offer.pointer.oid,
        )

    def _receive(
        self, response: BaseHTTPResponse, url: str, pointer: Pointer, open_sink: OpenSink
    ) -> None:
        if response.status != 200:
            raise self._transfer_refused(response.status, url, pointer)
        digest, received = hashlib.sha256(), 0
        with open_sink(pointer) as sink:
            for chunk in self._chunks(response, url, pointer.size):
                received += len(chunk)
                if received > pointer.size:
                    raise self._corrupt(pointer, f"is longer than {pointer.size:,} bytes")
                digest.update(chunk)
                sink.write(chunk)
            if received < pointer.size:
                # What ends early may have been cut off; without a length that can't be seen.
                short = f"is {received:,} bytes long instead of {pointer.size:,}"
                raise _Interrupted(self._corrupt(pointer, short))
            if digest.hexdigest() != pointer.oid:
                raise self._corrupt(pointer, "has another SHA-256")

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> BaseHTTPResponse:
        self._operation.check()
        pool = self._connections.to(url)
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        all_headers = HTTPHeaderDict(_OWN)
        all_headers.update(headers)
        return self._guarded(
            url,
            lambda: pool.urlopen(
                method,
                target,
                body=body,
                headers=all_headers,
                redirect=False,
                retries=False,
                preload_content=False,
            ),
        )

    def _chunks(self, response: BaseHTTPResponse, url: str, most: int) -> Iterator[bytes]:
        """The body in steps; one byte more than ``most``, where there is more."""
        left = most + 1
        while left:
            size = min(_CHUNK_BYTES, left)
            chunk = self._guarded(url, partial(response.read, size, decode_content=False))
            if not chunk:
                return
            left -= len(chunk)
            self._operation.receive(len(chunk))
            yield chunk

    def _guarded(self, url: str, call: Callable[[], _T]) -> _T:
        """Translate failures of the network, outside of their handler: they may hold secrets."""
        caught: Exception
        try:
            return call()
        except (HTTPError, HTTPException, OSError) as error:
            caught = error
        # The reason why a connection broke may be that we cut it.
        self._operation.check()
        place = CloneUrl(url=shown_origin(url), credential=self._source.credential)
        failure = network_failure(place, caught)
        if is_transient(caught):
            raise _Interrupted(failure)
        raise failure

    # What to say

    def _refused(self, status: int, body: bytes) -> GitError:
        complaint = _parsed(_Complaint, body)
        said = "" if isinstance(complaint, str) else clean(complaint.message, self._source)
        error = http_refusal(self._endpoint, status, said)
        error.hint = _HINTS.get(status, error.hint)
        error.add_context(service=_SERVICE)
        return error

    def _object_refused(self, pointer: Pointer, problem: _Problem) -> GitError:
        meaning = _OBJECT_MESSAGES.get(problem.code, "does not give")
        said = clean(problem.message or "", self._source)
        told = f': "{said}"' if said else ""
        kind = GitError if problem.code >= 500 else RemoteRefused
        return kind(
            f"The Git LFS server of {self._source.url} {meaning} the object {pointer.oid}"
            f" (code {problem.code}){told}.",
            hint=_OBJECT_HINTS.get(problem.code, _LATER if problem.code >= 500 else _PUSH_AGAIN),
            status=problem.code,
            url=self._source.url,
            oid=pointer.oid,
        )

    def _transfer_refused(self, status: int, url: str, pointer: Pointer) -> GitError:
        kind = GitError if status >= 500 else RemoteRefused
        return kind(
            f"{shown_origin(url)} does not give the Git LFS object {pointer.oid} of"
            f" {self._source.url} (HTTP {status}).",
            hint=_PUSH_AGAIN if status in (404, 410) else _LATER,
            status=status,
            url=self._source.url,
            oid=pointer.oid,
        )

    def _nonsense(self, why: str) -> GitError:
        return GitError(
            f"{self._endpoint.url} answered something that is not the batch API of Git LFS:"
            f" {clean(why, self._source)}.",
            hint="Check that the host has Git LFS, and that its version supports the batch API.",
            url=self._source.url,
        )

    def _corrupt(self, pointer: Pointer, how: str) -> CorruptPack:
        return CorruptPack(
            f"The Git LFS object {pointer.oid} of {self._source.url} is not what its pointer"
            f" says: it {how}.",
            hint=_PUSH_AGAIN,
            url=self._source.url,
            oid=pointer.oid,
        )


class _Connections:
    """Connections to a few origins, kept while one batch is downloaded."""

    def __init__(self, destinations: Destinations, operation: Operation) -> None:
        self._destinations = destinations
        self._operation = operation
        self._pools: dict[Origin, HTTPConnectionPool] = {}
        self._open = ExitStack()

    def to(self, url: str) -> HTTPConnectionPool:
        """Connections to the origin of a URL, if that may be asked."""
        origin = self._destinations.origin_of(url)
        if origin not in self._pools:
            self._destinations.refuse_private(url)
            if len(self._pools) == _ORIGINS_OPEN_MOST:
                self.close()
            pool = self._open.enter_context(open_pool(url, self._operation))
            self._destinations.watch(pool, url)
            self._pools[origin] = pool
        return self._pools[origin]

    def close(self) -> None:
        """Close them all; new ones can be opened."""
        self._pools.clear()
        self._open.close()


def _parsed(kind: type[_Model], body: bytes) -> _Model | str:
    """The model, or what is wrong, without any value."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        return find_problems(error, kind, None)[0].text(".")


def _until(action: _Action) -> float:
    if action.expires_in is not None:
        return time.time() + action.expires_in
    at = action.expires_at
    if at is None or at.year == 1:  # how servers written in Go say that there is no end
        return inf
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location
