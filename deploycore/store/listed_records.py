"""Records of what commands list without the rest of the store: see ``listing``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

__all__ = ["PreviewRecord", "ProviderRecord"]


@dataclass(frozen=True)
class ProviderRecord:
    """A configured provider.

    Attributes:
        kind: The plugin's kind.
        settings: The fields of the plugin's ``Config`` that are not secret.
        secrets: The fields that are, as :class:`deploycore.secrets.SecretBox` stores them.
        created_at: Timezone-aware.
        generation: Counts its changes, starting at 1.
        changed_at: Time of the last change; ``None`` if it was never changed.
        former_secrets: The secrets before the last change, while they may still be used.
        former_until: When the former secrets end; ``None`` if there are none.
        expires_at: When the credentials expire, if the host or the user has told.
        expiry_warned: How many days before that the last warning was given; ``None``: none was.
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


@dataclass(frozen=True)
class PreviewRecord:
    """An application that was made for a pull request.

    Attributes:
        parent: The application that the pull request is for.
        number: The pull request's.
        target: Its directory, to be removed in the end.
        within: The directory that its parent's pattern keeps all targets in.
        host: The machine that has the directory; ``None`` for any.
        ended_at: When the pull request came to its end.
        removed_at: When the application was removed; the directory is there still.
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
