"""The git protocol over SSH: requests are the input of one command, responses its output.

Source: https://git-scm.com/docs/pack-protocol ("SSH Transport")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from dulwich.client import (
    _extract_symrefs_and_agent,
    negotiate_protocol_version,
    read_pkt_refs_v1,
    read_server_capabilities,
)
from dulwich.protocol import Protocol as PacketLines
from dulwich.protocol import split_peeled_refs
from dulwich.refs import filter_ref_prefix

from deploycore.errors import KeyRefused, RemoteRefused
from deploycore.git.credentials import key_of
from deploycore.git.operation import Operation
from deploycore.git.wire.address import missing_key
from deploycore.git.wire.client import SERVICE, Discovered, GitClient, Reader
from deploycore.git.wire.request import FetchReceiver, Wanted
from deploycore.git.wire.ssh_job import job_for
from deploycore.git.wording import clean
from deploycore.http.wire import Wire, cutting_after
from deploycore.models import CloneUrl
from deploycore.ssh.library import refuse_missing_extra, require_extra
from deploycore.ssh.process import ProcessCommand, take_prepared
from deploycore.ssh.reaching import reach

if TYPE_CHECKING:
    from deploycore.models import SshCredential
    from deploycore.ssh.session import Command

    AnyCommand = Command | ProcessCommand

__all__ = ["open_command", "open_ssh_client"]

# The prefixes with which hosts and git begin the line that has the reason.
_REASONS = (b"ERROR:", b"fatal:", b"error:", b"remote:")


@contextmanager
def open_command(
    source: CloneUrl, program: str, *arguments: str, operation: Operation
) -> Iterator[AnyCommand]:
    """Run a program on a repository's server, with the repository as its first argument.

    The connection is closed when the operation times out or is cancelled. If the server rejects a
    key, the next key is tried.

    Raises:
        ConfigurationError: The extra is not installed.
        KeyRefused: The server accepts no key.
    """
    refuse_missing_extra()
    key = key_of(source)
    wire = Wire(operation.settings.connect_timeout, operation.check)
    credentials = operation.credentials_for(source)
    with (
        cutting_after(wire, operation.remaining),
        operation.cancellation.waking(wire.cut),
        ExitStack() as open_until_end,
    ):
        while True:
            sent = credentials.current(key)
            if sent is None:
                raise missing_key(source.url)
            opening = _running(source, sent, (program, *arguments), operation, wire)
            try:
                command = open_until_end.enter_context(opening)
            except KeyRefused:
                if not credentials.replace(sent):
                    raise
            else:
                break
        credentials.accept(sent)
        yield command


@contextmanager
def _running(
    source: CloneUrl,
    credential: SshCredential,
    program: Sequence[str],
    operation: Operation,
    wire: Wire,
) -> Iterator[AnyCommand]:
    """Connect, and run a program on the repository: in the prepared process, or in this one."""
    job = job_for(source, credential, program, operation)
    process = take_prepared(job)
    if process is not None:
        with process:
            prepared = process.run(job, wire)
            if prepared is not None:
                yield prepared
                return
    with reach(job.server, wire) as connected:
        # The server prepares while AsyncSSH is imported.
        require_extra()
        from deploycore.ssh.session import running

        with running(
            job.server,
            credential,
            job.command,
            connected,
            environment=job.environment,
            silence=job.silence,
        ) as command:
            yield command


@contextmanager
def open_ssh_client(
    source: CloneUrl, operation: Operation, wanted: Wanted, receiver: FetchReceiver
) -> Iterator[GitClient]:
    """Open a client for one fetch; the first request connects to the server."""
    upload_pack = open_command(source, SERVICE, operation=operation)
    with ExitStack() as open_until_end:
        yield _SshGitClient(
            source,
            operation,
            wanted,
            receiver,
            lambda: open_until_end.enter_context(upload_pack),
        )


class _SshGitClient(GitClient):
    """A dulwich client that sends requests to a command.

    Args:
        start: Runs the command.
    """

    def __init__(
        self,
        source: CloneUrl,
        operation: Operation,
        wanted: Wanted,
        receiver: FetchReceiver,
        start: Callable[[], AnyCommand],
    ) -> None:
        super().__init__(source, operation, wanted, receiver)
        self._start = start
        self._talk: tuple[AnyCommand, Reader] | None = None

    def _discover_references(
        self,
        service: bytes,
        base_url: str,
        protocol_version: int | None = None,
        ref_prefix: Sequence[bytes] | None = None,
    ) -> Discovered:
        """Read the server's capabilities, and request refs if it has not sent them."""
        command, reader = self._started()
        lines = PacketLines(reader.read, command.write)
        self.dumb = False
        self.protocol_version = negotiate_protocol_version(lines)
        if self.protocol_version == 2:
            capabilities = read_server_capabilities(lines.read_pkt_seq())
            return self._discovered(self._ask_at_once(base_url, capabilities, ref_prefix))
        found, capabilities = read_pkt_refs_v1(lines.read_pkt_seq())
        refs, peeled = split_peeled_refs(found)
        symrefs, _ = _extract_symrefs_and_agent(capabilities)
        if ref_prefix is not None:
            refs = filter_ref_prefix(refs, ref_prefix)
        return self._discovered((dict(refs), capabilities, base_url, symrefs, peeled))

    def _smart_request(self, service: str, url: str, data: Any) -> tuple[Any, Any]:
        """Send a request over the same connection."""
        command, reader = self._started()
        self._operation.check()
        reader.begin_answer()
        command.write(data if isinstance(data, bytes) else b"".join(data))
        return self, reader.read

    def _started(self) -> tuple[AnyCommand, Reader]:
        if self._talk is None:
            command = self._start()
            reader = Reader(self, self._source, self._operation, command.read)
            self._talk = (command, reader)
        return self._talk

    def _http_request(self, *args: Any, **options: Any) -> Any:
        """Reject a packfile URI, because it leads to another server."""
        raise RemoteRefused(
            f"The git server of {self._source.url} refers to another address, which is not used.",
            hint="Ask the server's administrator to turn off packfile URIs.",
            url=self._source.url,
        )

    def close(self) -> None:
        """Keep the connection open after a response; the context closes it."""

    def take_refusal(self, error: Exception) -> None:
        """If the command failed, use its standard error as the error message."""
        super().take_refusal(error)
        if self.refusal or self._talk is None or not self.ended_early:
            return
        command = self._talk[0]
        if not command.exit_status:
            return
        lines = [line.strip() for line in command.stderr.splitlines() if line.strip()]
        reasons = [line for line in lines if line.startswith(_REASONS)] or lines
        said = clean(b" ".join(reasons), self._source)
        self.refusal = said or f"exit status {command.exit_status}"
