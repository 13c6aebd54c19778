"""Bare repositories and their refs, written without syncs of the disk.

A sandbox's repositories last as long as the sandbox. dulwich syncs each file of a new repository
and each ref to the disk, which takes most of a short test's time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path

from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import BaseRepo, Repo

__all__ = ["find_conflict", "make_bare", "write_refs"]

_DIRECTORIES = ("objects/info", "objects/pack", "refs/heads", "refs/tags")
_CONFIGURATION = b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n"


def make_bare(path: Path, default_branch: str) -> None:
    """Create a bare repository."""
    for name in _DIRECTORIES:
        path.joinpath(name).mkdir(parents=True)
    path.joinpath("HEAD").write_bytes(f"ref: refs/heads/{default_branch}\n".encode())
    path.joinpath("config").write_bytes(_CONFIGURATION)


def write_refs(repo: BaseRepo, refs: Mapping[Ref, ObjectID]) -> None:
    """Set refs whose names do not conflict with each other. If there are many, they are written to
    one file."""
    if not isinstance(repo, Repo):  # in memory
        for ref, target in refs.items():
            repo.refs[ref] = target
        return
    if len(refs) > 1:
        repo.refs.add_packed_refs(refs)
        return
    for ref, target in refs.items():
        path = Path(os.fsdecode(repo.controldir()), os.fsdecode(ref))
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_name(f"{path.name}.lock")  # a name that a ref cannot have
        written.write_bytes(target + b"\n")
        written.replace(path)


def find_conflict(known: Set[Ref], added: Iterable[Ref]) -> Ref | None:
    """Return one of the added refs that would be both a file and a directory."""
    every = known | set(added)
    directories = {parent for ref in every for parent in _parents(ref)}
    return next(
        (ref for ref in added if ref in directories or not every.isdisjoint(_parents(ref))), None
    )


def _parents(ref: Ref) -> Iterator[Ref]:
    """Return the directories that contain the file of a ref."""
    parts = ref.split(b"/")
    return (Ref(b"/".join(parts[:count])) for count in range(1, len(parts)))
