"""Turn the server's responses into the records that commands print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from deploycore.deployment_records import DeploymentRecord
from deploycore.times import for_machines

__all__ = ["deployment_of", "in_utc"]

_TIMES = ("requested_at", "started_at", "finished_at", "committed_at", "removed_at")


def deployment_of(view: Mapping[str, Any]) -> DeploymentRecord:
    """Return the record of a deployment. Fields that only the server's machine knows are empty."""
    times = {name: view[name] and datetime.fromisoformat(view[name]) for name in _TIMES}
    unknown = {
        "cancel_requested": False,
        "revision": None,
        "unproved": False,
        "host": "",
        "home": "",
    }
    fields = DeploymentRecord.__dataclass_fields__
    known = {name: value for name, value in view.items() if name in fields}
    return DeploymentRecord(**{**unknown, **known, **times})


def in_utc(view: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a view with its times written as ``--json`` prints them on the server's machine."""
    times = {
        name: view[name] and for_machines(datetime.fromisoformat(view[name])) for name in names
    }
    return {**view, **times}
