"""What a browser keeps of a sign-in at an issuer, while its user is there."""

from __future__ import annotations

import json

from pydantic import SecretStr, ValidationError
from pydantic.dataclasses import dataclass

from deploycore.store.token_digests import new_secret

__all__ = ["Started"]


@dataclass(frozen=True)
class Started:
    """What a browser keeps of a sign-in that it has begun.

    Attributes:
        state: Binds the issuer's answer to the browser.
        nonce: Binds the issuer's token to the browser.
        verifier: Shows the issuer that the code is used by who asked for it.
        following: The page to go to in the end.
    """

    state: str
    nonce: str
    verifier: SecretStr
    following: str

    @classmethod
    def new(cls, following: str) -> Started:
        """Return one with new secrets."""
        state, nonce = (new_secret().get_secret_value() for _ in range(2))
        return cls(state, nonce, new_secret(), following)

    @classmethod
    def of_cookie(cls, cookie: SecretStr | None) -> Started | None:
        """Return that of a cookie; ``None`` if there is none, or it is malformed."""
        if cookie is None:
            return None
        try:
            found = json.loads(bytes.fromhex(cookie.get_secret_value()))
            return cls(*found) if isinstance(found, list) else None
        except (ValueError, TypeError, RecursionError, ValidationError):
            return None

    def as_cookie(self) -> SecretStr:
        """Return the value of a cookie."""
        parts = [self.state, self.nonce, self.verifier.get_secret_value(), self.following]
        return SecretStr(json.dumps(parts).encode().hex())
