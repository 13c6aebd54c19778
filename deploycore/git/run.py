"""One export or clone, from the first question to the server to the finished directory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploycore.errors import DeploycoreError, LimitExceeded
from deploycore.git.address import refuse_unusable_source
from deploycore.git.checkout import Written, write_tree
from deploycore.git.operation import Operation
from deploycore.git.pack import CommitInfo, open_pack
from deploycore.git.progress import CheckedOut
from deploycore.git.remote import Fetched, Wanted, fetch
from deploycore.git.repository import make_repository
from deploycore.git.submodules import Submodule, find_submodules
from deploycore.git.target import Staging, refuse_unusable, staging_for
from deploycore.git.tree import plan, shown
from deploycore.git.wording import file_failure
from deploycore.models import CloneUrl

__all__ = ["run"]


def run(
    source: CloneUrl,
    branch: str | None,
    target: Path,
    operation: Operation,
    *,
    commit: str | None = None,
    submodules: bool = False,
    repository: bool = False,
) -> CheckedOut:
    """Fetch, check, write and publish; parameters and errors as ``export`` and ``clone`` have them.

    Args:
        repository: Whether to make it a git repository.
    """
    wanted = Wanted(branch, commit)
    refuse_unusable_source(source)
    wanted.refuse_malformed()
    with _published(target.absolute()) as staging:
        return _Run(source, wanted, staging, operation).perform(
            submodules=submodules, repository=repository
        )


@contextmanager
def _published(target: Path) -> Iterator[Staging]:
    """A staging place that becomes the target if all goes well."""
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
            make_repository(
                self._staging.tree,
                pack,
                laid.checksum,
                fetched,
                url,
                laid.written,
                shallow=fetched.shallow and laid.commit.has_parents,
            )
        self._operation.finish()
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
            return self._lay_out(pack, submodule, submodules=True, keep=False).submodules
        except DeploycoreError as error:
            error.add_context(submodule=shown(submodule.path))
            raise

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
            laid = _Laid(commit, pack.checksum, written, found)
        if not keep:
            path.unlink()
            path.with_suffix(".idx").unlink()
        return laid

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
