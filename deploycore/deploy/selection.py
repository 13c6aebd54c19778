"""Rules that decide which releases stay on disk, and which one a rollback goes to.

They use only names and the history. Nothing here reads the disk or the database, so each rule can
be tested on its own.

A commit is *withdrawn* after a rollback from it, until it is deployed again or a rollback goes to
it. A withdrawn commit is never chosen automatically.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from deploycore.store import DeploymentRecord, ReleaseHistory

__all__ = ["find_way_back", "surplus_releases", "withdrawn_commits"]


def withdrawn_commits(history: ReleaseHistory) -> frozenset[str]:
    """The commits that were rolled back from and have not been made live again since.

    A switch to a newer release, or to another release of the same commit, withdraws nothing.
    """
    withdrawn: set[str] = set()
    for event in history.events:
        withdrawn.discard(event.commit or "")
        left = history.made.get(event.previous or "")
        if event.kind != "rollback" or left is None or left.commit is None:
            continue
        made = history.made.get(event.release or "")
        if left.commit != event.commit and (made is None or made.id < left.id):
            withdrawn.add(left.commit)
    return frozenset(withdrawn)


def find_way_back(names: Sequence[str], live: str | None, history: ReleaseHistory) -> str | None:
    """Find the release that a rollback goes to by default: the last different commit that worked.

    The release is older than the live one, its deployment was healthy, and its commit is not
    withdrawn. If there are several, it is the one that was live last.

    Args:
        names: The releases on disk.
        live: The live release; ``None`` if there is none.

    Returns:
        The release's name; ``None`` if there is no such release.
    """
    made, withdrawn = history.made, withdrawn_commits(history)
    from_ = made.get(live or "")
    newest = from_.id if from_ else sys.maxsize
    commit = from_.commit if from_ else None
    was_live_at = {event.release: event.id for event in history.events}
    found = [
        name
        for name in names
        if name != live
        and _worked(made.get(name))
        and made[name].id < newest
        and made[name].commit != commit
        and made[name].commit not in withdrawn
    ]
    return max(found, key=lambda name: (was_live_at.get(name, 0), made[name].id), default=None)


def surplus_releases(
    names: Sequence[str],
    *,
    live: str | None,
    previous: str | None,
    keep: int,
    history: ReleaseHistory,
) -> list[str]:
    """List the releases to remove, so that those of ``keep`` different commits that worked stay.

    Further releases of the same commit, releases that never worked, and releases of withdrawn
    commits do not count. They stay while there are fewer than ``keep`` releases, and are removed
    first. Releases without a record, or whose deployment has not ended, are never listed.

    Args:
        names: The releases on disk.
        live: The live release. It stays, and so does the one that a rollback goes to.
        previous: The release that was live before. It stays, since processes may still use it.
        keep: How many releases stay, the live one and the rollback's included.

    Returns:
        Names, in the order in which they are to be removed.
    """
    made = history.made
    known = [name for name in names if name in made and made[name].is_finished]
    known.sort(key=lambda name: made[name].id, reverse=True)
    back = find_way_back(names, live, history)
    fixed = {name for name in (live, back, previous) if name is not None}
    withdrawn = withdrawn_commits(history)
    chosen: dict[str | None, str] = {}  # one release of each commit that worked
    for name in [live, back, *known]:
        record = made.get(name or "")
        if name is None or record is None or not _worked(record):
            continue
        if record.commit not in withdrawn or name == live:
            chosen.setdefault(record.commit, name)
    spare = [name for name in known if name not in fixed and name not in chosen.values()]
    # Copies first: what never worked, or was withdrawn, cannot be had from another release.
    spare.sort(key=lambda name: (made[name].commit not in chosen, made[name].id))
    surplus = spare[: max(0, len(known) - keep)]
    others = sorted(set(chosen.values()) - fixed, key=lambda name: made[name].id, reverse=True)
    room = max(0, keep - len(fixed & set(chosen.values())))
    return surplus + others[room:][::-1]


def _worked(record: DeploymentRecord | None) -> bool:
    return record is not None and record.state == "healthy"
