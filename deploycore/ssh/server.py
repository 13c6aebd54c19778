"""The address of a repository on an SSH server, and the command that serves it.

Source: https://git-scm.com/docs/git-clone#_git_urls and connect.c of git
"""

from __future__ import annotations

from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

from deploycore.ssh.known_hosts import SSH_PORT

__all__ = ["SshServer", "Unreachable", "is_ssh"]

_DEFAULT_USER = "git"
_MAX_USER = 255


class Unreachable(ConnectionError):
    """No connection to the server can be established."""


def is_ssh(url: str) -> bool:
    """Return whether a URL is for SSH."""
    return url[:6].lower() == "ssh://"


class SshServer(NamedTuple):
    """The address of a repository on an SSH server.

    Attributes:
        url: The URL that was parsed.
        user: The user in the URL; ``git`` if it has none.
        path: The repository's path, as it is sent to the server.
    """

    url: str
    user: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Read an ssh URL.

        Raises:
            ValueError: It is malformed.
        """
        parts = urlsplit(url)
        path, user, port = _decoded(parts.path), _decoded(parts.username or ""), parts.port
        if path.startswith("/~"):  # the home directory of a user, as in git
            path = path[1:]
        if not is_ssh(url) or not parts.hostname or parts.password is not None:
            raise ValueError("it is not an ssh URL with a host and without a password")
        if not path.strip("/") or not path.isprintable():
            raise ValueError("it has no path, or one that cannot be printed")
        if not user.isprintable() or len(user) > _MAX_USER:
            raise ValueError("its user name cannot be used")
        if port == 0:
            raise ValueError("no server has port 0")
        return cls(url, user or _DEFAULT_USER, parts.hostname, port or SSH_PORT, path)

    def command(self, program: str, *arguments: str) -> str:
        """Return the command line that runs a program on the repository.

        The server may give it to a shell, so the path is quoted as git quotes it.
        """
        quoted = "'" + self.path.replace("'", "'\\''").replace("!", "'\\!'") + "'"
        return " ".join((program, quoted, *arguments))


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("a part of it is not in UTF-8") from None
