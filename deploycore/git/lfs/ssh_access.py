"""The address of the LFS server of a repository over SSH, and the headers that it requires.

The SSH server runs ``git-lfs-authenticate``, which answers with an address and headers, usually a
token for some minutes. The address may be on another host, like the addresses of objects. The
headers are sent only to its origin.

Source: https://github.com/git-lfs/git-lfs/blob/main/docs/api/server-discovery.md ("SSH")
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploycore.errors import GitError, RemoteRefused
from deploycore.git.lfs.batch import valid_until
from deploycore.git.operation import Operation
from deploycore.git.wording import clean
from deploycore.models import CloneUrl
from deploycore.ssh.server import is_ssh

__all__ = ["SshAccess", "ask_for_access"]

_PROGRAM = "git-lfs-authenticate"
_MAX_ANSWER_BYTES = 64 * 1024
_EARLY = 30.0


@dataclass(frozen=True)
class SshAccess:
    """An LFS server, the headers to send to it, and until when they are valid (Unix time)."""

    endpoint: CloneUrl
    headers: Mapping[str, str] = field(repr=False)
    until: float = inf

    @property
    def is_old(self) -> bool:
        """Whether access must be requested again."""
        return time.time() > self.until - _EARLY


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)

    href: Annotated[str, Field(min_length=1)]
    header: dict[str, str] | None = None
    expires_in: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    expires_at: datetime | None = None


def ask_for_access(source: CloneUrl, operation: Operation) -> SshAccess:
    """Ask the SSH server of a repository for access to its LFS server.

    Raises:
        RemoteRefused: The server does not support that, or refuses it.
        GitError: The answer is invalid.
        OSError: The server cannot be reached, or the connection is lost.
    """
    body = _answer_of(source, operation)
    try:
        answer = _Answer.model_validate_json(body)
        endpoint = CloneUrl(url=answer.href.rstrip("/"))
    except ValidationError:
        endpoint = None
    if endpoint is None or is_ssh(endpoint.url):
        raise GitError(
            f"The SSH server of {source.url} sent an answer for Git LFS that is not valid.",
            hint=f"Check what {_PROGRAM} writes on the server.",
            url=source.url,
        )
    until = valid_until(answer.expires_in, answer.expires_at)
    return SshAccess(endpoint, answer.header or {}, until)


def _answer_of(source: CloneUrl, operation: Operation) -> bytes:
    from deploycore.git.wire.ssh_client import open_command

    body = b""
    with open_command(source, _PROGRAM, "download", operation=operation) as command:
        while (data := command.read()) and len(body) <= _MAX_ANSWER_BYTES:
            operation.receive(len(data))
            body += data
        status, said = command.exit_status, clean(command.stderr, source)
    if status:
        told = f': "{said}"' if said else f" (exit status {status})"
        raise RemoteRefused(
            f"The SSH server of {source.url} gives no access to Git LFS{told}.",
            hint="Check that the host supports Git LFS over SSH, or deploy with lfs: false.",
            url=source.url,
            service="lfs",
        )
    return body
