"""Hash and verify passwords with Argon2id. At most two hashes are computed at once."""

from __future__ import annotations

import secrets
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import SecretStr

from deploycore.server.problems import Refusal

__all__ = ["AT_ONCE", "LENGTH_LEAST", "Passwords"]

AT_ONCE = 2
LENGTH_LEAST = 12
_LENGTH_MOST = 1000


def new_hasher() -> PasswordHasher:
    """Return the hash function: Argon2id, by default with 64 MiB and three passes (RFC 9106, 4)."""
    return PasswordHasher()


class Passwords:
    """Hashes and verifies passwords."""

    def __init__(self) -> None:
        self._hasher = new_hasher()
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._dummy: str | None = None

    def hash(self, password: SecretStr) -> str:
        """Return the hash of a new password.

        Raises:
            Refusal: The password is too short or too long (422).
        """
        text = _normalized(password)
        if not LENGTH_LEAST <= len(text) <= _LENGTH_MOST:
            raise Refusal(
                422,
                "configuration",
                f"The password does not have {LENGTH_LEAST} to {_LENGTH_MOST:,} characters.",
                hint="Use a long password, such as several random words.",
                details={"field": "password"},
            )
        with self._slots:
            return self._hasher.hash(text)

    def verify(self, stored: str | None, password: SecretStr) -> bool:
        """Whether a password matches a hash.

        Args:
            stored: The hash. If it is ``None``, another hash is verified, so that the time is the
                same.
        """
        text, dummy = _normalized(password)[: _LENGTH_MOST + 1], self._dummy_hash()
        try:
            with self._slots:
                return self._hasher.verify(stored or dummy, text) and stored is not None
        except (VerificationError, InvalidHashError):
            return False

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash has other parameters than those of new hashes."""
        return self._hasher.check_needs_rehash(stored)

    def _dummy_hash(self) -> str:
        with self._lock:
            if self._dummy is None:
                self._dummy = self._hasher.hash(secrets.token_urlsafe())
            return self._dummy


def _normalized(password: SecretStr) -> str:
    """Normalize a password before it is hashed: keyboards write the same character in several ways
    (NIST SP 800-63B)."""
    text = unicodedata.normalize("NFKC", password.get_secret_value())
    return text.encode("utf-8", "replace").decode()
