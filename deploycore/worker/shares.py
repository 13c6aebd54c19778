"""Divide a worker's slots among providers, git hosts and retries.

If a host hangs, its applications keep their slots until their time limits. So the applications of
one provider, those of one host, and those whose last attempt failed, get at most half of the slots
each. If nothing else waits, they get all but one, so that the next application can start at once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from urllib.parse import urlsplit

from deploycore.store import PendingApplication, ProviderRecord

__all__ = ["Shares", "host_of"]

_FRESH_SECONDS = 30.0
_Group = tuple[str, str]
_RETRIES: _Group = ("retries", "")


class Shares:
    """Decides which applications a worker may start.

    Args:
        threads: The number of the worker's slots.
        per_provider: The maximum number of slots of one provider and of one host (default: half, or
            all but one if nothing else waits).
        list_providers: Returns all providers.
    """

    def __init__(
        self,
        threads: int,
        per_provider: int | None,
        list_providers: Callable[[], Iterable[ProviderRecord]],
    ) -> None:
        self._threads = threads
        self._per_provider = per_provider
        self._list_providers = list_providers
        self._hosts: dict[str, str] = {}
        self._listed_at = -float("inf")

    def full_providers(self, held: Collection[PendingApplication], *, alone: bool) -> set[str]:
        """Return the names of the providers that cannot get another slot.

        Args:
            held: The applications that have slots.
            alone: Whether nothing else waits.

        Raises:
            StoreError: The database cannot be used.
        """
        if not held:
            return set()
        self._refresh(held)
        used = self._used(held)
        return {
            provider
            for provider in self._hosts
            if any(self._is_full(group, used, alone) for group in self._groups(provider))
        }

    def is_full_of_retries(self, held: Collection[PendingApplication], *, alone: bool) -> bool:
        """Whether retries cannot get another slot."""
        return self._is_full(_RETRIES, self._used(held), alone)

    def is_full_for(
        self, wanted: PendingApplication, held: Collection[PendingApplication], *, alone: bool
    ) -> bool:
        """Whether an application cannot get a slot.

        Raises:
            StoreError: The database cannot be used.
        """
        self._refresh([wanted])
        used = self._used(held)
        return any(self._is_full(group, used, alone) for group in self._groups_of(wanted))

    def _is_full(self, group: _Group, used: Counter[_Group], alone: bool) -> bool:
        return used[group] >= self._most(group[0], alone)

    def _most(self, kind: str, alone: bool) -> int:
        if kind != _RETRIES[0]:
            others = self._hosts if kind == "provider" else set(self._hosts.values())
            if len(others) < 2:
                return self._threads  # there is no other application
            if self._per_provider is not None:
                return self._per_provider
        half = self._threads - 1 if alone else (self._threads + 1) // 2
        return max(1, min(half, self._threads - 1))

    def _used(self, held: Iterable[PendingApplication]) -> Counter[_Group]:
        return Counter(group for each in held for group in self._groups_of(each))

    def _groups_of(self, each: PendingApplication) -> list[_Group]:
        return self._groups(each.provider) + ([_RETRIES] if each.is_retried else [])

    def _groups(self, provider: str) -> list[_Group]:
        return [("provider", provider), ("host", self._hosts.get(provider, ""))]

    def _refresh(self, needed: Iterable[PendingApplication]) -> None:
        now = time.monotonic()
        is_known = all(each.provider in self._hosts for each in needed)
        if not is_known or now - self._listed_at > _FRESH_SECONDS:
            self._hosts = {each.name: host_of(each) for each in self._list_providers()}
            self._listed_at = now


def host_of(provider: ProviderRecord) -> str:
    """Return a key for a provider's host: the addresses in its settings, or else its kind.

    A plugin without addresses in its settings is for one host only.
    """
    places = set()
    for value in provider.settings.values():
        try:
            places.add(urlsplit(value).netloc.rpartition("@")[2].lower())
        except (ValueError, AttributeError):
            continue
    return ",".join(sorted(filter(None, places))) or provider.kind
