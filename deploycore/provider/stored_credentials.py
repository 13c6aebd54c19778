"""Add to errors about rejected credentials that these have expired, and how to replace them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from deploycore.configuration import ProviderConfig
from deploycore.credentials.expiry import replacing_command
from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    PermissionDenied,
    PluginError,
    RemoteRefused,
)
from deploycore.records import record
from deploycore.text.sentences import sentences
from deploycore.tokens import SignIn

__all__ = ["StoredCredentials", "flow_of", "signs_in"]

_ASKS_FOR_NEW = (
    r"(?i)\b(make|create|generate|issue)\b[^.;]*\b(token|key|password|secret|credential)"
)


def signs_in(config: ProviderConfig) -> bool:
    """Whether a person signs in to a provider, as far as its plugin can tell."""
    try:
        return config.sign_in is not None
    except Exception:
        return False


def flow_of(config: ProviderConfig) -> SignIn | None:
    """Return how a person signs in to a provider; ``None`` if that is not needed.

    Raises:
        PluginError: The plugin fails.
    """
    try:
        return config.sign_in
    except DeploycoreError:
        raise
    except Exception as error:
        reason = type(error).__name__
    raise PluginError(
        f"The plugin of provider {config.name} cannot tell how a person signs in: {reason}.",
        hint="Upgrade the plugin. If that does not help, report this to its author.",
        provider=config.name,
    )


@record
class StoredCredentials:
    """The credentials of a stored provider.

    Attributes:
        provider: The name of the provider.
        has_secrets: Whether there is a secret that can be replaced.
        expires_at: When they expire, as far as is known.
        is_signed_in: Whether a person signs in.
    """

    provider: str
    has_secrets: bool
    expires_at: datetime | None
    is_signed_in: bool = False

    def explain(self, error: DeploycoreError) -> None:
        """Add to an error that the credentials have expired, and how to replace them."""
        is_rejected = isinstance(error, AuthenticationFailed) or (
            isinstance(error, RemoteRefused) and error.details.get("status") == 401
        )
        if not self.has_secrets or not (is_rejected or _needs_others(error)):
            return
        if is_rejected and self._has_expired:
            command = replacing_command(self.provider, is_signed_in=self.is_signed_in)
            day = self.expires_at.astimezone(UTC).date() if self.expires_at else ""
            said = f"The credentials of provider {self.provider} expired on {day}."
            if not error.message.startswith(said):
                error.message = f"{said} {error.message}"
                error.args = (error.message,)
                error.hint = sentences(f"Replace them: {command}", error.hint)
        elif "deploycore provider " not in error.hint:
            command = replacing_command(self.provider, is_signed_in=False)
            error.hint = sentences(error.hint, f"Then replace the stored secret: {command}")

    @property
    def _has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


def _needs_others(error: DeploycoreError) -> bool:
    return isinstance(error, PermissionDenied | RemoteRefused) and bool(
        re.search(_ASKS_FOR_NEW, error.hint)
    )
