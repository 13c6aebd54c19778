"""A digest of the external values that a release's commands received.

The values behind ``env:`` and ``file:`` are not in the database, so no revision shows that they
have changed. A deployment of the same commit compares them with the live release's digest. No file
has the values themselves. The digest is salted, slow to compute, and in a file that only its owner
can open.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from deploycore.deploy.releases import Releases
from deploycore.disk.durable import open_regular_file, write_private_file
from deploycore.errors import DeployError

__all__ = ["have_changed", "remember"]

_MOST_BYTES = 1024 * 1024
_SALT_BYTES = 16
_COST = {"n": 2**14, "r": 8, "p": 1}  # scrypt's, which takes some hundredths of a second


def remember(releases: Releases, release: str, values: Mapping[str, SecretStr]) -> None:
    """Store a digest of the values that a release is created with, if the file can be written.

    Args:
        releases: The releases of the application. The caller holds the target's lock.
        release: The release's name.
        values: The values, by the names of their variables.
    """
    known = _read(releases)
    if not values and not known:
        return
    salt = secrets.token_bytes(_SALT_BYTES)
    with suppress(OSError, DeployError):
        kept = {name: known[name] for name in releases.names() if name in known}
        kept[release] = [salt.hex(), _digest(salt, values).hex()]
        beside = releases.inputs.with_name(f"{releases.inputs.name}.new")
        write_private_file(beside, json.dumps(kept).encode())
        os.replace(beside, releases.inputs)


def have_changed(releases: Releases, release: str, values: Mapping[str, SecretStr]) -> bool:
    """Return whether a release was created with other values; ``False`` if that is unknown."""
    try:
        salt, digest = (bytes.fromhex(each) for each in _read(releases)[release])
    except (KeyError, TypeError, ValueError):
        return False
    return not hmac.compare_digest(digest, _digest(salt, values))


def _digest(salt: bytes, values: Mapping[str, SecretStr]) -> bytes:
    text = json.dumps(sorted((name, each.get_secret_value()) for name, each in values.items()))
    return hashlib.scrypt(text.encode("utf-8", "surrogatepass"), salt=salt, **_COST)


def _read(releases: Releases) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        descriptor = open_regular_file(releases.inputs)
        with open(descriptor, "rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
        if isinstance(found, dict):
            return found
    return {}
