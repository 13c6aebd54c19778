"""Packs of malicious servers: no wrong content, limited memory, and limited work."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from deploycore.errors import CorruptPack, DeploycoreError, GitError, LimitExceeded
from tests.hostile.packs import (
    BLOB,
    COMMIT,
    OFS_DELTA,
    REF_DELTA,
    RESERVED,
    TAG,
    TREE,
    Object,
    blob,
    by_name,
    by_offset,
    commit,
    copy,
    delta,
    distance,
    entry,
    header,
    insert,
    number,
    pack,
    pack_of,
    sealed,
    tree,
    whole,
    zeros,
)
from tests.hostile.server import FLUSH, Answer, band, preamble

MIB = 1024**2
# What Python, dulwich and urllib3 take before anything is received, with room to spare.
BASELINE = 96 * MIB

CONTENT = blob(b"the content of a file, line by line\n" * 3)
ROOT = tree((0o100644, b"a", CONTENT))
TIP = commit(ROOT)
RIGHT = {b"a": ("file", CONTENT.content, False)}
ALL = [whole(TIP), whole(ROOT), whole(CONTENT)]

OTHER = blob(b"0123456789" * 10)
GROWN = blob(OTHER.content + b"!")
GROWS = delta(100, 101, copy(0, 100), insert(b"!"))


def with_file(file: Object) -> tuple[Object, Object]:
    """A commit of one file ``a``, and its tree."""
    root = tree((0o100644, b"a", file))
    return commit(root), root


def test_a_valid_pack_is_written(script, attempt):
    """The fake server is good enough: what fails below fails for its own reason."""
    script.serve_pack(TIP, pack(*ALL))
    assert attempt() == RIGHT


@dataclass(frozen=True)
class Case:
    """A pack that is answered for ``TIP``.

    Attributes:
        reason: Why somebody would send it, or what it did to others.
        pack: Its bytes.
        kind: Of the error that it must be.
    """

    name: str
    reason: str
    pack: Callable[[], bytes]
    kind: type[DeploycoreError] | tuple[type[DeploycoreError], ...] = CorruptPack


def missing_base() -> bytes:
    return by_name(b"\x11" * 20, GROWS)


def circle(length: int) -> bytes:
    """Deltas by name, each of the next one, the last of the first."""
    names = [hashlib.sha1(b"%d" % place).digest() for place in range(length)]
    # Nobody can know the names that would make a true circle, so these never resolve.
    return pack(*ALL, *(by_name(names[(at + 1) % length], GROWS) for at in range(length)))


def deltas_without_base_below_right_ones() -> bytes:
    return pack(*ALL, whole(OTHER), by_name(OTHER, GROWS), missing_base())


CASES = [
    Case("empty answer", "a server that was killed", lambda: b""),
    Case("no objects", "the empty pack is valid, and has no commit", lambda: pack()),
    Case("only a header", "ends before its checksum", lambda: pack(trailer=b"")),
    Case("not a pack", "an error page in the band of the pack", lambda: b"<html>" * 20),
    Case("version 4", "a format that does not exist yet", lambda: pack(*ALL, version=4)),
    Case("version 0", "a format that never existed", lambda: pack(*ALL, version=0)),
    Case("count too low", "objects are hidden behind the end", lambda: pack(*ALL, count=2)),
    Case("count too high", "reads on into the checksum", lambda: pack(*ALL, count=4)),
    Case(
        "count of four billion",
        "memory is set aside for what is announced",
        lambda: pack(*ALL, count=2**32 - 1),
        LimitExceeded,
    ),
    Case("wrong checksum", "damage on the way", lambda: pack(*ALL, trailer=b"\0" * 20)),
    Case("checksum of 19 bytes", "cut by one byte", lambda: pack(*ALL)[:-1]),
    Case("a byte after the end", "garbage is hidden", lambda: pack(*ALL) + b"\0"),
    Case("kilobytes after the end", "garbage is hidden", lambda: pack(*ALL) + b"x" * 5000),
    Case("two packs", "the second one is not looked through", lambda: pack(*ALL) * 2),
    Case(
        "a pack within the trailer",
        "whoever looks for the end from behind finds another pack",
        lambda: sealed(pack(*ALL) + pack(whole(OTHER))),
    ),
    Case("kind 0", "not assigned", lambda: pack(*ALL, entry(0, b"x"))),
    Case("kind 5", "reserved", lambda: pack(*ALL, entry(RESERVED, b"x"))),
    Case("shorter than it says", "sizes that lie", lambda: pack(entry(BLOB, b"x", size=10))),
    Case("longer than it says", "sizes that lie", lambda: pack(entry(BLOB, b"xyz", size=1))),
    Case("of no bytes, it says", "sizes that lie", lambda: pack(*ALL, entry(BLOB, b"x", size=0))),
    Case(
        "a size of 2**62",
        "memory is set aside for what is announced",
        lambda: pack(*ALL, entry(BLOB, b"x", size=2**62)),
        LimitExceeded,
    ),
    Case(
        "a size of thousands of bits",
        "numbers without end are read in quadratic time",
        lambda: pack(*ALL, header(BLOB, 2**200_000) + b"x"),
        (LimitExceeded, CorruptPack),
    ),
    Case("no compressed data", "not zlib", lambda: pack(*ALL, header(BLOB, 5) + b"hello" * 9)),
    Case(
        "compressed data that never ends",
        "the stream lacks its end",
        lambda: pack(*ALL, whole(OTHER)[:-6]),
    ),
    Case(
        "a base that is missing", "thin packs need what we have not", lambda: pack(missing_base())
    ),
    Case(
        "a base that is missing beside right objects",
        "an object that nothing needs is damaged",
        deltas_without_base_below_right_ones,
    ),
    Case("a delta of itself", "endless resolution", lambda: circle(1)),
    Case("deltas in a circle", "endless resolution", lambda: circle(2)),
    Case("a hundred deltas in a circle", "endless recursion", lambda: circle(100)),
    Case(
        "a base before the beginning",
        "reads before the mapped file",
        lambda: pack(*ALL, by_offset(10**6, GROWS)),
    ),
    Case("a base at the header", "offset 0 is no object", lambda: pack(by_offset(12, GROWS))),
    Case("a base at itself", "endless resolution", lambda: pack(*ALL, by_offset(0, GROWS))),
    Case(
        "a base within an object",
        "bytes are taken for an object that is none",
        lambda: pack(*ALL, whole(OTHER), by_offset(5, GROWS)),
    ),
    Case(
        "an offset that never ends",
        "numbers without end",
        lambda: pack(*ALL, entry(OFS_DELTA, GROWS, base=b"\xff" * 100_000)),
    ),
    Case(
        "a delta of another size's base",
        "the delta was made for something else",
        lambda: pack(*ALL, whole(OTHER), by_name(OTHER, delta(99, 101, copy(0, 99)))),
    ),
    Case(
        "a delta whose result is shorter",
        "sizes that lie",
        lambda: pack(*ALL, whole(OTHER), by_name(OTHER, delta(100, 101, copy(0, 100)))),
    ),
    Case(
        "a delta whose result is longer",
        "writes beyond the buffer",
        lambda: pack(*ALL, whole(OTHER), by_name(OTHER, delta(100, 50, copy(0, 100)))),
    ),
    Case(
        "a delta that copies from behind its base",
        "reads beyond the buffer",
        lambda: pack(*ALL, whole(OTHER), by_name(OTHER, delta(100, 100, copy(50, 100)))),
    ),
    Case(
        "a delta that copies from far behind its base",
        "32-bit sums of offset and size",
        lambda: pack(*ALL, whole(OTHER), by_name(OTHER, delta(100, 2, copy(2**32 - 1, 2)))),
    ),
    Case(
        "a delta with the reserved step",
        "step 0 means nothing yet",
        lambda: pack(*ALL, whole(OTHER), by_name(OTHER, delta(100, 1, b"\0"))),
    ),
    Case(
        "a delta that ends within a step",
        "reads beyond the buffer",
        lambda: pack(*ALL, whole(OTHER), by_name(OTHER, delta(100, 5, b"\x05ab"))),
    ),
    Case(
        "a delta without sizes",
        "reads beyond the buffer",
        lambda: pack(*ALL, whole(OTHER), by_name(OTHER, b"")),
    ),
    Case(
        "a delta with half a size",
        "reads beyond the buffer",
        lambda: pack(*ALL, whole(OTHER), by_name(OTHER, b"\xe4")),
    ),
    Case(
        "a delta that promises a terabyte",
        "memory is set aside for what is announced",
        lambda: pack(*ALL, whole(OTHER), by_name(OTHER, delta(100, 2**40, copy(0, 1)))),
        LimitExceeded,
    ),
    Case("the commit is missing", "what was asked for", lambda: pack(*ALL[1:])),
    Case("the tree is missing", "what the commit names", lambda: pack(ALL[0], ALL[2])),
    Case("the file is missing", "what the tree names", lambda: pack(*ALL[:2])),
    Case(
        "another commit",
        "the server sends what nobody asked for",
        lambda: pack_of(commit(ROOT, message=b"other\n"), ROOT, CONTENT),
    ),
    Case(
        "a thin pack",
        "its base is what the server believes that we have",
        lambda: pack(*ALL[:2], by_name(OTHER, delta(100, 0))),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_inconsistent_packs_are_rejected(script, refused, case):
    script.serve_pack(TIP, case.pack())
    refused(case.kind)


def wrong_kinds():
    """``(name, reason, commit, objects)``: something else is under a name than should be."""
    yield "a tree that is a file", "kinds are mixed up", (tree((0o40000, b"a", CONTENT)), CONTENT)
    yield "a file that is a tree", "kinds are mixed up", (tree((0o100644, b"a", ROOT)), ROOT)
    yield "a file that is a commit", "kinds are mixed up", (tree((0o100644, b"a", TIP)), TIP)
    yield "a link that is a tree", "kinds are mixed up", (tree((0o120000, b"a", ROOT)), ROOT)
    yield "a tree that is a commit", "kinds are mixed up", (tree((0o40000, b"a", TIP)), TIP)


@pytest.mark.parametrize(
    ("name", "reason", "objects"), [*wrong_kinds()], ids=lambda each: str(each)[:30]
)
def test_objects_of_an_unexpected_type_are_rejected(script, refused, name, reason, objects):
    script.serve(commit(objects[0]), *objects, CONTENT)
    refused(CorruptPack)


@pytest.mark.parametrize("root", [CONTENT, TIP])
def test_a_commit_whose_tree_is_not_a_tree_is_rejected(script, refused, root):
    script.serve(commit(root), root)
    refused(CorruptPack)


@pytest.mark.parametrize("kind", [BLOB, TREE])
def test_a_commit_that_is_not_a_commit_is_rejected(script, refused, kind):
    """The branch names a file, or a tree."""
    script.serve(Object(kind, b""), TIP, ROOT, CONTENT)
    refused(GitError)


def test_a_tag_that_does_not_point_to_a_commit_is_rejected(script, refused):
    """The branch names a tag, and the tag a file."""
    tag = b"object %s\ntype blob\ntag x\n\nx\n" % CONTENT.name
    script.serve(Object(TAG, tag), TIP, ROOT, CONTENT)
    refused(GitError)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"tree \n",
        b"tree " + b"x" * 40 + b"\n\n",
        b"tree " + ROOT.name[:39] + b"\n\n",
        b"tree ../../../../etc/passwd\n\n",
        b"parent " + ROOT.name + b"\n\n",
        b"tree " + ROOT.name,
        b"tree " + ROOT.name + b"\n",
        b"tree " + ROOT.name + b"\n\n",
        b"tree " + ROOT.name + b"\nauthor\n\nx",
        b"tree " + ROOT.name + b"\nauthor <\ncommitter >\n\nx",
        b"tree " + ROOT.name + b"\nauthor a <a> x +0000\ncommitter a <a> y z\n\nx",
        b"tree " + ROOT.name + b"\nauthor a <a> %s +0000\n\nx" % (b"9" * 5000),
        b"tree " + ROOT.name + b"\nencoding \xff\xfe\n\nx",
        b"tree " + ROOT.name + b"\n" + b"tree " + CONTENT.name + b"\n\n",
        b"\0" * 1000,
    ],
    ids=range(17),
)
def test_invalid_commits_are_errors_or_harmless(script, attempt, content):
    """A commit's author is not needed for its files; its tree is."""
    script.serve(Object(COMMIT, content), ROOT, CONTENT)
    outcome = attempt()
    assert outcome == RIGHT or isinstance(outcome, GitError)


