"""Start the process for SSH as early as possible, if a command will need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deploycore.cli.listing import read_listing
from deploycore.errors import DeploycoreError

if TYPE_CHECKING:
    from deploycore.store.listing import Listing

__all__ = ["application_uses_ssh", "prepared_if", "provider_uses_ssh"]


@contextmanager
def prepared_if(uses_ssh: Callable[[Listing], bool]) -> Iterator[None]:
    """Start the process if git will use SSH, and end it after the block.

    Args:
        uses_ssh: Reads that from the database. If it cannot be read, no process is started.
    """
    if not _is_so(uses_ssh):
        yield
        return
    from deploycore.ssh.process import prepared

    with prepared():
        yield


def provider_uses_ssh(listing: Listing, name: str) -> bool:
    """Return whether git clones over SSH from a provider; see ``CoreFields.uses_ssh``."""
    record = listing.provider(name)
    return "ssh_private_key" in record.secrets or record.settings.get("ssh_agent") == "true"


def application_uses_ssh(listing: Listing, name: str) -> bool:
    """Return whether git clones over SSH for an application."""
    definition = listing.definition(name)
    return listing.has_deploy_key(definition) or provider_uses_ssh(listing, definition["provider"])


def _is_so(uses_ssh: Callable[[Listing], bool]) -> bool:
    try:
        return bool(read_listing(uses_ssh))
    except DeploycoreError:
        return False  # the command reports it
