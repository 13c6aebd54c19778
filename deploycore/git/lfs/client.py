"""The download of files that are kept in Git LFS.

Whoever can push decides which objects are asked for, and the server's answer names hosts of its
choice to get them from. So nothing is believed: objects are hashed as they arrive, and sizes are
added up before the first download.

Source: https://github.com/git-lfs/git-lfs/tree/main/docs (api/batch.md, api/basic-transfers.md)
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from http.client import HTTPException
from typing import Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPHeaderDict
from urllib3.exceptions import HTTPError

from deploycore.errors import DeploycoreError, GitError, LimitExceeded, RemoteRefused
from deploycore.git.lfs.batch import BatchApi, Offer, lfs_endpoint, read_complaint
from deploycore.git.lfs.errors import LfsErrors
from deploycore.git.lfs.pointers import EMPTY_POINTER, Pointer
from deploycore.git.operation import Operation
from deploycore.git.wire.address import refuse_unusable_source
from deploycore.git.wire.connections import media_type, open_pool
from deploycore.git.wire.destination import Destinations, shown_origin
from deploycore.git.wire.translation import is_transient, network_failure
from deploycore.git.wording import clean
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl

__all__ = ["LfsClient", "Sink"]

_MEDIA_TYPE = "application/vnd.git-lfs+json"
_OBJECTS_IN_BATCH = 100
_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_MAX_REASON_BYTES = 2048
_CHUNK_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_MAX_OPEN_ORIGINS = 4

_T = TypeVar("_T")

# Some hosts treat only clients whose name begins with git/ as such. Bodies come as they are
# hashed: uncompressed.
_OWN = {"User-Agent": "git/deploycore", "Accept-Encoding": "identity"}


class Sink(Protocol):
    """Where the content of one object goes."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""


OpenSink = Callable[[Pointer], AbstractContextManager[Sink]]


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
        self._errors = LfsErrors(source, self._endpoint)
        self._batch = BatchApi(source, self._endpoint, self._errors, ref)
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
        if EMPTY_POINTER in wanted:  # servers need not have it
            wanted.remove(EMPTY_POINTER)
            with open_sink(EMPTY_POINTER):
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
                raise self._errors.corrupt(pointer, f"has {known.size:,} bytes by another pointer")
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

    def _ask(self, wanted: list[Pointer]) -> list[Offer]:
        """Where all of these are to be had (docs/api/batch.md)."""
        headers = {
            "Accept": _MEDIA_TYPE,
            "Content-Type": _MEDIA_TYPE,
            **self._batch.authorization(),
        }
        url = f"{self._endpoint.url}/objects/batch"
        with closing(self._send("POST", url, headers, self._batch.request(wanted))) as response:
            most = _MAX_ANSWER_BYTES if response.status == 200 else _MAX_REASON_BYTES
            body = b"".join(self._chunks(response, url, most))
            if response.status != 200:
                raise self._errors.refused(response.status, read_complaint(body))
            kind = media_type(response)
        if len(body) > _MAX_ANSWER_BYTES:
            raise LimitExceeded(
                f"The answer of {self._endpoint.url} is larger than {_MAX_ANSWER_BYTES:,} bytes.",
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
        return self._batch.read_offers(wanted, body)

    # The transfer

    def _download(self, offer: Offer, open_sink: OpenSink) -> None:
        """Get one object, from where its server says (docs/api/basic-transfers.md)."""
        url, headers = offer.href, offer.headers
        for _ in range(_MAX_REDIRECTS + 1):
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
            f" than {_MAX_REDIRECTS} times.",
            hint="Correct the configuration of the LFS server.",
            url=self._source.url,
            oid=offer.pointer.oid,
        )

    def _receive(
        self, response: BaseHTTPResponse, url: str, pointer: Pointer, open_sink: OpenSink
    ) -> None:
        if response.status != 200:
            raise self._errors.transfer_refused(response.status, url, pointer)
        digest, received = hashlib.sha256(), 0
        with open_sink(pointer) as sink:
            for chunk in self._chunks(response, url, pointer.size):
                received += len(chunk)
                if received > pointer.size:
                    raise self._errors.corrupt(pointer, f"is longer than {pointer.size:,} bytes")
                digest.update(chunk)
                sink.write(chunk)
            if received < pointer.size:
                # What ends early may have been cut off; without a length that can't be seen.
                short = f"is {received:,} bytes long instead of {pointer.size:,}"
                raise _Interrupted(self._errors.corrupt(pointer, short))
            if digest.hexdigest() != pointer.oid:
                raise self._errors.corrupt(pointer, "has another SHA-256")

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
            if len(self._pools) == _MAX_OPEN_ORIGINS:
                self.close()
            pool = self._open.enter_context(open_pool(url, self._operation))
            self._destinations.watch(pool, url)
            self._pools[origin] = pool
        return self._pools[origin]

    def close(self) -> None:
        """Close them all; new ones can be opened."""
        self._pools.clear()
        self._open.close()


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location
