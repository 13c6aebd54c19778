"""Compare open previews with the pull requests at the git hosts from time to time.

If the delivery about a closed pull request is lost, its preview would stay. A preview ends only if
the host confirms that its pull request is closed. A list may be incomplete: if a pull request is
missing in it, this number is requested from the host. After an error or an unknown number, the
preview stays.
"""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from deploycore.deploy import InterruptibleProvider, confirm_repository, is_same_name
from deploycore.errors import Cancelled, DeploycoreError, StoreError
from deploycore.git import Cancellation
from deploycore.installation import Installation
from deploycore.models import PullRequest, PullRequestQuery, RepositoryId
from deploycore.provider import Provider
from deploycore.store import ApplicationRecord, PreviewRecord
from deploycore.worker.catch_up import spacing_for
from deploycore.worker.periodic import Periodic

__all__ = ["PreviewComparison"]

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 3600.0
_JITTER = 0.1
_LOOK_SECONDS = 60.0
_CALL_SECONDS = 60.0
_GOODBYE_SECONDS = 10.0
_LISTED_MOST = 1000
_DISAGREEMENTS_MOST = 3
"""If more pull requests than this are open although the list lacks them, the list is ignored."""
_ALIVE = timedelta(minutes=1)
_BRANCHES = "refs/heads/"

_Place = tuple[str, str]
"""A provider and a repository."""


@dataclass(frozen=True)
class _Open:
    """An open preview.

    Attributes:
        preview: Its application.
    """

    record: PreviewRecord
    parent: ApplicationRecord
    preview: ApplicationRecord


class PreviewComparison(Periodic):
    """Compares the previews of an installation, in a separate thread: when a worker starts, and
    every hour.

    The workers divide the repositories among themselves. Call ``start`` and ``stop``.

    Args:
        worker: The identifier of the worker.
        look_seconds: How often to check whether a comparison is due.
    """

    def __init__(
        self, installation: Installation, worker: str, *, look_seconds: float = _LOOK_SECONDS
    ) -> None:
        super().__init__(
            "comparison",
            seconds=look_seconds,
            goodbye_seconds=_GOODBYE_SECONDS,
            failure="previews could not be compared with pull requests",
            activity="comparing previews",
        )
        self._installation = installation
        self._worker = worker
        self._cancellation = Cancellation()
        self._due_at: dict[_Place, float] = {}
        self._failing: set[_Place] = set()

    def stop(self) -> None:
        """Stop the thread. A request that cannot be interrupted is abandoned."""
        self._stopped.set()  # first, so that no further request begins
        self._cancellation.cancel()
        super().stop()

    def look(self) -> int:
        """Run the comparisons that are due, in this thread.

        Returns:
            The number of previews that were recorded as ended.

        Raises:
            StoreError: The database cannot be used.
        """
        places = self._open_previews()
        self._due_at = {place: at for place, at in self._due_at.items() if place in places}
        now, ended = time.monotonic(), 0
        due = [place for place in places if self._due_at.get(place, now) <= now]
        mine = [place for place in due if self._is_mine(place)]
        for place in mine:
            ended += self._compare(place, places[place])
            wait = _EVERY_SECONDS * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
            self._due_at[place] = time.monotonic() + wait
            if place != mine[-1] and self._stopped.wait(spacing_for(len(mine))):
                break
        return ended

    def _work(self) -> None:
        self.look()

    def _open_previews(self) -> Mapping[_Place, Sequence[_Open]]:
        """Return the open previews, by the repositories that their pull requests are for."""
        store = self._installation.store
        records = [each for each in store.previews.list() if each.ended_at is None]
        names = {name for each in records for name in (each.name, each.parent)}
        known = store.find_applications(names) if names else {}
        found: dict[_Place, list[_Open]] = defaultdict(list)
        for record in records:
            parent, preview = known.get(record.parent), known.get(record.name)
            if parent is not None and preview is not None:
                place = (parent.definition.provider, parent.definition.repository)
                found[place].append(_Open(record, parent, preview))
        return found

    def _is_mine(self, place: _Place) -> bool:
        """Whether this worker is the one of the live workers that compares a repository."""
        workers = self._installation.store.claims.workers()
        latest = max((each.seen_at for each in workers), default=None)
        alive = {
            each.id for each in workers if latest is not None and latest - each.seen_at < _ALIVE
        }

        def weight(worker: str) -> bytes:
            return hashlib.sha256("\n".join((worker, *place)).encode()).digest()

        return max(alive | {self._worker}, key=weight) == self._worker

    def _compare(self, place: _Place, previews: Sequence[_Open]) -> int:
        name, repository = place
        try:
            with InterruptibleProvider(
                name,
                lambda: self._installation.open_provider(name),
                seconds=_CALL_SECONDS,
                look=self._cancellation.raise_if_cancelled,
            ) as provider:
                ended = self._ended(provider, previews)
        except Cancelled:
            return 0
        except StoreError:
            raise
        except DeploycoreError as error:
            if place not in self._failing:
                logger.warning(
                    "the previews of %s are left as they are: its pull requests cannot be listed:"
                    " %s",
                    repository,
                    error,
                )
            self._failing.add(place)
            return 0
        self._failing.discard(place)
        return ended

    def _ended(self, provider: Provider, previews: Sequence[_Open]) -> int:
        if not provider.supports("list_pull_requests"):
            return 0
        store = self._installation.store
        former = previews[0].parent.definition.repository_id
        present = confirm_repository(store, provider, previews[0].parent).definition.repository_id
        query = PullRequestQuery(limit=_LISTED_MOST)
        listed = {each.number: each for each in provider.list_pull_requests(present, query)}
        ended = disagreements = 0
        for each in previews:
            found = listed.get(each.record.number)
            if found is None:
                found = _asked(provider, present, each.record.number)
                disagreements += found is None or found.state == "open"
            if found is not None and _is_of(found, each.preview, former, present):
                ended += self._note(each, found)
            if disagreements > _DISAGREEMENTS_MOST:
                break
        return ended

    def _note(self, each: _Open, found: PullRequest) -> bool:
        """Record what the host says about the pull request of a preview; return whether it has
        ended."""
        previews, parent, number = self._installation.store.previews, each.parent, found.number
        if found.state != "open":
            is_merged = found.state == "merged"
            ended = previews.close(parent.definition, number, merged=is_merged)
        elif found.target_branch != parent.definition.ref.removeprefix(_BRANCHES):
            ended = previews.end(parent.name, number)
        else:
            return False
        if ended:
            logger.info(
                "preview %s of %s has ended: pull request %s is %s at the host, and no webhook"
                " said so",
                each.record.name,
                parent.name,
                number,
                found.state if found.state != "open" else f"for {found.target_branch}",
            )
        return ended


def _asked(provider: Provider, repository: RepositoryId, number: int) -> PullRequest | None:
    """Return one pull request in any state; ``None`` if the host does not know its number."""
    query = PullRequestQuery(number=number, limit=1)
    return next(iter(provider.list_pull_requests(repository, query)), None)


def _is_of(
    found: PullRequest, preview: ApplicationRecord, former: RepositoryId, present: RepositoryId
) -> bool:
    """Whether a preview was created for this pull request, and not for one with the same number in
    an earlier repository of the parent.

    Args:
        former, present: The previous and the current name of the parent's repository.
    """
    own = preview.definition.repository_id
    if found.source_branch != preview.definition.ref.removeprefix(_BRANCHES):
        return False
    if found.source is None:  # a deleted fork, or a fork that the host does not name
        return True
    return any(
        is_same_name(found.source, each) for each in (own, present if own == former else own)
    )
