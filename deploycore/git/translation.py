"""Foreign exceptions to typed errors, once: of the network, of the file system, of packs.

dulwich alone raises from 13 unrelated roots, ``AssertionError`` and ``zlib.error`` included, so
what is caught is broad, and only here. The results are made, not raised: the caller raises them
outside of its ``except`` block, so that no foreign exception, which may hold headers, hangs on
them as their context.
"""

from __future__ import annotations

import ssl

from dulwich.errors import HangupException
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from deploycore.errors import GitError, RemoteRefused
from deploycore.models import CloneUrl
from deploycore.redaction import Redactor

__all__ = [
    "clean",
    "file_failure",
    "http_refusal",
    "is_transient",
    "network_failure",
    "protocol_refusal",
]

_SAID_MOST = 300
_MESSAGES = {
    401: "does not accept the credentials",
    403: "does not allow these credentials to read it",
    404: "knows no such repository, or hides it from these credentials",
    410: "says that this way of access was withdrawn",
    429: "asks for fewer requests",
}
_HINTS = {
    401: "Check the user name and the secret, and whether the secret has expired.",
    403: "Give the credentials the right to read this repository.",
    404: "Check the address, and whether the credentials may see the repository.",
    410: "Look up which credentials the host takes now.",
    429: "Wait some minutes, then try again.",
}


def clean(text: bytes | str, source: CloneUrl | None = None, *, most: int = _SAID_MOST) -> str:
    """Text of a server, fit for a terminal: no control characters, bounded, secrets masked.

    Args:
        source: Whose credential to mask.
        most: The most characters.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    printable = "".join(each if each.isprintable() else " " for each in text)
    secret = source.credential.password if source and source.credential else None
    masked = Redactor([secret] if secret else []).mask(" ".join(printable.split()))
    return masked if len(masked) <= most else masked[: most - 1] + "…"


def http_refusal(source: CloneUrl, status: int, said: str) -> GitError:
    """The error for an HTTP answer that is no success.

    Args:
        said: What the server gave as a reason; may be empty.
    """
    if 300 <= status < 400:
        return RemoteRefused(
            f"{source.url} redirects elsewhere, which is not followed.",
            hint="Use the address at which the repository is now.",
            status=status,
            url=source.url,
        )
    told = f': "{said}"' if said else ""
    kind = RemoteRefused if status < 500 else GitError
    meaning = _MESSAGES.get(status, "refused" if status < 500 else "failed")
    hint = _HINTS.get(status, "" if status < 500 else "Try again later; the host has a problem.")
    return kind(
        f"The git server of {source.url} {meaning} (HTTP {status}){told}.",
        hint=hint,
        status=status,
        url=source.url,
    )


def protocol_refusal(source: CloneUrl, said: str) -> RemoteRefused:
    """The error for a refusal in the git protocol: an ``ERR`` line, or the error side band."""
    return RemoteRefused(f'The git server of {source.url} refused: "{said}".', url=source.url)


def is_transient(error: BaseException) -> bool:
    """Whether the same fetch may succeed when tried again: broken connections and timeouts."""
    if isinstance(error, SSLError | NameResolutionError):
        return False
    if isinstance(error, HTTPError | HangupException | ConnectionError | TimeoutError):
        return True
    return isinstance(error, GitError) and error.details.get("status") in (502, 503, 504)


def network_failure(source: CloneUrl, error: BaseException) -> GitError:
    """The error for whatever dulwich and urllib3 raised while fetching."""
    url = source.url
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
        return GitError(
            f"The git server of {url} did not answer in time.",
            hint="Check the network, and whether the host is up.",
            url=url,
        )
    if isinstance(error, SSLError | ssl.SSLError):
        return GitError(
            f"The connection to {url} is not secure: {clean(str(error), source)}.",
            hint="Check the host's certificate, or set ca_bundle to the authority that signed it.",
            url=url,
        )
    if isinstance(error, NewConnectionError):
        return GitError(
            f"The git server of {url} can't be reached.",
            hint="Check the address, the network, and whether the host is up.",
            url=url,
        )
    if isinstance(error, ProtocolError | HangupException | ConnectionError):
        return GitError(
            f"The git server of {url} broke the connection off.",
            hint="Try again; if it stays, the host or something on the way has a problem.",
            url=url,
        )
    said = clean(str(error), source)
    return GitError(
        f"The git server of {url} answered something that is not the git protocol"
        f" ({type(error).__name__}{': ' + said if said else ''}).",
        hint="Check that the address is that of a git repository.",
        url=url,
    )


def file_failure(path: object, error: OSError) -> GitError:
    """The error for a failed call of the file system.

    Args:
        path: What was going to be written.
    """
    name = error.filename
    within = f", at {clean(str(name))!r}" if name and str(name) != str(path) else ""
    return GitError(
        f"{path} can't be written: {error.strerror or type(error).__name__}{within}.",
        hint="Look at the directory's permissions and at the space that is left on its disk.",
        path=str(path),
    )
