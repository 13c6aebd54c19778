"""The credentials of one export or clone, which may have to be replaced while it runs.

A token may expire during a long fetch. It is replaced shortly before it expires, or after the
server has rejected it. Everything that follows uses the new one: the rest of the fetch, submodules
and Git LFS.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pydantic import SecretStr

    from deploycore.models import CloneUrl, GitCredential, SshCredential

    Credential = GitCredential | SshCredential

__all__ = ["Credentials", "RenewCredential", "authorization_of", "key_of", "password_of"]

RenewCredential = Callable[["Credential"], "Credential | None"]
"""Returns another credential, after the git server rejected one or after one has expired; ``None``
if there is no other one."""

MAX_IN_A_ROW = 5
"""Maximum number of replacements in a row, without an accepted credential between them. Credentials
may be replaced twice while one request is in progress."""

_EARLY = timedelta(seconds=30)

_Kind = TypeVar("_Kind", "GitCredential", "SshCredential")


class Credentials:
    """The credentials in use; safe to use from several threads.

    Args:
        renew: Returns another credential (default: there is no other one).
    """

    def __init__(self, renew: RenewCredential | None = None) -> None:
        self._renew = renew
        self._lock = threading.Lock()
        self._newer: dict[Credential, Credential] = {}
        self._in_a_row = 0
        self._final: set[Credential] = set()

    def current(self, credential: _Kind | None) -> _Kind | None:
        """Return the credential to use in place of one that was given at the beginning."""
        if credential is None:
            return None
        with self._lock:
            found = self._newest(credential)
        expires_at: datetime | None = getattr(found, "expires_at", None)  # keys have none
        if expires_at is not None and expires_at < datetime.now(UTC) + _EARLY:
            self.replace(found)
            with self._lock:
                found = self._newest(found)
        return found

    def accept(self, credential: Credential | None) -> None:
        """Record that a server accepted a credential, so that a later rejection means expiry."""
        if credential is not None:
            with self._lock:
                self._in_a_row = 0

    def replace(self, rejected: Credential | None) -> bool:
        """Replace a credential that the server rejected.

        If several in a row are rejected, they were not rejected because they expired. Then no other
        one is requested.

        Returns:
            Whether there is another one to try.

        Raises:
            DeploycoreError: The request for another one failed.
        """
        if rejected is None or self._renew is None:
            return False
        with self._lock:
            if rejected in self._newer:
                return True
            if rejected in self._final or self._in_a_row >= MAX_IN_A_ROW:
                return False
            self._in_a_row += 1
        found = self._renew(rejected)
        with self._lock:
            # A key cannot be used over HTTPS, and a password cannot be used over SSH.
            is_other = type(found) is type(rejected) and found != rejected
            if found is None or not is_other or found in self._newer:
                self._final.add(rejected)
                return False
            self._newer.setdefault(rejected, found)
            return True

    def _newest(self, credential: _Kind) -> _Kind:
        while (newer := self._newer.get(credential)) is not None:
            credential = cast("_Kind", newer)
        return credential


def authorization_of(credential: GitCredential) -> tuple[str, SecretStr]:
    """Return the header with a credential: Basic (RFC 7617) or Bearer (RFC 6750)."""
    from deploycore.http import BasicAuth, BearerAuth  # imports requests

    if credential.scheme == "bearer":
        return BearerAuth(credential.password).header()
    return BasicAuth(credential.username, credential.password).header()


def password_of(source: CloneUrl) -> GitCredential | None:
    """Return the credential for a repository's HTTP server; ``None`` if there is only a key, for
    SSH."""
    from deploycore.models import GitCredential  # imports pydantic

    return source.credential if isinstance(source.credential, GitCredential) else None


def key_of(source: CloneUrl) -> SshCredential | None:
    """Return the credential for a repository's SSH server; ``None`` if there is only a password."""
    from deploycore.models import SshCredential  # imports pydantic

    return source.credential if isinstance(source.credential, SshCredential) else None
