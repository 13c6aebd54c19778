"""The download of files that are kept in Git LFS.

Anyone who can push decides which objects are requested, and the server's answer can name any host
to download them from. So nothing is trusted: objects are hashed as they arrive, and their sizes are
checked against the limits before the first download.

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
from deploycore.git.credentials import password_of
from deploycore.git.lfs.batch import BatchApi, Offer, lfs_endpoint, read_complaint
from deploycore.git.lfs.errors import COMMIT_AGAIN, LfsErrors
from deploycore.git.lfs.pointers import EMPTY_POINTER, Pointer
from deploycore.git.lfs.ssh_access import SshAccess, ask_for_access
from deploycore.git.operation import Operation
from deploycore.git.wire.address import refuse_unusable_source
from deploycore.git.wire.connections import media_type, open_pool
from deploycore.git.wire.destination import Destinations, shown_origin
from deploycore.git.wire.translation import is_transient, network_failure
from deploycore.git.wording import clean
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl, GitCredential
from deploycore.ssh.server import is_ssh

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

# Some hosts recognize git clients by a name that begins with git/. Bodies must be uncompressed,
# since the hash is that of the uncompressed content.
_OWN = {"User-Agent": "git/deploycore", "Accept-Encoding": "identity"}


class Sink(Protocol):
    """Receives the content of one object."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""


OpenSink = Callable[[Pointer], AbstractContextManager[Sink]]


class _Interrupted(Exception):
    """A network failure after which a retry may succeed."""

    def __init__(self, error: GitError) -> None:
        super().__init__()
        self.error = error


