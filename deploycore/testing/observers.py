"""Create records for tests of observers: ``make_deployment`` and ``make_provider_call``.

A release of deploycore may add fields to these classes, so their constructors are not promised.
These functions are: they give every field a value, and a test gives only the values that matter.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from deploycore.events import DeploymentRecord, ProviderCall

__all__ = ["make_deployment", "make_provider_call"]

_REQUESTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_COMMIT = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"


def make_deployment(**changes: Any) -> DeploymentRecord:
    """Create the record of a healthy deployment, as observers receive it.

    Args:
        changes: Fields of the record with other values.

    Raises:
        TypeError: The record has no such field.
    """
    fields: dict[str, Any] = {
        "id": 7,
        "application": "shop",
        "kind": "deploy",
        "state": "healthy",
        "ref": "main",
        "commit": _COMMIT,
        "release": f"20260102T030406Z-{_COMMIT[:12]}",
        "previous": None,
        "requested_by": "ada",
        "requested_at": _REQUESTED,
        "started_at": _REQUESTED + timedelta(seconds=1),
        "finished_at": _REQUESTED + timedelta(seconds=9),
        "error_code": None,
        "error": None,
        "author": "Ada Lovelace <ada@example.com>",
        "subject": "Add notes",
        "committed_at": _REQUESTED - timedelta(hours=1),
        "files": 12,
        "bytes": 3456,
        "seconds": {"queued": 1.0, "fetching": 5.0, "activating": 3.0},
        "cancel_requested": False,
        "revision": 1,
        "unproved": False,
        "host": "machine",
        "home": "/var/lib/deploycore",
        "provider": "work",
        "provider_kind": "acme",
        "repository": "acme/shop",
        "commit_url": f"https://git.example.com/acme/shop/commit/{_COMMIT}",
        "cause": "push",
        "log": "/var/lib/deploycore/logs/shop/7.jsonl",
    }
    return DeploymentRecord(**{**fields, **changes})


def make_provider_call(**changes: Any) -> ProviderCall:
    """Create a call of the hook ``authenticate``, as observers receive it.

    Args:
        changes: Fields of the call with other values.

    Raises:
        TypeError: The call has no such field.
    """
    fields: dict[str, Any] = {
        "provider": "work",
        "kind": "acme",
        "hook": "authenticate",
        "arguments": {},
    }
    return ProviderCall(**{**fields, **changes})
