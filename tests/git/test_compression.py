"""zlib-ng and zlib unpack the same, and deploycore works with either."""

from __future__ import annotations

import random
import subprocess
import sys
import zlib

import pytest

from deploycore.errors import CorruptPack
from deploycore.git import export
from deploycore.git.packs import compression, pack, partial_entry, receive
from tests.git.servers import snapshot, source

zlib_ng = pytest.importorskip("zlib_ng.zlib_ng")

# Small, large, compressible and not.
CONTENTS = [b"", b"a", b"line\n" * 900, random.Random(1).randbytes(3000), bytes(70_000)]


def unpacked(library, data, most):
    """Return what a library unpacks, in steps, or the class of its error."""
    inflater, found, rest = library.decompressobj(), b"", data
    try:
        while not inflater.eof and rest:
            found += inflater.decompress(rest, most)
            rest = inflater.unconsumed_tail
    except library.error:
        return "damaged"
    return found, inflater.eof, inflater.unused_data


@pytest.mark.parametrize("most", [50, 1000, 65_536])
@pytest.mark.parametrize("content", CONTENTS, ids=lambda each: f"{len(each)} bytes")
def test_both_libraries_unpack_the_same(content, most):
    for level in (0, 1, 6, 9):
        data = zlib.compress(content, level) + b"what follows"
        assert unpacked(zlib_ng, data, most) == unpacked(zlib, data, most)
        assert unpacked(zlib_ng, data[:-20], most) == unpacked(zlib, data[:-20], most)
    assert zlib_ng.crc32(content, 5) == zlib.crc32(content, 5)


def test_both_libraries_reject_the_same_damage():
    for content in CONTENTS:
        data = zlib.compress(content[:400], 9)
        for place in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[place // 8] ^= 1 << place % 8
            ours, theirs = (unpacked(each, bytes(flipped), 500) for each in (zlib_ng, zlib))
            if ours != theirs:
                # One of them stops earlier: neither takes the data for complete.
                assert "damaged" in (ours, theirs)
                assert not any(each[1] for each in (ours, theirs) if each != "damaged")


@pytest.mark.parametrize("library", [zlib, zlib_ng], ids=["zlib", "zlib-ng"])
def test_packs_are_received_with_either_library(make, target, settings, monkeypatch, library):
    for module in (pack, partial_entry, receive):
        monkeypatch.setattr(module, "decompressobj", library.decompressobj)
    monkeypatch.setattr(pack, "crc32", library.crc32)
    large = random.Random(2).randbytes(2_000_000)
    shop = make("shop", {"a": b"a" * 5000, "large": large})
    export(source(shop.url), "main", target, settings=settings)
    assert snapshot(target) == {
        b"a": ("file", b"a" * 5000, False),
        b"large": ("file", large, False),
    }


@pytest.mark.parametrize("library", [zlib, zlib_ng], ids=["zlib", "zlib-ng"])
def test_damage_found_by_either_library_is_a_typed_error(
    make, target, settings, monkeypatch, library
):
    def damaged(*args):
        raise library.error("invalid distance too far back")

    for module in (partial_entry, receive):
        monkeypatch.setattr(module, "decompressobj", damaged)
    shop = make("shop", {"a": b"a"})
    with pytest.raises(CorruptPack, match="invalid distance too far back"):
        export(source(shop.url), "main", target, settings=settings)


def test_zlib_is_used_if_zlib_ng_is_not_installed():
    assert compression.decompressobj is zlib_ng.decompressobj
    script = (
        "import sys, zlib; sys.modules['zlib_ng'] = None; "
        "from deploycore.git.packs import compression; "
        "assert compression.decompressobj is zlib.decompressobj; "
        "assert compression.crc32 is zlib.crc32; "
        "assert compression.DECOMPRESSION_ERRORS == (zlib.error, zlib.error)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