class LfsClient:
    """Downloads objects of one repository from its LFS server.

    Args:
        source: The repository.
        operation: Limits, deadline and cancellation.
        ref: Full name of the ref that is checked out, for servers whose permissions depend on it.
            ``HEAD`` is not sent.
        within: The addresses that a submodule may have; ``None`` if this is not a submodule.
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
        self._operation = operation
        self._ref = ref
        self._access: SshAccess | None = None
        self._use(lfs_endpoint(source))
        self._connections = _Connections(Destinations(source, within=within), operation)
        self._asked_with: GitCredential | None = None

    def fetch(self, pointers: Iterable[Pointer], open_sink: OpenSink) -> None:
        """Download objects, each of them once.

        Args:
            open_sink: Opens a sink for one object's content, as a context manager. It is left
                with an exception if the content must be discarded; else the content is complete
                and verified. After a broken connection it is called again.

        Raises:
            ConfigurationError: The source's URL is invalid.
            RemoteRefused: The server refuses the request, does not support LFS, or lacks an object;
                ``details["status"]`` is the status, ``details["oid"]`` the object.
            LimitExceeded: There are too many objects or bytes, the answer is too large, or the
                download takes too long.
            UnsafeRepository: The server refers to an address, or asks for a header, that is not
                allowed.
            CorruptPack: An object's size or hash differs from its pointer.
            Cancelled: The operation was cancelled.
            GitError: The server cannot be reached, failed, or does not speak the batch API.
        """
        allowed = self._operation.settings.allow_plain_http
        refuse_unusable_source(self._source, allow_plain_http=allowed)
        wanted = self._within_limits(pointers)
        if EMPTY_POINTER in wanted:  # a server may not have the empty object
            wanted.remove(EMPTY_POINTER)
            with open_sink(EMPTY_POINTER):
                pass
        for start in range(0, len(wanted), _OBJECTS_IN_BATCH):
            with closing(self._connections):
                self._fetch_batch(wanted[start : start + _OBJECTS_IN_BATCH], open_sink)

    def _use(self, endpoint: CloneUrl, granted: Mapping[str, str] | None = None) -> None:
        self._endpoint = endpoint
        self._errors = LfsErrors(self._source, endpoint, granted)
        self._batch = BatchApi(self._source, endpoint, self._errors, self._ref, granted)

    def _find_endpoint(self) -> None:
        """Request access to the LFS server over SSH, if the repository is fetched over SSH."""
        if is_ssh(self._source.url) and (self._access is None or self._access.is_old):
            ask = partial(ask_for_access, self._source, self._operation)
            self._access = self._guarded(self._source.url, ask)
            self._use(self._access.endpoint, self._access.headers)

    def _within_limits(self, pointers: Iterable[Pointer]) -> list[Pointer]:
        """Return the distinct objects, counted one by one, since there may be any number."""
        distinct: dict[str, Pointer] = {}
        for pointer in pointers:
            self._operation.check()
            known = distinct.get(pointer.oid)
            if known is None:
                distinct[pointer.oid] = pointer
                self._operation.expect_lfs(pointer.size)
            elif known != pointer:
                raise self._errors.corrupt(
                    pointer,
                    f"has {known.size:,} bytes according to another pointer",
                    hint=COMMIT_AGAIN,
                )
        return list(distinct.values())

    def _fetch_batch(self, wanted: list[Pointer], open_sink: OpenSink) -> None:
        while wanted:
            self._persistently(self._find_endpoint)
            offers = self._persistently(partial(self._ask, wanted))
            for number, offer in enumerate(offers):
                # The first one is always tried, so that wrong clocks cannot cause an endless loop.
                if number and offer.until <= time.time():
                    break
                try:
                    self._persistently(partial(self._download, offer, open_sink))
                except RemoteRefused as error:
                    if error.details.get("status") != 401 or not self._replace_credential():
                        raise
                    break  # and ask again, for offers with the new credential
                wanted = wanted[1:]

    def _replace_credential(self) -> bool:
        return self._operation.credentials_for(self._source).replace(self._asked_with)

    def _persistently(self, attempt: Callable[[], _T]) -> _T:
        """Retry an attempt after broken connections and timeouts."""
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
                # Without the traceback, whose frames hold credentials in local variables.
                raise failure.with_traceback(None)
            self._operation.wait(wait)
            retries, wait = retries - 1, wait * 2

    # The batch API

    def _ask(self, wanted: list[Pointer]) -> list[Offer]:
        """Ask for the download URLs of these objects (docs/api/batch.md)."""
        credentials = self._operation.credentials_for(self._source)
        credential = credentials.current(password_of(self._source))
        headers = {
            "Accept": _MEDIA_TYPE,
            "Content-Type": _MEDIA_TYPE,
            **self._batch.authorization(credential),
        }
        url = f"{self._endpoint.url}/objects/batch"
        with closing(self._send("POST", url, headers, self._batch.request(wanted))) as response:
            if response.status == 401 and credentials.replace(credential):
                return self._ask(wanted)
            most = _MAX_ANSWER_BYTES if response.status == 200 else _MAX_REASON_BYTES
            body = b"".join(self._chunks(response, url, most))
            if response.status != 200:
                raise self._errors.refused(response.status, read_complaint(body))
            credentials.accept(credential)
            kind = media_type(response)
        if len(body) > _MAX_ANSWER_BYTES:
            raise LimitExceeded(
                f"The Git LFS server {self._endpoint.url} sent an answer of more than"
                f" {_MAX_ANSWER_BYTES:,} bytes.",
                hint=f"Check what answers at {url}: it must be the LFS server, and no proxy or"
                " web page.",
                url=self._source.url,
            )
        if "json" not in kind:
            raise RemoteRefused(
                f"{self._endpoint.url} is not a Git LFS server: the answer has"
                f" {'the content type ' + clean(kind) if kind else 'no content type'}.",
                hint="Check whether the host has Git LFS, and whether it is enabled for this"
                " repository.",
                url=self._source.url,
            )
        self._asked_with = credential
        return self._batch.read_offers(wanted, body, credential)

    # The transfer

    def _download(self, offer: Offer, open_sink: OpenSink) -> None:
        """Download one object (docs/api/basic-transfers.md)."""
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
            hint="Check the storage address and the proxy of the LFS server: downloads must not"
            " lead in a circle.",
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
                # The connection may have broken, which is not visible without a length.
                short = f"is {received:,} bytes long instead of {pointer.size:,}"
                raise _Interrupted(self._errors.corrupt(pointer, short))
            if digest.hexdigest() != pointer.oid:
                raise self._errors.corrupt(pointer, "has a different SHA-256")

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
        """Read the body in steps, up to one byte more than ``most``."""
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
        """Translate network failures, outside of their handler, since they may hold secrets."""
        caught: Exception
        try:
            return call()
        except (HTTPError, HTTPException, OSError) as error:
            caught = error
        # The connection may have broken because the operation ended and cut it.
        self._operation.check()
        place = CloneUrl(url=shown_origin(url), credential=password_of(self._source))
        failure = network_failure(place, caught)
        if is_transient(caught):
            raise _Interrupted(failure)
        raise failure


class _Connections:
    """Connections to a few origins, kept open while one batch is downloaded."""

    def __init__(self, destinations: Destinations, operation: Operation) -> None:
        self._destinations = destinations
        self._operation = operation
        self._pools: dict[Origin, HTTPConnectionPool] = {}
        self._open = ExitStack()

    def to(self, url: str) -> HTTPConnectionPool:
        """Open connections to the origin of a URL, if the rules allow that."""
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
        """Close all connections; new ones can be opened."""
        self._pools.clear()
        self._open.close()


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location
