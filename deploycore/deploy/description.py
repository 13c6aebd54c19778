"""The fields of a deployment's record that only observers receive: where it is from, and why."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from deploycore.deploy.log import Logs
from deploycore.deployment_records import DeploymentCause
from deploycore.errors import DeploycoreError
from deploycore.provider.observers import Observers
from deploycore.store import DeploymentRecord, Store

__all__ = ["describe_deployment"]


def describe_deployment(
    store: Store,
    logs: Logs,
    record: DeploymentRecord,
    cause: DeploymentCause,
    observers: Observers,
) -> Mapping[str, Any]:
    """Find the fields that a record has for observers only.

    A field that cannot be read has its default: observers must not stop a deployment.

    Args:
        cause: Why the deployment was requested. It is not stored.
        observers: If there are none, nothing is read.
    """
    if not observers:
        return {}
    fields: dict[str, Any] = {
        "cause": "rollback" if record.kind == "rollback" else cause,
        "log": str(logs.path(record.application, record.id)),
    }
    with suppress(DeploycoreError):
        definition = store.get_application(record.application).definition
        fields |= {"provider": definition.provider, "repository": definition.repository}
        fields["provider_kind"] = store.get_provider(definition.provider).kind
    with suppress(DeploycoreError):
        fields["pull_request"] = store.pull_request_of(record.application)
    return fields
