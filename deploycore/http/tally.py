"""The items of listings that could not be read: counted, and told once when the listing ends."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from deploycore.errors import UnexpectedAnswer

__all__ = ["ItemTally", "current_tally"]

logger = logging.getLogger(__name__)

_SHOWN_REASONS = 3
_SHOWN_CHARACTERS = 200


class ItemTally:
    """What was read and what was skipped during one call of a provider's hook.

    Args:
        subject: Whose call it is, for the log, such as ``provider work: list_repos``.
        is_listing: Whether more pages may come, so that the whole listing decides, and not one
            page, whether the host's items can be read at all.

    Attributes:
        has_unread: Whether the host gave an item, other than null, that could not be read.
    """

    def __init__(self, subject: str = "", *, is_listing: bool = False) -> None:
        self._subject = subject
        self._is_listing = is_listing
        self.has_unread = False
        self._found = 0
        self._error: UnexpectedAnswer | None = None
        self._reasons: dict[str, Counter[str]] = {}

    def skipped(self, what: str, reason: str, *, is_null: bool = False) -> None:
        """An item could not be read, for a reason that does not show what it holds."""
        self.has_unread |= not is_null
        self._reasons.setdefault(what, Counter())[reason[:_SHOWN_CHARACTERS]] += 1

    def read(self, found: int, error: UnexpectedAnswer | None) -> None:
        """A page was read.

        Args:
            found: How many items of it could be read.
            error: What is wrong with the others.

        Raises:
            UnexpectedAnswer: None could be read, and the page decides.
        """
        self._found += found
        self._error = self._error or error
        if error is not None and not found and not self._is_listing:
            self._reasons.clear()  # the error tells
            raise error

    def check(self) -> None:
        """To be called at the end of a listing.

        Raises:
            UnexpectedAnswer: The host gave items, and none of them could be read.
        """
        if self._error is not None and not self._found:
            self._reasons.clear()
            raise self._error

    def tell(self) -> None:
        """Log what was skipped, once."""
        for what, reasons in self._reasons.items():
            counted = [f"{count} × {reason}" for reason, count in reasons.most_common()]
            more = "; and others" if len(counted) > _SHOWN_REASONS else ""
            logger.warning(
                "%s%d item(s) in the host's answer (%s) cannot be read and are skipped: %s%s",
                f"{self._subject}: " if self._subject else "",
                reasons.total(),
                what,
                "; ".join(counted[:_SHOWN_REASONS]),
                more,
            )
        self._reasons = {}

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Within this, pages that are read count here."""
        former = _current.set(self)
        try:
            yield
        finally:
            _current.reset(former)


class _TellingTally(ItemTally):
    """For pages that are read outside of a provider's call: each is told by itself."""

    def read(self, found: int, error: UnexpectedAnswer | None) -> None:
        super().read(found, error)
        self.tell()


_current: ContextVar[ItemTally | None] = ContextVar("deploycore_http_tally", default=None)


def current_tally() -> ItemTally:
    """Where the page that is being read counts."""
    return _current.get() or _TellingTally()
