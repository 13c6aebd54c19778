"""Commits and tags with headers that current git does not write: only the tree and the parents
matter.

If git is installed, the results are compared: commits that git clones are deployed, and commits
that it rejects are rejected.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta, timezone

import pytest

from deploycore.errors import CorruptPack
from deploycore.git import clone
from deploycore.git.packs.objects import SHA1, Damaged, read_commit, tagged
from tests.git.servers import nothing_left, source
from tests.hostile.packs import COMMIT, TAG, Object, blob, pack_of, tree
from tests.hostile.server import HostileServer

CONTENT = blob(b"1")
ROOT = tree((0o100644, b"a.txt", CONTENT))
TREE = b"tree " + ROOT.name + b"\n"
WHO = b"Ada Lovelace <ada@example.com> 1700000000 +0100"
MESSAGE = b"\nSubject\n\nBody\n"
AT = datetime(2023, 11, 14, 23, 13, 20, tzinfo=timezone(timedelta(hours=1)))
IN_UTC = AT.astimezone(UTC)


def headers(author=WHO, committer=WHO):
    lines = ((b"author ", author), (b"committer ", committer))
    return b"".join(name + value + b"\n" for name, value in lines if value is not None)


USUAL = TREE + headers() + MESSAGE


def zone(text):
    return TREE + headers(committer=b"A <a@x> 1700000000" + text) + MESSAGE


def author(text):
    return TREE + headers(author=text) + MESSAGE


NO_DATE = TREE + headers(b"Ada <a@x>", b"Ada <a@x>") + MESSAGE
GARBAGE = b"Ada <a@x> yesterday +0100"
HUGE = b"Ada <a@x> 99999999999999999999 +0000"
HUGER = b"Ada <a@x> " + b"9" * 5000 + b" +0000"
NEGATIVE = b"Ada <a@x> -1 +0000"
LATIN = b"encoding ISO-8859-1\n"

ADA = "Ada Lovelace"
# The commit, and what is shown of it: author, subject, date.
ODD = {
    "usual": (USUAL, ADA, "Subject", AT),
    "no author": (TREE + headers(author=None) + MESSAGE, "", "Subject", AT),
    "no committer": (TREE + headers(committer=None) + MESSAGE, ADA, "Subject", AT),
    "neither": (TREE + MESSAGE, "", "Subject", None),
    "empty author": (author(b""), "", "Subject", AT),
    "no <": (author(b"Ada ada@x> 1 +0000"), "Ada ada@x", "Subject", AT),
    "no >": (author(b"Ada <ada@x 1 +0000"), "Ada", "Subject", AT),
    "neither < nor >": (author(b"Ada ada@x 1 +0000"), "Ada ada@x", "Subject", AT),
    "< alone": (author(b"<"), "", "Subject", AT),
    "> before <": (author(b"> Ada < 1 +0000"), "> Ada", "Subject", AT),
    "no email": (author(b"Ada <> 1 +0000"), "Ada", "Subject", AT),
    "no name": (author(b"<ada@x> 1 +0000"), "ada@x", "Subject", AT),
    "no name and no email": (author(b" <> 1 +0000"), "", "Subject", AT),
    "two emails": (author(b"Ada <a@x> <b@x> 1 +0000"), "Ada", "Subject", AT),
    "no space before the date": (author(b"Ada <a@x>1 +0000"), "Ada", "Subject", AT),
    "no date": (NO_DATE, "Ada", "Subject", None),
    "garbage date": (TREE + headers(GARBAGE, GARBAGE) + MESSAGE, "Ada", "Subject", None),
    "huge date": (TREE + headers(HUGE, HUGE) + MESSAGE, "Ada", "Subject", None),
    "huger date": (TREE + headers(HUGER, HUGER) + MESSAGE, "Ada", "Subject", None),
    "negative date": (
        TREE + headers(NEGATIVE, NEGATIVE) + MESSAGE,
        "Ada",
        "Subject",
        datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    ),
    "date of the author alone": (TREE + headers(WHO, GARBAGE) + MESSAGE, ADA, "Subject", AT),
    "zone 0000": (zone(b" 0000"), ADA, "Subject", IN_UTC),
    "zone -0000": (zone(b" -0000"), ADA, "Subject", IN_UTC),
    "zone 0100": (zone(b" 0100"), ADA, "Subject", AT),
    "zone +051800": (zone(b" +051800"), ADA, "Subject", IN_UTC),
    "zone +9999": (zone(b" +9999"), ADA, "Subject", IN_UTC),
    "zone --700": (zone(b" --700"), ADA, "Subject", IN_UTC),
    "zone UTC": (zone(b" UTC"), ADA, "Subject", IN_UTC),
    "zone +01:00": (zone(b" +01:00"), ADA, "Subject", IN_UTC),
    "no zone": (zone(b""), ADA, "Subject", IN_UTC),
    "space after the zone": (zone(b" +0100 "), ADA, "Subject", AT),
    "no message": (TREE + headers(), ADA, "", AT),
    "empty message": (TREE + headers() + b"\n", ADA, "", AT),
    "lines before the subject": (TREE + headers() + b"\n\n\n  Subject\n", ADA, "Subject", AT),
    "NUL in the message": (TREE + headers() + b"\nSub\0ject\n", ADA, "Sub ject", AT),
    "NUL in a header": (author(b"A\0da <a@x> 1 +0000"), "A da", "Subject", AT),
    "no line between": (TREE + headers() + b"Subject\n", ADA, "", AT),
    "not UTF-8": (TREE + headers(b"J\xf6rg <j@x> 1 +0000") + MESSAGE, "J\ufffdrg", "Subject", AT),
    "Latin-1, as it says": (
        TREE + headers(b"J\xf6rg <j@x> 1 +0000") + LATIN + b"\nGr\xfc\xdfe\n",
        "Jörg",
        "Grüße",
        AT,
    ),
    "unknown encoding": (TREE + headers() + b"encoding klingon\n" + MESSAGE, ADA, "Subject", AT),
    "encoding of no text": (TREE + headers() + b"encoding zlib\n" + MESSAGE, ADA, "Subject", AT),
    "another encoding than it says": (
        TREE + headers("Jörg <j@x> 1 +0000".encode()) + b"encoding ascii\n" + MESSAGE,
        "Jörg",
        "Subject",
        AT,
    ),
    "header over several lines": (
        TREE + headers() + b"gpgsig -----BEGIN\n author Eve <e@x>\n \n -----END\n" + MESSAGE,
        ADA,
        "Subject",
        AT,
    ),
    "unknown headers": (
        TREE + b"x-note 1\n" + headers() + b"HG:extra a\n\tb\n" + MESSAGE,
        ADA,
        "Subject",
        AT,
    ),
    "authors in another order": (
        TREE + b"committer " + WHO + b"\nauthor Eve <e@x> 1 +0000\n" + MESSAGE,
        "Eve",
        "Subject",
        AT,
    ),
    "two authors": (
        TREE + b"author Eve <e@x> 1 +0000\n" + headers() + MESSAGE,
        "Eve",
        "Subject",
        AT,
    ),
    "two trees": (TREE + b"tree " + b"1" * 40 + b"\n" + headers() + MESSAGE, ADA, "Subject", AT),
    "a parent too late": (
        TREE + headers() + b"parent " + b"1" * 40 + b"\n" + MESSAGE,
        ADA,
        "Subject",
        AT,
    ),
    "hash in upper case": (
        b"tree " + ROOT.name.upper() + b"\n" + headers() + MESSAGE,
        ADA,
        "Subject",
        AT,
    ),
    "control characters": (
        TREE + headers(b"\x1b]0;Eve\x07 <e@x> 1 +0000") + b"\n\x1b[31mred\n",
        "]0;Eve",
        "[31mred",
        AT,
    ),
    "text that turns around": (TREE + headers() + "\nok \u202egpj\n".encode(), ADA, "ok gpj", AT),
    "long message": (TREE + headers() + b"\nSubject\n\n" + b"x" * 2_000_000, ADA, "Subject", AT),
    "long subject": (TREE + headers() + b"\n" + b"x" * 2_000_000, ADA, "x" * 299 + "…", AT),
    "long author": (author(b"A" * 100_000 + b" <a@x> 1 +0000"), "A" * 299 + "…", "Subject", AT),
}

# What git itself can't read.
BROKEN = {
    "nothing": b"",
    "no tree": headers() + MESSAGE,
    "a tree too late": headers() + TREE + MESSAGE,
    "a tree alone": TREE,
    "no end of line": TREE.strip(),
    "two spaces": TREE.replace(b" ", b"  ") + headers() + MESSAGE,
    "a space at the end": TREE.replace(b"\n", b" \n") + headers() + MESSAGE,
    "CRLF": TREE.replace(b"\n", b"\r\n") + headers() + MESSAGE,
    "a short hash": TREE[:-2] + b"\n" + headers() + MESSAGE,
    "a hash with another digit": TREE[:-2] + b"g\n" + headers() + MESSAGE,
    "a hash with a sign": b"tree +" + ROOT.name[1:] + b"\n" + headers() + MESSAGE,
    "a short parent": TREE + b"parent 1234\n" + headers() + MESSAGE,
    "a parent that is none": TREE + b"parent xyz\n" + headers() + MESSAGE,
}


@pytest.fixture(scope="module")
def hostile():
    running = HostileServer()
    yield running
    running.stop()


@pytest.mark.parametrize("name", ODD)
def test_the_readable_parts_of_an_unusual_commit_are_shown(name):
    content, *shown = ODD[name]
    found = read_commit(content, SHA1)
    assert found.tree == ROOT.hash
    assert [found.author, found.subject, found.committed_at] == shown
    if found.committed_at is not None:
        assert found.committed_at.utcoffset() == shown[-1].utcoffset()


@pytest.mark.parametrize(
    "name", ["neither", "neither < nor >", "zone 0000", "no message", "long message", "two trees"]
)
def test_an_unusual_commit_can_be_cloned(hostile, target, settings, name):
    hostile.script.serve(Object(COMMIT, ODD[name][0]), ROOT, CONTENT)
    done = clone(source(hostile.url), "main", target, settings=settings)
    assert (target / "a.txt").read_bytes() == b"1"
    assert done.headline.startswith(f"commit {done.commit[:12]}")
    assert "by :" not in done.headline


@pytest.mark.parametrize("name", BROKEN)
def test_a_commit_without_a_readable_tree_is_damaged(name):
    with pytest.raises(Damaged) as caught:
        read_commit(BROKEN[name], SHA1)
    assert not any(word in str(caught.value) for word in ("None", "object has", "Error"))


def test_a_damaged_commit_is_refused(hostile, target, settings):
    hostile.script.serve(Object(COMMIT, BROKEN["no tree"]), ROOT, CONTENT)
    with pytest.raises(CorruptPack, match="lacks its 'tree' line"):
        clone(source(hostile.url), "main", target, settings=settings)
    assert nothing_left(target)


def test_git_accepts_and_rejects_the_same_commits(stock_git, tmp_path):
    """One repository and one call of git for all of them: the first parent of each is itself."""
    stock_git("init", "-q", "--bare", tmp_path / "all")
    pack = pack_of(ROOT, CONTENT, *(Object(COMMIT, each[0]) for each in ODD.values()))
    pack_of_broken = pack_of(*(Object(COMMIT, each) for each in BROKEN.values() if each))
    for each in (pack, pack_of_broken):
        subprocess.run(
            ["git", "-C", tmp_path / "all", "unpack-objects", "-q"],
            input=each,
            capture_output=True,
            check=True,
        )
    asked = {name: Object(COMMIT, each[0]) for name, each in ODD.items()}
    asked |= {name: Object(COMMIT, each) for name, each in BROKEN.items() if each}
    done = subprocess.run(
        ["git", "-C", tmp_path / "all", "cat-file", "--batch-check"],
        input=b"".join(each.name + b"^{tree}\n" for each in asked.values()),
        capture_output=True,
        check=True,
    )
    answers = dict(zip(asked, done.stdout.splitlines(), strict=True))
    taken = {name for name, answer in answers.items() if answer.startswith(ROOT.name)}
    assert taken == set(ODD)


@pytest.mark.parametrize(
    "rest",
    [
        b"type commit\ntag v1\ntagger Ada <ada@x> 1 +0000\n\nv1\n",
        b"type commit\ntag v1\n\nof git's first years: nobody tagged it\n",
        b"type commit\ntag v1\ntagger Ada\n\n",
        b"type commit\ntag v1\ntagger <> yesterday\n\n",
        b"type commit\ntag v1\ntagger Ada <ada@x> 1 0000\n",
        b"type commit\ntag \xff\x00\n\n",
        b"type commit\n",
        b"",
    ],
)
def test_only_the_object_of_a_tag_is_read(rest):
    assert tagged(b"object " + b"1" * 40 + b"\n" + rest, SHA1) == b"\x11" * 20


@pytest.mark.parametrize(
    "content", [b"", b"object\n", b"type commit\n", b"object 12\ntype commit\n"]
)
def test_a_tag_without_an_object_is_damaged(content):
    with pytest.raises(Damaged, match="'object'"):
        tagged(content, SHA1)


def test_a_tag_with_an_unusual_header_can_be_cloned(hostile, target, settings):
    tip = Object(COMMIT, USUAL)
    tag = Object(TAG, b"object " + tip.name + b"\ntype commit\ntag v1\ntagger Ada\n\nv1\n")
    hostile.script.serve_pack(tip, pack_of(tag, tip, ROOT, CONTENT))
    hostile.script.refs = [(tip.name, b"refs/heads/main"), (tag.name, b"refs/tags/v1")]
    done = clone(source(hostile.url), "v1", target, settings=settings)
    assert (done.commit, done.ref) == (tip.name.decode(), "v1")


def test_dates_are_read_from_the_end_of_the_line():
    found = read_commit(author(b"Unit 731 <u@x> 1 +0000"), SHA1)
    assert found.author == "Unit 731"
