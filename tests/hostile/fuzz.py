"""Packs and trees are changed at random and exported, for any time.

Run as ``python -m tests.hostile.fuzz --seconds 600 [--seed N]``. Each case depends on the seed and
its own number alone, so ``--seed N --only NUMBER`` repeats one. What is held: the outcome is
a typed error or the content that was meant, nothing is left beside the target, and no case
takes long. A tree that was changed and named correctly again is meant differently; there, what
was written must stay within the target, and must hold no ``.git``.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import random
import shutil
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deploycore.errors import DeploycoreError
from deploycore.git import GitSettings, export
from deploycore.models import CloneUrl
from tests.git.servers import snapshot
from tests.hostile.packs import (
    OFS_DELTA,
    REF_DELTA,
    TREE,
    Object,
    blob,
    commit,
    copy,
    delta,
    distance,
    header,
    insert,
    pack,
    sealed,
    tree,
)
from tests.hostile.server import HostileServer

SECONDS_MOST = 5.0
SETTINGS = GitSettings(
    connect_timeout=2,
    read_timeout=2,
    total_timeout=10,
    retries=0,
    max_object_bytes=2**20,
    max_checkout_bytes=2**24,
    max_files=2_000,
)
INTERESTING = [0, 1, 0x7F, 0x80, 0xFF, *b"PACK/. \0.git"]
NAMES = [b"..", b".", b"", b".git", b".GIT", b"git~1", b"a/b", b"/x", b"a\0b", b"\xff", b"x" * 300]
MODES = [0o100644, 0o100755, 0o120000, 0o40000, 0o160000, 0, 0o777777, b"", b"-1", b"0100644"]
TARGETS = [
    b"../x",
    b"/etc/passwd",
    b"",
    b"b/../..",
    b"c",
    b".",
    b"l/../../x",
    b"x\0y",
    b".git/config",
]


class Broken(AssertionError):
    """Something that is promised for all hostile input was not so."""


@dataclass(frozen=True)
class Part:
    """One object of a pack, before it is compressed.

    Attributes:
        base: What is between header and data.
        size: What the header says instead of the truth.
    """

    kind: int
    content: bytes
    base: bytes = b""
    size: int | None = None

    def packed(self) -> bytes:
        """As it is in a pack."""
        size = len(self.content) if self.size is None else self.size
        return header(self.kind, size) + self.base + zlib.compress(self.content, 1)


@dataclass(frozen=True)
class Original:
    """A right pack, and what it is on disk."""

    tip: Object
    parts: tuple[Part, ...]
    files: dict[bytes, tuple[object, ...]]


@dataclass(frozen=True)
class Case:
    """What is served, and what may become of it.

    Attributes:
        files: What is meant; ``None`` where the commit itself means something else.
    """

    how: str
    tip: Object
    pack: bytes
    files: dict[bytes, tuple[object, ...]] | None


def original() -> Original:
    """Directories, a link, an executable file, and deltas of both ways to name a base."""
    first = blob(b"".join(b"line %d of a file\n" % place for place in range(40)))
    second = blob(first.content[:300] + b"changed" + first.content[300:])
    third = blob(second.content + b"more\n")
    inner = tree((0o100644, b"first", first), (0o100755, b"second", second))
    link = blob(b"b/first")
    root = tree((0o100644, b"a", third), (0o40000, b"b", inner), (0o120000, b"l", link))
    tip = commit(root)
    steps = delta(len(first.content), len(second.content), copy(0, 300), insert(b"changed"),
                  copy(300, len(first.content) - 300))  # fmt: skip
    more = delta(
        len(second.content), len(third.content), copy(0, len(second.content)), insert(b"more\n")
    )
    by_offset = Part(OFS_DELTA, steps, distance(len(Part(first.kind, first.content).packed())))
    plain = [Part(each.kind, each.content) for each in (tip, root, inner, link, first)]
    files = {
        b"a": ("file", third.content, False),
        b"b": ("directory",),
        b"b/first": ("file", first.content, False),
        b"b/second": ("file", second.content, True),
        b"l": ("link", b"b/first"),
    }
    return Original(tip, (*plain, by_offset, Part(REF_DELTA, more, second.hash)), files)


def changed(chance: random.Random, content: bytes) -> bytes:
    """Bytes with one to four changes."""
    found = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(found) + 1)
        match chance.randrange(6):
            case 0 if found:
                found[place % len(found)] ^= 1 << chance.randrange(8)
            case 1 if found:
                found[place % len(found)] = chance.choice(INTERESTING)
            case 2:
                del found[place : place + chance.choice([1, 1, 2, 8, 20, 100])]
            case 3:
                found[place:place] = chance.randbytes(chance.choice([1, 1, 2, 8, 20]))
            case 4:
                found[place:place] = found[place : place + chance.choice([1, 20, 40])]
            case _:
                found += chance.randbytes(chance.randrange(30))
    return bytes(found)


def damaged_bytes(chance: random.Random, start: Original) -> Case:
    """The pack's bytes, as damage on the way changes them."""
    sent = changed(chance, _packed(start.parts))
    return Case("bytes", start.tip, sent, start.files)


