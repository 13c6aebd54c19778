"""Authorization of API requests: bearer tokens and their roles.

The digests of all tokens are kept in memory and read again after a quarter of a second. So wrong
tokens cause almost no database queries, and a new or removed token takes effect at once.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from deploycore.errors import StoreError
from deploycore.server.callers import may
from deploycore.server.problems import Refusal
from deploycore.store import Role, Store, TokenRecord
from deploycore.store.token_digests import digest_of

__all__ = ["Access"]

logger = logging.getLogger(__name__)

_FRESH_SECONDS = 0.25
_NOTED_EVERY = timedelta(minutes=1)
_TOKEN_LENGTH = 512


class Access:
    """Looks up tokens.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._reading = threading.Lock()
        self._tokens: Sequence[TokenRecord] = ()
        self._read_at = -float("inf")
        self._noted: dict[str, datetime] = {}

    @property
    def is_fresh(self) -> bool:
        """Whether the tokens were read so recently that ``refresh`` does nothing."""
        return self._clock() - self._read_at < _FRESH_SECONDS

    def refresh(self) -> None:
        """Read the tokens again, if they are old.

        Raises:
            StoreError: The database cannot be used.
        """
        with self._reading:
            if not self.is_fresh:
                at = self._clock()
                self._tokens = self._store.tokens.list()
                self._read_at = at

    def bearer(self, header: str | None, wanted: Role) -> TokenRecord:
        """Return the token of a request, from memory.

        Args:
            header: The request's ``Authorization`` header.
            wanted: The required role.

        Raises:
            Refusal: The token is missing or invalid (401), or its role is too low (403).
        """
        found = self._find(header or "")
        if found is None:
            raise Refusal(
                401,
                "authentication_failed",
                "The request has no valid token.",
                hint="Send 'Authorization: Bearer TOKEN'. Create a token: deploycore token add"
                " NAME --role ROLE",
                headers={"WWW-Authenticate": 'Bearer realm="deploycore"'},
            )
        if not may(found.role, wanted):
            raise Refusal(
                403,
                "permission_denied",
                f"The token {found.name} has the role {found.role}, but {wanted} is required.",
                hint="Use a token with that role: deploycore token add NAME --role ROLE",
                details={"role": found.role, "wanted": wanted},
            )
        return found

    def holder(self, header: str | None) -> TokenRecord | None:
        """Return the token of a request, with any role; ``None`` if there is none.

        Args:
            header: The request's ``Authorization`` header.
        """
        return self._find(header or "")

    def still_holds(self, token: TokenRecord) -> bool:
        """Whether a token that was valid has neither expired nor been removed since.

        Call this method in a thread.

        Raises:
            StoreError: The database cannot be used.
        """
        self.refresh()
        is_there = token.digest in {each.digest for each in self._tokens}
        return is_there and (token.expires_at is None or datetime.now(UTC) < token.expires_at)

    def note_use(self, token: TokenRecord) -> None:
        """Record the use of a token, at most once a minute. A failure is only logged."""
        if not self.is_to_be_noted(token):
            return
        self._noted[token.name] = datetime.now(UTC)
        try:
            self._store.tokens.note_use(token.name)
        except StoreError as error:
            logger.warning(
                "the last use of the token %s could not be recorded: %s", token.name, error
            )

    def is_to_be_noted(self, token: TokenRecord) -> bool:
        """Whether a token's use was not recorded within a minute."""
        noted = self._noted.get(token.name)
        # A clock can also be set back.
        return noted is None or abs(datetime.now(UTC) - noted) >= _NOTED_EVERY

    def _find(self, header: str) -> TokenRecord | None:
        scheme, _, given = header.partition(" ")
        if scheme.lower() != "bearer" or len(given) > _TOKEN_LENGTH:
            return None
        digest = digest_of(SecretStr(given.strip()))
        now, found = datetime.now(UTC), None
        # Compare with all tokens, whichever one matches, so that the time does not depend on it.
        for token in self._tokens:
            is_same = hmac.compare_digest(token.digest.encode(), digest.encode())
            if is_same and (token.expires_at is None or now < token.expires_at):
                found = token
        return found
