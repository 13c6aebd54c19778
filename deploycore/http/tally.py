"""Counts the items of a listing that cannot be parsed, and logs them once when the listing ends."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from deploycore.errors import UnexpectedAnswer

__all__ = ["ItemTally", "current_tally", "reading_few_pages"]

logger = logging.getLogger(__name__)

_SHOWN_REASONS = 3
_SHOWN_CHARACTERS = 200

# A host may hide what the credentials cannot read after it has counted a page's items, so that
# pages of a long listing can be empty. That many invalid items in a row mean another API.
_MOST_EMPTY_PAGES = 1000
_MOST_UNREADABLE_PAGES = 50
_MOST_REPEATED_PAGES = 50
_FEW_REPEATS = 100


class ItemTally:
    """The number of parsed and skipped items in one call of a provider's hook.

    Args:
        subject: The call, for log lines, such as ``provider work: list_repos``.
        is_listing: Whether more pages may follow. Then it is an error only if all items of the
            whole listing are invalid, not if all items of one page are.

    Attributes:
        has_unread: Whether the host sent an item, other than null, that could not be parsed.
    """

    def __init__(self, subject: str = "", *, is_listing: bool = False) -> None:
        self._subject = subject
        self._is_listing = is_listing
        self._pages_left = _most_pages.get()
        self._empty_pages = 0
        self._unreadable_pages = 0
        self._repeated_pages = 0
        self._skipped_here = False
        self.has_unread = False
        self._found = 0
        self._error: UnexpectedAnswer | None = None
        self._reasons: dict[str, Counter[str]] = {}

    def skipped(self, what: str, reason: str, *, is_null: bool = False) -> None:
        """Count an item that could not be parsed. The reason must not quote its content."""
        self.has_unread |= not is_null
        self._skipped_here = True
        self._reasons.setdefault(what, Counter())[reason[:_SHOWN_CHARACTERS]] += 1

    def read(self, found: int, error: UnexpectedAnswer | None) -> None:
        """Count the items of a page.

        Args:
            found: The number of items that could be parsed.
            error: The problem of the other items.

        Raises:
            UnexpectedAnswer: No item of the page could be parsed, and the page is not part of a
                listing; or no item of so many pages in a row could be parsed that the listing may
                not end.
        """
        self._found += found
        self._error = self._error or error
        if error is not None and not found and not self._is_listing:
            self._reasons.clear()  # the error reports them
            raise error
        self._count_page(found)

    def _count_page(self, found: int) -> None:
        has_skipped, self._skipped_here = self._skipped_here, False
        self._empty_pages = 0 if found else self._empty_pages + 1
        self._unreadable_pages = 0 if found else self._unreadable_pages + has_skipped
        self._repeated_pages += bool(found)
        if self._unreadable_pages > _MOST_UNREADABLE_PAGES:
            raise _endless(f"none of {self._unreadable_pages} pages in a row has a valid item")
        if self._empty_pages > _MOST_EMPTY_PAGES:
            raise _endless(f"{self._empty_pages} pages in a row are empty")
        if self._pages_left is not None:
            self._pages_left -= 1
            if self._pages_left < 0:
                raise _endless("it has more pages than are wanted")

    def given(self, repeats: int) -> None:
        """Record an item that the listing has returned.

        Args:
            repeats: The number of latest items in a row that had been returned before; zero for a
                new item.

        Raises:
            UnexpectedAnswer: So many pages in a row had no new item that the listing may not end.
        """
        if not repeats:
            self._repeated_pages = 0
        elif repeats > _FEW_REPEATS and self._repeated_pages > _MOST_REPEATED_PAGES:
            raise _endless(f"{self._repeated_pages} pages in a row repeat earlier items")

    def check(self) -> None:
        """Check the whole listing at its end.

        Raises:
            UnexpectedAnswer: The host sent items, and none of them could be parsed.
        """
        if self._error is not None and not self._found:
            self._reasons.clear()
            raise self._error

    def tell(self) -> None:
        """Log the skipped items once."""
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
        """Return a context in which the items of all parsed pages are counted here."""
        former = _current.set(self)
        try:
            yield
        finally:
            _current.reset(former)


def _endless(what: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"The listing does not end: {what}.",
        hint="Try again later. If it happens again, tell the git host's support.",
    )


class _TellingTally(ItemTally):
    """Counts pages that are parsed outside of a provider's call. Each page is logged by itself."""

    def read(self, found: int, error: UnexpectedAnswer | None) -> None:
        super().read(found, error)
        self.tell()


_current: ContextVar[ItemTally | None] = ContextVar("deploycore_http_tally", default=None)


_most_pages: ContextVar[int | None] = ContextVar("deploycore_http_most_pages", default=None)


@contextmanager
def reading_few_pages(most: int) -> Iterator[None]:
    """Limit a listing: within this context, more than ``most`` pages are an error."""
    former = _most_pages.set(most)
    try:
        yield
    finally:
        _most_pages.reset(former)


def current_tally() -> ItemTally:
    """Return the counter for the page that is being parsed."""
    return _current.get() or _TellingTally()
