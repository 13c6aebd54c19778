"""Listings of git hosts, page by page. Only what a page needs is requested from the host.

The items that were read are cached for some minutes, for each provider and its credentials. So the
next page, and a search that becomes longer while a user types, rarely need another request.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from deploycore.errors import DeploycoreError
from deploycore.models import (
    Branch,
    BranchQuery,
    Owner,
    OwnerQuery,
    Repository,
    RepositoryId,
    RepositoryQuery,
    Tag,
    TagQuery,
)
from deploycore.provider import Provider
from deploycore.server.hosts import Hosts
from deploycore.server.problems import Refusal
from deploycore.store import ProviderRecord

__all__ = ["Kind", "Listings", "Page", "Wanted"]

Kind = Literal["owners", "repositories", "branches", "tags"]

_SECONDS = {"owners": 300.0, "repositories": 300.0, "branches": 60.0, "tags": 60.0}
"""Seconds for which a listing is cached."""

_SEPARATORS = re.compile(r"[-_.\s]+")
_LISTINGS_MOST = 100
_ITEMS_MOST = 20_000
_ALL_ITEMS_MOST = 60_000
_VALUE_LENGTH = 1024
_NAME_LENGTH = 200
_DETAILS_LENGTH = 16_384
_READ_SECONDS = 8.0
_HANGS_SECONDS = 20.0


class Wanted(NamedTuple):
    """A request for a listing.

    Attributes:
        about: The owner of the repositories, or the repository of the branches or tags.
        search: List only items that contain this text; case is ignored.
        has_details: Whether to return everything that the host lists of a repository.
    """

    kind: Kind
    about: str = ""
    search: str = ""
    has_details: bool = False


class Item(NamedTuple):
    """An item of a listing.

    Attributes:
        text: The text that a search compares.
        fields: The fields for the response, in the order of its model.
    """

    text: str
    fields: tuple[Any, ...]


@dataclass(frozen=True)
class Page:
    """A part of a listing.

    Attributes:
        items: The fields of each item.
        following: The number of items before the next page; ``None`` if this is the last one.
        is_cut: Whether the host has more items than are ever read for one listing.
        hint: What to do if the credentials can read nothing; may be empty.
    """

    items: Sequence[tuple[Any, ...]]
    following: int | None
    is_cut: bool = False
    hint: str = ""


class _Key(NamedTuple):
    provider: str
    created_at: datetime
    generation: int
    kind: Kind
    about: str
    has_details: bool
    search: str


@dataclass
class _Listing:
    """The items of one listing that were read, and the open iterator for the rest.

    Attributes:
        is_void: Whether it was removed from the cache. A request that waited for it gets another
            one.
    """

    at: float
    items: list[Item] = field(default_factory=list)
    is_complete: bool = False
    is_cut: bool = False
    hint: str = ""
    provider: Provider | None = None
    source: Iterator[Any] | None = None
    is_void: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        """Close the connections."""
        provider, self.provider, self.source = self.provider, None, None
        if provider is not None:
            with suppress(DeploycoreError):
                provider.close()

    def forget(self) -> None:
        """Close the connections, after the request that is reading has ended, if there is one."""
        self.is_void = True
        if self.lock.acquire(blocking=False):
            try:
                self.close()
            finally:
                self.lock.release()


class Listings:
    """The cached listings of all providers.

    Args:
        open_provider: Opens a configured provider.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        open_provider: Callable[[str], Provider],
        hosts: Hosts,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_provider = open_provider
        self._hosts = hosts
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[_Key, _Listing] = OrderedDict()

    def page(
        self,
        record: ProviderRecord,
        wanted: Wanted,
        *,
        after: int = 0,
        limit: int = 50,
        refresh: bool = False,
    ) -> Page:
        """Return a page of a listing. It may have fewer items than wanted, if the host is slow.

        Args:
            record: The provider.
            after: The number of items before the page.
            refresh: Whether to request cached items from the host again.

        Raises:
            DeploycoreError: The host or the plugin has failed.
            Refusal: As for ``Hosts.ask``.
        """
        asked = _asked(wanted)
        provider = (record.name, record.created_at, record.generation)
        key = _Key(*provider, wanted.kind, wanted.about, wanted.has_details, asked)
        if refresh:
            self._forget(key)
        page = self._page(key, wanted.search, after, limit)
        word = max(_words(asked), key=len, default="")
        if not page.items and page.following is None and word != asked:
            # Hosts search in the name, not in the address: "My Shop" has the address "my-shop".
            page = self._page(key._replace(search=word), wanted.search, after, limit)
        return page

    def _page(self, key: _Key, searched: str, after: int, limit: int) -> Page:
        search = _folded(searched).strip()
        with self._reading(key) as (key, listing):
            found = _matching(listing.items, search)
            if len(found) <= after + limit and not listing.is_complete:
                self._read(key, listing, search, after + limit + 1)
                found = _matching(listing.items, search)
            items = [each.fields for each in found[after : after + limit]]
            has_more = len(found) > after + limit or not listing.is_complete
            following = after + len(items) if has_more else None
            hint = listing.hint if not listing.items else ""
            return Page(items, following, listing.is_cut, hint)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            while self._known:
                self._known.popitem()[1].close()

    @contextmanager
    def _reading(self, key: _Key) -> Iterator[tuple[_Key, _Listing]]:
        """Hold a listing while one request reads it. Other requests wait for it."""
        ends_at = time.monotonic() + _HANGS_SECONDS
        while True:
            known, listing = self._listing(key)
            try:
                with _held(listing, ends_at):
                    if not listing.is_void:
                        yield known, listing
                        return
            finally:
                if listing.is_void:
                    listing.close()

    def _listing(self, key: _Key) -> tuple[_Key, _Listing]:
        """Return the listing to read: the requested one, or one that contains its items."""
        with self._lock:
            self._drop_old()
            for known in (key, *self._broader(key)):
                if known in self._known:
                    self._known.move_to_end(known)
                    return known, self._known[known]
            listing = self._known[key] = _Listing(self._clock())
            return key, listing

    def _broader(self, key: _Key) -> Iterator[_Key]:
        for known, listing in self._known.items():
            same = known._replace(search=key.search) == key
            if same and listing.is_complete and not listing.is_cut and known.search in key.search:
                yield known
                return

    def _drop_old(self) -> None:
        now = self._clock()
        for key, listing in list(self._known.items()):
            if now - listing.at > _SECONDS[key.kind] and not listing.lock.locked():
                self._known.pop(key).forget()
        held = sum(len(each.items) for each in self._known.values())
        while self._known and (held > _ALL_ITEMS_MOST or len(self._known) >= _LISTINGS_MOST):
            _, oldest = self._known.popitem(last=False)
            held -= len(oldest.items)
            oldest.forget()

    def _forget(self, key: _Key) -> None:
        with self._lock:
            same = [known for known in self._known if known._replace(search=key.search) == key]
            for known in same:
                self._known.pop(known).forget()

    def _read(self, key: _Key, listing: _Listing, search: str, count: int) -> None:
        """Read until there are enough items that match, or for some seconds."""
        try:
            self._hosts.ask(
                lambda: self._read_on(key, listing, search, count),
                seconds=_HANGS_SECONDS,
                late=lambda _: listing.close(),
            )
        except (DeploycoreError, Refusal):
            with self._lock:
                if self._known.get(key) is listing:
                    del self._known[key]
            listing.is_void = True  # items that are read too late are in no response
            listing.close()
            raise

    def _read_on(self, key: _Key, listing: _Listing, search: str, count: int) -> None:
        if listing.source is None:
            listing.provider = self._open_provider(key.provider)
            listing.source = _opened(listing.provider, key)
            listing.hint = listing.provider.no_repositories_hint
        ends_at = time.monotonic() + _READ_SECONDS
        matching = len(_matching(listing.items, search))
        for each in listing.source:
            item = _item(each, has_details=key.has_details)
            if item is not None:
                listing.items.append(item)
                matching += search in item.text
            if len(listing.items) >= _ITEMS_MOST:
                listing.is_cut = listing.is_complete = True
                break
            if matching >= count or time.monotonic() > ends_at:
                return
        listing.is_complete = True
        listing.close()


