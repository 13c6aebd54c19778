"""Record the statements that are sent to databases, with SQLAlchemy or as named statements of the
store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event

from deploycore.store.direct import DirectStatements

__all__ = ["sent_statements"]


@contextmanager
def sent_statements() -> Iterator[list[tuple[str, object]]]:
    """Yield the statements of a block, with their parameters."""
    seen: list[tuple[str, object]] = []

    def note(connection, cursor, statement, parameters, context, many):
        seen.append((statement, parameters))

    fetched = DirectStatements._fetched

    def fetch(self, name, text, bound):
        seen.append((text, bound))
        return fetched(self, name, text, bound)

    event.listen(Engine, "before_cursor_execute", note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DirectStatements, "_fetched", fetch)
        try:
            yield seen
        finally:
            event.remove(Engine, "before_cursor_execute", note)
