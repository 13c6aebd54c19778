"""What the commands of a release were given from outside, remembered as a digest.

Values that ``env:`` and ``file:`` name are not in the database, so no revision tells that they
have changed. With a digest of those of the live release, a deployment of the same commit can tell.
The values are in no file: the digest is salted, slow to compute, and in a file that only its owner
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
    """Remember the values that a release is made with, as far as the file can be written.

    Args:
        releases: The releases of the application. The caller holds the target's lock.
        release: The release's name.
        values: By the names of the variables.
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
    """Whether a release was made with other values, as far as that is known."""
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
