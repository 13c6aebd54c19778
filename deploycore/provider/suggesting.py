"""The first items of a listing, to suggest one of them in an error's hint.

A suggestion may cost a few requests and a few seconds. Its error must not wait for a host that is
slow, or whose listing is long or damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

from deploycore.errors import PluginError, ProviderError
from deploycore.http.tally import reading_few_pages
from deploycore.provider.background import Unanswered, call_within

__all__ = ["SUGGESTED_FROM", "first_items"]

T = TypeVar("T")

SUGGESTED_FROM = 100
"""The limit to give to the query of such a listing."""

_MOST_PAGES = 5
_SECONDS = 3.0


def first_items(open_listing: Callable[[], Iterable[T]]) -> list[T]:
    """Return the items that a listing yields in its first pages and seconds, even if it fails
    later.

    Args:
        open_listing: Calls the provider, with ``SUGGESTED_FROM`` as the query's limit.
    """
    found: list[T] = []

    def read() -> None:
        with reading_few_pages(_MOST_PAGES):
            for item in open_listing():
                found.append(item)

    with suppress(ProviderError, PluginError, Unanswered):
        call_within(read, _SECONDS)
    return found[:]