@contextmanager
def _held(listing: _Listing, ends_at: float) -> Iterator[None]:
    """Hold the lock of a listing."""
    if not listing.lock.acquire(timeout=max(0.0, ends_at - time.monotonic())):
        raise Refusal(
            503,
            "busy",
            "Another request reads this listing.",
            hint="Send the request again in a minute.",
            headers={"Retry-After": "60"},
        )
    try:
        yield
    finally:
        listing.lock.release()


def _asked(wanted: Wanted) -> str:
    """Return the text to search for at the host: for ``owner/name``, the name."""
    search = wanted.search.casefold()
    return search.rpartition("/")[2] if wanted.kind == "repositories" else search


def _words(text: str) -> list[str]:
    return _SEPARATORS.sub(" ", text).split()


def _folded(text: str) -> str:
    """Return a text for comparison: in lower case, and with spaces for all characters that may
    separate words."""
    return _SEPARATORS.sub(" ", text.casefold())


def _matching(items: Sequence[Item], search: str) -> Sequence[Item]:
    return [each for each in items if search in each.text] if search else items


def _opened(provider: Provider, key: _Key) -> Iterator[Any]:
    search = key.search or None
    if key.kind == "owners":
        return provider.list_owners(OwnerQuery(name_contains=search))
    if key.kind == "repositories":
        return provider.list_repos(RepositoryQuery(owner=key.about or None, name_contains=search))
    repository = RepositoryId.parse(key.about)
    if key.kind == "branches":
        return provider.list_branches(repository, BranchQuery(name_contains=search))
    return provider.list_tags(repository, TagQuery(name_contains=search))


def _item(found: Owner | Repository | Branch | Tag, *, has_details: bool = False) -> Item | None:
    """Return the item for an object that a host has listed; ``None`` if its name is too long."""
    if isinstance(found, Repository):
        value, name = str(found.id), found.name[:_NAME_LENGTH]
        fields: tuple[Any, ...] = (
            value,
            name,
            _short(found.default_branch),
            found.private,
            found.archived,
            found.empty,
            _link(found.url),
            found.updated_at,
            _details(found) if has_details else None,
        )
    elif isinstance(found, Owner):
        value, name = found.username, (found.display_name or "")[:_NAME_LENGTH]
        fields = (value, name or None)
    else:
        value, name = found.name, ""
        fields = (value, found.commit)
    if len(value) > _VALUE_LENGTH:
        return None
    return Item(_folded(f"{value}\0{name}"), fields)


def _details(found: Repository) -> str | None:
    """Everything that a host lists of a repository, as JSON, which takes less memory than objects;
    ``None`` if it is longer than any can be."""
    text = found.model_dump_json()
    return text if len(text) <= _DETAILS_LENGTH else None


def _short(name: str | None) -> str | None:
    """Return a name, or ``None`` if it is too long: thousands of items are cached."""
    return name if name is None or len(name) <= _VALUE_LENGTH else None


def _link(url: str) -> str | None:
    """Return an address if a browser may be sent to it."""
    is_web = url.startswith(("https://", "http://"))
    return url if is_web and len(url) <= _VALUE_LENGTH else None
