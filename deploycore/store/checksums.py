"""Checksums over what nobody could tell to be wrong by looking at it: definitions and secrets.

A bit that flips in the name of a branch leaves a name of a branch. So each such value has a
checksum beside it; a value that does not match is damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["CHECKSUMS", "Checksum", "checksum_of"]


class Checksum(NamedTuple):
    """Which columns a checksum is over.

    Attributes:
        column: The column that holds it.
        of: Those that it is over; the first one is named where it does not match.
    """

    column: str
    of: tuple[str, ...]


CHECKSUMS: Mapping[str, tuple[Checksum, ...]] = {
    "providers": (
        Checksum("settings_checksum", ("settings", "name", "kind")),
        Checksum("secrets_checksum", ("secrets",)),
        Checksum("former_checksum", ("former_secrets",)),
    ),
    "provider_tokens": (Checksum("token_checksum", ("token", "former")),),
    "applications": (
        Checksum("definition_checksum", ("definition", "name", "provider", "target", "host")),
        Checksum("secrets_checksum", ("secrets",)),
    ),
    "deploy_keys": (Checksum("secret_checksum", ("secret", "public_key")),),
    "webhooks": (Checksum("secret_checksum", ("secret", "former")),),
}
"""The checksums of each table that has some."""


def checksum_of(*values: Any) -> str:
    """The checksum of values: SHA-256 of their canonical JSON, hexadecimal.

    Args:
        values: As JSON has them; paths as text.
    """
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