def harmless():
    """``(name, reason, pack, commit)`` of what is odd and right all the same."""
    yield "files before trees", "order is nobody's promise", pack(*reversed(ALL)), TIP
    yield "a file twice", "git writes such packs after faults", pack(*ALL, ALL[2]), TIP
    yield "everything twice", "git writes such packs after faults", pack(*ALL, *ALL), TIP
    yield "version 3", "git reads it as version 2", pack(*ALL, version=3), TIP
    yield "what nobody needs", "beside what was asked for", pack(*ALL, whole(OTHER)), TIP
    yield (
        "stored, not compressed",
        "level 0 is zlib too",
        pack(*ALL[:2], entry(BLOB, CONTENT.content, level=0)),
        TIP,
    )
    yield (
        "sizes with zeros in front",
        "numbers have more than one spelling",
        pack(*ALL[:2], _long_winded(CONTENT)),
        TIP,
    )


def _long_winded(each: Object) -> bytes:
    usual = header(each.kind, len(each.content))
    return usual[:-1] + bytes([usual[-1] | 0x80, 0x80, 0]) + whole(each)[len(usual) :]


@pytest.mark.parametrize(
    ("name", "reason", "sent", "tip"),
    [*harmless()],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_unusual_but_valid_packs_are_written(script, attempt, name, reason, sent, tip):
    script.serve_pack(tip, sent)
    assert attempt() == RIGHT


def test_deltas_before_their_bases_are_resolved(script, attempt):
    """By name, a delta may come first: to read front to back is not enough."""
    tip, root = with_file(GROWN)
    script.serve_pack(tip, pack(by_name(OTHER, GROWS), whole(tip), whole(root), whole(OTHER)))
    assert attempt() == {b"a": ("file", GROWN.content, False)}


def test_deltas_of_trees_and_commits_are_resolved(script, attempt):
    tip = commit(ROOT, message=b"other\n")
    rewrite = delta(
        len(TIP.content), len(tip.content), *(insert(each) for each in _pieces(tip.content))
    )
    script.serve_pack(tip, pack(*ALL, by_name(TIP, rewrite)))
    assert attempt() == RIGHT


def _pieces(content: bytes, size: int = 100) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


@pytest.mark.parametrize("base", ["by name", "by offset"])
@pytest.mark.parametrize("order", ["bases first", "bases last"])
def test_a_chain_of_ten_thousand_deltas_is_processed(script, attempt, base, order):
    """To resolve each delta by recursion ends the interpreter's stack, or takes forever."""
    if (base, order) == ("by offset", "bases last"):
        pytest.skip("offsets lead backwards only")
    current, entries, before = OTHER, [whole(OTHER)], None
    for place in range(10_000):
        following = blob(b"%09d\n" % place + current.content[10:])
        step = delta(100, 100, insert(following.content[:10]), copy(10, 90))
        made = by_name(current, step) if base == "by name" else by_offset(len(entries[-1]), step)
        entries.append(made)
        current, before = following, current
    assert before is not None
    tip, root = with_file(current)
    if order == "bases last":
        entries.reverse()
    script.serve_pack(tip, pack(*entries, whole(tip), whole(root)))
    outcome = attempt()
    assert outcome == {b"a": ("file", current.content, False)} or isinstance(outcome, GitError)


# One file, a base and a delta, so that each bit of each kind of entry is met.
SMALL_TIP, SMALL_ROOT = with_file(GROWN)
SMALL = pack(whole(SMALL_TIP), whole(SMALL_ROOT), whole(OTHER), by_offset(len(whole(OTHER)), GROWS))
SMALL_RIGHT = {b"a": ("file", GROWN.content, False)}


def test_a_truncated_pack_is_rejected(script, refused):
    for end in range(len(SMALL)):
        script.serve_pack(SMALL_TIP, SMALL[:end])
        refused(GitError)


def test_a_truncated_pack_with_a_valid_checksum_is_rejected(script, refused):
    for end in range(32, len(SMALL)):
        script.serve_pack(SMALL_TIP, sealed(SMALL[:end]))
        refused(GitError)


# Every third bit: each place in a byte, in each part of a pack.
EVERY = 3


def test_a_pack_with_any_flipped_bit_is_rejected(script, refused):
    for place in range(0, len(SMALL) * 8, EVERY):
        script.serve_pack(SMALL_TIP, turned(SMALL, place))
        refused(GitError)


def turned(content: bytes, place: int) -> bytes:
    found = bytearray(content)
    found[place // 8] ^= 1 << place % 8
    return bytes(found)


def test_a_flipped_bit_with_a_valid_checksum_never_yields_wrong_content(script, attempt, target):
    """The checksum of a pack is its sender's word alone; the hashes of objects are not."""
    for place in range(0, (len(SMALL) - 20) * 8, EVERY):
        script.serve_pack(SMALL_TIP, sealed(turned(SMALL, place)))
        outcome = attempt()
        if not isinstance(outcome, GitError):
            # Some bits say nothing: zlib's header has such, and compression levels.
            assert outcome == SMALL_RIGHT
            (target / "a").unlink()
            target.rmdir()


def test_a_zero_filled_decompression_bomb_is_not_inflated(script, confined):
    """A thousand to one: 200 kB of pack are 200 MB of file."""
    script.serve_pack(TIP, pack(*ALL, zeros(200 * MIB)))
    outcome = confined(max_object_bytes=10 * MIB)
    assert outcome.error == "LimitExceeded"
    assert outcome.peak < BASELINE


def test_a_decompression_bomb_that_claims_to_be_small_is_not_inflated(script, confined):
    script.serve_pack(TIP, pack(*ALL, zeros(200 * MIB, claimed=10)))
    outcome = confined(max_object_bytes=10 * MIB)
    assert outcome.error == "CorruptPack"
    assert outcome.peak < BASELINE


def test_a_delta_bomb_is_not_applied(script, confined):
    """Ten bytes of delta for each 16 MB that they copy."""
    base = blob(bytes(16 * MIB - 1))
    step = copy(0, 16 * MIB - 1)
    bomb = by_name(base, delta(16 * MIB - 1, 100 * (16 * MIB - 1), *[step] * 100))
    script.serve_pack(TIP, pack(*ALL, whole(base), bomb))
    outcome = confined(max_object_bytes=32 * MIB)
    assert outcome.error == "LimitExceeded"
    assert outcome.peak < BASELINE + 32 * MIB


def test_a_chain_of_delta_bombs_is_not_applied(script, confined):
    """Each delta doubles its base: 2 to the 30th bytes of 60 objects of a few bytes."""
    entries, size = [whole(blob(b"x" * 64))], 64
    for _ in range(24):
        step = copy(0, min(size, 2**24 - 1))
        entries.append(by_offset(len(entries[-1]), delta(size, size * 2, step, step)))
        size *= 2
        if size > 2**24 - 1:
            break
    script.serve_pack(TIP, pack(*ALL, *entries))
    outcome = confined(max_object_bytes=MIB)
    assert outcome.error == "LimitExceeded"
    assert outcome.peak < BASELINE


def test_many_objects_within_the_file_limit_are_rejected_by_the_total_limit(script, confined):
    """Each file is allowed; all together are not."""
    entries = [zeros(8 * MIB + place) for place in range(20)]
    script.serve_pack(TIP, pack(*ALL, *entries))
    outcome = confined(max_object_bytes=10 * MIB, max_checkout_bytes=100 * MIB)
    assert outcome.error == "LimitExceeded"
    assert outcome.peak < BASELINE


def test_a_large_allowed_file_takes_bounded_memory(script, confined):
    """What is written is held once at the most, not several times over."""
    file = blob(bytes(64 * MIB))
    tip, root = with_file(file)
    script.serve_pack(tip, pack(whole(tip), whole(root), whole(file)))
    outcome = confined()
    assert outcome.error is None, outcome
    assert outcome.peak < BASELINE + 3 * 64 * MIB


def test_a_tree_with_too_many_entries_is_rejected_before_it_is_loaded(script, confined):
    """Ten million bytes of entries become a gigabyte of Python objects."""
    line = b"100644 %06d\0" + CONTENT.hash
    root = Object(TREE, b"".join(line % place for place in range(300_000)))
    script.serve(commit(root), root, CONTENT)
    outcome = confined(max_files=1000)
    assert outcome.error == "LimitExceeded"
    assert outcome.peak < BASELINE + 8 * len(root.content)


def test_a_few_trees_that_expand_to_billions_of_paths_are_rejected(script, confined):
    """git's own "git bomb": ten entries a level, ten levels, 10**10 files of 12 objects."""
    made = [tree(*((0o100644, b"%d" % place, CONTENT) for place in range(10)))]
    for _ in range(9):
        made.append(tree(*((0o40000, b"%d" % place, made[-1]) for place in range(10))))
    script.serve(commit(made[-1]), *made, CONTENT)
    outcome = confined(max_files=20_000)
    assert outcome.error == "LimitExceeded"
    assert outcome.seconds < 10
    assert outcome.peak < BASELINE + 32 * MIB


def test_many_names_for_one_large_file_are_rejected(script, confined):
    file = blob(bytes(4 * MIB))
    root = tree(*((0o100644, b"%04d" % place, file) for place in range(1000)))
    script.serve(commit(root), root, file)
    outcome = confined(max_checkout_bytes=64 * MIB)
    assert outcome.error == "LimitExceeded"
    assert outcome.peak < BASELINE + 32 * MIB


def test_many_tiny_objects_take_bounded_memory_and_time(script, confined):
    """Each object costs its holder more than its sender."""
    blobs = [blob(b"%d" % place) for place in range(50_000)]
    script.serve_pack(TIP, pack(*ALL, *(entry(BLOB, each.content, level=0) for each in blobs)))
    outcome = confined()
    assert outcome.error is None, outcome
    assert outcome.seconds < 10
    assert outcome.peak < BASELINE + 64 * MIB


@pytest.mark.parametrize(
    ("changed", "limit"),
    [
        ({"max_object_bytes": 107}, "max_object_bytes"),
        ({"max_checkout_bytes": 107}, "max_checkout_bytes"),
        ({"max_pack_bytes": 100}, "max_pack_bytes"),
        ({"max_files": 0}, "max_files"),
    ],
)
def test_each_exceeded_limit_is_named(script, refused, changed, limit):
    script.serve_pack(TIP, pack(*ALL))
    assert refused(LimitExceeded, **changed).details["limit"] == limit


def test_a_pack_in_bands_of_one_byte_is_read(script, attempt):
    """Nobody may count on headers arriving whole."""
    sent = pack(*ALL)
    script.fetch = lambda request: Answer(
        preamble(request) + b"".join(band(1, sent[at : at + 1]) for at in range(len(sent))) + FLUSH
    )
    script.refs = [(TIP.name, b"refs/heads/main")]
    assert attempt() == RIGHT


def test_random_bytes_are_never_accepted_as_a_pack(script, refused):
    chance = random.Random(3)
    for _ in range(50):
        rest = chance.randbytes(chance.randrange(200))
        script.serve_pack(TIP, sealed(b"PACK\0\0\0\2\0\0\0\3" + rest + bytes(20)))
        refused(GitError)


def test_an_enormous_encoded_number_is_rejected_quickly(script, refused):
    """A number of a megabyte is refused without computing with it."""
    script.serve_pack(TIP, pack(*ALL, bytes([0xB0]) + b"\x80" * 1_000_000 + b"\x01"))
    began = time.process_time()
    refused((LimitExceeded, CorruptPack))
    assert time.process_time() - began < 2


def test_a_delta_with_endless_size_encoding_is_rejected(script, refused):
    sent = entry(REF_DELTA, b"\x80" * 1_000_000 + number(5), base=OTHER.hash)
    script.serve_pack(TIP, pack(*ALL, whole(OTHER), sent))
    refused((LimitExceeded, CorruptPack))


def test_an_offset_is_decoded_as_in_git(script, attempt):
    """The bytes of an offset have no zeros in front, so there is one off in each."""
    filler = entry(BLOB, random.Random(1).randbytes(20_000))
    tip, root = with_file(GROWN)
    back = len(whole(OTHER)) + len(filler)
    assert len(distance(back)) == 3
    sent = pack(whole(tip), whole(root), whole(OTHER), filler, by_offset(back, GROWS))
    script.serve_pack(tip, sent)
    assert attempt() == {b"a": ("file", GROWN.content, False)}
