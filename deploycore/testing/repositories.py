"""Real git repositories of a sandbox, served by dulwich.

Repositories are bare, and are written to a temporary directory when a client first asks for them;
see ``deploycore.testing.contents``. dulwich 1.2 does not support protocol version 2, so clients use
an earlier version. It also does not support a plain fetch into a shallow clone, only one with a
depth.

Source: https://git-scm.com/docs/http-protocol
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Literal, cast

from dulwich.errors import GitProtocolError, HangupException
from dulwich.object_store import peel_sha
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree
from dulwich.protocol import ReceivableProtocol, pkt_line
from dulwich.refs import Ref, check_ref_format
from dulwich.repo import BaseRepo, Repo
from dulwich.server import Backend, BackendRepo, ReceivePackHandler, UploadPackHandler

from deploycore.errors import ConfigurationError
from deploycore.testing.bare import find_conflict, write_refs
from deploycore.testing.contents import Contents, Served
from deploycore.testing.messages import Answer, Write

__all__ = [
    "CommitDetails",
    "Executable",
    "File",
    "GitRepositories",
    "RefUpdate",
    "Served",
    "Service",
    "Submodule",
    "Symlink",
    "branch_ref",
    "history",
]

AUTHOR = b"Ada Lovelace <ada@example.com>"
BRANCHES = b"refs/heads/"
TAGS = b"refs/tags/"
NO_CACHE = "no-cache, max-age=0, must-revalidate"

Service = str
_HANDLERS: dict[Service, type[UploadPackHandler] | type[ReceivePackHandler]] = {
    "git-upload-pack": UploadPackHandler,
    "git-receive-pack": ReceivePackHandler,
}


@dataclass(frozen=True)
class Executable:
    """An executable file."""

    content: bytes


@dataclass(frozen=True)
class Symlink:
    target: bytes | str


@dataclass(frozen=True)
class Submodule:
    """A commit of another repository. Add ``.gitmodules`` as a normal file."""

    commit: str


File = bytes | Executable | Symlink | Submodule | None
"""The new content of a path in a commit; ``None`` removes the path."""


@dataclass(frozen=True)
class CommitDetails:
    """The author, message and time of a commit."""

    hash: str
    author: str
    message: str
    date: datetime
    parents: tuple[str, ...]


@dataclass(frozen=True)
class RefUpdate:
    """A branch or tag that was created, moved or deleted.

    Attributes:
        kind: ``branch`` or ``tag``.
        name: The name, without ``refs/heads/`` or ``refs/tags/``.
        before: The previous commit; ``None`` if the ref was created.
        after: The new commit; ``None`` if the ref was deleted.
    """

    kind: Literal["branch", "tag"]
    name: str
    before: str | None
    after: str | None


PushWatcher = Callable[[Served, Sequence[RefUpdate]], None]
"""Called after each push, with the repository as it was passed for it, and the changes."""


class GitRepositories:
    """The contents of a host's repositories.

    Attributes:
        clock: Returns the time of commits, in seconds. The same commits at the same time have the
            same hashes.
        watchers: Functions that are called after each push, in order, before its client gets the
            response. Commits of the host itself count as pushes. The functions must be fast.
    """

    def __init__(self) -> None:
        self.clock: Callable[[], float] = time.time
        self.watchers: list[PushWatcher] = []
        self._contents = Contents()
        self._lock = self._contents.lock
        self._branches: dict[str, dict[str, str]] = {}
        self._tags: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        """Remove everything from the disk."""
        self._contents.close()

    def branches(self, repository: Served) -> Mapping[str, str]:
        """Return the commit of each branch."""
        with self._lock:
            return self._branches.get(repository.full_name, {})

    def tags(self, repository: Served) -> Mapping[str, str]:
        """Return the commit of each tag."""
        with self._lock:
            return self._tags.get(repository.full_name, {})

    def commit(
        self, repository: Served, branch: str, files: Mapping[str | bytes, File], message: str
    ) -> str:
        """Commit changes to a branch, which is created if it does not exist.

        Raises:
            ConfigurationError: Git does not allow the name of the branch.
        """
        with self._contents.changing(repository) as repo:
            ref = branch_ref(branch)
            parent = repo.refs[ref] if ref in repo.refs else None  # noqa: SIM401 - no get
            objects: dict[ObjectID, ShaFile] = {}
            commit = Commit()
            commit.tree = _changed_tree(repo, parent, files, objects)
            commit.parents = [parent] if parent else []
            commit.author = commit.committer = AUTHOR
            commit.author_time = commit.commit_time = int(self.clock())
            commit.author_timezone = commit.commit_timezone = 0
            commit.message = message.encode()
            objects[commit.id] = commit
            self._contents.add_objects(repo, repository, objects)
            self._set(repo, repository, {branch: commit.id})
            self._contents.write_large(repository)
            return commit.id.decode()

    def add_branches(self, repository: Served, branches: Mapping[str, str]) -> None:
        """Point branches to commits that exist.

        Raises:
            ConfigurationError: Git does not allow one of the names.
        """
        with self._contents.changing(repository) as repo:
            pointers = {name: ObjectID(commit.encode()) for name, commit in branches.items()}
            self._set(repo, repository, pointers)

    def take(self, repository: Served, branch: str, commit: str, *, source: Served) -> None:
        """Point a branch to a commit of another repository, such as a fork of this one."""
        wanted = ObjectID(commit.encode())

        def only_it(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
            return [wanted]

        with (
            self._lock,
            self._contents.on_disk(source) as origin,
            self._contents.on_disk(repository) as repo,
        ):
            origin.fetch(repo, determine_wants=only_it)
            self._set(repo, repository, {branch: wanted})

    def add_tag(self, repository: Served, name: str, commit: str) -> None:
        """Point a tag to a commit that exists.

        Raises:
            ConfigurationError: Git does not allow the name.
        """
        ref = Ref(TAGS + name.encode())
        if not check_ref_format(ref):
            raise ConfigurationError(f"Git does not allow a tag named {name!r}.")
        with self._contents.changing(repository) as repo:
            repo.refs[ref] = ObjectID(commit.encode())
            self._refresh(repo, repository)

    def delete_branches(self, repository: Served, names: Iterable[str]) -> None:
        """Delete branches in one push. Unknown branches are ignored."""
        self._delete(repository, [branch_ref(name) for name in names])

    def delete_tag(self, repository: Served, name: str) -> None:
        """Delete a tag, if there is one."""
        self._delete(repository, [Ref(TAGS + name.encode())])

    def _delete(self, repository: Served, refs: Iterable[Ref]) -> None:
        with self._contents.changing(repository) as repo:
            for ref in refs:
                repo.refs.remove_if_equals(ref, None)
            self._refresh(repo, repository)

    def has_commit(self, repository: Served, commit: str) -> bool:
        """Whether a commit with this full hash exists."""
        with self._contents.reading(repository) as repo:
            known = ObjectID(commit.encode())
            return (
                repo is not None and known in repo.object_store and isinstance(repo[known], Commit)
            )

    @contextmanager
    def commits(self, repository: Served) -> Iterator[Callable[[str], CommitDetails]]:
        """A context with a function that reads commits."""
        with self._contents.reading(repository) as repo:
            yield _no_commit if repo is None else lambda commit: _details(repo, commit)

    def advertise(self, repository: Served, service: Service) -> Answer:
        """The refs, and what the server can do."""

        def send(write: Write) -> None:
            write(pkt_line(f"# service={service}\n".encode()) + pkt_line(None))
            self._serve(repository, service, b"", write, advertise_refs=True)

        return _answer(f"application/x-{service}-advertisement", send)

    def exchange(self, repository: Served, service: Service, body: bytes) -> Answer:
        """A fetch or a push."""

        def send(write: Write) -> None:
            self._serve(repository, service, body, write, advertise_refs=False)

        return _answer(f"application/x-{service}-result", send)

    def talk(self, repository: Served, read: Callable[[int], bytes], write: Write) -> None:
        """A fetch over a connection that stays open, as over SSH.

        Args:
            read: Returns at most a number of bytes from the client; none after its end.
        """
        with self._contents.on_disk(repository) as repo:
            protocol = ReceivableProtocol(read, _counting(write))
            try:
                UploadPackHandler(_OneRepository(repo), ["/"], protocol).handle()
            except HangupException:
                pass  # a client that needed only the refs
            except GitProtocolError as error:
                write(pkt_line(b"ERR " + str(error).encode()))

    def _serve(
        self,
        repository: Served,
        service: Service,
        body: bytes,
        write: Write,
        *,
        advertise_refs: bool,
    ) -> None:
        with self._contents.on_disk(repository) as repo:
            protocol = ReceivableProtocol(BytesIO(body).read, _counting(write))
            handler = _HANDLERS[service](
                _OneRepository(repo),
                ["/"],
                protocol,
                stateless_rpc=True,
                advertise_refs=advertise_refs,
            )
            try:
                handler.handle()
            except GitProtocolError as error:
                write(pkt_line(b"ERR " + str(error).encode()))
            if service == "git-receive-pack" and not advertise_refs:
                self._refresh(repo, repository)

    def _set(self, repo: BaseRepo, repository: Served, branches: Mapping[str, ObjectID]) -> None:
        refs = {branch_ref(name): commit for name, commit in branches.items()}
        conflict = find_conflict(repo.refs.allkeys(), refs)
        if conflict is not None:
            name = conflict.removeprefix(BRANCHES).decode()
            raise ConfigurationError(
                f"{repository.full_name} has a branch whose name conflicts with {name!r}."
            )
        write_refs(repo, refs)
        self._refresh(repo, repository)

    def _refresh(self, repo: BaseRepo, repository: Served) -> None:
        name = repository.full_name
        with self._lock:
            branches = _pointers(repo, BRANCHES)
            tags = _pointers(repo, TAGS)
            updates = [
                *_updates("branch", self._branches.get(name, {}), branches),
                *_updates("tag", self._tags.get(name, {}), tags),
            ]
            self._branches[name], self._tags[name] = branches, tags
            if updates:
                for watch in self.watchers:
                    watch(repository, updates)


def _pointers(repo: BaseRepo, prefix: bytes) -> dict[str, str]:
    """Yield the names below a prefix, and the commits that they lead to."""
    found = repo.refs.as_dict(Ref(prefix.removesuffix(b"/")))
    if prefix == TAGS:  # an annotated tag leads to a tag object, which leads to a commit
        found = {name: peel_sha(repo.object_store, tag)[1].id for name, tag in found.items()}
    return {name.decode(errors="replace"): commit.decode() for name, commit in found.items()}


def _updates(
    kind: Literal["branch", "tag"], before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[RefUpdate]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield RefUpdate(kind, name, before.get(name), after.get(name))


def history(
    commit: str, read: Callable[[str], CommitDetails], *, until: Iterable[str] = ()
) -> Iterator[CommitDetails]:
    """Yield a commit and its ancestors, each once.

    Args:
        read: Reads a commit, from ``GitRepositories.commits``.
        until: Commits that are left out, together with their ancestors.
    """
    waiting, seen = [commit], set(until)
    while waiting:
        current = waiting.pop(0)
        if current not in seen:
            seen.add(current)
            found = read(current)
            yield found
            waiting += found.parents


def branch_ref(branch: str) -> Ref:
    """Return the full name of a branch.

    Raises:
        ConfigurationError: Git does not allow the name.
    """
    name = branch.encode()
    if not check_ref_format(Ref(b"heads/" + name)):
        raise ConfigurationError(f"Git does not allow a branch named {branch!r}.")
    return Ref(BRANCHES + name)


class _OneRepository(Backend):
    """Passes dulwich's handlers the repository that was already found."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo

    def open_repository(self, path: str) -> BackendRepo:
        return cast(BackendRepo, self._repo)