def sealed_bytes(chance: random.Random, start: Original) -> Case:
    """The pack's bytes, and the checksum to go with them."""
    sent = changed(chance, _packed(start.parts)[:-20]) + bytes(20)
    return Case("sealed bytes", start.tip, sealed(sent), start.files)


def other_parts(chance: random.Random, start: Original) -> Case:
    """Objects left out, twice, in another order, with contents, bases and sizes of another."""
    parts = list(start.parts)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(parts))
        each = parts[place]
        match chance.randrange(7):
            case 0:
                parts.insert(chance.randrange(len(parts)), each)
            case 1 if len(parts) > 1:
                del parts[place]
            case 2:
                chance.shuffle(parts)
            case 3:
                parts[place] = Part(each.kind, changed(chance, each.content), each.base)
            case 4:
                size = chance.choice([0, 1, len(each.content) + 1, 2**20, 2**31, 2**63])
                parts[place] = Part(each.kind, each.content, each.base, size)
            case 5:
                parts[place] = Part(chance.randrange(8), each.content, each.base)
            case _:
                base = changed(chance, each.base) if each.base else chance.randbytes(20)
                parts[place] = Part(each.kind, each.content, base)
    count = len(parts) if chance.random() < 0.9 else chance.choice([0, 1, 2**31, 2**32 - 1])
    return Case("parts", start.tip, _packed(tuple(parts), count), start.files)


def other_delta(chance: random.Random, start: Original) -> Case:
    """A delta with other steps."""
    parts = list(start.parts)
    place = chance.choice([at for at, each in enumerate(parts) if each.base])
    each = parts[place]
    parts[place] = Part(each.kind, changed(chance, each.content), each.base)
    return Case("delta", start.tip, _packed(tuple(parts)), start.files)


def other_tree(chance: random.Random, start: Original) -> Case:
    """A tree of bad names, modes and links, or of changed bytes, with hashes that are right."""
    children = [blob(chance.choice(TARGETS)) for _ in range(3)]
    children.append(tree((0o100644, b"f", children[0]), (0o120000, b"up", children[1])))
    names = [*NAMES, b"a", b"b", b"c", b"l", b"A", b".gitmodules"]
    entries = [
        (
            chance.choice(MODES[:4] if chance.random() < 0.8 else MODES),
            name,
            chance.choice(children),
        )
        for name in chance.sample(names[-6:], 3) + chance.sample(names, chance.randrange(2))
    ]
    root = tree(*entries)
    if chance.random() < 0.3:
        root = Object(TREE, changed(chance, root.content))
    tip = commit(root)
    parts = tuple(Part(each.kind, each.content) for each in (tip, root, *children))
    return Case("tree", tip, _packed(parts), None)


WAYS: list[Callable[[random.Random, Original], Case]] = [
    damaged_bytes, sealed_bytes, other_parts, other_delta, other_tree, other_tree,
]  # fmt: skip


