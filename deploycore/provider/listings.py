"""The queries of listings, and the detection of repeated items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from deploycore.events import RegisteredKey, Webhook
    from deploycore.models import Branch, Owner, PullRequest, Repository, Tag

__all__ = ["MOST_REPEATS", "Everything", "Item", "ModelT", "Query", "Repeats"]

Item: TypeAlias = "Repository | Branch | Owner | PullRequest | RegisteredKey | Tag | Webhook"
"""An item of a listing."""

ItemT = TypeVar("ItemT", contravariant=True)
ModelT = TypeVar(
    "ModelT", "Repository", "Branch", "Owner", "PullRequest", "RegisteredKey", "Tag", "Webhook"
)

# If a listing changes while it is read, a page can repeat the last items of the previous page. So
# more than a page of items is remembered.
REMEMBERED_ITEMS = 1000
MOST_REPEATS = 5000


class Query(Protocol[ItemT]):
    """A query of any listing."""

    @property
    def limit(self) -> int | None: ...

    def wants(self, item: ItemT, /) -> bool: ...


class Everything:
    """A query without filters."""

    limit: int | None = None

    def wants(self, item: object, /) -> bool:
        return True


class Repeats:
    """Recognizes items that a listing has returned before."""

    def __init__(self) -> None:
        self._latest: dict[object, None] = {}
        self.in_a_row = 0

    def has(self, item: Item) -> bool:
        key = _key_of(item)
        if key in self._latest:
            self.in_a_row += 1
            return True
        self.in_a_row = 0
        self._latest[key] = None
        if len(self._latest) > REMEMBERED_ITEMS:
            del self._latest[next(iter(self._latest))]
        return False


def _key_of(item: Item) -> object:
    """Return what tells an item from the others of its listing."""
    from deploycore.models import Branch, Owner, PullRequest, Repository, Tag

    match item:
        case Branch() | Tag():
            return item.name
        case Owner():
            return item.username
        case PullRequest():
            return item.number
        case Repository():
            return item.owner.username, item.slug
        case _:
            return item.id
