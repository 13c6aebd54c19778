"""The two things that git is wanted for: a branch's files, and a working clone of a branch."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deploycore.errors import DeploycoreError, LimitExceeded
from deploycore.git.checkout import Written, write_tree
from deploycore.git.operation import Operation
from deploycore.git.pack import CommitInfo, open_pack
from deploycore.git.progress import Cancellation, ProgressListener, no_progress
from deploycore.git.remote import Fetched, Wanted, fetch, refuse_bare_secret
from deploycore.git.repository import make_repository
from deploycore.git.settings import GitSettings
from deploycore.git.submodules import Submodule, find_submodules
from deploycore.git.target import Staging, refuse_unusable, staging_for
from deploycore.git.translation import file_failure
from deploycore.git.tree import plan, shown
from deploycore.models import CloneUrl

__all__ = ["CheckedOut", "clone", "export"]


@dataclass(frozen=True)
class CheckedOut:
    """What is at the target now.

    Attributes:
        commit: Full hash.
        branch: Without ``refs/heads/``.
        files: Files and links, those of submodules included.
        bytes: Of their contents.
        submodules: How many were fetched.
        author: Name only, fit for a terminal.
        subject: The first line of the commit's message, fit for a terminal.
        committed_at: In the committer's time zone.
    """

    commit: str
    branch: str
    files: int
    bytes: int
    submodules: int
    author: str
    subject: str
    committed_at: datetime


def export(
    source: CloneUrl,
    branch: str,
    target: Path,
    *,
    commit: str | None = None,
    submodules: bool = False,
    progress: ProgressListener = no_progress,
    cancellation: Cancellation | None = None,
    settings: GitSettings | None = None,
) -> CheckedOut:
    """Put the files of a branch's newest commit at ``target``, without any ``.git``.

    All of them, flushed to the disk, or nothing: the target appears in one step.

    Args:
        target: Must not exist, or be an empty directory.
        commit: Exactly this commit of the branch, full hash, even if the branch has moved.
        submodules: Whether to fetch them too; otherwise their places stay empty directories.

    Raises:
        ConfigurationError: The target, the URL or the branch's name can't be used.
        RemoteRefused: Credentials, repository, branch or commit are refused or unknown;
            ``details["status"]`` is the HTTP status where there was one.
        UnsafeRepository: The repository holds what must not be written.
        LimitExceeded: A limit of the settings was reached.
        CorruptPack: What the server sent is damaged.
        Cancelled: The operation was asked to stop.
        GitError: Any other failure of the network or the file system.
    """
    wanted = Wanted(branch, commit)
    operation = Operation(settings or GitSettings(), progress, cancellation or Cancellation())
    with _published(source, wanted, target) as staging:
        run = _Run(source, wanted, staging, operation)
        return run.perform(submodules=submodules, repository=False)


def clone(
    source: CloneUrl,
    branch: str | None,
    target: Path,
    *,
    submodules: bool = False,
    progress: ProgressListener = no_progress,
    cancellation: Cancellation | None = None,
    settings: GitSettings | None = None,
) -> CheckedOut:
    """Make a shallow git repository of one branch at ``target``, with its files.

    Stock git works in it; its remote ``origin`` is the clean URL, without credentials. The
    files of submodules are there as plain files, without a ``.git`` of their own.

    Args:
        branch: ``None`` for the branch that the server's HEAD names.
        target: Must not exist, or be an empty directory.
        submodules: Whether to fetch them too; otherwise their places stay empty directories.

    Raises:
        DeploycoreError: As ``export`` does.
    """
    wanted = Wanted(branch)
    operation = Operation(settings or GitSettings(), progress, cancellation or Cancellation())
    with _published(source, wanted, target) as staging:
        run = _Run(source, wanted, staging, operation)
        return run.perform(submodules=submodules, repository=True)


@contextmanager
def _published(source: CloneUrl, wanted: Wanted, target: Path) -> Iterator[Staging]:
    """A staging place that becomes the target if all goes well."""
    target = target.absolute()
    refuse_bare_secret(source)
    wanted.ref  # noqa: B018  refuses a malformed name before anything is made
    refuse_unusable(target)
    try:
        with staging_for(target) as staging:
            yield staging
            staging.publish()
    except OSError as error:
        raise file_failure(target, error) from error


@dataclass(frozen=True)
class _Laid:
    """One repository's files, on disk."""

    commit: CommitInfo
    checksum: str
    written: tuple[Written, ...]
    submodules: list[Submodule]


