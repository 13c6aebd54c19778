"""Tables that map hashes to numbers, in little memory, for all objects of a large repository.

A dictionary is fast, but takes about 150 bytes for each entry. It has up to 100,000 entries; more
entries are kept in arrays, which take 20 bytes and the hash for each.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice

__all__ = ["PATH_HASH_BYTES", "HashIndex", "HashTable", "path_digest", "path_hash"]

PATH_HASH_BYTES = 20
_IN_DICTIONARY = 100_000
_TAKEN = -1
_FEW = 8  # numbers of one hash
_SCANS = 8  # lookups that together take less time than building an index


class HashTable:
    """Maps hashes to numbers from 0 to 2**63 - 1; a hash may have several.

    Args:
        hash_bytes: The length of each hash.
    """

    def __init__(self, hash_bytes: int) -> None:
        self._recent: dict[bytes, int | list[int]] = {}
        self._added = 0
        self._many: dict[bytes, array[int]] = {}
        self._slots = _Slots(hash_bytes)
        self._left = 0
        self._end = 0  # entries of the slots from here on are all taken

    def __len__(self) -> int:
        """The number of entries; some may be counted that were taken."""
        return self._left + len(self._recent) + len(self._many)

    def add(self, name: bytes, number: int) -> None:
        """Add a number."""
        before = self._recent.get(name)
        if before is None:
            self._recent[name] = number
        elif isinstance(before, int):
            self._recent[name] = [before, number]
        else:
            before.append(number)
        self._added += 1
        if self._added > _IN_DICTIONARY:
            self._freeze()

    def get(self, name: bytes) -> int | None:
        """Return a number of a hash, if it has any."""
        found = self._recent.get(name)
        if found is not None:
            return found if isinstance(found, int) else found[0]
        if name in self._many:
            return self._many[name][0]
        for entry in self._slots.find(name) if self._left else ():
            return self._slots.numbers[entry]
        return None

    def pop(self, name: bytes) -> Sequence[int]:
        """Remove and return all numbers of a hash."""
        found = self._recent.pop(name, ())
        numbers = [found] if isinstance(found, int) else found
        if not self._left and not self._many:
            return numbers
        taken = [*numbers, *self._many.pop(name, ())]
        for entry in self._slots.find(name) if self._left else ():
            taken.append(self._slots.numbers[entry])
            self._slots.numbers[entry] = _TAKEN
            self._left -= 1
        return taken

    def newest(self, most: int) -> list[bytes]:
        """Return up to ``most`` hashes, the newest if possible; none if none are left."""
        found = list(islice(reversed(self._recent), most))
        while self._end and self._slots.numbers[self._end - 1] == _TAKEN:
            self._end -= 1
        entry = self._end
        while entry and len(found) < most:
            entry -= 1
            if self._slots.numbers[entry] != _TAKEN:
                found.append(self._slots.name(entry))
        return found + list(islice(self._many, most - len(found)))

    def ordered(self) -> Sequence[bytes]:
        """All hashes, each once or more; the sequence does not change while they are taken."""
        if not len(self):
            return ()
        self._freeze()
        return _Names(self._slots, list(self._many))

    def _freeze(self) -> None:
        """Move the dictionary's entries into slots, except hashes with many numbers.

        Each lookup of such a hash would have to scan all of its numbers.
        """
        found: int | list[int]
        self._slots.reserve(
            sum(1 if isinstance(found, int) else len(found) for found in self._recent.values())
        )
        for name, found in self._recent.items():
            if isinstance(found, int):
                self._slots.add(name, found)
                self._left += 1
            elif len(found) > _FEW:
                self._many.setdefault(name, array("q")).extend(found)
            else:
                for number in found:
                    self._slots.add(name, number)
                self._left += len(found)
        self._recent = {}
        self._added = 0
        self._end = len(self._slots.numbers)


class HashIndex:
    """Finds hashes in an array that its owner extends; takes 6 to 12 bytes for each hash.

    Args:
        names: The hashes, one after the other. A hash of zeros is not known yet.
        hash_bytes: The length of each hash.
    """

    def __init__(self, names: bytearray, hash_bytes: int) -> None:
        self._names = names
        self._size = hash_bytes
        self._none = bytes(hash_bytes)
        self._seen = 0
        self._asked = 0
        self._slots = array("I", bytes(4))
        self._mask = 0

    def find(self, name: bytes) -> int | None:
        """The number of a hash, one of them if it is there several times."""
        if self._asked < _SCANS:
            self._asked += 1
            return self._scan(name)
        self._catch_up()
        slots, mask = self._slots, self._mask
        slot = hash(name) & mask
        while found := slots[slot]:
            if self._names.startswith(name, (found - 1) * self._size):
                return found - 1
            slot = (slot + 1) & mask
        return None

    def named(self, number: int) -> None:
        """Find a hash from now on that was not known (zeros) when it was added."""
        if number < self._seen:
            self._fill(number, number + 1)

    def _scan(self, name: bytes) -> int | None:
        at = self._names.find(name)
        while at % self._size and at != -1:
            at = self._names.find(name, at + 1)
        return None if at == -1 else at // self._size

    def _catch_up(self) -> None:
        """Add the hashes that the owner has appended since the last call."""
        seen, count = self._seen, len(self._names) // self._size
        if count * 3 // 2 >= len(self._slots):
            length, seen = 2 << (count * 3 // 2).bit_length(), 0
            self._slots, self._mask = array("I", bytes(4 * length)), length - 1
        self._fill(seen, count)
        self._seen = count

    def _fill(self, first: int, after: int) -> None:
        names, size, slots, mask = self._names, self._size, self._slots, self._mask
        for number in range(first, after):
            name = bytes(names[number * size : (number + 1) * size])
            if name == self._none:
                continue
            slot = hash(name) & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = number + 1


def path_hash(path: bytes) -> bytes:
    """Return the hash that stands for a path in a table."""
    return path_digest(path).digest()


def path_digest(path: bytes = b"") -> hashlib.blake2b:
    """Start the hash of a path, which can be extended; it is resistant to collisions."""
    return hashlib.blake2b(path, digest_size=PATH_HASH_BYTES)


class _Slots:
    """Entries in the order in which they came, found by open addressing.

    The slot depends on Python's own hash, which has another key in each process. So an attacker
    cannot choose names that all belong to the same slot.
    """

    def __init__(self, hash_bytes: int) -> None:
        self.names = bytearray()
        self.numbers = array("q")
        self._hash_bytes = hash_bytes
        self._slots = array("I")
        self._mask = 0

    def reserve(self, more: int) -> None:
        """Make room for a number of further entries."""
        wanted = (len(self.numbers) + more) * 3 // 2
        if wanted <= len(self._slots):
            return
        size = 1 << wanted.bit_length()
        self._slots = array("I", bytes(size * 4))
        self._mask = size - 1
        for entry in range(len(self.numbers)):
            self._fill(self.name(entry), entry)

    def add(self, name: bytes, number: int) -> None:
        """Add an entry, for which there must be room."""
        # with another length, all names that follow would be shifted
        if len(name) != self._hash_bytes:
            raise ValueError(f"a hash of {len(name)} bytes")
        self._fill(name, len(self.numbers))
        self.names += name
        self.numbers.append(number)

    def find(self, name: bytes) -> Iterator[int]:
        """The entries of a name that were not taken."""
        slots, mask, size = self._slots, self._mask, self._hash_bytes
        slot = hash(name) & mask
        while found := slots[slot]:
            entry = found - 1
            if self.names.startswith(name, entry * size) and self.numbers[entry] != _TAKEN:
                yield entry
            slot = (slot + 1) & mask

    def name(self, entry: int) -> bytes:
        """The hash of an entry."""
        size = self._hash_bytes
        return bytes(self.names[entry * size : (entry + 1) * size])

    def _fill(self, name: bytes, entry: int) -> None:
        slots, mask = self._slots, self._mask
        slot = hash(name) & mask
        while slots[slot]:
            slot = (slot + 1) & mask
        slots[slot] = entry + 1


class _Names(Sequence[bytes]):
    def __init__(self, slots: _Slots, more: Sequence[bytes]) -> None:
        self._slots = slots
        self._more = more
        self._length = len(slots.numbers)

    def __len__(self) -> int:
        return self._length + len(self._more)

    def __getitem__(self, index: int) -> bytes:  # type: ignore[override]
        if index < self._length:
            return self._slots.name(index)
        return self._more[index - self._length]
