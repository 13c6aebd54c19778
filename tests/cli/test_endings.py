"""A command ends at once, and nothing that it started is lost."""

from __future__ import annotations

import subprocess
import sys

import pytest

_COMMAND = """
import atexit, sys, threading, time
sys.argv[1:] = ["plugins", "--help"]
{first}
from deploycore.cli import main
main()
"""
_TELLING = (
    "import os; end = os._exit; os._exit = lambda code: (print('at once', flush=True), end(code))"
)


def run(first: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND.format(first=first)],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.startswith("Usage: deploycore plugins")
    return done.stdout.splitlines()


def test_objects_are_not_freed_one_by_one():
    assert run(_TELLING)[-1] == "at once"


@pytest.mark.parametrize(
    "first",
    [
        "atexit.register(print, 'ended')",
        "threading.Thread(target=lambda: (time.sleep(1), print('ended'))).start()",
    ],
    ids=["exit function", "thread"],
)
def test_exit_functions_and_threads_end_first(first):
    assert run(first)[-1] == "ended"


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_file_that_is_still_open_is_written(tmp_path, mode):
    line = {"w": "'kept'", "wb": "b'kept'"}[mode]
    run(f"left = open({str(tmp_path / 'file')!r}, {mode!r}); left.write({line})")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(("mode", "is_searched"), [("r", False), ("w", True)])
def test_open_files_are_searched_only_if_one_may_be_unwritten(tmp_path, mode, is_searched):
    (tmp_path / "file").touch()
    found = run(
        "import gc; find = gc.get_objects; gc.get_objects = lambda: print('searched') or find()\n"
        f"left = open({str(tmp_path / 'file')!r}, {mode!r})"
    )
    assert ("searched" in found) == is_searched


def test_open_files_are_searched_if_the_system_cannot_list_descriptors(tmp_path):
    run(
        "import os; os.listdir = lambda place: open(place + '/not here')\n"
        f"left = open({str(tmp_path / 'file')!r}, 'w'); left.write('kept')"
    )
    assert (tmp_path / "file").read_text() == "kept"


def test_a_thread_that_waits_for_a_full_pipe_does_not_keep_the_command(tmp_path):
    blocked = f"""
import os
import deploycore.cli.dispatch as dispatch
dispatch._FLUSHED_SECONDS = 0.1
read, write = os.pipe()
full = os.fdopen(write, "wb")
threading.Thread(target=full.write, args=[bytes(10_000_000)], daemon=True).start()
os.read(read, 1)  # now it writes
left = open({str(tmp_path / "file")!r}, "w"); left.write("kept")
"""
    run(blocked)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("watch", ["settrace", "setprofile"])
def test_a_watched_process_ends_as_usual(watch):
    assert "at once" not in run(f"{_TELLING}\nsys.{watch}(lambda *_: None)")