class _Run:
    def __init__(
        self, source: CloneUrl, wanted: Wanted, staging: Staging, operation: Operation
    ) -> None:
        self._source = source
        self._wanted = wanted
        self._staging = staging
        self._operation = operation
        self._submodules = 0

    def perform(self, *, submodules: bool, repository: bool) -> CheckedOut:
        self._operation.enter("connecting")
        pack = self._staging.directory / "repository.pack"
        fetched = fetch(self._source, self._wanted, pack, self._operation)
        self._operation.enter("writing")
        top = Submodule(b"", fetched.commit, self._source, depth=0)
        laid = self._lay_out(pack, top, submodules=submodules, keep=repository)
        self._add_submodules(laid.submodules)
        if repository:
            url = self._source.url
            make_repository(self._staging.tree, pack, laid.checksum, fetched, url, laid.written)
        self._operation.check()
        return self._result(fetched, laid.commit)

    def _add_submodules(self, found: list[Submodule]) -> None:
        settings = self._operation.settings
        pending = deque(found)
        while pending:
            self._operation.enter("submodules")
            self._submodules += 1
            each = pending.popleft()
            if self._submodules > settings.submodules_most:
                raise _too_many(each, settings.submodules_most, "submodules_most")
            if each.depth > settings.submodule_depth_most:
                raise _too_many(each, settings.submodule_depth_most, "submodule_depth_most")
            pending.extend(self._add(each))

    def _add(self, submodule: Submodule) -> list[Submodule]:
        pack = self._staging.directory / f"submodule-{self._submodules}.pack"
        try:
            fetch(submodule.source, Wanted(commit=submodule.commit), pack, self._operation)
            laid = self._lay_out(pack, submodule, submodules=True, keep=False)
        except DeploycoreError as error:
            error.add_context(submodule=shown(submodule.path))
            raise
        for used in (pack, pack.with_suffix(".idx")):
            used.unlink()
        return laid.submodules

    def _lay_out(self, path: Path, what: Submodule, *, submodules: bool, keep: bool) -> _Laid:
        prefix = what.path and what.path + b"/"
        root = os.path.join(os.fsencode(self._staging.tree), what.path)
        with open_pack(path, what.source.url, self._operation) as pack:
            commit = pack.commit(what.commit)
            planned = plan(pack, commit.tree, self._operation)
            found: list[Submodule] = []
            if submodules:
                found = find_submodules(
                    pack, planned, what.source, prefix=prefix, depth=what.depth + 1
                )
            writing = write_tree(pack, planned, root, self._operation)
            written = tuple(each for each in writing if keep)
            return _Laid(commit, pack.checksum, written, found)

    def _result(self, fetched: Fetched, commit: CommitInfo) -> CheckedOut:
        return CheckedOut(
            commit=fetched.commit,
            branch=fetched.branch,
            files=self._operation.files,
            bytes=self._operation.bytes,
            submodules=self._submodules,
            author=commit.author,
            subject=commit.subject,
            committed_at=commit.committed_at,
        )


def _too_many(submodule: Submodule, most: int, limit: str) -> LimitExceeded:
    return LimitExceeded(
        f"The submodule {shown(submodule.path)!r} is one too many: {limit} is {most}.",
        hint=f"Raise {limit} if this repository is to be trusted.",
        limit=limit,
    )
