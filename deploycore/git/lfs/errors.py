"""Errors of Git LFS: rejected requests, and invalid responses."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from deploycore.errors import CorruptPack, GitError, RemoteRefused
from deploycore.git.lfs.pointers import Pointer
from deploycore.git.wire.destination import shown_origin
from deploycore.git.wire.translation import http_refusal
from deploycore.git.wording import clean
from deploycore.models import CloneUrl
from deploycore.redaction import Redactor

__all__ = ["COMMIT_AGAIN", "LfsErrors"]

_SERVICE = "lfs"
_PUSH_AGAIN = (
    "Push the object again from a clone that has it: git lfs push --all origin. Without such a"
    " clone, commit the file again, or deploy with lfs: false."
)
_REPLACE = (
    "Ask the host's administrator to remove the object, then push it again from a clone that has"
    " it: git lfs push --all origin. Or deploy with lfs: false."
)
COMMIT_AGAIN = "Commit the file again with git-lfs installed, or deploy with lfs: false."
_LATER = "Try again later. If it happens again, the host's storage has a problem."
_OBJECT_HINTS = {
    401: "Check whether the credentials may read Git LFS on this host.",
    403: "Give the credentials the right to read this repository's files in Git LFS.",
    422: "Look up the object in the LFS server's log: the server finds its hash or size invalid.",
}
_OBJECT_MESSAGES = {404: "does not have", 410: "no longer has", 422: "does not understand"}
_HINTS = {
    404: "Check whether the host has Git LFS, whether it is enabled for this repository, and"
    " whether the credentials may see it.",
    413: "Raise the LFS server's limit of objects in a request to 100.",
    422: "Look up the request in the LFS server's log: the server finds it invalid.",
    501: "Check whether the host has Git LFS.",
    509: "Wait until the host lifts its bandwidth limit, or raise the limit there.",
}


_SHORTEST_SECRET = 8  # below that, a part is a word such as "Basic"
_MAX_EXAMINED = 64 * 1024


class LfsErrors:
    """Makes the errors for one repository.

    Args:
        source: The repository; its credential is masked in what the server said.
        endpoint: Its LFS server.
        granted: Headers that authorize requests; their values are masked, too.
    """

    def __init__(
        self, source: CloneUrl, endpoint: CloneUrl, granted: Mapping[str, str] | None = None
    ) -> None:
        self._source = source
        self._endpoint = endpoint
        self._granted = tuple(
            SecretStr(part)
            for value in (granted or {}).values()
            for part in (value, *value.split())
            if len(part) >= _SHORTEST_SECRET
        )

    def _clean(self, text: str) -> str:
        """What a server said, safe to print."""
        if self._granted:
            text = Redactor(self._granted).mask(text[:_MAX_EXAMINED])
        return clean(text, self._source)

    def refused(self, status: int, said: str) -> GitError:
        """Return the error for a request that the server refused as a whole.

        Args:
            said: The server's own message; may be empty.
        """
        error = http_refusal(self._endpoint, status, self._clean(said))
        error.hint = _HINTS.get(status, error.hint)
        error.add_context(service=_SERVICE)
        return error

    def object_refused(self, pointer: Pointer, code: int, message: str) -> GitError:
        """Return the error for one object that the server refuses.

        Args:
            code: The object's error code, with the meaning of an HTTP status.
            message: The server's own message; may be empty.
        """
        meaning = _OBJECT_MESSAGES.get(code, "did not send")
        said = self._clean(message)
        told = f': "{said}"' if said else ""
        kind = GitError if code >= 500 else RemoteRefused
        return kind(
            f"The Git LFS server of {self._source.url} {meaning} the object {pointer.oid}"
            f" (code {code}){told}.",
            hint=_OBJECT_HINTS.get(code, _LATER if code >= 500 else _PUSH_AGAIN),
            status=code,
            url=self._source.url,
            oid=pointer.oid,
        )

    def transfer_refused(self, status: int, url: str, pointer: Pointer) -> GitError:
        """Return the error for an object whose download URL is refused."""
        kind = GitError if status >= 500 else RemoteRefused
        return kind(
            f"{shown_origin(url)} did not send the Git LFS object {pointer.oid} of"
            f" {self._source.url} (HTTP {status}).",
            hint=_PUSH_AGAIN if status in (404, 410) else _LATER,
            status=status,
            url=self._source.url,
            oid=pointer.oid,
        )

    def invalid_answer(self, why: str) -> GitError:
        """Return the error for an answer that the batch API does not allow."""
        return GitError(
            f"{self._endpoint.url} sent an answer that the batch API of Git LFS does not allow:"
            f" {self._clean(why)}.",
            hint="Check that the host has Git LFS, and that its version supports the batch API.",
            url=self._source.url,
        )

    def corrupt(self, pointer: Pointer, how: str, *, hint: str = _REPLACE) -> CorruptPack:
        """Return the error for an object that differs from its pointer.

        Args:
            how: A clause whose subject is the object.
            hint: The next step, if the object itself is not to be replaced.
        """
        return CorruptPack(
            f"The Git LFS object {pointer.oid} of {self._source.url} differs from its"
            f" pointer: it {how}.",
            hint=hint,
            url=self._source.url,
            oid=pointer.oid,
        )
