"""Translation of AsyncSSH's exceptions and of a server's messages into typed errors."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import asyncssh

from deploycore.errors import (
    DeploycoreError,
    GitError,
    HostKeyRefused,
    KeyRefused,
    LimitExceeded,
)
from deploycore.ssh.known_hosts import HostKey, host_key_line
from deploycore.ssh.server import SshServer
from deploycore.text.printable import printable

__all__ = ["flooded", "host_key_refusal", "translated"]

_MAX_TEXT = 300
# the text of OpenSSH, which uses the code of other errors for it
_TOO_MANY = "too many authentication failures"


def said(text: str) -> str:
    """Return a server's message in a form that is safe to print."""
    shown = " ".join(printable(text[: 16 * _MAX_TEXT]).split())
    return shown if len(shown) <= _MAX_TEXT else shown[: _MAX_TEXT - 1] + "…"


def translated(error: Exception, server: SshServer) -> Exception:
    """Return the error for an exception: typed, or a ``ConnectionError`` or ``TimeoutError``."""
    if isinstance(error, DeploycoreError | TimeoutError | socket.gaierror):
        return error
    if isinstance(error, asyncssh.ConnectionLost | OSError):
        return ConnectionResetError("the SSH connection was closed")
    if isinstance(error, asyncssh.PermissionDenied):
        return KeyRefused(
            f"The SSH server of {server.url} does not accept the key for user {server.user}.",
            hint="Add the public key to the repository or to an account that can read it, and check"
            " the user name in the URL. deploycore signs in only with keys, never with a password.",
            url=server.url,
        )
    reason = said(str(error)) or type(error).__name__
    if _TOO_MANY in reason.lower():
        return KeyRefused(
            f"The SSH server of {server.url} accepts none of the keys that it was shown for user"
            f" {server.user}: {reason}.",
            hint="Remove keys from the agent, or give the provider an ssh_private_key. An agent"
            " shows all its keys, and servers allow only a few attempts.",
            url=server.url,
        )
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return GitError(
            f"The SSH server of {server.url} has no algorithm in common with deploycore: {reason}.",
            hint="Upgrade the SSH server.",
            url=server.url,
        )
    if isinstance(error, asyncssh.ChannelOpenError):
        return GitError(
            f"The SSH server of {server.url} does not run commands: {reason}.",
            hint="Check that the address is that of a git server.",
            url=server.url,
        )
    return GitError(
        f"The SSH server of {server.url} ended the connection: {reason}.",
        hint="Check that the address is that of an SSH server, and read the server's log.",
        url=server.url,
    )


def flooded(server: SshServer, what: str) -> LimitExceeded:
    """Return the error for a server that sends too much besides the output of a command."""
    return LimitExceeded(
        f"The SSH server of {server.url} sends too many {what}.",
        hint="Shorten the server's banner, the output of its login scripts and its debug messages.",
        limit="talk",
    )


def host_key_refusal(
    server: SshServer, key: HostKey, trusted: Iterable[HostKey], revoked: Iterable[HostKey]
) -> HostKeyRefused:
    """Return the error for a server whose key is unknown, different or revoked."""
    known = [str(each) for each in trusted]
    where = f"{server.host} (port {server.port})"
    if key in revoked:
        message = f"The SSH server {where} has a key that is marked as revoked: {key}."
        hint = "Do not connect to it. Ask the host's administrator which key it should have."
    elif known:
        message = (
            f"The SSH server {where} has a key that is not the known one. Its key: {key}. Known:"
            f" {', '.join(known)}."
        )
        hint = (
            "Compare the fingerprint with what the host publishes: either the host has changed its"
            " key, or the connection is intercepted. If it is the host's, pin it:"
            " deploycore provider edit NAME --host-key FILE"
        )
    else:
        message = f"The key of the SSH server {where} is not known. It has {key}."
        hint = (
            "Compare the fingerprint with what the host publishes. If it is the same, pin it:"
            " deploycore provider edit NAME --host-key FILE"
        )
    return HostKeyRefused(
        message,
        hint=hint,
        url=server.url,
        host=server.host,
        algorithm=key.kind,
        fingerprint=key.fingerprint,
        line=host_key_line(server.host, server.port, key),
        known=known,
        revoked=key in revoked,
    )
