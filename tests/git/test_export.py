"""Exports have the right files of the right commit, completely or not at all."""

from __future__ import annotations

import os
import stat
from datetime import datetime, timedelta, timezone

import pytest

from deploycore.errors import ConfigurationError, GitError, RemoteRefused
from deploycore.git import export
from deploycore.git.checkout import files, streaming
from tests.git.servers import (
    EXECUTABLE,
    GITLINK,
    LINK,
    SECRET,
    nothing_left,
    snapshot,
    source,
)


def test_an_export_writes_all_files_and_describes_the_commit(make, target, settings):
    shop = make("shop", {"a.txt": b"a", "deep/er/b": b"", "run.sh": (EXECUTABLE, b"#!/bin/sh\n")})
    tip = shop.repo.refs[b"refs/heads/main"].decode()
    done = export(source(shop.url), "main", target, settings=settings)
    assert snapshot(target) == {
        b"a.txt": ("file", b"a", False),
        b"deep": ("directory",),
        b"deep/er": ("directory",),
        b"deep/er/b": ("file", b"", False),
        b"run.sh": ("file", b"#!/bin/sh\n", True),
    }
    assert (done.commit, done.ref, done.files, done.bytes) == (tip, "main", 3, 11)
    assert (done.author, done.subject) == ("Ada Lovelace", "Subject")
    hour = timezone(timedelta(hours=1))
    assert done.committed_at == datetime.fromtimestamp(1_700_000_000, hour)
    assert os.listdir(target.parent) == ["target"]


@pytest.mark.parametrize(
    "name", [b"caf\xc3\xa9", b"caf\xe9", b"a b", b"-rf", b"\x01\x1b[31m", b"x" * 255, b"a\\b"]
)
def test_names_are_written_byte_for_byte(make, target, settings, name):
    shop = make("shop", {name: b"x"})
    export(source(shop.url), "main", target, settings=settings)
    assert snapshot(target) == {name: ("file", b"x", False)}


def test_links_within_the_tree_are_written(make, target, settings):
    files = {
        "a/f": b"1",
        "a/up": (LINK, b"../b"),
        "b": (LINK, b"a/f"),
        "a/c/deep": (LINK, b"../../a/./f"),
        "dangling": (LINK, b"nowhere"),
        "through": (LINK, b"a/c/../f"),
    }
    shop = make("shop", files)
    export(source(shop.url), "main", target, settings=settings)
    assert {k: v for k, v in snapshot(target).items() if v[0] == "link"} == {
        os.fsencode(k): ("link", v[1]) for k, v in files.items() if isinstance(v, tuple)
    }
    assert (target / "a/up").read_bytes() == (target / "through").read_bytes() == b"1"


def test_the_umask_determines_permissions(make, target, settings):
    shop = make("shop", {"a": b"", "d/run": (EXECUTABLE, b"")})
    former = os.umask(0o027)
    try:
        export(source(shop.url), "main", target, settings=settings)
    finally:
        os.umask(former)
    modes = [stat.S_IMODE((target / each).stat().st_mode) for each in (".", "a", "d", "d/run")]
    assert modes == [0o750, 0o640, 0o750, 0o750]


def test_submodules_are_empty_directories_unless_enabled(make, target, settings):
    shop = make("shop", {"lib": (GITLINK, b"1" * 40)})
    done = export(source(shop.url), "main", target, settings=settings)
    assert snapshot(target) == {b"lib": ("directory",)}
    assert done.submodules == 0


def test_an_existing_empty_target_directory_is_accepted(make, target, settings):
    shop = make("shop", {"a": b"1"})
    target.mkdir()
    export(source(shop.url), "main", target, settings=settings)
    assert (target / "a").read_bytes() == b"1"


def test_missing_parents_are_created_and_removed_again_on_failure(make, target, settings):
    shop = make("shop", {"a": b"1"})
    deep = target / "x" / "y"
    with pytest.raises(RemoteRefused):
        export(source(shop.url), "other", deep, settings=settings)
    assert nothing_left(target)
    export(source(shop.url), "main", deep, settings=settings)
    assert (deep / "a").read_bytes() == b"1"


