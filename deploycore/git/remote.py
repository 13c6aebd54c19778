"""One fetch of one commit from a server, over smart HTTP, to a pack file.

dulwich speaks the protocol; this decides what it may do. It may ask two addresses of one
repository and nothing else: whatever it is told to follow (redirects, packfile URIs, dumb
HTTP) is refused here. All other refs of the server are ignored, so that nobody can block
others by pushing an odd one.

Sources: https://git-scm.com/docs/http-protocol and https://git-scm.com/docs/protocol-v2
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from dulwich.client import AbstractHttpGitClient, FetchPackResult
from dulwich.errors import GitProtocolError, HangupException
from dulwich.object_store import ObjectStoreGraphWalker
from dulwich.objects import ObjectID
from dulwich.refs import Ref, check_ref_format
from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import HTTPError

from deploycore.errors import (
    ConfigurationError,
    DeploycoreError,
    GitError,
    LimitExceeded,
    RemoteRefused,
)
from deploycore.git.address import refuse_unusable_source
from deploycore.git.operation import Operation
from deploycore.git.translation import (
    http_refusal,
    is_transient,
    network_failure,
    protocol_refusal,
)
from deploycore.git.wire import open_pool
from deploycore.git.wording import clean, file_failure
from deploycore.http import BasicAuth
from deploycore.models import CloneUrl

__all__ = ["Fetched", "Wanted", "fetch"]

_HEAD = Ref(b"HEAD")
_BRANCHES = b"refs/heads/"
_ADVERTISEMENT_BYTES_MOST = 64 * 1024 * 1024
_REASON_BYTES_MOST = 2048
_LENGTH = 4
_ERROR_BAND = b"\x03"
_SERVICE = "git-upload-pack"
_HASH = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True)
class Wanted:
    """What to fetch: a branch's tip, one commit of a branch, or one commit by its hash alone.

    Attributes:
        branch: ``None`` with no commit given: the branch that the server's HEAD names.
        commit: ``None`` for the tip.
    """

    branch: str | None = None
    commit: str | None = None

    @property
    def ref(self) -> Ref:
        """What the server is asked about."""
        if self.branch is None:
            return _HEAD
        return Ref(_BRANCHES + self.branch.encode("utf-8", "surrogateescape"))

    def refuse_malformed(self) -> None:
        """Refuse names that no server can have.

        Raises:
            ConfigurationError: Git does not allow the branch's name, or this is no hash.
        """
        if self.ref != _HEAD and not check_ref_format(self.ref):
            raise ConfigurationError(
                f"Git does not allow a branch named {clean(self.branch or '')!r}.",
                hint="Check the branch's name.",
            )
        if self.commit is not None and not _HASH.fullmatch(self.commit):
            raise ConfigurationError(
                f"{clean(self.commit)!r} is not the full hash of a commit.",
                hint="Give all of its hexadecimal digits, in lower case.",
            )


@dataclass(frozen=True)
class Fetched:
    """What a pack file holds.

    Attributes:
        commit: Full hash.
        ref: The branch's full name; ``HEAD`` where a commit was fetched by its hash.
        shallow: Whether the server left out the commit's parents, should it have any.
    """

    commit: str
    ref: bytes
    shallow: bool

    @property
    def branch(self) -> str:
        """The branch's name, for people."""
        return clean(self.ref.removeprefix(_BRANCHES))


def fetch(source: CloneUrl, wanted: Wanted, into: Path, operation: Operation) -> Fetched:
    """Fetch one commit, without its history, to a pack file.

    Broken connections and timeouts are tried again, from the beginning.

    Args:
        into: Where the pack is written.

    Raises:
        ConfigurationError: The URL or the branch's name can't be used.
        RemoteRefused: Credentials, repository, branch or commit are refused or unknown.
        LimitExceeded: Too many bytes, or too much time.
        Cancelled: The operation was asked to stop.
        GitError: The server can't be reached, failed, or does not speak git.
    """
    refuse_unusable_source(source)
    _refuse_sha256(source, wanted.commit or "")
    retries, wait = operation.settings.retries, operation.settings.retry_wait
    while True:
        outcome = _Attempt(source, wanted, into, operation).outcome()
        if isinstance(outcome, Fetched):
            return outcome
        if not outcome.again or not retries:
            # Without the frames below, whose local variables hold the credential.
            raise outcome.error.with_traceback(None)
        operation.wait(wait)
        retries, wait = retries - 1, wait * 2


@dataclass(frozen=True)
class _Failure:
    error: DeploycoreError
    again: bool


