"""The commands that git runs on an SSH server, and an early start of the first one.

This imports neither dulwich nor AsyncSSH. See ``ssh.process``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deploycore.git.credentials import key_of
from deploycore.git.operation import Operation
from deploycore.http.wire import Wire
from deploycore.models import CloneUrl
from deploycore.ssh.process import Job, find_prepared
from deploycore.ssh.server import SshServer, is_ssh

if TYPE_CHECKING:
    from deploycore.models import SshCredential

__all__ = ["UPLOAD_PACK", "begin_early", "job_for"]

UPLOAD_PACK = "git-upload-pack"
_VERSION_2 = {"GIT_PROTOCOL": "version=2"}


def job_for(
    source: CloneUrl, credential: SshCredential, program: Sequence[str], operation: Operation
) -> Job:
    """Return the job of running a program on a repository's server.

    Args:
        program: The program, and its arguments after the repository.
    """
    server = SshServer.of(source.url)
    silence = operation.settings.read_timeout
    return Job(server, credential, server.command(*program), _VERSION_2, silence)


def begin_early(source: CloneUrl, operation: Operation) -> None:
    """Connect to a repository's server if a process is prepared for SSH, which then signs in.

    A failure is raised by the fetch, which uses the connection.
    """
    process = find_prepared()
    if process is None or not is_ssh(source.url):
        return
    key = key_of(source)
    if key is None:
        return
    try:
        job = job_for(source, key, (UPLOAD_PACK,), operation)
    except ValueError:
        return  # the fetch refuses the URL
    wire = Wire(operation.settings.connect_timeout, operation.check)
    try:
        process.begin(job, wire)
    finally:
        wire.close()
