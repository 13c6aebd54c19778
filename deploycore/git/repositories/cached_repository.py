"""What was fetched before, kept bare, one repository for each remote.

Each is a shallow bare repository that stock git can read: packs with their indexes, and a ref
``refs/deploycore/<commit>`` for every commit that is there whole. Invariants:

1. A pack gets its name when it is complete, and its index after it; a commit is named when
   both are there. What a killed process leaves has another name or no index, is locked by
   nobody, and is removed by who comes next.
2. Packs do not change. Who reads them has them open, so that they may be removed meanwhile.
3. ``lock`` is held while something is added or removed, ``in-use`` (shared) while anything
   here is used, so that the whole is removed only when nobody does. Nobody waits for either
   for long: without the lock, one goes on without the cache.
4. Nothing is believed: indexes have checksums, and each object is hashed when it is read.
   What does not fit, or can't be read, is removed, and fetched anew.
5. All that is there is of one object format. A remote that has another one now was made anew,
   and so is this: emptied, told the format, filled; a process that is killed leaves it empty.

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
# Seconds: what is waited for a lock, and the first and the longest step of that.
_PATIENCE, _FIRST_STEP, _LAST_STEP = 10.0, 0.005, 0.1
_NOBODY_WRITES_FOR = 3600.0
_STEP = 1024 * 1024
_REF = re.compile(r"([0-9a-f]{40}(?:[0-9a-f]{24})?) refs/deploycore/\1")
_FORMAT = re.compile(r"^\tobjectformat = (\w+)$", re.MULTILINE)
_HEAD = "ref: refs/heads/none\n"


@dataclass(frozen=True)
class CacheEntry:
    """A repository in the cache, for people.

    Attributes:
        url: Of the remote; empty where the repository does not say it any more.
        bytes: On disk.
        commits: How many are there whole.
        used_at: When it was last used.
    """

    url: str
    bytes: int
    commits: int
    used_at: datetime


class CachedRepository:
    """One remote's repository in the cache.

    Failures of the disk do not fail a deployment: they are logged, and there is no cache then.

    Args:
        wait: As ``RepositoryCache.repository`` has it.
    """

    def __init__(self, path: Path, url: str, wait: Callable[[float], None] = time.sleep) -> None:
        self.path = path
        self.url = url
        self._wait = wait
        self._has_waited = False

    @property
    def commits(self) -> list[str]:
        """The full hashes of the commits that are there whole, the newest last."""
        try:
            lines = (self.path / "packed-refs").read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return []
        return [found[1] for line in lines if (found := _REF.fullmatch(line))]

    @property
    def object_format(self) -> ObjectFormat:
        """How all that is there is named; git's default where nothing says so."""
        found = _FORMAT.search(_configuration(self.path))
        name = found[1] if found else SHA1.name
        return next((each for each in OBJECT_FORMATS if each.name == name), SHA1)

    @property
    def is_due(self) -> bool:
        """Whether so much has been added that it is better fetched anew."""
        sizes = [size for _, size in self._pack_files()]
        return len(sizes) > _MAX_PACKS or sum(sizes) > 2 * max(sizes, default=0) + 2**20

    @property
    def capabilities(self) -> frozenset[bytes]:
        """What the server can do in protocol version 2, as it said; empty if not known."""
        with suppress(OSError):
            return frozenset((self.path / "capabilities").read_bytes().splitlines())
        return frozenset()

    def remember_capabilities(self, capabilities: frozenset[bytes]) -> None:
        """Keep what the server can do, so that the next fetch need not ask."""
        if capabilities == self.capabilities:
            return
        with self._typed("remember what the server can do"):
            self._make()
            self._replace("capabilities", b"".join(each + b"\n" for each in sorted(capabilities)))

    def objects(self, directory: Path, operation: Operation) -> Objects:
        """All objects that are there; empty where something is wrong with them.

        Args:
            directory: Where temporary files may be.
        """
        packs: list[Pack] = []
        object_format = self.object_format
        try:
            for path, _ in self._pack_files():
                packs.append(_open_pack(path, object_format))
            os.utime(self.path)
        except Exception as error:
            logger.warning("the cache of %s is damaged and not used: %s", self.url, error)
            for pack in packs:
                pack.close()
            packs = []
        return Objects(packs, os.fspath(directory), operation, object_format)

    @contextmanager
    def incoming(self) -> Iterator[Path | None]:
        """A name for a pack on its way in; ``None`` where there can't be one.

        What is still there in the end is removed, also when the process is killed: then by
        the next one.
        """
        path: Path | None = None
        with ExitStack() as open_files:
            with self._typed("be written"):
                self._use(open_files)
                # Held, so that nobody takes what is not locked yet for a leftover.
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
        """Keep a pack, which makes a commit whole.

        Args:
            received: A file of ``incoming``; it is moved.
            former: The commits that were there when the pack was asked for, and of which it
                lacks what they have. If it lacks nothing, all that was there is removed.
            shallow: Whether the commit's parents are missing.
        """
        with self._typed("be written"), self._locked():
            known = self.commits
            if not set(former) <= set(known):
                return  # what the pack lacks was removed meanwhile
            self._be_of(received.object_format)
            kept = [each for each in known if each != commit] if former else []
            self._name(kept, self._shallow() & set(kept))
            name = f"pack-{received.checksum.hex()}"
            self._put(received, name)
            self._name([*kept, commit], self._shallow() | ({commit} if shallow else set()))
            if not former:
                self._remove_packs(but=name)

    def _put(self, received: Received, name: str) -> None:
        """Name a pack and its index; where that fails, nothing of them is there."""
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
        """Remove all commits and packs, which proved to be damaged."""
        with self._typed("be removed"), self._locked():
            self._empty()

    def manifest(self, checkout: Path, form: str) -> Manifest | None:
        """What is on disk of a former checkout, if that is known; to be closed.

        Args:
            checkout: Its directory.
            form: In what form files were written; others are of no use.
        """
        return read_manifest(self._manifest_path(checkout, form), checkout)

    def keep_manifest(self, checkout: Path, described: Described, form: str) -> None:
        """Note what is on disk of a checkout, for the next one."""
        with self._typed("be written"):
            path = self._manifest_path(checkout, form)
            write_manifest(path, described)
            for old in _the_oldest(path.parent, _MAX_MANIFESTS):
                old.unlink(missing_ok=True)

    def entry(self) -> CacheEntry | None:
        """What there is, for people."""
        try:
            used = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
            # What else there is takes next to nothing, and each export asks for this.
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
        """Have this format; what is there in another one is removed first."""
        if self.object_format is not object_format:
            self._empty()
            self._configure(object_format)

    def _empty(self) -> None:
        self._name([], set())
        self._remove_packs()

    def _remove_packs(self, *, but: str = "") -> None:
        # Indexes first: a pack without one is not looked at.
        for path in sorted((self.path / "objects" / "pack").iterdir()):
            if path.stem != but:
                path.unlink(missing_ok=True)

    def _shallow(self) -> set[str]:
        with suppress(OSError):
            return set((self.path / "shallow").read_text("ascii").split())
        return set()

    def _name(self, commits: list[str], shallow: set[str]) -> None:
        """Say which commits are there; in this order, git never sees one without its parents."""
        self._replace("shallow", "".join(f"{each}\n" for each in sorted(shallow)).encode())
        lines = "".join(f"{each} refs/deploycore/{each}\n" for each in commits)
        self._replace("packed-refs", f"# pack-refs with: peeled fully-peeled \n{lines}".encode())

    def _use(self, open_files: ExitStack) -> None:
        """Keep others from removing all this, until ``open_files`` are closed."""
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
        """Whether nobody uses this; if so, nobody does meanwhile."""
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
        """Remove what dead processes left; only while this is locked."""
        for path in (self.path / "objects" / "pack").iterdir():
            has_index = path.suffix != ".pack" or path.with_suffix(".idx").exists()
            if path.suffix == ".new" or not has_index:
                path.unlink(missing_ok=True)
        # Those are made without the lock, each in a moment.
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
        """Get a lock, which others hold for moments: unless they, or their disk, stand still.

        Raises:
            OSError: It takes too long, now or when it was tried before.
            DeploycoreError: The operation is to end.
        """
        step, end = _FIRST_STEP, time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                self._has_waited = self._has_waited or time.monotonic() > end
                if self._has_waited:
                    raise OSError(errno.EBUSY, "others keep it locked") from None
                self._wait(step)
                step = min(2 * step, _LAST_STEP)
            else:
                return

    @contextmanager
    def _typed(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            logger.warning("the cache of %s cannot %s: %s", self.url, what, error)


class _CachedPack(Pack):
    """A pack in the cache: what can't be read of it is damaged, and can be fetched anew."""

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
    """Read a file before it is mapped: there, what can't be read would kill the process.

    Raises:
        OSError: It can't be read.
    """
    with path.open("rb", buffering=0) as file:
        while file.read(_STEP):
            pass


def _the_oldest(directory: Path, keep: int) -> list[Path]:
    """The files of a directory but the newest, while others may add and remove some."""
    found = []
    for each in directory.iterdir():
        with suppress(FileNotFoundError):
            found.append((each.lstat().st_mtime, each))
    return [path for _, path in sorted(found)[:-keep] if path.suffix != ".new"]


def remove_later(path: Path) -> None:
    """Remove what nobody uses; what is refused is tried again by the next who comes across it."""
    left = remove_tree(path)
    if left is not None:
        logger.warning("%s could not be removed, and is tried again: %s", path, left)


def _taken_by(directory: Path) -> int:
    """What the files of a directory take on disk."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
        return sum(each.stat(follow_symlinks=False).st_blocks * 512 for each in entries)
    return 0


def read_url(path: Path) -> str | None:
    """The remote of a repository in the cache."""
    found = re.search(r'^\turl = "(.*)"$', _configuration(path), re.MULTILINE)
    return re.sub(r"\\(.)", r"\1", found[1]) if found else None


def _configuration(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return (path / "config").read_text("utf-8")
    return ""
