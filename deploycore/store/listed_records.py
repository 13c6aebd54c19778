"""Records that commands list without importing the rest of the store; see ``listing``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path

from deploycore.records import record

__all__ = ["PreviewRecord", "ProviderRecord"]


@record
class ProviderRecord:
    """A configured provider.

    Attributes:
        name: The name of the provider.
        kind: The kind of the provider.
        settings: The fields of the plugin's ``Config`` that are not secret.
        secrets: The secret fields, as :class:`deploycore.secrets.SecretBox` stores them.
        created_at: The time of its creation, with a time zone.
        generation: The number of changes, starting at 1.
        changed_at: The time of the last change; ``None`` if it was never changed.
        former_secrets: The secrets before the last change, while they may still be used.
        former_until: The time until which they may be used; ``None`` if there are none.
        expires_at: When the credentials expire, according to the host or the user.
        expiry_warned: The last warning, in days before the expiry; ``None`` if there was none.
    """

    name: str
    kind: str
    settings: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    created_at: datetime
    generation: int = 1
    changed_at: datetime | None = None
    former_secrets: Mapping[str, str] | None = field(default=None, repr=False)
    former_until: datetime | None = None
    expires_at: datetime | None = None
    expiry_warned: int | None = None


@record
class PreviewRecord:
    """An application that was created for a pull request.

    Attributes:
        name: The name of the preview.
        parent: The application that the pull request is for.
        number: The number of the pull request.
        target: Its directory, which is removed at the end.
        within: The fixed directory of the parent's pattern, which contains all targets.
        host: The machine that has the directory; ``None`` for any.
        ended_at: When the pull request was merged or declined.
        removed_at: When the application was removed, while the directory still exists.
    """

    name: str
    parent: str
    number: int
    target: Path
    within: Path
    host: str | None
    created_at: datetime
    ended_at: datetime | None
    removed_at: datetime | None