def _answer(content_type: str, send: Callable[[Write], None]) -> Answer:
    return Answer(200, {"Content-Type": content_type, "Cache-Control": NO_CACHE}, send)


def _counting(write: Write) -> Callable[[bytes], int]:
    def counted(data: bytes) -> int:
        write(data)
        return len(data)

    return counted


def _changed_tree(
    repo: BaseRepo,
    parent: ObjectID | None,
    files: Mapping[str | bytes, File],
    objects: dict[ObjectID, ShaFile],
) -> ObjectID:
    before = cast(Commit, repo[parent]).tree if parent else None
    changes = {
        tuple((path.encode() if isinstance(path, str) else path).split(b"/")): file
        for path, file in files.items()
    }
    return _write_tree(repo, before, changes, objects).id


def _write_tree(
    repo: BaseRepo,
    before: ObjectID | None,
    changes: Mapping[tuple[bytes, ...], File],
    objects: dict[ObjectID, ShaFile],
) -> Tree:
    """Write a tree with changes, and the trees below it. Empty directories are left out, as in
    git."""
    tree = cast(Tree, repo[before].copy()) if before else Tree()
    below: dict[bytes, dict[tuple[bytes, ...], File]] = {}
    for (name, *rest), file in changes.items():
        if rest:
            below.setdefault(name, {})[tuple(rest)] = file
        elif file is None:
            del tree[name]
        else:
            tree[name] = _entry(file, objects)
    for name, inner in below.items():
        known = tree[name] if name in tree else None  # noqa: SIM401 - Tree has no get
        subtree = known[1] if known and stat.S_ISDIR(known[0]) else None
        written = _write_tree(repo, subtree, inner, objects)
        if len(written):
            tree[name] = (stat.S_IFDIR, written.id)
        elif known:
            del tree[name]
    objects[tree.id] = tree
    return tree


def _entry(file: File, objects: dict[ObjectID, ShaFile]) -> tuple[int, ObjectID]:
    match file:
        case Submodule(commit):
            return 0o160000, ObjectID(commit.encode())
        case Symlink(target):
            content, mode = target.encode() if isinstance(target, str) else target, 0o120000
        case Executable(content):
            mode = 0o100755
        case _:
            content, mode = file or b"", 0o100644
    blob = Blob.from_string(content)
    objects[blob.id] = blob
    return mode, blob.id


def _details(repo: BaseRepo, commit: str) -> CommitDetails:
    found = cast(Commit, repo[ObjectID(commit.encode())])
    return CommitDetails(
        hash=commit,
        author=found.author.decode(errors="replace"),
        message=found.message.decode(errors="replace"),
        date=datetime.fromtimestamp(found.commit_time, UTC),
        parents=tuple(parent.decode() for parent in found.parents),
    )


def _no_commit(commit: str) -> CommitDetails:
    raise KeyError(commit)
