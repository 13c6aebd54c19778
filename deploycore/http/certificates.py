"""Check files of certificates and keys before TLS uses them.

The errors of TLS do not name the file, and for a key with a password TLS would ask at the terminal.
"""

from __future__ import annotations

import os

from deploycore.errors import ConfigurationError

__all__ = ["refuse_unusable_bundle", "refuse_unusable_certificate"]


def refuse_unusable_certificate(certificate: str, key: str | None) -> None:
    """Check that a client certificate can be used.

    Args:
        certificate: A PEM file. It also contains the key, unless ``key`` is given.
        key: A PEM file.

    Raises:
        ConfigurationError: A file cannot be read, the key does not belong to the certificate, or
            the key is encrypted.
    """

    import ssl  # few providers have certificates

    def refuse_password() -> str:
        raise ValueError("the key is encrypted")

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(certificate, key, password=refuse_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = _reason(error)
    else:
        return
    raise ConfigurationError(
        f"The client certificate {certificate!r} cannot be used: {reason}.",
        hint="Specify PEM files: the certificate, and its key in the same file or in one of its"
        " own. The key must not be encrypted.",
        path=certificate,
    )


def refuse_unusable_bundle(bundle: str) -> None:
    """Check that CA certificates can be used.

    Args:
        bundle: A PEM file, or a directory that ``c_rehash`` has created.

    Raises:
        ConfigurationError: The path does not exist, or the file has no certificate.
    """
    import ssl

    try:
        if os.path.isdir(bundle):
            return
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=bundle)
    except (OSError, ValueError) as error:
        reason = _reason(error)
    else:
        return
    raise ConfigurationError(
        f"The CA certificates {bundle!r} cannot be used: {reason}.",
        hint="Specify a PEM file, or a directory made by c_rehash.",
        path=bundle,
    )


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
