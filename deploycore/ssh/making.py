"""Create SSH key pairs. The private key is only in memory."""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

from pydantic import SecretStr

__all__ = ["KeyType", "fingerprint_of", "is_pair", "make_key_pair", "type_of"]

KeyType = Literal["ed25519", "rsa"]
"""The types of keys that can be created; RSA is for hosts that do not support Ed25519."""

_RSA_BITS = 3072


def make_key_pair(kind: KeyType) -> tuple[SecretStr, str]:
    """Create a key pair.

    Returns:
        The private key in the OpenSSH format, without a passphrase, and the public key as in
        ``authorized_keys``, without a comment.
    """
    # These imports cost 15 ms, and other commands do not need them.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    if kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return SecretStr(private.decode()), public.decode()


def is_pair(private: SecretStr, public_key: str) -> bool:
    """Whether a private key was created together with a public key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_ssh_private_key(private.get_secret_value().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False  # keys from this module have the OpenSSH format and no passphrase
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public.split() == public_key.encode().split()[:2]


def type_of(public_key: str) -> KeyType:
    """Return the type of a key from this module."""
    return "rsa" if public_key.startswith("ssh-rsa ") else "ed25519"


def fingerprint_of(public_key: str) -> str:
    """Return the fingerprint of a public key, as OpenSSH and git hosts show it: ``SHA256:…``."""
    digest = hashlib.sha256(base64.b64decode(public_key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
