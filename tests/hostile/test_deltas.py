"""Deltas that are expensive or large: each is read once, with the right result."""

from __future__ import annotations

import random
import zlib

import pytest
from dulwich.pack import apply_delta
from hypothesis import given
from hypothesis import strategies as st

from deploycore.errors import Cancelled, CorruptPack, LimitExceeded
from deploycore.git import Cancellation, GitSettings, RepositoryCache, export
from deploycore.git import operation as operation_module
from deploycore.git.operation import Operation
from deploycore.git.packs import hash_table
from deploycore.git.packs import pack as pack_module
from deploycore.git.packs import receive as receive_module
from deploycore.git.packs.delta import apply_in_steps
from deploycore.git.packs.objects import SHA1, Damaged
from deploycore.git.packs.pack import Objects, Pack
from deploycore.git.packs.receive import PackReceiver
from deploycore.git.progress import no_progress
from tests.git.servers import source
from tests.hostile.packs import (
    BLOB,
    blob,
    by_name,
    by_offset,
    commit,
    copy,
    delta,
    entry,
    header,
    insert,
    pack,
    pack_of,
    tree,
    whole,
)
from tests.hostile.server import Answer, band, preamble

MIB = 1024**2
NOISE = random.Random(1).randbytes(MIB + MIB // 4)
LARGE = blob(bytes(2 * MIB))


class Taken:
    """Takes what arrives, and keeps what small objects there were."""

    def __init__(self):
        self.contents = []

    def begin(self, objects):
        pass

    def take(self, kind, name, content):
        self.contents.append(content)

    def large_blob(self, size):
        return self

    def write(self, piece):
        pass

    def finish(self, name):
        pass


@pytest.fixture
def operation():
    return Operation(GitSettings(), no_progress, Cancellation())


@pytest.fixture
def receiver(tmp_path, operation, monkeypatch):
    """Looks at each byte as soon as it is fed."""
    monkeypatch.setattr(receive_module, "_AT_ONCE", 1)
    made, nothing = [], Objects((), str(tmp_path), operation, SHA1)

    def make():
        made.append(PackReceiver(tmp_path / f"{len(made)}.pack", Taken(), operation, nothing))
        return made[-1]

    yield make
    for each in made:
        each.close()


def file_of(content):
    """The commit and the tree of one file ``a``."""
    root = tree((0o100644, b"a", content))
    return commit(root), root


def test_a_reference_delta_is_found_among_many_objects(script, attempt, monkeypatch):
    """The entry that is looked at has a place already, but no name: it was taken for any."""
    monkeypatch.setattr(hash_table, "_IN_DICTIONARY", 8)
    first, second, third = blob(b"base"), blob(b"bas2"), blob(b"3as3")
    root = tree((0o100644, b"f", first), (0o100644, b"g", third))
    tip = commit(root)
    others = [whole(blob(b"%d" % place)) for place in range(20)]
    entries = [whole(tip), whole(root), whole(first)]
    entries += [by_name(first, delta(4, 4, insert(second.content))), *others]
    # One of those that came after that, and are no longer the most recent.
    entries += [by_name(blob(b"3"), delta(1, 4, copy(0, 1), insert(b"as3")))]
    script.serve_pack(tip, pack(*entries))
    assert attempt() == {b"f": ("file", b"base", False), b"g": ("file", b"3as3", False)}


def test_a_large_delta_is_read_regardless_of_chunk_boundaries(receiver):
    base = blob(b"base")
    steps = [insert(NOISE[at : at + 127]) for at in range(0, len(NOISE), 127)]
    large = by_name(base, delta(4, len(NOISE), *steps))
    before = pack(whole(base), large)[: -20 - len(large)]
    sent = pack(whole(base), large)
    for cut in range(len(before) + 20, len(before) + 40):
        taking = receiver()
        taking.feed(sent[:cut])
        taking.feed(sent[cut:])
        assert taking.finish().pack


def test_a_thin_pack_may_be_based_on_a_large_object(hostile, script, tmp_path, settings):
    """It was called damaged, and the cache thrown away."""
    base = blob(NOISE)
    grown = blob(NOISE + b"!")
    first, first_root = file_of(base)
    second, second_root = file_of(grown)
    cache = RepositoryCache(tmp_path / "cache")
    script.serve(first, first_root, base)
    export(source(hostile.url), "main", tmp_path / "one", cache=cache, settings=settings)
    step = delta(len(NOISE), len(NOISE) + 1, copy(0, len(NOISE)), insert(b"!"))
    script.serve_pack(second, pack(whole(second), whole(second_root), by_name(base, step)))
    export(source(hostile.url), "main", tmp_path / "two", cache=cache, settings=settings)
    assert (tmp_path / "two" / "a").read_bytes() == grown.content
    fetches = [each.body for each in hostile.requests if b"command=fetch" in each.body]
    assert [b"have " in body for body in fetches] == [False, True]


def test_data_after_the_last_object_is_rejected_at_once(receiver):
    sent = pack_of(blob(b"x"))
    taking = receiver()
    taking.feed(sent)
    with pytest.raises(Damaged):
        taking.feed(b"\0")


def test_gigabytes_of_data_after_a_pack_are_not_read(script, confined):
    content = blob(b"x")
    tip, root = file_of(content)
    script.serve(tip, root, content)
    sent, junk = script.pack, band(1, bytes(65_515)) * 16

    def fetch(request):
        return Answer(iter([preamble(request) + band(1, sent), *[junk] * 4000]))

    script.fetch = fetch
    outcome = confined()
    assert outcome.error == "CorruptPack"
    assert outcome.seconds < 2


def chain(length, size):
    """Files each of which is made of the one before."""
    made = [whole(blob(bytes(size)))]
    for place in range(length):
        step = delta(size, size, copy(0, size - 8), insert(b"%08d" % place))
        made.append(by_offset(len(made[-1]), step))
    return made


def test_a_delta_chain_longer_than_git_creates_is_rejected(tmp_path, operation, monkeypatch):
    """What is noted of each would grow with the chain, for which a server pays 20 bytes."""
    monkeypatch.setattr(pack_module, "_MAX_CHAIN", 20)
    made = chain(30, 100)
    path = tmp_path / "pack"
    path.write_bytes(pack(*made))
    with path.open("rb") as file:
        at_rest = Pack(file.fileno(), None, SHA1)
        objects = Objects([at_rest], str(tmp_path), operation, SHA1)
        with pytest.raises(Damaged):
            objects.resolve(at_rest, 12 + sum(map(len, made[:-1])))
        assert objects.resolve(at_rest, 12 + sum(map(len, made[:15])))[0] == BLOB


def test_work_caused_by_a_small_pack_is_limited(script, refused, monkeypatch, attempt):
    """A delta of a few bytes can have thousands below it, which are followed each time."""
    monkeypatch.setattr(operation_module, "_REREAD_LEAST", 20 * MIB)
    monkeypatch.setattr(operation_module, "_REREAD_SHARE", 2)
    size, file = 200_000, blob(b"x")
    tip, root = file_of(file)
    made = chain(100, size)
    for place in range(50):
        back = sum(map(len, made[-50 * (place % 2) - 20 :]))
        made.append(by_offset(back, delta(size, 1, copy(0, 1))))
    script.serve_pack(tip, pack(*made, whole(tip), whole(root), whole(file)))
    assert refused(LimitExceeded).details["limit"] == "work"
    script.serve_pack(tip, pack(whole(tip), whole(root), whole(file)))  # as if it were repacked
    assert isinstance(attempt(), dict)


def test_work_stops_on_cancellation(operation):
    operation.cancellation.cancel()
    with pytest.raises(Cancelled):
        list(map(operation.reread, range(100)))


def test_decompression_without_output_checks_for_cancellation(tmp_path):
    """Deflate has blocks without content: gigabytes of them give no piece."""
    data = zlib.compress(b"")[:2] + b"\0\0\0\xff\xff" * 100_000
    path = tmp_path / "pack"
    path.write_bytes(bytes(12) + header(BLOB, 1) + data)
    looks = []
    with path.open("rb") as file:
        read = Pack(file.fileno(), None, SHA1)
        pieces = read.pieces(read.entry(12)._replace(size=70_000), lambda: looks.append(1))
        with pytest.raises(Damaged):
            list(pieces)
    assert len(looks) > 5


@pytest.fixture
def files_made(monkeypatch):
    """Notes each large content that is made."""
    made, new_file = [], Objects._new_file

    def counting(self):
        made.append(self)
        return new_file(self)

    monkeypatch.setattr(Objects, "_new_file", counting)
    return made


def test_a_large_base_is_built_once_for_all_its_small_deltas(script, attempt, files_made):
    """Sixty megabytes were inflated for each of thousands of deltas of a few bytes."""
    file = blob(b"zz")
    tip, root = file_of(file)
    ones = [by_name(LARGE, delta(2 * MIB, 1, copy(place, 1))) for place in range(50)]
    script.serve_pack(tip, pack(whole(tip), whole(root), whole(file), whole(LARGE), *ones))
    assert attempt() == {b"a": ("file", b"zz", False)}
    # The results pass through a file, too, since nobody knows beforehand that they are small.
    assert len(files_made) == 51


def test_a_large_result_is_built_once(script, attempt, files_made):
    grown = blob(LARGE.content + b"!")
    tip, root = file_of(grown)
    step = delta(2 * MIB, 2 * MIB + 1, copy(0, 2 * MIB), insert(b"!"))
    script.serve_pack(tip, pack(whole(tip), whole(root), whole(LARGE), by_name(LARGE, step)))
    assert attempt() == {b"a": ("file", grown.content, False)}
    assert len(files_made) == 2  # the base and the result


def test_a_delta_of_tiny_steps_is_written_in_large_chunks():
    wanted, written = 300_000, []
    steps = delta(2, wanted, b"\x01a" * (wanted - 1), copy(1, 1))
    apply_in_steps(lambda start, size: b"ab"[start : start + size], iter((steps,)), written.append)
    assert b"".join(written) == b"a" * (wanted - 1) + b"b"
    assert len(written) < 10


STEPS = st.lists(
    st.binary(min_size=1, max_size=127).map(insert)
    | st.tuples(st.integers(0, 199_999), st.integers(1, 150_000)).map(
        lambda each: copy(each[0], min(each[1], 200_000 - each[0]))
    ),
    max_size=30,
)
BASE = random.Random(2).randbytes(200_000)


@given(STEPS, st.integers(1, 300))
def test_an_incremental_delta_equals_one_applied_at_once(steps, size):
    bare = b"".join(steps)
    result = _result(bare)
    whole_delta = delta(len(BASE), len(result), bare)
    pieces = (whole_delta[at : at + size] for at in range(0, len(whole_delta), size))
    made = bytearray()
    sizes = apply_in_steps(lambda start, n: BASE[start : start + n], pieces, made.extend)
    assert bytes(made) == result == b"".join(apply_delta(BASE, whole_delta))
    assert sizes == (len(BASE), len(result))


def _result(steps):
    made, at = b"", 0
    while at < len(steps):
        command = steps[at]
        at += 1
        if not command & 0x80:
            made += steps[at : at + command]
            at += command
            continue
        numbers = [0] * 7
        for bit in range(7):
            if command >> bit & 1:
                numbers[bit] = steps[at]
                at += 1
        start = int.from_bytes(bytes(numbers[:4]), "little")
        made += BASE[start : start + (int.from_bytes(bytes(numbers[4:]), "little") or 0x10000)]
    return made


@pytest.mark.parametrize(
    "steps", [b"\x05ab", b"\x00", copy(1, 1)[:-1], copy(5, 1), copy(0, 9)], ids=range(5)
)
def test_an_invalid_incremental_delta_is_damaged(steps):
    whole_delta = delta(4, 5, steps)
    with pytest.raises(Damaged):
        apply_in_steps(lambda at, n: b"base"[at : at + n], iter((whole_delta,)), bytearray().extend)


def test_a_delta_that_is_its_own_base_is_rejected(script, refused):
    """Whoever looks the base up by its name may find the delta, and go in circles."""
    other, file = blob(b"0123456789" * 10), blob(b"x")
    tip, root = file_of(file)
    same = by_name(other, delta(100, 100, copy(0, 100)))
    script.serve_pack(tip, pack(whole(tip), whole(root), whole(file), whole(other), same))
    refused(CorruptPack)
    script.serve_pack(tip, pack(same, whole(tip), whole(root), whole(file), whole(other)))
    refused(CorruptPack)


def test_a_small_size_can_be_encoded_in_many_bytes(script, attempt):
    """The quick way through small objects took the size to end where it did not."""
    file = blob(b"content")
    tip, root = file_of(file)
    usual = header(BLOB, 7)
    told = bytes([usual[0] | 0x80]) + b"\x80" * 6 + b"\0" + entry(BLOB, file.content)[1:]
    script.serve_pack(tip, pack(whole(tip), whole(root), told, *[whole(blob(bytes(99)))] * 9))
    assert attempt() == {b"a": ("file", b"content", False)}
