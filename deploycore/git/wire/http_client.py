"""The git protocol over HTTP.

The client may request two URLs of one repository and nothing else. Redirects are rejected, except
for the first request within the same origin, because hosts redirect there from a repository's URL
without ``.git``, or from its previous name.

Source: https://git-scm.com/docs/http-protocol
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from math import ceil
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import HTTPError

from deploycore.errors import GitError
from deploycore.git.credentials import authorization_of, password_of
from deploycore.git.operation import Operation
from deploycore.git.wire.client import SERVICE, Discovered, GitClient, Reader
from deploycore.git.wire.connections import media_type, open_pool
from deploycore.git.wire.destination import Destinations
from deploycore.git.wire.request import FetchReceiver, Wanted
from deploycore.git.wire.translation import http_refusal
from deploycore.git.wording import clean
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl, GitCredential

__all__ = ["HttpGitClient", "open_http_client"]

_AT_ONCE = 64 * 1024
_MAX_REASON_BYTES = 2048
_QUESTION = f"info/refs?service={SERVICE}"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3


@contextmanager
def open_http_client(
    source: CloneUrl, operation: Operation, wanted: Wanted, receiver: FetchReceiver
) -> Iterator[GitClient]:
    """Open a client for one fetch; its connections end with the context."""
    with open_pool(source.url, operation) as pool:
        client = HttpGitClient(source, pool, operation, wanted, receiver)
        try:
            yield client
        finally:
            client.close()


class HttpGitClient(GitClient):
    """A dulwich client that uses deploycore's HTTP connections."""

    def __init__(
        self,
        source: CloneUrl,
        pool: HTTPConnectionPool,
        operation: Operation,
        wanted: Wanted,
        receiver: FetchReceiver,
    ) -> None:
        super().__init__(source, operation, wanted, receiver)
        self._pool = pool
        place = source.url.rstrip("/") + "/"
        self._place = place
        self._sent: GitCredential | None = None
        self._responses: list[BaseHTTPResponse] = []

    def stay_within(self, allowed: Destinations) -> None:
        """Reject addresses that are forbidden for a submodule, now and at each connection."""
        super().stay_within(allowed)
        allowed.watch(self._pool, self._source.url)

    def _discover_references(
        self,
        service: bytes,
        base_url: str,
        protocol_version: int | None = None,
        ref_prefix: Sequence[bytes] | None = None,
    ) -> Discovered:
        """Request refs, with as few requests as possible.

        If the capabilities of a server with protocol version 2 are known, they are not requested
        again. To fetch one commit by its hash, no refs are needed: without access, the fetch itself
        fails.
        """
        known = set(self._receiver.capabilities)
        if known:
            return self._discovered(self._ask_at_once(base_url, known, ref_prefix))
        return self._discovered(
            super()._discover_references(service, base_url, protocol_version, ref_prefix)
        )

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
        """Send a request to this client's own URL, whichever URL dulwich passes."""
        self._operation.check()
        if data is not None and not isinstance(data, bytes):
            data = b"".join(data)  # it may have to be sent again
        response = self._send(headers or {}, data)
        credentials = self._operation.credentials_for(self._source)
        while response.status == 401 and credentials.replace(self._sent):
            response.close()
            response = self._send(headers or {}, data)
        for _ in range(_MAX_REDIRECTS):
            if data is not None or not self._follows(response):
                break
            response = self._send(headers or {}, data)
        if response.status != 200:
            raise self._refused(response)
        credentials.accept(self._sent)
        # As in git, only the type of the first answer decides whether this is git (discover_refs
        # and rpc_service in remote-curl.c). The type of a later one only explains invalid content.
        kind = "advertisement" if data is None else "result"
        expected = f"application/x-{SERVICE}-{kind}"
        found = media_type(response)
        if data is None and found != expected:
            raise self.is_not_git(found)
        self.odd_type = None if found == expected else found
        return _Answer(response, expected), self._reader_of(response)

    def _send(
        self, headers: Mapping[str, str], data: bytes | Iterator[bytes] | None
    ) -> BaseHTTPResponse:
        url = self._place + (_QUESTION if data is None else SERVICE)
        credentials = self._operation.credentials_for(self._source)
        self._sent = credentials.current(password_of(self._source))
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
        """Follow the response's redirect if it stays within the same origin.

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

    def _reader_of(self, response: BaseHTTPResponse) -> Callable[[int], bytes]:
        more = partial(response.read, _AT_ONCE)
        return Reader(self, self._source, self._operation, more).read

    def _refused(self, response: BaseHTTPResponse) -> GitError:
        said = ""
        if media_type(response) == "text/plain":
            with suppress(HTTPError):
                said = clean(response.read(_MAX_REASON_BYTES), self._source)
        to = _joined(self._place, response.headers.get("Location", ""))
        error = http_refusal(self._source, response.status, said, redirected_to=to)
        if response.status == 429:
            error.add_context(retry_after=_seconds_to_wait(response))
        return error


class _Answer(NamedTuple):
    """The parts of an HTTP response that dulwich reads."""

    response: BaseHTTPResponse
    content_type: str
    redirect_location: str = ""

    def close(self) -> None:
        self.response.close()


def _seconds_to_wait(response: BaseHTTPResponse) -> int | None:
    from deploycore.http import retry_after  # few servers ask to wait

    seconds = retry_after(response.headers, datetime.now(UTC))
    return None if seconds is None else ceil(seconds)


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