@pytest.mark.parametrize("occupant", ["file", "non-empty", "link", "below-a-file"])
def test_a_target_in_use_is_rejected_before_any_request(make, server, target, settings, occupant):
    shop = make("shop", {"a": b"1"})
    place = target
    if occupant == "non-empty":
        target.mkdir()
        (target / "mine").write_text("mine")
    elif occupant == "link":
        target.symlink_to(target.parent)
    else:
        target.write_text("mine")
        place = target / "sub" if occupant == "below-a-file" else target
    before = snapshot(target.parent)
    with pytest.raises(ConfigurationError, match=str(target)):
        export(source(shop.url), "main", place, settings=settings)
    assert server.requests == []
    assert snapshot(target.parent) == before
    export(source(shop.url), "main", target.with_name("new"), settings=settings)


@pytest.mark.parametrize("branch", ["", "a..b", "a b", "x.lock", "/a", "a~1", "a\nb"])
def test_a_branch_name_that_git_does_not_allow_is_refused(make, server, target, settings, branch):
    shop = make("shop", {"a": b"1"})
    with pytest.raises(ConfigurationError, match="branch or tag named"):
        export(source(shop.url), branch, target, settings=settings)
    assert server.requests == []
    export(source(shop.url), "main", target, settings=settings)


@pytest.mark.parametrize("branch", ["feature/a", "ümlaut", "a#b%20", 'q"uote', "x" * 200])
def test_branches_with_unusual_names_are_found(make, target, settings, branch):
    shop = make("shop", {"a": b"1"})
    shop.commit(shop.files({"b": b"2"}), branch)
    assert export(source(shop.url), branch, target, settings=settings).ref == branch
    assert list(snapshot(target)) == [b"b"]


@pytest.mark.parametrize(
    ("branch", "told"), [("main ", "'main '"), ("a\nb", r"'a\\nb'"), ("\x00", r"'\\x00'")]
)
def test_an_invalid_name_is_shown_with_the_reason(make, target, settings, branch, told):
    with pytest.raises(ConfigurationError, match=f"named {told}"):
        export(source(make("shop", {"a": b"1"}).url), branch, target, settings=settings)


@pytest.mark.parametrize("ref", ["1234abc", "F" * 40, "beef"])
def test_an_abbreviated_hash_is_rejected_with_a_request_for_the_full_hash(
    make, target, settings, ref
):
    with pytest.raises(RemoteRefused, match=f"no branch or tag '{ref}'") as caught:
        export(source(make("shop", {"a": b"1"}).url), ref, target, settings=settings)
    assert "full hash" in caught.value.hint


def test_an_unknown_branch_is_named(make, target, settings):
    shop = make("shop", {"a": b"1"})
    with pytest.raises(RemoteRefused, match="no branch or tag 'mian'"):
        export(source(shop.url), "mian", target, settings=settings)
    assert nothing_left(target)


def test_an_empty_repository_is_reported_as_empty(make, target, settings):
    with pytest.raises(RemoteRefused, match="empty"):
        export(source(make("shop").url), "main", target, settings=settings)


def test_only_the_requested_branch_is_fetched(make, target, settings):
    shop = make("shop", {"a": b"1"})
    for number in range(50):
        shop.commit(shop.files({"big": os.urandom(20_000)}), f"other-{number}")
    received = []
    export(
        source(shop.url),
        "main",
        target,
        progress=lambda now: received.append(now.received_bytes),
        settings=settings,
    )
    assert max(received) < 20_000


def test_the_history_is_not_fetched(make, target, settings):
    shop = make("shop", {"big": os.urandom(100_000)})
    shop.commit(shop.files({"small": b"1"}))
    received = []
    export(
        source(shop.url),
        "main",
        target,
        progress=lambda now: received.append(now.received_bytes),
        settings=settings,
    )
    assert max(received) < 20_000


def test_the_requested_commit_is_written(make, target, settings):
    shop = make("shop", {"a": b"1"})
    tip = shop.repo.refs[b"refs/heads/main"].decode()
    assert export(source(shop.url), "main", target, commit=tip, settings=settings).commit == tip


