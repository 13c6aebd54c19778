"""Previews as records, read from their rows."""

from __future__ import annotations

from deploycore.store.listed_records import PreviewRecord
from deploycore.store.named import Statements
from deploycore.store.reading import as_record, read_record

__all__ = ["find_preview", "preview_of", "pull_request_of"]

preview_of = as_record(PreviewRecord, "previews")


def find_preview(statements: Statements, application: str) -> PreviewRecord | None:
    """Return the preview that an application is; ``None`` if it is none."""
    row = statements.run("preview", name=application).row
    return None if row is None else read_record("previews", row, preview_of)


def pull_request_of(statements: Statements, application: str) -> int | None:
    """Return the pull request's number if an application is a preview; otherwise ``None``."""
    found = find_preview(statements, application)
    return None if found is None else found.number
