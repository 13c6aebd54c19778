"""The events that are logged, and the fields of each entry.

Each entry has only the fields that are named here. Texts of errors and addresses of webhooks are
left out, because they may contain secrets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime

from deploycore.errors import DeploycoreError
from deploycore.events import DeploymentRecord, ProviderCall, Webhook
from deploycore.hookspecs import hookimpl

from deploycore_audit.configuration import AuditConfig
from deploycore_audit.file import AuditFile

__all__ = ["AuditObserver"]

_CHANGES = ("register_webhook", "remove_webhook")
_FIELDS = (
    "application",
    "kind",
    "state",
    "cause",
    "requested_by",
    "provider",
    "repository",
    "ref",
    "commit",
    "commit_url",
    "pull_request",
    "release",
    "previous",
    "host",
)
_LONGEST_TEXT = 1000

Value = str | int | None


class AuditObserver:
    """Logs deployments, and changes to webhooks at git hosts."""

    DISPLAY_NAME = "Audit log"
    SUMMARY = "Writes who deployed what to a file, as lines of JSON."

    Config = AuditConfig

    def __init__(self, config: AuditConfig) -> None:
        self._file = AuditFile(config.path, max_bytes=config.max_bytes, keep=config.keep)

    @hookimpl
    def deploy_started(self, deployment: DeploymentRecord) -> None:
        """Log that a deployment has started."""
        self._log("deployment_started", _described(deployment))

    @hookimpl
    def deploy_state_changed(self, deployment: DeploymentRecord) -> None:
        """Log a state; the last one is logged by ``deploy_finished``."""
        if not deployment.is_finished:
            self._log("deployment_state", _described(deployment))

    @hookimpl
    def deploy_finished(self, deployment: DeploymentRecord, error: DeploycoreError | None) -> None:
        """Log how a deployment ended."""
        code = error.code if error else deployment.error_code
        self._log("deployment_finished", {**_described(deployment), "error_code": code})

    @hookimpl
    def provider_call_finished(
        self, call: ProviderCall, result: object, error: DeploycoreError | None
    ) -> None:
        """Log a call that changes something at a git host."""
        if call.hook not in _CHANGES:
            return
        webhook = result.id if isinstance(result, Webhook) else call.arguments.get("webhook")
        fields = {
            "provider": call.provider,
            "repository": str(call.arguments.get("repository", "")),
            "webhook": None if webhook is None else str(webhook),
            "error_code": error.code if error else None,
        }
        self._log(call.hook, fields)

    def _log(self, event: str, fields: Mapping[str, Value]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry: dict[str, Value] = {"at": at, "event": event, "pid": os.getpid()}
        self._file.write({**entry, **{name: _short(value) for name, value in fields.items()}})


def _described(deployment: DeploymentRecord) -> dict[str, Value]:
    return {
        "deployment": deployment.id,
        **{name: getattr(deployment, name) for name in _FIELDS},
    }


def _short(value: Value) -> Value:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else value
