"""Translation of network and protocol exceptions into typed errors.

dulwich alone raises exceptions with 13 unrelated base classes, such as ``AssertionError`` and
``zlib.error``, so the callers catch broadly. These functions return errors and do not raise them:
the caller raises outside of its ``except`` block, so that the original exception, which may hold
headers, does not become the error's context.
"""

from __future__ import annotations

from socket import gaierror

from dulwich.errors import HangupException

from deploycore.errors import GitError, RemoteRefused
from deploycore.git.wire.destination import shown_origin
from deploycore.git.wording import clean
from deploycore.http.origin import path_of
from deploycore.models import CloneUrl
from deploycore.ssh.server import Unreachable

__all__ = [
    "NOT_GIT",
    "http_refusal",
    "is_transient",
    "network_failure",
    "protocol_refusal",
]

NOT_GIT = "not_git"
"""The ``reason`` in the details of an error: the answer is not the git protocol."""

_MESSAGES = {
    401: "does not accept the credentials",
    403: "does not allow these credentials to read it",
    404: "did not find the repository, or these credentials cannot read it",
    410: "no longer offers this way of access",
    429: "received too many requests",
}
_HINTS = {
    401: "Check the user name and the secret, and whether the secret has expired.",
    403: "Give the credentials the right to read this repository.",
    404: "Check the address, and give the credentials read access to the repository.",
    410: "See the host's documentation for the credentials that it accepts now.",
    429: "Wait a few minutes, then try again.",
}
_CHECK_ADDRESS = "Check the address. If it is right, ask the server's administrator."


def http_refusal(source: CloneUrl, status: int, said: str, *, redirected_to: str = "") -> GitError:
    """Return the error for an HTTP answer with another status than 200.

    Args:
        said: The server's message; may be empty.
        redirected_to: The target of a redirect. Its query is left out of the message.
    """
    if 300 <= status < 400:
        elsewhere = clean(shown_origin(redirected_to) + path_of(redirected_to), source)
        return RemoteRefused(
            f"The git server of {source.url} redirects to {elsewhere} (HTTP {status})."
            " deploycore does not follow redirects of git servers.",
            hint="If the repository has moved there, use the new address. If that is a sign-in"
            " page, check the credentials.",
            status=status,
            url=source.url,
        )
    told = f': "{said}"' if said else ""
    kind = RemoteRefused if status < 500 else GitError
    meaning = _MESSAGES.get(status, "refused" if status < 500 else "failed")
    later = "Try again later; the host has a problem."
    hint = _HINTS.get(status, _CHECK_ADDRESS if status < 500 else later)
    return kind(
        f"The git server of {source.url} {meaning} (HTTP {status}){told}.",
        hint=hint,
        status=status,
        url=source.url,
    )


def protocol_refusal(source: CloneUrl, said: str) -> RemoteRefused:
    """Return the error for a refusal in the git protocol: an ``ERR`` line, or the error band."""
    return RemoteRefused(
        f'The git server of {source.url} refused: "{said}".',
        hint="Do what the server's message asks for, or ask the server's administrator.",
        url=source.url,
    )


def is_transient(error: BaseException) -> bool:
    """Whether a retry may succeed: after broken connections, timeouts and status 502 to 504."""
    from urllib3.exceptions import HTTPError, NameResolutionError, SSLError  # SSH needs none

    if isinstance(error, SSLError | NameResolutionError):
        return False
    if isinstance(error, HTTPError | HangupException | ConnectionError | TimeoutError):
        return True
    return isinstance(error, GitError) and error.details.get("status") in (502, 503, 504)


def network_failure(source: CloneUrl, error: BaseException) -> GitError:
    """Return the error for an exception of dulwich or urllib3 during a fetch."""
    import ssl

    from urllib3 import exceptions  # SSH needs neither

    url = source.url
    if isinstance(error, exceptions.ProxyError):
        return GitError(
            f"The proxy for {url} cannot be reached, or refused the connection:"
            f" {clean(str(error.original_error), source)}.",
            hint="Check the provider's proxy or HTTPS_PROXY, or add the host to NO_PROXY.",
            url=url,
        )
    # urllib3 makes NewConnectionError a subclass of ConnectTimeoutError, so it is checked first.
    if isinstance(error, exceptions.NewConnectionError | Unreachable | gaierror):
        return GitError(
            f"The git server of {url} cannot be reached.",
            hint="Check the address, that the host is up, and the network.",
            url=url,
        )
    if isinstance(
        error, exceptions.ConnectTimeoutError | exceptions.ReadTimeoutError | TimeoutError
    ):
        return GitError(
            f"The git server of {url} did not answer in time.",
            hint="Check that the host is up, and check the network.",
            url=url,
        )
    if isinstance(error, exceptions.SSLError | ssl.SSLError):
        return GitError(
            f"The connection to {url} is not secure: {clean(str(error), source)}.",
            hint="Check the host name and the clock; for a certificate of your own, name its CA "
            "bundle in the provider's ca_bundle or in REQUESTS_CA_BUNDLE.",
            url=url,
        )
    if isinstance(error, exceptions.ProtocolError | HangupException | ConnectionError):
        return GitError(
            f"The connection to {url} was closed before the answer was complete.",
            hint="Try again. If it happens again, check the host, the network, and any proxy.",
            url=url,
        )
    said = clean(str(error), source)
    return GitError(
        f"The git server of {url} sent a response that is not in the git protocol"
        f" ({type(error).__name__}{': ' + said if said else ''}).",
        hint="Check that the address is that of a git repository.",
        url=url,
        reason=NOT_GIT,
    )
