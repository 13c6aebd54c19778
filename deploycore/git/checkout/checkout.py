"""Write the files of a commit, when all of its objects are there.

Directories are created first, then files in any order, then links, so no file is ever written
through a link of the repository. Contents are written unchanged, unless the caller changes them.
Filters that run programs are never applied, since the repository is not trusted.
"""

from __future__ import annotations

import stat
from array import array
from collections.abc import Callable, Iterator
from functools import cached_property
from heapq import merge
from itertools import chain, islice

from deploycore.git.checkout.files import Files
from deploycore.git.checkout.former import FormerCheckout
from deploycore.git.checkout.links import LINKS_WITHIN, LinkRules, escaping_links, leads_out
from deploycore.git.checkout.manifest import (
    Described,
    ManifestDirectory,
    describe,
    order_of,
)
from deploycore.git.checkout.names import refuse_link_for_modules
from deploycore.git.checkout.plan import File, Plan
from deploycore.git.checkout.streaming import FEW_OBJECTS, StreamingCheckout
from deploycore.git.checkout.writer import NOT_TAKEN, STATE
from deploycore.git.operation import Operation
from deploycore.git.packs.content import Content
from deploycore.git.packs.objects import (
    BLOB,
    COMMIT,
    TREE,
    CommitInfo,
    Damaged,
    read_commit,
    read_tree,
)
from deploycore.git.packs.pack import Objects

__all__ = ["Checkout", "complete"]

_STRETCH = 4 * 1024 * 1024  # bytes of a pack
_NUMBER_BITS = 32
_NUMBER_MASK = (1 << _NUMBER_BITS) - 1


Change = Callable[[File, Content], Content | None]


