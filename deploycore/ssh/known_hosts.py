"""The keys of SSH servers, as lines of a ``known_hosts`` file.

Source: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT", and RFC 4253, 6.6.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import NamedTuple

from deploycore.records import record

__all__ = ["SSH_PORT", "HostKey", "KnownHosts", "host_key_line", "read_host_keys"]

SSH_PORT = 22

_REVOKED = "@revoked"
_HASHED = "|1|"
_MAX_LINES = 1000
_MAX_LINE = 16 * 1024
_KIND = re.compile(r"[a-z0-9@.-]{1,64}")


@record
class HostKey:
    """The public key of a server.

    Attributes:
        data: The key as RFC 4253 encodes it.
    """

    data: bytes

    @property
    def kind(self) -> str:
        """The key's algorithm, such as ``ssh-ed25519``."""
        length = int.from_bytes(self.data[:4], "big")
        return self.data[4 : 4 + length].decode("ascii", "replace")

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint, as OpenSSH and git hosts show it: ``SHA256:…``."""
        digest = base64.b64encode(hashlib.sha256(self.data).digest()).decode()
        return f"SHA256:{digest.rstrip('=')}"

    @property
    def text(self) -> str:
        """The algorithm and the key, as in a line of ``known_hosts``."""
        return f"{self.kind} {base64.b64encode(self.data).decode()}"

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


class _Line(NamedTuple):
    names: str
    key: HostKey
    is_revoked: bool

    def is_for(self, name: str) -> bool:
        """Return whether the line applies to a name; patterns may exclude names."""
        if self.names.startswith(_HASHED):
            return _is_hash_of(self.names, name)
        patterns = self.names.lower().split(",")
        if any(each[:1] == "!" and _matches(each[1:], name) for each in patterns):
            return False
        return any(_matches(each, name) for each in patterns)


class KnownHosts:
    """The known keys of SSH servers.

    Args:
        lines: Lines of a ``known_hosts`` file.

    Raises:
        ValueError: A line is malformed.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = [each for each in map(_parsed, lines) if each is not None]

    def trusted(self, host: str, port: int = SSH_PORT) -> tuple[HostKey, ...]:
        """Return the keys that a server may have.

        A line for ``[host]:port`` takes precedence over one for the host, which applies to all
        ports.
        """
        return tuple(each.key for each in self._of(host, port) if not each.is_revoked)

    def revoked(self, host: str, port: int = SSH_PORT) -> tuple[HostKey, ...]:
        """Return the revoked keys of a server."""
        return tuple(each.key for each in self._of(host, port) if each.is_revoked)

    def _of(self, host: str, port: int) -> list[_Line]:
        host = host.lower()
        found = [each for each in self._lines if each.is_for(_name(host, port))]
        if port == SSH_PORT:
            return found
        is_named = any(not each.is_revoked for each in found)
        general = [each for each in self._lines if each.is_for(host) and each not in found]
        return found + [each for each in general if each.is_revoked or not is_named]


def read_host_keys(text: str) -> tuple[str, ...]:
    """Read the lines of a ``known_hosts`` file, without comments and empty lines.

    Raises:
        ValueError: A line is malformed, or there are no lines.
    """
    lines = tuple(each for line in text.splitlines() if (each := line.strip()) and each[0] != "#")
    if not lines:
        raise ValueError("there is no host key")
    if len(lines) > _MAX_LINES:
        raise ValueError(f"there are more than {_MAX_LINES} host keys")
    KnownHosts(lines)
    return lines


def host_key_line(host: str, port: int, key: HostKey) -> str:
    """Return the line of a ``known_hosts`` file for a server's key."""
    return f"{_name(host.lower(), port)} {key.text}"


def _name(host: str, port: int) -> str:
    return host if port == SSH_PORT else f"[{host}]:{port}"


def _parsed(line: str) -> _Line | None:
    fields = line[:_MAX_LINE].split()
    if not fields or fields[0].startswith("#"):
        return None
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    if marker not in ("", _REVOKED):
        raise ValueError(f"lines with {marker[:32]!r} are not supported")
    if len(fields) < 3 or len(line) > _MAX_LINE:
        raise ValueError(
            "each line must have a host, an algorithm and a key, as in a known_hosts file"
        )
    return _Line(fields[0], _key(fields[1], fields[2]), is_revoked=marker == _REVOKED)


def _key(kind: str, text: str) -> HostKey:
    try:
        key = HostKey(base64.b64decode(text, validate=True))
    except binascii.Error:
        key = HostKey(b"")
    if not _KIND.fullmatch(kind) or key.kind != kind:
        raise ValueError(
            f"a key does not have the algorithm {kind[:32]!r} of its line, or is damaged"
        )
    return key


def _is_hash_of(hashed: str, name: str) -> bool:
    salt, _, digest = hashed.removeprefix(_HASHED).partition("|")
    try:
        made = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1)
        return hmac.compare_digest(made.digest(), base64.b64decode(digest))
    except ValueError:  # binascii.Error too
        return False


def _matches(pattern: str, name: str) -> bool:
    """Whether a name matches a pattern. The number of steps is at most the product of both
    lengths."""
    at = begin = 0
    star = -1
    for_star = 0
    while at < len(name):
        if begin < len(pattern) and pattern[begin] == "*":
            star, for_star = begin, at
            begin += 1
        elif begin < len(pattern) and pattern[begin] in ("?", name[at]):
            at, begin = at + 1, begin + 1
        elif star >= 0:  # let the last * match one more character
            for_star += 1
            at, begin = for_star, star + 1
        else:
            return False
    return not pattern[begin:].strip("*")
