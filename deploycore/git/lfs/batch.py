"""The batch API of Git LFS: the request that asks where objects are, and its answer.

The answer names hosts of the server's choice. The credential is sent only to the repository's own
origin. Headers that an answer gives us are sent only to the address that they were given for.

Source: https://github.com/git-lfs/git-lfs/tree/main/docs (api/batch.md, api/authentication.md,
api/server-discovery.md)
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from urllib3 import HTTPHeaderDict

from deploycore.errors import UnsafeRepository
from deploycore.git.credentials import authorization_of
from deploycore.git.lfs.errors import LfsErrors
from deploycore.git.lfs.pointers import Pointer
from deploycore.git.wording import clean
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl, GitCredential
from deploycore.text.validation import find_problems

__all__ = ["BatchApi", "Offer", "lfs_endpoint", "read_complaint", "valid_until"]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~\x80-\xff]*")
# A server must not set headers that decide where a request ends, where it goes, or how its answer
# is encoded.
_FORBIDDEN_HEADER = re.compile(
    "accept-encoding|connection|content-length|expect|host|keep-alive|proxy-.*|range|te|trailer"
    "|transfer-encoding|upgrade",
    re.IGNORECASE,
)

_Model = TypeVar("_Model", bound=BaseModel)


def lfs_endpoint(source: CloneUrl) -> CloneUrl:
    """Return the URL of a repository's LFS server (docs/api/server-discovery.md).

    The repository's ``.lfsconfig``, which may name another server, is ignored: anyone who can push
    could use it to send the credential elsewhere.

    Returns:
        The address with the source's credential, which belongs to the same origin.
    """
    place = source.url.rstrip("/").removesuffix(".git")
    return CloneUrl(url=f"{place}.git/info/lfs", credential=source.credential)


class _Part(BaseModel):
    """A part of an answer. Unknown fields are ignored; known ones must have the right type."""

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
class Offer:
    """The URL of one object, the headers to send, and until when both are valid (Unix time)."""

    pointer: Pointer
    href: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    until: float


class BatchApi:
    """Writes requests to the LFS server of one repository, and reads its answers.

    Args:
        source: The repository.
        endpoint: Its LFS server.
        errors: Makes the errors.
        ref: Full name of what is being checked out; see ``LfsClient``.
        granted: Headers that authorize requests in place of a credential.
    """

    def __init__(
        self,
        source: CloneUrl,
        endpoint: CloneUrl,
        errors: LfsErrors,
        ref: bytes | None,
        granted: Mapping[str, str] | None = None,
    ) -> None:
        self._granted = self._sendable(granted or {}, source)
        self._source = source
        self._endpoint = endpoint
        self._errors = errors
        self._ref = ref

    def request(self, wanted: list[Pointer]) -> bytes:
        """Write the request for these objects."""
        request: dict[str, object] = {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": each.oid, "size": each.size} for each in wanted],
        }
        if self._ref and self._ref.startswith(b"refs/"):
            request["ref"] = {"name": self._ref.decode("utf-8", "replace")}
        return json.dumps(request).encode()

    def authorization(self, credential: GitCredential | None) -> dict[str, str]:
        """Return the header with the credential if there is one, otherwise the headers that were
        granted."""
        if credential is None:
            return dict(self._granted)
        name, value = authorization_of(credential)
        return {name: value.get_secret_value()}

    def read_offers(
        self, wanted: list[Pointer], body: bytes, credential: GitCredential | None
    ) -> list[Offer]:
        """Read an answer: one offer for each requested object, in the same order.

        Args:
            credential: Authorizes downloads from the repository's own server.

        Raises:
            RemoteRefused: The server refuses an object.
            CorruptPack: The size of an object differs from its pointer.
            UnsafeRepository: The server asks for headers that must not be sent.
            GitError: The server failed, or the answer is invalid.
        """
        answer = _parsed(_Batch, body)
        if isinstance(answer, str):
            raise self._errors.invalid_answer(answer)
        given = {each.oid: each for each in answer.objects}
        if len(given) != len(answer.objects):
            raise self._errors.invalid_answer("it lists an object twice")
        if given.keys() - {each.oid for each in wanted}:
            raise self._errors.invalid_answer("it lists objects that were not requested")
        return [self._offer(each, given.get(each.oid), credential) for each in wanted]

    def _offer(
        self, pointer: Pointer, given: _Object | None, credential: GitCredential | None
    ) -> Offer:
        if given is not None and given.error is not None:
            raise self._errors.object_refused(pointer, given.error.code, given.error.message or "")
        action = given.actions.download if given and given.actions else None
        if given is None or action is None:
            raise self._errors.invalid_answer(f"the object {pointer.oid} is missing")
        if given.size not in (None, pointer.size):
            raise self._errors.corrupt(pointer, f"has {given.size:,} bytes according to its server")
        headers = self._sendable(action.header or {}, self._source)
        at_home = Origin.of(self._endpoint.url).covers(action.href)
        if at_home and not given.authenticated and "Authorization" not in headers:
            headers.update(self.authorization(credential))
        return Offer(
            pointer, action.href, headers, valid_until(action.expires_in, action.expires_at)
        )

    @staticmethod
    def _sendable(given: Mapping[str, str], source: CloneUrl) -> HTTPHeaderDict:
        """Check the headers that the server asks us to send; their names are case-insensitive."""
        for name, value in given.items():
            well_formed = _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
            if not well_formed or _FORBIDDEN_HEADER.fullmatch(name):
                raise UnsafeRepository(
                    f"The Git LFS server of {source.url} asked to send it the"
                    f" header {clean(name, source)!r}, which is not allowed.",
                    hint="Configure the LFS server so that its downloads do not need this header.",
                    url=source.url,
                )
        return HTTPHeaderDict(given)


def read_complaint(body: bytes) -> str:
    """Return the message of a server that refused a request; empty if it sent none."""
    complaint = _parsed(_Complaint, body)
    return "" if isinstance(complaint, str) else complaint.message


def _parsed(kind: type[_Model], body: bytes) -> _Model | str:
    """Return the model, or a description of the problem without values of the answer."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        return find_problems(error, kind, None)[0].text(".")


def valid_until(seconds: int | None, at: datetime | None) -> float:
    """The Unix time at which something expires. Servers have two ways to send it."""
    if seconds is not None:
        return time.time() + seconds
    if at is None or at.year == 1:  # servers written in Go send year 1 for no expiry
        return inf
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
