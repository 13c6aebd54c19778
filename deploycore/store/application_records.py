"""Applications as records, read from their rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from deploycore.applications.application import Application
from deploycore.errors import StoreError
from deploycore.store.reading import read_record
from deploycore.store.records import ApplicationRecord

__all__ = ["application_of", "readable_application"]


def application_of(row: Mapping[Any, Any]) -> ApplicationRecord:
    """Return the application of a row.

    Raises:
        StoreError: The row is damaged, or its form is unknown.
    """
    return read_record("applications", row, readable_application)


def readable_application(row: Mapping[Any, Any]) -> ApplicationRecord:
    """Return the application of a row whose values can be read.

    Raises:
        StoreError: The form of the row is unknown.
    """
    try:
        definition = Application.model_validate(row["definition"])
    except ValidationError:
        definition = None
    if definition is None:
        raise StoreError(
            f"The application {row['name']!r} is stored in a form that this deploycore does not"
            " know.",
            hint="Upgrade deploycore, or apply the application's file again.",
            application=row["name"],
        )
    return ApplicationRecord(
        definition, row["secrets"], row["revision"], row["created_at"], row["changed_at"]
    )
