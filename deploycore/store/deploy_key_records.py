"""SSH keys that deploycore has created, as records that are read from their rows."""

from __future__ import annotations

from deploycore.applications.application import Application
from deploycore.store.named import Statements
from deploycore.store.reading import as_record, read_record
from deploycore.store.records import DeployKeyRecord

__all__ = ["deploy_key_of", "find_deploy_key"]

deploy_key_of = as_record(DeployKeyRecord, "deploy_keys")


def find_deploy_key(statements: Statements, definition: Application) -> DeployKeyRecord | None:
    """Return the key that an application clones with; see ``Store.find_deploy_key``."""
    rows = statements.run(
        "deploy key",
        name=definition.name,
        provider=definition.provider,
        repository=definition.repository,
    ).rows
    return read_record("deploy_keys", rows[0], deploy_key_of) if rows else None
