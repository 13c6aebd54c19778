"""One repository in the git cache: the commits that were fetched from one remote.

It is a shallow bare repository that git can read: packs with their indexes, and a ref
``refs/deploycore/<commit>`` for every commit that is complete. Invariants:

1. A pack gets its final name when it is complete, its index comes next, and the commit's ref last.
   What a killed process leaves has another name or no index, and is not locked. The next process
   removes it.
2. Packs do not change. A reader has them open, so another process may remove them meanwhile.
3. ``lock`` is held while something is added or removed. ``in-use`` is held, shared, while anything
   is used, so that the whole repository is removed only if no process uses it. A process that
   cannot get a lock soon continues without the cache.
4. The content is not trusted: indexes have checksums, and each object is hashed when it is read.
   What is wrong or cannot be read is removed, and fetched again.
5. All objects have one object format. If a remote was created again with another format, the
   repository is emptied first, then gets the new format. A killed process leaves it empty.

Layout: https://git-scm.com/docs/gitrepository-layout
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploycore.disk.durable import make_private_directory, open_private
from deploycore.disk.removal import remove_tree
from deploycore.git.checkout.manifest import Described, Manifest, read_manifest, write_manifest
from deploycore.git.operation import Operation
from deploycore.git.packs.objects import OBJECT_FORMATS, SHA1, Damaged, ObjectFormat
from deploycore.git.packs.pack import Objects, Pack
from deploycore.git.packs.pack_index import PackIndex
from deploycore.git.packs.receive import Received
from deploycore.git.repositories.repository import core_section

__all__ = ["CacheEntry", "CachedRepository", "read_url", "remove_later"]

logger = logging.getLogger(__name__)

_MAX_PACKS = 50
_TRIES = 10
_MAX_MANIFESTS = 50
_DIRECTORIES = ("objects", "objects/pack", "refs", "incoming", "checkouts")
# Seconds to wait for a lock, and the first and the longest interval between two attempts.
_PATIENCE, _FIRST_STEP, _LAST_STEP = 10.0, 0.005, 0.1
_NOBODY_WRITES_FOR = 3600.0
_STEP = 1024 * 1024
_REF = re.compile(r"([0-9a-f]{40}(?:[0-9a-f]{24})?) refs/deploycore/\1")
_FORMAT = re.compile(r"^\tobjectformat = (\w+)$", re.MULTILINE)
_HEAD = "ref: refs/heads/none\n"


@dataclass(frozen=True)
class CacheEntry:
    """A repository in the cache, as it is listed.

    Attributes:
        url: The remote's URL; empty if the repository's configuration cannot be read.
        bytes: Size on disk.
        commits: Number of complete commits.
        used_at: Time of the last use.
    """

    url: str
    bytes: int
    commits: int
    used_at: datetime


class CachedRepository:
    """One remote's repository in the cache.

    A disk failure does not fail a deployment: it is logged, and the cache is not used.

    Args:
        wait: As in ``RepositoryCache.repository``.
    """

    def __init__(self, path: Path, url: str, wait: Callable[[float], None] = time.sleep) -> None:
        self.path = path
        self.url = url
        self._wait = wait
        self._has_waited = False

    @property
    def commits(self) -> list[str]:
        """The full hashes of the complete commits, the newest last."""
        try:
            lines = (self.path / "packed-refs").read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return []
        return [found[1] for line in lines if (found := _REF.fullmatch(line))]

    @property
    def object_format(self) -> ObjectFormat:
        """The object format; git's default if the configuration does not say."""
        found = _FORMAT.search(_configuration(self.path))
        name = found[1] if found else SHA1.name
        return next((each for each in OBJECT_FORMATS if each.name == name), SHA1)

    @property
    def is_due(self) -> bool:
        """Whether so much has been added that fetching everything again is better."""
        sizes = [size for _, size in self._pack_files()]
        return len(sizes) > _MAX_PACKS or sum(sizes) > 2 * max(sizes, default=0) + 2**20

    @property
    def capabilities(self) -> frozenset[bytes]:
        """The server's capabilities in protocol version 2; empty if they are not known."""
        with suppress(OSError):
            return frozenset((self.path / "capabilities").read_bytes().splitlines())
        return frozenset()

    def remember_capabilities(self, capabilities: frozenset[bytes]) -> None:
        """Store the server's capabilities, so that the next fetch need not ask for them."""
        if capabilities == self.capabilities:
            return
        with self._typed("store the server's capabilities"):
            self._make()
            self._replace("capabilities", b"".join(each + b"\n" for each in sorted(capabilities)))

    def objects(self, directory: Path, operation: Operation) -> Objects:
        """Open all objects; there are none if a pack is damaged.

        Args:
            directory: For temporary files.
        """
        packs: list[Pack] = []
        object_format = self.object_format
        try:
            for path, _ in self._pack_files():
                packs.append(_open_pack(path, object_format))
            os.utime(self.path)
        except Exception as error:
            logger.warning("the git cache of %s is damaged and is not used: %s", self.url, error)
            for pack in packs:
                pack.close()
            packs = []
        return Objects(packs, os.fspath(directory), operation, object_format)

    @contextmanager
    def incoming(self) -> Iterator[Path | None]:
        """Create a directory for a pack that is being received; ``None`` if that fails.

        The directory is removed in the end. If the process is killed, the next one removes it.
        """
        path: Path | None = None
        with ExitStack() as open_files:
            with self._typed("be written"):
                self._use(open_files)
                # Locked, so that no other process removes the directory before its lock is held.
                with self._locked():
                    self._remove_leftovers()
                    made = self.path / "incoming" / secrets.token_hex(8)
                    made.mkdir(mode=0o700)
                    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    open_files.callback(os.close, lock)
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                open_files.callback(remove_later, made)
                path = made
            yield path

    def add(self, received: Received, commit: str, *, former: list[str], shallow: bool) -> None:
        """Add a pack that completes a commit.

        Args:
            received: The pack, whose file in ``incoming`` is moved.
            former: Commits in the cache that the pack builds on: it lacks what they have. If there
                are none, the pack is complete, and all other packs are removed.
            shallow: Whether the commit's parents are missing.
        """
        with self._typed("be written"), self._locked():
            known = self.commits
            if not set(former) <= set(known):
                return  # another process has removed what the pack builds on
            self._be_of(received.object_format)
            kept = [each for each in known if each != commit] if former else []
            self._name(kept, self._shallow() & set(kept))
            name = f"pack-{received.checksum.hex()}"
            self._put(received, name)
            self._name([*kept, commit], self._shallow() | ({commit} if shallow else set()))
            if not former:
                self._remove_packs(but=name)

    def _put(self, received: Received, name: str) -> None:
        """Move a pack and its index to their final names; on failure, remove both."""
        packs = self.path / "objects" / "pack"
        index, beside, pack = (packs / f"{name}{end}" for end in (".idx", ".idx.new", ".pack"))
        was_there = index.exists()
        try:
            with open(beside, "wb", opener=open_private) as file:
                file.writelines(received.index())
            os.chmod(received.path, 0o400)
            os.rename(received.path, pack)
            os.rename(beside, index)
        except BaseException:
            for made in (beside, *(() if was_there else (pack,))):
                with suppress(OSError):
                    made.unlink()
            raise

    def discard(self) -> None:
        """Remove all commits and packs, because they are damaged."""
        with self._typed("be removed"), self._locked():
            self._empty()

    def manifest(self, checkout: Path, form: str) -> Manifest | None:
        """Open the manifest of an earlier checkout, if there is one; the caller closes it.

        Args:
            checkout: The directory of the checkout.
            form: The form in which files were written. Files in another form cannot be reused.
        """
        return read_manifest(self._manifest_path(checkout, form), checkout)

    def keep_manifest(self, checkout: Path, described: Described, form: str) -> None:
        """Store the manifest of a checkout, for the next one."""
        with self._typed("be written"):
            path = self._manifest_path(checkout, form)
            write_manifest(path, described)
            for old in _the_oldest(path.parent, _MAX_MANIFESTS):
                old.unlink(missing_ok=True)

    def entry(self) -> CacheEntry | None:
        """Describe the repository; ``None`` if it does not exist."""
        try:
            used = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
            # Other files take almost no space, and each export measures this.
            size = sum(_taken_by(self.path / name) for name in ("objects/pack", "checkouts"))
        except OSError:
            return None
        return CacheEntry(self.url, size, len(self.commits), used)

    def _manifest_path(self, checkout: Path, form: str) -> Path:
        what = os.fsencode(checkout.absolute()) + b"\0" + form.encode()
        name = hashlib.sha256(what).hexdigest()[:32]
        return self.path / "checkouts" / name

    def _pack_files(self) -> list[tuple[Path, int]]:
        """The packs that have an index, and their sizes, the largest first."""
        found = []
        with suppress(OSError):
            for index in (self.path / "objects" / "pack").glob("pack-*.idx"):
                path = index.with_suffix(".pack")
                found.append((path, path.stat().st_size))
        return sorted(found, key=lambda each: -each[1])

    def _be_of(self, object_format: ObjectFormat) -> None:
        """Set the object format; objects in another format are removed first."""
        if self.object_format is not object_format:
            self._empty()
            self._configure(object_format)

    def _empty(self) -> None:
        self._name([], set())
        self._remove_packs()

    def _remove_packs(self, *, but: str = "") -> None:
        # Indexes first: a pack without an index is ignored.
        for path in sorted((self.path / "objects" / "pack").iterdir()):
            if path.stem != but:
                path.unlink(missing_ok=True)

    def _shallow(self) -> set[str]:
        with suppress(OSError):
            return set((self.path / "shallow").read_text("ascii").split())
        return set()

    def _name(self, commits: list[str], shallow: set[str]) -> None:
        """Write the list of commits; in this order, git never sees one without its parents."""
        self._replace("shallow", "".join(f"{each}\n" for each in sorted(shallow)).encode())
        lines = "".join(f"{each} refs/deploycore/{each}\n" for each in commits)
        self._replace("packed-refs", f"# pack-refs with: peeled fully-peeled \n{lines}".encode())

    def _use(self, open_files: ExitStack) -> None:
        """Keep other processes from removing the repository until ``open_files`` are closed."""
        for _ in range(_TRIES):
            self._make()
            place = self.path / "in-use"
            lock = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            open_files.callback(os.close, lock)
            self._flock(lock, fcntl.LOCK_SH)
            with suppress(OSError):
                if os.path.samestat(os.fstat(lock), place.stat()):
                    return
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    @contextmanager
    def unused(self) -> Iterator[bool]:
        """Whether no process uses the repository; if so, none can within this context."""
        try:
            lock = os.open(self.path / "in-use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield False
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
        finally:
            os.close(lock)

    def _make(self) -> None:
        make_private_directory(self.path)
        for name in _DIRECTORIES:
            (self.path / name).mkdir(mode=0o700, exist_ok=True)
        if read_url(self.path) != self.url:
            self._replace("HEAD", _HEAD.encode())
            self._configure(SHA1)

    def _configure(self, object_format: ObjectFormat) -> None:
        url = self.url.replace("\\", "\\\\").replace('"', '\\"')
        remote = f'[remote "origin"]\n\turl = "{url}"\n'
        self._replace("config", (core_section(object_format, bare=True) + remote).encode())

    def _replace(self, name: str, content: bytes) -> None:
        beside = self.path / f"{name}.{secrets.token_hex(4)}.new"
        try:
            with open(beside, "wb", opener=open_private) as file:
                file.write(content)
            beside.replace(self.path / name)
        finally:
            beside.unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Remove what killed processes left; the caller holds ``lock``."""
        for path in (self.path / "objects" / "pack").iterdir():
            has_index = path.suffix != ".pack" or path.with_suffix(".idx").exists()
            if path.suffix == ".new" or not has_index:
                path.unlink(missing_ok=True)
        # These are made without the lock, each within a moment, so only old ones are leftovers.
        for path in (*self.path.glob("*.new"), *self.path.glob("checkouts/*.new")):
            with suppress(OSError):
                if path.lstat().st_mtime < time.time() - _NOBODY_WRITES_FOR:
                    path.unlink()
        for path in (self.path / "incoming").iterdir():
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_later(path)
                finally:
                    os.close(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _flock(self, descriptor: int, kind: int) -> None:
        """Get a lock, which other processes hold only briefly unless they, or their disk, hang.

        Raises:
            OSError: It takes too long, or an earlier attempt took too long.
            DeploycoreError: The operation was cancelled, or has no time left.
        """
        step, end = _FIRST_STEP, time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                self._has_waited = self._has_waited or time.monotonic() > end
                if self._has_waited:
                    raise OSError(errno.EBUSY, "another process holds its lock") from None
                self._wait(step)
                step = min(2 * step, _LAST_STEP)
            else:
                return

    @contextmanager
    def _typed(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            logger.warning("the git cache of %s cannot %s: %s", self.url, what, error)


class _CachedPack(Pack):
    """A pack in the cache: if it cannot be read, it counts as damaged and is fetched again."""

    def read_at(self, offset: int, size: int) -> bytes:
        try:
            return super().read_at(offset, size)
        except OSError as error:
            raise Damaged(f"a pack in the cache cannot be read: {error.strerror}") from None


def _open_pack(path: Path, object_format: ObjectFormat) -> Pack:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _read_through(path.with_suffix(".idx"))
        index = PackIndex(path.with_suffix(".idx"), object_format)
    except BaseException:
        os.close(descriptor)
        raise
    pack = _CachedPack(descriptor, index, object_format)
    if pack.checksum() != index.pack_checksum:
        pack.close()
        raise ValueError(f"{path.name} does not belong to its index")
    return pack


def _read_through(path: Path) -> None:
    """Read a file before it is mapped: a read error in a mapping would kill the process.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        while file.read(_STEP):
            pass


def _the_oldest(directory: Path, keep: int) -> list[Path]:
    """All files of a directory except the newest; other processes may change it meanwhile."""
    found = []
    for each in directory.iterdir():
        with suppress(FileNotFoundError):
            found.append((each.lstat().st_mtime, each))
    return [path for _, path in sorted(found)[:-keep] if path.suffix != ".new"]


def remove_later(path: Path) -> None:
    """Remove a directory that is not in use; what fails is left for the next operation."""
    left = remove_tree(path)
    if left is not None:
        logger.warning("%s could not be removed; the next operation tries again: %s", path, left)


def _taken_by(directory: Path) -> int:
    """The disk space that the files of a directory take."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
        return sum(each.stat(follow_symlinks=False).st_blocks * 512 for each in entries)
    return 0


def read_url(path: Path) -> str | None:
    """Read the remote's URL from the configuration of a repository in the cache."""
    found = re.search(r'^\turl = "(.*)"$', _configuration(path), re.MULTILINE)
    return re.sub(r"\\(.)", r"\1", found[1]) if found else None


def _configuration(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return (path / "config").read_text("utf-8")
    return ""
