"""Choose the error for a failed request to a git server, by what the client has recorded."""

from __future__ import annotations

from dulwich.errors import GitProtocolError, HangupException

from deploycore.errors import DeploycoreError
from deploycore.git.wire.client import GitClient, Lost
from deploycore.git.wire.translation import is_transient, network_failure, protocol_refusal
from deploycore.models import CloneUrl

__all__ = ["error_of"]


def error_of(
    client: GitClient, source: CloneUrl, caught: Exception
) -> tuple[DeploycoreError, bool]:
    """Return the typed error for an exception that a client raised.

    Returns:
        The error, and whether a retry may succeed.
    """
    client.take_refusal(caught)
    if isinstance(caught, Lost):
        caught = caught.error
    if client.refusal:
        return protocol_refusal(source, client.refusal), False
    if isinstance(caught, DeploycoreError):
        return caught, is_transient(caught)
    if client.odd_type is not None and not client.pack_has_begun and not is_transient(caught):
        return client.is_not_git(client.odd_type), False
    if isinstance(caught, GitProtocolError) and client.ended_early:
        caught = HangupException()
    return network_failure(source, caught), is_transient(caught)
