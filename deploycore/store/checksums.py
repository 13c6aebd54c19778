"""Checksums over what nobody could tell to be wrong by looking at it: definitions and secrets.

A bit that flips in the name of a branch leaves a name of a branch. So each such value has a
checksum beside it; a value that does not match is damaged.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

__all__ = ["checksum_of"]


def checksum_of(*values: Any) -> str:
    """The checksum of values: SHA-256 of their canonical JSON, hexadecimal.

    Args:
        values: As JSON has them; paths as text.
    """
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
