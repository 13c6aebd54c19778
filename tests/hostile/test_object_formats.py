"""Wrong object formats: hashes of the wrong length, wrong hashes and unknown formats."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from deploycore.errors import CorruptPack, GitError, LimitExceeded, RemoteRefused
from deploycore.git.packs.objects import OBJECT_FORMATS, Damaged, format_of
from tests.git.conftest import stock_git
from tests.hostile.packs import Object, blob, commit, delta, entry, insert, pack, tree, whole

__all__ = ["stock_git"]

SHA256 = OBJECT_FORMATS[1]
REF_DELTA = 7


def sha256_name(each: Object) -> bytes:
    return SHA256.object_name(each.kind, each.content)


def sha256_pack(*entries: bytes) -> bytes:
    body = pack(*entries, trailer=b"")
    return body + hashlib.sha256(body).digest()


@pytest.fixture
def serve(script):
    """Serves the last of some objects as a commit of a SHA-256 repository."""

    def run(*objects, entries=None):
        script.object_format = b"sha256"
        script.refs = [(sha256_name(objects[-1]).hex().encode(), b"refs/heads/main")]
        script.pack = sha256_pack(*(map(whole, objects) if entries is None else entries))

    return run


@pytest.fixture(params=[0, 2], ids=["version-0", "version-2"])
def version(request, script):
    """Of the protocol that the server has."""
    if request.param == 0:
        usual = type(script)._discovered
        script.discover = lambda asked: usual(script, type(asked)(**vars(asked) | {"version": 0}))
    return request.param


def shop(content: bytes = b"content"):
    file = blob(content)
    root = tree((0o100644, b"a", sha256_name(file)))
    return file, root, commit(sha256_name(root).hex().encode())


def test_a_valid_repository_is_written(serve, attempt, version):
    serve(*shop())
    assert attempt() == {b"a": ("file", b"content", False)}


def test_the_client_announces_its_object_format(serve, script, attempt, version):
    serve(*shop())
    asked = []
    script.fetch = lambda request: asked.append(request.body)
    attempt()
    assert [b"object-format=sha256" in body for body in asked] == [True]


@pytest.mark.parametrize("sealed", [False, True], ids=["wrong", "right"])
def test_a_flipped_byte_in_a_pack_is_detected_despite_a_valid_checksum(
    serve, script, refused, sealed
):
    serve(*shop())
    good = script.pack
    for position in range(0, len(good) - 32 * sealed, 3):
        damaged = bytearray(good)
        damaged[position] ^= 0x55
        if sealed:
            damaged[-32:] = hashlib.sha256(damaged[:-32]).digest()
        script.pack = bytes(damaged)
        refused((CorruptPack, LimitExceeded))


def test_a_pack_with_a_checksum_in_the_other_format_is_rejected(serve, script, refused):
    serve(*shop())
    script.pack = script.pack[:-32] + hashlib.sha1(script.pack[:-32]).digest()
    refused(CorruptPack)


def test_objects_of_the_other_format_are_not_found(serve, script, refused):
    file = blob(b"content")
    root = tree((0o100644, b"a", file))
    serve(file, root, commit(root))
    refused(CorruptPack)


def test_a_tree_in_the_other_format_is_invalid(serve, refused):
    file = blob(b"content")
    root = tree((0o100644, b"a", file))
    serve(file, root, commit(sha256_name(root).hex().encode()))
    assert "malformed" in refused(CorruptPack).message


@pytest.mark.parametrize("digits", [b"1" * 64, b"1" * 39, b"g" * 40, b"1" * 20 + b" " * 20, b""])
def test_a_commit_with_a_mismatched_tree_hash_is_rejected(script, refused, digits):
    script.serve(commit(digits))
    refused(CorruptPack)


def test_a_delta_that_references_its_base_in_the_other_format_is_rejected(serve, refused):
    file, root, made = shop()
    step = entry(REF_DELTA, delta(7, 7, insert(b"another")), base=file.hash)
    serve(file, root, made, entries=[step, *map(whole, (file, root, made))])
    refused(CorruptPack)


def test_an_unknown_format_is_named(serve, script, refused, version):
    serve(*shop())
    script.object_format = b"sha512\x1b[31m"
    assert "sha512" in refused(RemoteRefused).message


@pytest.mark.parametrize(("said", "digits"), [(b"", 64), (b"sha1", 64), (b"sha256", 40)])
def test_refs_that_do_not_match_the_announced_format_are_rejected(
    script, refused, said, digits, version
):
    script.object_format = said
    script.refs = [(b"1" * digits, b"refs/heads/main")]
    assert "object format" in refused(RemoteRefused).message


@pytest.mark.parametrize("name", [b"g" * 40, b"1" * 39, b"1" * 20 + b"\xff" * 20, b"A" * 40])
def test_a_ref_that_is_not_a_hash_is_rejected(script, refused, name, version):
    script.serve(commit(tree()))
    script.refs = [(name, b"refs/heads/main")]
    refused(GitError)


def test_hashes_are_only_parsed_in_their_own_format():
    assert [format_of("1" * each.digits) for each in OBJECT_FORMATS] == list(OBJECT_FORMATS)
    for name in ("1" * 39, "1" * 41, ""):
        with pytest.raises(Damaged):
            format_of(name)
    for each, other in itertools.permutations(OBJECT_FORMATS):
        assert each.unhex("ab" * each.hash_bytes) == b"\xab" * each.hash_bytes
        with pytest.raises(Damaged):
            each.unhex("ab" * other.hash_bytes)


@pytest.mark.parametrize("object_format", OBJECT_FORMATS, ids=lambda each: each.name)
def test_object_names_equal_those_of_git(object_format, stock_git, tmp_path):
    stock_git("init", "-q", f"--object-format={object_format.name}", at=tmp_path)
    for content in (b"", b"content"):
        (tmp_path / "file").write_bytes(content)
        wanted = stock_git("hash-object", "file", at=tmp_path).strip()
        assert object_format.object_name(blob(content).kind, content).hex() == wanted
