"""Which releases stay on the disk, and which one a rollback goes to.

All of this is decided from names and from the history; nothing here reads the disk or the
database, so that each rule can be tested by itself.

A commit is *withdrawn* when somebody has rolled back from it, until it is deployed, or rolled back
to, by request. Nothing chooses a withdrawn commit by itself.
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
    """The release that a rollback goes to if it is not told: that of the last different commit
    that worked.

    It is older than the live one, its deployment was healthy, and its commit is not withdrawn. Of
    several it is the one that was live last.

    Args:
        names: The releases that are on the disk.
        live: The one that is live; ``None`` if none is.

    Returns:
        ``None`` where there is no such release.
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
    """The releases to remove, so that those of ``keep`` different commits that worked stay.

    Further releases of a commit, those that never worked and those of withdrawn commits do not
    count. They stay while there is room for them, and go first. What the history does not know,
    and what has not come to its end, is left alone.

    Args:
        names: The releases that are on the disk.
        live: The one that is live. It stays, and so does the one that a rollback goes to.
        previous: The one that was live before. It stays, since processes may still use it.
        keep: How many stay; the live one and the way back count.

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