class _Attempt:
    def __init__(self, source: CloneUrl, wanted: Wanted, into: Path, operation: Operation) -> None:
        self._source = source
        self._wanted = wanted
        self._ref = wanted.ref
        self._into = into
        self._operation = operation
        self._tip: ObjectID | None = None
        self._asked = False

    def outcome(self) -> Fetched | _Failure:
        caught: Exception
        with open_pool(self._source.url, self._operation) as pool:
            client = _Client(self._source, pool, self._operation)
            try:
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
            return _Failure(self._explained(protocol_refusal(self._source, client.refusal)), False)
        if isinstance(caught, DeploycoreError):
            return _Failure(self._explained(caught), is_transient(caught))
        if isinstance(caught, GitProtocolError) and client.ended_early:
            caught = HangupException()
        return _Failure(network_failure(self._source, caught), is_transient(caught))

    def _fetched(self, client: _Client) -> Fetched:
        with _PackFile(self._into, self._operation) as pack:
            result = client.fetch_pack(
                b"",
                self._wants,
                ObjectStoreGraphWalker([], lambda commit: []),
                pack.write,
                depth=1,
                ref_prefix=[_HEAD] if self._ref == _HEAD else [_HEAD, self._ref],
            )
        if result.object_format not in (None, "sha1"):
            raise _sha256_refused(self._source)
        return self._described(result)

    def _described(self, result: FetchPackResult) -> Fetched:
        commit = self._wanted.commit or (self._tip or b"").decode()
        if not commit:
            raise self._nothing_there()
        ref: bytes = self._ref
        if ref == _HEAD and not self._wanted.commit:
            ref = result.symrefs.get(_HEAD, _HEAD)
            if not ref.startswith(_BRANCHES) or not check_ref_format(Ref(ref)):
                raise RemoteRefused(
                    f"The git server of {self._source.url} does not say which branch its HEAD is.",
                    hint="Name a branch.",
                    url=self._source.url,
                )
        return Fetched(commit, ref, shallow=commit.encode() in (result.new_shallow or ()))

    def _wants(self, refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
        for known in refs.values():
            _refuse_sha256(self._source, known.decode("ascii", "replace"))
        self._tip = refs.get(self._ref)
        if self._tip is None and self._wanted.branch is not None:
            raise self._unknown_branch(empty=not refs)
        self._asked = True
        wanted = self._wanted.commit
        if wanted:
            return [ObjectID(wanted.encode())]
        return [self._tip] if self._tip else []

    def _unknown_branch(self, *, empty: bool) -> RemoteRefused:
        branch = clean(self._wanted.branch or "")
        seems = "; it seems to be empty" if empty else ""
        return RemoteRefused(
            f"The repository {self._source.url} has no branch {branch!r}{seems}.",
            hint="Check the branch's name; upper and lower case differ.",
            url=self._source.url,
            branch=branch,
        )

    def _nothing_there(self) -> RemoteRefused:
        return RemoteRefused(
            f"The repository {self._source.url} is empty, or its HEAD names no branch.",
            hint="Push a first commit to it, or name a branch.",
            url=self._source.url,
        )

    def _explained(self, error: DeploycoreError) -> DeploycoreError:
        """Say what else is known where a commit, and not a branch, was refused."""
        commit = self._wanted.commit
        if not self._asked or commit is None or commit == (self._tip or b"").decode():
            return error
        # Some servers fail instead of refusing; both happen once the commit was asked for.
        if not isinstance(error, RemoteRefused) and error.details.get("status") != 500:
            return error
        where = f"{self._source.url} has no commit {commit} to give"
        if self._tip is not None and self._wanted.branch is not None:
            where = (
                f"The branch {clean(self._wanted.branch)!r} of {self._source.url} has moved from"
                f" {commit} to {self._tip.decode()}, and the server does not give the former"
            )
        return RemoteRefused(
            f"{where} ({error.message})",
            hint="Try again with the branch's newest commit."
            if self._wanted.branch
            else "Check that the commit was pushed, and that it is the tip of a branch there.",
            url=self._source.url,
            commit=commit,
        )


class _PackFile:
    """Where the pack's bytes go as they arrive."""

    def __init__(self, path: Path, operation: Operation) -> None:
        self._path = path
        self._operation = operation
        self._size = 0

    def __enter__(self) -> _PackFile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with _typed_failures(self._path):
            self._path.unlink(missing_ok=True)
            self._descriptor = os.open(self._path, flags, 0o444)
        return self

    def __exit__(self, *raised: object) -> None:
        with _typed_failures(self._path):
            os.close(self._descriptor)

    def write(self, data: bytes) -> int:
        self._operation.enter("receiving")
        self._size += len(data)
        if self._size > self._operation.settings.pack_bytes_most:
            raise _too_many_bytes(self._operation)
        rest = memoryview(data)
        with _typed_failures(self._path):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        return len(data)


@contextmanager
def _typed_failures(path: Path) -> Iterator[None]:
    """Tell failures of the disk from those of the network, which are ``OSError`` too."""
    try:
        yield
    except OSError as error:
        raise file_failure(path, error) from error


class _Client(AbstractHttpGitClient):
    """dulwich's protocol over our connections.

    Attributes:
        refusal: What the server said in an ``ERR`` line, which dulwich overlooks in
            protocol version 2, or in the error band; empty if there was neither.
        ended_early: Whether an answer ended within what was being read.
    """

    def __init__(self, source: CloneUrl, pool: HTTPConnectionPool, operation: Operation) -> None:
        # Thin packs are allowed since some servers insist; who has nothing gets none.
        super().__init__(source.url, thin_packs=True, quiet=True)
        self.refusal = ""
        self.ended_early = False
        self._source = source
        self._pool = pool
        self._operation = operation
        place = source.url.rstrip("/") + "/"
        self._asking = urljoin(place, f"info/refs?service={_SERVICE}")
        self._fetching = urljoin(place, _SERVICE)
        self._error_band = b""
        self._responses: list[BaseHTTPResponse] = []

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
                f"The git server of {self._source.url} sends on to another address, which is"
                " not followed.",
                url=self._source.url,
            )
        response = self._pool.urlopen(
            "GET" if data is None else "POST",
            url[len(_origin(url)) :],
            body=data,
            headers={**(headers or {}), **_own_headers(self._source)},
            redirect=False,
            retries=False,
            preload_content=False,
        )
        self._responses.append(response)
        if response.status != 200:
            raise self._refused(response)
        kind = response.headers.get("Content-Type", "")
        if data is None and kind != f"application/x-{_SERVICE}-advertisement":
            raise self._not_git(kind)
        return _Answer(response, kind), self._reader(response)

    def _reader(self, response: BaseHTTPResponse) -> Callable[[int], bytes]:
        limit = self._operation.settings.pack_bytes_most + _ADVERTISEMENT_BYTES_MOST
        received = 0
        head = b""

        def read(size: int) -> bytes:
            nonlocal received, head
            data = response.read(size)
            received += len(data)
            self._operation.receive(len(data))
            if received > limit:
                raise _too_many_bytes(self._operation)
            self.ended_early = len(data) < size
            if len(head) < _REASON_BYTES_MOST:
                head += data[:_REASON_BYTES_MOST]
                self.refusal = _err_line(head, self._source)
            if data[:1] == _ERROR_BAND and size > _LENGTH:
                self._error_band = data[1:]
            return data

        return read

    def _refused(self, response: BaseHTTPResponse) -> GitError:
        said = ""
        if response.headers.get("Content-Type", "").startswith("text/plain"):
            with suppress(HTTPError):
                said = clean(response.read(_REASON_BYTES_MOST), self._source)
        return http_refusal(self._source, response.status, said)

    def _not_git(self, kind: str) -> RemoteRefused:
        return RemoteRefused(
            f"{self._source.url} is not served as a git repository, but as"
            f" {clean(kind) or 'something without a type'}.",
            hint="Check that the address is that of a git repository, not of a page about it.",
            url=self._source.url,
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


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _err_line(head: bytes, source: CloneUrl) -> str:
    """What an ``ERR`` line at the start says (gitprotocol-pack, "pkt-line format")."""
    found = re.match(rb"[0-9a-fA-F]{4}ERR ([^\n]*)", head)
    return clean(found[1], source) if found else ""


def _refuse_sha256(source: CloneUrl, commit: str) -> None:
    if len(commit) == 64:
        raise _sha256_refused(source)


def _sha256_refused(source: CloneUrl) -> RemoteRefused:
    return RemoteRefused(
        f"The repository {source.url} uses SHA-256 hashes, which deploycore can't read yet.",
        hint="Use a repository with SHA-1 hashes.",
        url=source.url,
    )


def _too_many_bytes(operation: Operation) -> LimitExceeded:
    return LimitExceeded(
        f"The server sends more than {operation.settings.pack_bytes_most:,} bytes.",
        hint="Raise pack_bytes_most if this repository is to be trusted.",
        limit="pack_bytes_most",
    )
