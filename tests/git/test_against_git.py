"""Any repository that git creates is written as git writes it, at the first and at later
exports."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploycore.git import RepositoryCache, export
from tests.git.servers import SECRET, snapshot, source

NAMES = st.sampled_from(
    [
        b"a",
        b"b",
        b"c-d",
        b"c.d",
        b"c",
        b"A b",
        b"\xe9",
        "é".encode(),
        b"-x",
        b"n\nl",
        b"con",
        b"q'\"",
    ]
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
BASE = b"".join(b"line %d of what files have in common\n" % number for number in range(400))
CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.integers(0, 399).map(lambda n: BASE[: n * 30] + b"!" + BASE[n * 30 :]),
    st.just(b""),
    st.integers(0, 5).map(lambda n: bytes([n]) * 1_300_000),
)
FILES = st.tuples(st.sampled_from([b"100644", b"100755"]), CONTENTS)
LINKS = st.tuples(st.just(b"120000"), NAMES)
TREES = st.dictionaries(PATHS, st.one_of(FILES, FILES, LINKS), min_size=1, max_size=25)
PACKING = st.sampled_from(
    [
        ["-f", "--depth=50", "--window=50"],
        ["-f", "--depth=1"],
        ["-f", "--depth=0", "--window=0"],
        ["-f", "--depth=4000", "--window=10"],
        [],
    ]
)


def prefix_free(tree):
    """Without what would be a file and a directory at once."""
    directories = {path.rsplit(b"/", n)[0] for path in tree for n in range(1, path.count(b"/") + 1)}
    return {path: what for path, what in tree.items() if path not in directories}


def quoted(path):
    return b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"'


def push(bare, trees, first):
    stream = []
    for number, tree in enumerate(trees, first):
        stream.append(b"commit refs/heads/main\ncommitter A <a@b.c> %d +0000\n" % (1e9 + number))
        stream.append(b"data 0\n")
        if number == first and first:
            stream.append(b"from refs/heads/main^0\n")
        stream.append(b"deleteall\n")
        for path, (mode, content) in prefix_free(tree).items():
            stream.append(b"M %s inline %s\ndata %d\n" % (mode, quoted(path), len(content)))
            stream += [content, b"\n"]
    git(bare, "fast-import", "--quiet", data=b"".join(stream))


def git(at, *arguments, data=b"", **environment):
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", "-c", "safe.directory=*", "-c", "core.protectNTFS=false", *arguments]
    subprocess.run(
        command, cwd=at, env={**os.environ, **quiet, **environment}, input=data, check=True
    )


def checked_out(bare, into):
    into.mkdir()
    environment = {"GIT_DIR": str(bare), "GIT_WORK_TREE": str(into)}
    git(
        into,
        "checkout",
        "-q",
        "-f",
        "main",
        "--",
        ".",
        GIT_INDEX_FILE=f"{into}.index",
        **environment,
    )
    return snapshot(into)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    trees=st.lists(TREES, min_size=2, max_size=4),
    packing=PACKING,
    object_format=st.sampled_from(["sha1", "sha256"]),
)
def test_exported_files_equal_a_git_checkout(http_backend, trees, packing, object_format):
    root, address = http_backend
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        bare = Path(tempfile.mkdtemp(dir=root, suffix=".git"))
        try:
            git(bare, "init", "-q", "--bare", "-b", "main", f"--object-format={object_format}")
            cache = RepositoryCache(place / "cache")
            former = None
            for number, tree in enumerate(trees):
                push(bare, [tree], number)
                git(bare, "repack", "-q", "-a", "-d", *packing)
                wanted = checked_out(bare, place / f"git{number}")
                for name, options in (
                    ("plain", {}),
                    ("copied", {"cache": cache, "former": former}),
                    ("linked", {"cache": cache, "former": former, "reuse": "hard-link"}),
                ):
                    target = place / f"{name}{number}"
                    url = f"{address}/{bare.name}"
                    export(source(url, secret=SECRET), "main", target, **options)
                    assert snapshot(target) == wanted
                former = place / f"copied{number}"
        finally:
            shutil.rmtree(bare)
