"""Numbers by hash, for as many hashes as a repository may have, in little memory.

A dictionary takes some 150 bytes for each. That is fast, and fine for a hundred thousand of
them; what is more is kept in sorted runs of 28 bytes each, where looking up is a bisection.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence

__all__ = ["HashTable"]

_IN_DICTIONARY = 100_000
_KEY, _REST = 8, 12  # of the 20 bytes of a hash
_TAKEN = -1
_FEW = 8  # numbers of one hash
_NONE = array("q")


class HashTable:
    """Numbers by hash, several for one if need be.

    Hashes are those of SHA-1, 20 bytes; numbers are from 0 to 2**63 - 1.
    """

    def __init__(self) -> None:
        self._recent: dict[bytes, int | list[int]] = {}
        self._added = 0
        self._many: dict[bytes, array[int]] = {}
        self._runs: list[_Run] = []
        self._left = 0

    def __len__(self) -> int:
        """How many numbers are there; some may be counted that were taken meanwhile."""
        return self._left + len(self._recent) + len(self._many)

    def add(self, name: bytes, number: int) -> None:
        """Add a number. After some of it, ``settle`` is to be called."""
        before = self._recent.get(name)
        if before is None:
            self._recent[name] = number
        elif isinstance(before, int):
            self._recent[name] = [before, number]
        else:
            before.append(number)

    def settle(self, added: int) -> None:
        """Keep memory small, now that so many numbers more were added."""
        self._added += added
        if self._added > _IN_DICTIONARY:
            self._freeze()

    def get(self, name: bytes) -> int | None:
        """A number of a hash, if it has any."""
        found = self._recent.get(name)
        if found is not None:
            return found if isinstance(found, int) else found[0]
        if name in self._many:
            return self._many[name][0]
        for run in self._runs:
            for at in run.places(name):
                return run.numbers[at]
        return None

    def pop(self, name: bytes) -> Sequence[int]:
        """Take all numbers of a hash away."""
        found = self._recent.pop(name, None)
        if not self._runs:
            if found is None:
                return ()
            return (found,) if isinstance(found, int) else found
        taken = array("q", () if found is None else (found,) if isinstance(found, int) else found)
        taken += self._many.pop(name, _NONE)
        for run in self._runs:
            for at in run.places(name):
                taken.append(run.numbers[at])
                run.numbers[at] = _TAKEN
                self._left -= 1
        return taken

    def ordered(self) -> Sequence[bytes]:
        """All hashes, each once or more, as a sequence that stays as it is while they are taken."""
        self._freeze()
        return _Names(self._runs, list(self._many))

    def _freeze(self) -> None:
        """Put all that is in the dictionary into a run; but not many numbers of one hash.

        Whoever asks for that hash again and again would have us go through them each time.
        """
        run = _Run()
        for name in sorted(self._recent):
            found = self._recent[name]
            if isinstance(found, int):
                run.add(name, found)
            elif len(found) > _FEW:
                self._many.setdefault(name, array("q")).extend(found)
            else:
                for number in found:
                    run.add(name, number)
        if run.numbers:
            self._runs.append(run)
            self._left += len(run.numbers)
        self._recent = {}
        self._added = 0


class _Run:
    def __init__(self) -> None:
        self.keys = array("Q")
        self.rests = bytearray()
        self.numbers = array("q")

    def add(self, name: bytes, number: int) -> None:
        """Add the next in order."""
        self.keys.append(int.from_bytes(name[:_KEY]))
        self.rests += name[_KEY:]
        self.numbers.append(number)

    def places(self, name: bytes) -> Iterator[int]:
        """Where the numbers of a hash are that were not taken."""
        key, rest = int.from_bytes(name[:_KEY]), name[_KEY:]
        keys = self.keys
        at = bisect_left(keys, key)
        while at < len(keys) and keys[at] == key:
            if self.numbers[at] != _TAKEN and self.rests.startswith(rest, at * _REST):
                yield at
            at += 1

    def name(self, at: int) -> bytes:
        """The hash at a place."""
        return self.keys[at].to_bytes(_KEY) + self.rests[at * _REST : (at + 1) * _REST]


class _Names(Sequence[bytes]):
    def __init__(self, runs: Sequence[_Run], more: Sequence[bytes]) -> None:
        self._runs = list(runs)
        self._more = more
        self._length = sum(len(run.keys) for run in runs) + len(more)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> bytes:  # type: ignore[override]
        for run in self._runs:
            if index < len(run.keys):
                return run.name(index)
            index -= len(run.keys)
        return self._more[index]
