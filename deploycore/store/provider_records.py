"""Providers as records, read from their rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from deploycore.store.listed_records import ProviderRecord
from deploycore.store.reading import as_record
from deploycore.store.times import LONGEST_KEPT, is_ahead

__all__ = ["provider_of", "without_expired"]

provider_of = as_record(ProviderRecord, "providers")


def without_expired(record: ProviderRecord, now: datetime) -> ProviderRecord:
    """Return the record without previous secrets that may no longer be used.

    Args:
        now: The time by the database's clock.
    """
    until = record.former_until
    if until is None:
        return record
    is_void = is_ahead(until, now, LONGEST_KEPT) or is_ahead(record.changed_at, now)
    if now < until and not is_void:
        return record
    return replace(record, former_secrets=None, former_until=None)