class Checkout:
    """Writes the files of a commit, whose objects are all there.

    Args:
        streaming: The checkout that wrote files while the objects arrived, if there was one.
        former: An earlier checkout from which files are reused.
        ignored: Paths to leave out; see ``Plan``.
        change: Returns the content to write for a file, or ``None`` to write nothing yet. A file
            that it opens is closed here.
        links: How links that lead out of the tree are handled.
    """

    def __init__(
        self,
        commit: bytes,
        objects: Objects,
        files: Files,
        operation: Operation,
        *,
        streaming: StreamingCheckout | None = None,
        former: FormerCheckout | None = None,
        ignored: Callable[[bytes, bool], bool] | None = None,
        change: Change | None = None,
        links: LinkRules = LINKS_WITHIN,
    ) -> None:
        self._format = objects.object_format
        self.commit: CommitInfo = read_commit(objects.read(commit, COMMIT), self._format)
        self._objects = objects
        self._files = files
        self._operation = operation
        self._former = former
        self._change = change
        self._link_rules = links
        known = streaming.plan if streaming else None
        self.plan = known or Plan(
            self.commit.tree, operation, self._format, former=former, ignored=ignored
        )
        self._made = streaming.made if streaming else 0
        self._links: dict[bytes, bytes] = {}
        self._last_directory: tuple[bytes, dict[bytes, File]] | None = None

    def write_files(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Write all directories and files, but no links.

        Args:
            meanwhile: Called while a second process, if there is one, still writes files.

        Raises:
            Damaged: An object is missing or damaged.
            DeploycoreError: The repository contains something that must not be written, or too
                much.
            OSError: A file system call failed.
        """
        complete(self.plan, self._objects)
        if len(self.plan.unwritten) > FEW_OBJECTS or self._has_many_reused():
            self._files.start_process()
        self._files.make_directories(islice(self._directories(), self._made, None))
        self._reuse()
        self._write_rest()
        self._files.make_directories(self.gitlinks())
        self._files.hand_over()
        meanwhile()
        self._files.finish()
        self._write_changed()

    def write_links(self) -> None:
        """Write the symbolic links, after everything else.

        Raises:
            UnsafeRepository: A link leads out of the tree, which the rules refuse; or a link has
                the path of ``.gitmodules``.
            OSError: A file system call failed.
        """
        if self._former:
            links = self._former.manifest.links
            held = {p: t for p, t in links.items() if self._is_present(p)}
            self._operation.expect(len(held))
            for path, target in held.items():
                self._operation.hold(len(path) + len(target))
            self._links.update(held)
        for path, blob in self.plan.symlinks:
            self._links[path] = self._objects.read(blob, BLOB)
            self._operation.hold(len(self._links[path]))
        if not self._links:
            return
        rules = self._link_rules
        as_files = set()
        for path in escaping_links(self._links, self._occupied, self._operation):
            if rules.escaping == "write-as-links" or rules.is_allowed(path):
                continue
            if rules.escaping == "refuse":
                raise leads_out(rules.prefix + path, self._links[path])
            as_files.add(path)
        for path, target in self._links.items():
            if path in as_files:
                self._files.write_text_of_link(path, target)
            else:
                refuse_link_for_modules(path)
                self._files.link(path, target)

    def gitlinks(self) -> dict[bytes, bytes]:
        """The commits of submodules, by path."""
        found = {each.path: each.hash for each in self.plan.gitlinks}
        if self._former:
            known = self._former.manifest.gitlinks
            found.update({path: each for path, each in known.items() if self._is_present(path)})
        return found

    def describe(self) -> Described:
        """Describe what is on disk now, for the next checkout."""
        formerly = ((each.path, each.tree, each.names) for each in self._within_present())
        directories = merge(self.plan.written(), formerly, key=lambda each: order_of(each[0]))
        return describe(
            self._files.root, directories, self._files.taken, self._links, self.gitlinks()
        )

    def find(self, path: bytes) -> File | None:
        """Find a file of the tree by its path, reused files included."""
        directory, _, name = path.rpartition(b"/")
        return self._files_of(directory).get(name)

    def read(self, path: bytes) -> bytes | None:
        """Read a small file of the tree; ``None`` if there is no such file.

        Raises:
            LimitExceeded: The file is too large for memory.
        """
        file = self.find(path)
        return self._objects.read(file.hash, BLOB) if file else None

    def _files_of(self, directory: bytes) -> dict[bytes, File]:
        """The files of a directory; cached, since calls for one directory come in a row."""
        if self._last_directory is None or self._last_directory[0] != directory:
            prefix = directory and directory + b"/"
            tree = self._tree(directory)
            entries = read_tree(tree, self._format) if tree is not None else ()
            found = {
                name: File(prefix + name, hash_, bool(mode & 0o100))
                for name, mode, hash_, _ in entries
                if stat.S_ISREG(mode)
            }
            self._last_directory = (directory, found)
        return self._last_directory[1]

    def _tree(self, directory: bytes) -> bytes | None:
        """The content of a directory's tree; ``None`` if there is no such directory."""
        content = self._objects.read(self.commit.tree, TREE)
        for name in directory.split(b"/") if directory else ():
            entries = read_tree(content, self._format)
            trees = (e.hash for e in entries if e.name == name and stat.S_ISDIR(e.mode))
            tree = next(trees, None)
            if tree is None:
                return None
            content = self._objects.read(tree, TREE)
        return content

    def _is_present(self, path: bytes) -> bool:
        """Whether a path is in a directory that is the same in the previous checkout."""
        parts = path.split(b"/")
        ways = (b"/".join(parts[:number]) for number in range(len(parts)))
        return any(way in self._present for way in ways)

    @cached_property
    def _present(self) -> frozenset[bytes]:
        return frozenset(self.plan.present)

    def _within_present(self) -> Iterator[ManifestDirectory]:
        """All directories that are the same in the previous checkout, sorted by ``order_of``."""
        if self._former:
            for path in sorted(self.plan.present, key=order_of):
                yield from self._former.manifest.within(path)

    def _has_many_reused(self) -> bool:
        few = 0
        for each in self._within_present():
            few += len(each.names)
            if few > FEW_OBJECTS:
                return True
        return False

    def _directories(self) -> Iterator[bytes]:
        """The paths of all directories, each before its subdirectories, without the root."""
        yield from self.plan.directories
        for each in self._within_present():
            if each.path not in self._present:
                yield each.path

    def _occupied(self) -> Iterator[bytes]:
        """The paths of all directories, those of submodules included."""
        yield from self._directories()
        yield from self.gitlinks()

    def _reuse(self) -> None:
        if self._former is None:
            return
        for path, _, names, states in self._within_present():
            self._operation.expect(len(names))
            if names:
                self._files.reuse(path, names, states)
        for path, names in self.plan.reused():
            self._files.reuse(path, names, self._former.states(path, names))

    def _write_rest(self) -> None:
        blobs = self.plan.unwritten.ordered()
        # In the order of the packs, where the base of a delta is near. Sorted in stretches, since a
        # list of numbers takes five times the memory of an array.
        stretches: dict[tuple[int, int], array[int]] = {}
        for number, blob in enumerate(blobs):
            pack, offset = self._objects.find(blob) or (None, 0)
            stretch = stretches.setdefault((id(pack), offset // _STRETCH), array("Q"))
            stretch.append(offset % _STRETCH << _NUMBER_BITS | number)
        for each in sorted(stretches):
            for place in sorted(stretches.pop(each)):
                self._write_blob(blobs[place & _NUMBER_MASK])

    def _write_blob(self, blob: bytes) -> None:
        files = iter(self.plan.take(blob))
        first = next(files, None)
        if first is None:  # written already
            return
        content = self._objects.open(blob)
        try:
            for file in chain((first,), files):
                self._write(file, content)
        finally:
            if not isinstance(content, bytes):
                content.close()

    def _write(self, file: File, content: Content) -> None:
        changed = self._change(file, content) if self._change else content
        if isinstance(changed, bytes):
            self._files.write(file.path, changed, executable=file.executable)
        if changed is None or isinstance(changed, bytes):
            return
        try:
            changed.seek(0)
            self._files.write_large(file.path, changed, executable=file.executable)
        finally:
            if changed is not content:
                changed.close()

    def _write_changed(self) -> None:
        """Write the files that could not be reused."""
        if self._former is None:
            return
        formerly = ((each.path, each.names) for each in self._within_present())
        for path, names in chain(formerly, self.plan.reused()):
            states = self._files.taken(path)
            if NOT_TAKEN not in states:
                continue
            counted = STATE.iter_unpack(self._former.states(path, names))
            for number, (name, state) in enumerate(zip(names, counted, strict=True)):
                if states[number * STATE.size : (number + 1) * STATE.size] == NOT_TAKEN:
                    self._operation.take_back(state[0] >> 1)
                    self._write_anew(order_of(path) + name)

    def _write_anew(self, path: bytes) -> None:
        file = self.find(path)
        if file is None:
            raise Damaged(f"the object of {path!r} is missing")
        content = self._objects.open(file.hash)
        try:
            self._write(file, content)
        finally:
            if not isinstance(content, bytes):
                content.close()


def complete(plan: Plan, objects: Objects) -> None:
    """Complete a plan with the trees that it lacks.

    Raises:
        Damaged: A tree is missing or damaged.
        DeploycoreError: The repository contains something that must not be written, or too much.
    """
    while missing := plan.missing():
        for tree in missing:
            # A tree may contain other missing trees.
            plan.offer(tree, objects.read(tree, TREE))
