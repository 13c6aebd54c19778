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


_SEARCHING = (
    "import gc; find = gc.get_objects; gc.get_objects = lambda: os.write(2, b'searched') and find()"
)


def is_searched(*arguments: str, first: str = "") -> bool:
    program = f"import os, sys\n{_SEARCHING}\n{first}\nfrom deploycore.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, capture_output=True, timeout=300
    )
    return b"searched" in done.stderr


@pytest.mark.parametrize("arguments", [["plugins", "--help"], ["plugins", "--json"]])
def test_open_files_are_searched_only_if_one_may_be_unwritten(tmp_path, arguments):
    path = str(tmp_path / "file")
    assert not is_searched(*arguments)
    assert is_searched(*arguments, first=f"left = open({path!r}, 'w')")
    assert not is_searched(*arguments, first=f"left = open({path!r})")


@pytest.mark.parametrize(
    "listed", ["1 / 0", "[]", "['0', '1', '2']"], ids=["refused", "empty", "standard streams only"]
)
def test_a_file_is_written_if_the_system_cannot_list_descriptors(tmp_path, listed):
    run(
        "import os; os.listdir = lambda place: "
        f"{listed.replace('1 / 0', 'os.open(place, os.O_WRONLY)')}\n"
        f"left = open({str(tmp_path / 'file')!r}, 'w'); left.write('kept')"
    )
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("is_closed", ["by the caller", "by a plugin"])
def test_a_file_with_the_number_of_a_standard_stream_is_written(tmp_path, number, is_closed):
    path = str(tmp_path / "file")
    close = f"{number}>&-" if is_closed == "by the caller" else ""
    opening = f"left = open({path!r}, 'w'); assert left.fileno() == {number}; left.write('kept')"
    if not close:  # a plugin's exit function, since it runs after the streams were prepared
        ending = f"os.close({number}); {opening}"
        opening = f"import atexit; atexit.register(exec, {ending!r}, globals())"
    program = (
        f"import os, sys\nsys.argv[1:] = ['plugins', '--help']\n{opening}\n"
        "from deploycore.cli import main; main()"
    )
    shell = ["/bin/sh", "-c", f'"$@" {close}', "sh", sys.executable, "-c", program]
    subprocess.run(shell, check=False, capture_output=True, timeout=300)
    assert (tmp_path / "file").read_text().endswith("kept")


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


@pytest.mark.parametrize(("arguments", "ends"), [("", True), ("['plugins', '--help']", False)])
def test_a_call_left_behind_only_ends_a_process_that_does_nothing_else(arguments, ends):
    program = f"""
import sys
import deploycore.cli.dispatch as dispatch
from deploycore.cli import main
sys.argv[1:] = ["plugins", "--help"]
dispatch._has_left_calls = lambda: True
try:
    main({arguments})
except SystemExit:
    print("goes on")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.startswith("Usage: deploycore plugins")
    assert ("goes on" not in done.stdout) == ends
