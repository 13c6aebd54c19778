"""A forked process behaves like a real one."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from tests import forked
from tests.forked import ForkedProcess
from tests.processes import Process

TELL = """
import json, os, random, signal, sys, tempfile, threading
print(json.dumps({
    "arguments": sys.argv[1:],
    "directory": os.getcwd(),
    "environment": {k: v for k, v in os.environ.items() if k != "LC_CTYPE"},
    "files": sorted(os.listdir("/proc/self/fd")),
    "first places": sys.path[:2],
    "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "main": sorted(name for name in vars(sys.modules["__main__"]) if name[0] != "_"),
    "others": [str(signal.getsignal(each)) for each in (signal.SIGTERM, signal.SIGCHLD)],
    "streams": [each.encoding + each.errors for each in (sys.stdin, sys.stdout, sys.stderr)],
    "temporary": tempfile.gettempdir(),
    "threads": threading.active_count(),
}))
"""


@pytest.fixture
def both(tmp_path):
    """Runs a program as a real process, and as a forked one; gives how each ended."""

    def run(program: str, *arguments: str, **options):
        found = []
        for kind in (Process, ForkedProcess):
            with kind(
                [sys.executable, "-c", program, *arguments],
                **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
                | {"text": True, "cwd": tmp_path}
                | options,
            ) as process:
                printed, told = process.communicate("given\n", timeout=60)
            found.append((process.returncode, printed, told))
        return found

    return run


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"TMPDIR": "/var", "PYTHONPATH": "/there", "DEPLOYCORE_HOME": "/home"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_a_forked_process_has_the_environment_of_a_real_process(both, variables):
    real, made = (
        json.loads(printed)
        for _, printed, _ in both(TELL, "--all", "ż", env={"LC_ALL": "C.UTF-8", **variables})
    )
    assert made == real
    assert real["arguments"] == ["--all", "ż"]


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("", 0),
        ("raise SystemExit", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit(-1)", 255),
        ("import sys; sys.exit('a reason')", 1),
        ("1 / 0", 1),
        ("import os; os._exit(9)", 9),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("raise KeyboardInterrupt", -2),
        ("import atexit; atexit.register(print, 'in the end')", 0),
        ("import threading; threading.Timer(0.01, print, ('later',)).start()", 0),
        ("print(input() + '!', end='')", 0),
    ],
)
def test_a_forked_process_exits_like_a_real_process(both, program, code):
    real, made = both(program)
    assert real[0] == code
    assert made[:2] == real[:2]
    assert made[2].splitlines()[-1:] == real[2].splitlines()[-1:]


@pytest.mark.parametrize(("unbuffered", "code"), [("", 120), ("1", 1)])
def test_unwritable_output_is_reported(tmp_path, unbuffered, code):
    (tmp_path / "there.py").write_text("print('lost')")
    options = {
        "cwd": tmp_path,
        "env": {"PYTHONUNBUFFERED": unbuffered},
        "stderr": subprocess.PIPE,
    }
    for kind in (Process, ForkedProcess):
        with open("/dev/full", "w") as full:
            process = kind([sys.executable, "-m", "there"], stdout=full, **options)
        _, told = process.communicate(timeout=60)
        assert process.returncode == code
        assert b"No space left on device" in told


def test_a_forked_process_can_have_a_terminal(both):
    ours, theirs = pty.openpty()
    os.write(ours, b"typed\n")
    process = ForkedProcess(
        [sys.executable, "-c", "import sys; print(sys.stdin.isatty(), input())"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.communicate(timeout=60) == ("True typed\n", None)
    os.close(ours)
    os.close(theirs)


def test_a_forked_process_receives_signals_and_can_be_waited_for():
    program = "import time; print('here', flush=True); time.sleep(3600)"
    with ForkedProcess([sys.executable, "-c", program], stdout=subprocess.PIPE) as running:
        assert running.line() == b"here\n"
        assert running.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.01)
        os.kill(running.pid, signal.SIGINT)
        assert running.wait(60) == -signal.SIGINT
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)
    running.kill()  # of one that has ended; its number may be another's


def test_concurrent_forked_processes_share_no_open_files():
    program = "print(input())"
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [ForkedProcess([sys.executable, "-c", program], **options) for _ in range(3)]
    for number, each in enumerate(running):
        assert each.communicate(str(number), timeout=60) == (f"{number}\n", None)


@pytest.mark.parametrize("options", [{"start_new_session": True}, {"process_group": 0}])
def test_a_forked_process_leads_its_own_group_on_request(options):
    program = "import os; print(os.getpgid(0))"
    for given, is_leader in ((options, True), ({}, False)):
        process = ForkedProcess([sys.executable, "-c", program], stdout=subprocess.PIPE, **given)
        assert (int(process.communicate(timeout=60)[0]) == process.pid) == is_leader


def test_random_numbers_differ_between_forked_processes():
    program = "import random, uuid; print(random.random(), uuid.uuid4())"
    outputs = set()
    for _ in range(3):
        process = ForkedProcess([sys.executable, "-c", program], stdout=subprocess.PIPE)
        outputs.add(process.communicate(timeout=60)[0])
    assert len(outputs) == 3


def test_unsupported_options_are_rejected():
    for args, options in (
        (["ls", "-l"], {}),
        ([sys.executable, "-c", ""], {"preexec_fn": print}),
        ([sys.executable, "-I", "-c", ""], {}),
    ):
        with pytest.raises(TypeError, match="no forked process can be"):
            ForkedProcess(args, **options)


def test_a_module_can_be_run_by_its_name(tmp_path):
    (tmp_path / "there.py").write_text("import sys; print(__name__, sys.argv[1:], input())")
    done = forked.run(
        "there", ["a", "b"], environment=dict(os.environ), directory=tmp_path, given="typed"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "__main__ ['a', 'b'] typed\n", "")
    (tmp_path / "there.py").write_text("while True: pass")
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run("there", [], environment={}, directory=tmp_path, timeout=0.1)