def _packed(parts: tuple[Part, ...], count: int | None = None) -> bytes:
    return pack(*(each.packed() for each in parts), count=count)


class Fuzzer:
    """Serves cases and exports them.

    Args:
        place: An empty directory of its own.
    """

    def __init__(self, place: Path, server: HostileServer) -> None:
        self._target = place / "in" / "target"
        self._target.parent.mkdir()
        (place / "beside").write_bytes(b"as it was")
        self._place = place
        self._server = server
        self._original = original()
        self.outcomes: Counter[str] = Counter()

    def run(self, seed: int, number: int) -> None:
        """Try one case.

        Raises:
            Broken: With what it did, and how to repeat it.
        """
        chance = random.Random(f"{seed} {number}")
        case = chance.choice(WAYS)(chance, self._original)
        self._server.requests.clear()
        self._server.script.serve_pack(case.tip, case.pack)
        began = time.process_time()
        try:
            outcome = self._outcome(case)
            if time.process_time() - began > SECONDS_MOST:
                raise Broken(f"took {time.process_time() - began:.1f} seconds")
        except Exception as error:
            repeat = f"python -m tests.hostile.fuzz --seed {seed} --only {number}"
            raise Broken(f"{case.how}: {error!r}\nrepeat with: {repeat}") from error
        self.outcomes[f"{case.how}: {outcome}"] += 1

    def _outcome(self, case: Case) -> str:
        try:
            export(CloneUrl(url=self._server.url), "main", self._target, settings=SETTINGS)
        except DeploycoreError as error:
            self._refuse(not error.message.isprintable(), "a message with control characters")
            self._refuse(os.listdir(self._target.parent) != [], "something is left")
            outcome = type(error).__name__
        else:
            self._refuse(os.listdir(self._target.parent) != ["target"], "something is left")
            self._judge(snapshot(self._target), case)
            shutil.rmtree(self._target)
            outcome = "written"
        self._refuse(sorted(os.listdir(self._place)) != ["beside", "in"], "written outside")
        return outcome

    def _judge(self, written: dict[bytes, tuple[object, ...]], case: Case) -> None:
        if case.files is not None:
            self._refuse(written != case.files, f"wrong content: {written!r}")
            return
        root = os.fsencode(os.path.realpath(self._target))
        for path in written:
            self._refuse(b".git" in path.lower().split(b"/"), f"wrote {path!r}")
            real = os.path.realpath(os.path.join(root, path))
            self._refuse(os.path.commonpath([root, real]) != root, f"{path!r} leads outside")

    @staticmethod
    def _refuse(so: bool, what: str) -> None:
        if so:
            raise Broken(what)


@contextlib.contextmanager
def fuzzing() -> Iterator[Fuzzer]:
    """A fuzzer with a server and a directory, in memory where there is such a one."""
    memory = Path("/dev/shm")
    server = HostileServer()
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        try:
            yield Fuzzer(Path(place), server)
        finally:
            server.stop()


def main() -> int:
    """Try cases until the time is over or one breaks a promise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--seed", type=int, default=None, help="0 … repeats a run; else by chance")
    parser.add_argument("--only", type=int, default=None, help="the one case to try")
    given = parser.parse_args()
    seed = random.randrange(10**9) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    faulthandler.dump_traceback_later(given.seconds + 60, exit=True)
    with fuzzing() as fuzzer:
        if given.only is not None:
            fuzzer.run(seed, given.only)
            print(dict(fuzzer.outcomes))
            return 0
        number, began = 0, time.monotonic()
        while time.monotonic() - began < given.seconds:
            try:
                fuzzer.run(seed, number)
            except Broken as error:
                print(f"case {number}: {error}", file=sys.stderr)
                return 1
            number += 1
    took = time.monotonic() - began
    print(f"{number} cases in {took:.0f} s, {number / took:.0f} a second; no promise broken")
    for outcome, count in sorted(fuzzer.outcomes.items()):
        print(f"{count:8} {outcome}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
