"""Checksums of values whose damage would not be visible, such as definitions and secrets.

If a bit flips in the name of a branch, the result is still a valid name. So each of these values
has a checksum. A value that does not match it is damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["CHECKSUMS", "Checksum", "checksum_of"]


class Checksum(NamedTuple):
    """A checksum over some columns.

    Attributes:
        column: The column that has the checksum.
        of: The columns that it covers. If it does not match, errors name the first one.
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
    "users": (Checksum("identity_checksum", ("password", "issuer", "subject")),),
    "webhooks": (Checksum("secret_checksum", ("secret", "former")),),
}
"""The checksums of each table that has some."""


def checksum_of(*values: Any) -> str:
    """Return the checksum of values: the SHA-256 of their canonical JSON, in hexadecimal.

    Args:
        values: Values that JSON can represent. Paths are given as text.
    """
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