def test_a_moved_branch_is_reported_if_the_server_serves_only_branch_tips(make, target, settings):
    shop = make("shop", {"a": b"1"})
    former = shop.repo.refs[b"refs/heads/main"].decode()
    newer = shop.commit(shop.files({"a": b"2"}))
    with pytest.raises(RemoteRefused, match=f"has moved from {former} to {newer}") as caught:
        export(source(shop.url), "main", target, commit=former, settings=settings)
    assert caught.value.details["moved_to"] == newer
    assert nothing_left(target)


def push_before_the_pack_is_asked_for(shop, server):
    """Once; gives nothing of its own, so that the server answers."""

    def push(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"].endswith("git-upload-pack"):
            server.interfere = None
            shop.commit(shop.files({"a": b"2"}))

    server.interfere = push


def test_a_branch_that_moves_during_the_fetch_is_fetched_in_its_new_state(
    make, server, target, settings
):
    shop = make("shop", {"a": b"1"})
    push_before_the_pack_is_asked_for(shop, server)
    export(source(shop.url), "main", target, settings=settings)
    assert (target / "a").read_bytes() == b"2"


def test_a_commit_removed_from_its_branch_during_the_fetch_is_reported(
    make, server, target, settings
):
    shop = make("shop", {"a": b"1"})
    former = shop.repo.refs[b"refs/heads/main"].decode()
    push_before_the_pack_is_asked_for(shop, server)
    with pytest.raises(RemoteRefused, match=f"has moved from {former}") as caught:
        export(source(shop.url), "main", target, commit=former, settings=settings)
    assert caught.value.details["moved_to"] == shop.repo.refs[b"refs/heads/main"].decode()


@pytest.mark.parametrize("commit", ["", "abc", "g" * 40, "A" * 40])
def test_an_invalid_hash_is_rejected(make, server, target, settings, commit):
    shop = make("shop", {"a": b"1"})
    with pytest.raises(ConfigurationError, match="not the full hash"):
        export(source(shop.url), "main", target, commit=commit, settings=settings)
    assert server.requests == []
    whole = shop.repo.refs[b"refs/heads/main"].decode()
    export(source(shop.url), "main", target, commit=whole, settings=settings)


def test_progress_reports_the_phases_and_ends_with_all_files(make, target, settings):
    shop = make("shop", {f"f{number}": b"x" for number in range(20)})
    seen = []
    export(source(shop.url), "main", target, progress=seen.append, settings=settings)
    assert list(dict.fromkeys(now.phase for now in seen)) == ["connecting", "receiving", "writing"]
    assert (seen[-1].files, seen[-1].files_total) == (20, 20)
    assert seen[-1].received_bytes > 0


def test_escape_sequences_in_a_commit_do_not_reach_the_terminal(make, target, settings):
    shop = make()
    shop.commit(
        shop.files({"a": b""}), message=b"\x1b[31mred\x07\n", author=b"\x1b]0;Eve <e@example.com>"
    )
    done = export(source(shop.url), "main", target, settings=settings)
    assert (done.author, done.subject) == ("]0;Eve", "[31mred")


def test_credentials_are_sent_as_basic_authorisation(make, server, target, settings):
    shop = make("shop", {"a": b"1"})
    server.credential = f"ada:{SECRET}"
    export(source(shop.url, secret=SECRET), "main", target, settings=settings)
    assert all(SECRET not in path for _, path, _ in server.requests)


def test_a_killed_helper_process_is_reported(make, target, settings, monkeypatch, tmp_path):
    """As the system does when it runs out of memory."""
    killed = tmp_path / "killed.py"
    killed.write_text(
        "import os, signal\nos.write(1, b'.')\nos.read(0, 1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    shop = make("shop", {"a": b"1"})
    monkeypatch.setattr(streaming, "FEW_OBJECTS", 0)
    monkeypatch.setattr(files, "_processors", lambda: 2)
    with monkeypatch.context() as patched:
        patched.setattr(files.writer, "__file__", str(killed))
        with pytest.raises(GitError, match="ended unexpectedly") as caught:
            export(source(shop.url), "main", target, settings=settings)
    assert "out of memory" in caught.value.hint
    assert nothing_left(target)
    export(source(shop.url), "main", target, settings=settings)
    assert (target / "a").read_bytes() == b"1"
