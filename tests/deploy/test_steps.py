"""Steps: their environment, their output, their end, and the processes that they leave behind."""

from __future__ import annotations

import base64
import errno
import json
import os
import resource
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from deploycore.applications.steps import Command, Step
from deploycore.deploy import process as process_module
from deploycore.deploy import step_output
from deploycore.deploy.containment import VARIABLE
from deploycore.deploy.step_output import StepOutput
from deploycore.deploy.steps import run_command, step_environment
from deploycore.deploy.wakeup import Wakeup
from deploycore.errors import Cancelled, StepFailed
from deploycore.git import Cancellation
from deploycore.redaction import MASK, Redactor

SECRET = "s3cret'with\"quotes/and+more-0123456789-0123456789-0123456789"
SANE = 30  # seconds; all of these take less than one, but machines are busy


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "GRACE_SECONDS", 0.3)


@pytest.fixture
def lines() -> list[str]:
    """What the step printed."""
    return []


@pytest.fixture
def cancellation() -> Cancellation:
    return Cancellation()


Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, lines: list[str], cancellation: Cancellation) -> Run:
    """Run a line for the shell, or a list of arguments, in an empty directory."""

    def start(line: str | list[str], **options: object) -> None:
        given = {"shell": line} if isinstance(line, str) else {"run": line}
        command = Step(
            **given, timeout=options.pop("timeout", SANE), name=options.pop("name", None)
        )
        arguments = {
            "directory": tmp_path,
            "environment": step_environment({}),
            "redactor": Redactor([SecretStr(SECRET)]),
            "output": lines.append,
            "cancellation": cancellation,
        }
        run_command(command, **{**arguments, **options})

    return start


@pytest.fixture
def python(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """Write a program; what runs it."""

    def write(program: str) -> list[str]:
        path = tmp_path_factory.mktemp("program") / "program.py"
        path.write_text(program)
        return [sys.executable, str(path)]

    return write


def failure(run: Run, line: str | list[str], **options: object) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        run(line, **options)
    return caught.value


def is_running(pid: int) -> bool:
    """Whether a process runs; the first process of a container may be slow to bury the dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] != b"Z"
    except OSError:
        return False


def has_gone(pid: int) -> bool:
    end = time.monotonic() + SANE
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not is_running(pid)


def soon(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + SANE
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


# --- what a step is given ---


def test_a_step_inherits_only_essential_environment_variables(run, lines):
    ours = {
        "PATH": os.environ["PATH"],
        "HOME": "/home/us",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "DEPLOYCORE_KEY": "key",
        "AWS_SECRET_ACCESS_KEY": "key",
        "SSH_AUTH_SOCK": "/run/agent",
    }
    environment = step_environment({"COLOUR": "blue", "HOME": "/srv"}, ours)
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    run([sys.executable, "-c", program], environment=environment)
    given = json.loads(lines[0])
    assert given.pop(VARIABLE)
    assert given == {
        "PATH": os.environ["PATH"],
        "HOME": "/srv",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "COLOUR": "blue",
    }


def test_a_path_variable_is_always_set():
    assert step_environment({}, {}) == {"PATH": os.defpath}


def test_a_step_runs_in_its_directory_without_standard_input(run, lines, tmp_path):
    run("pwd; cat; readlink /proc/self/fd/0")
    assert lines == [str(tmp_path), "/dev/null"]


def test_arguments_are_not_interpreted_by_a_shell(run, lines):
    run(["echo", "$HOME", "a  b", "*", ";", "false"])
    assert lines == ["$HOME a  b * ; false"]


def test_a_step_runs_in_its_own_session_without_open_descriptors(run, lines):
    descriptor = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        program = f"import os; print(os.getsid(0) == os.getpid()); os.fstat({descriptor})"
        failure(run, [sys.executable, "-c", program])
    finally:
        os.close(descriptor)
    assert "True" in lines
    assert "OSError: [Errno 9] Bad file descriptor" in lines


# --- what is heard of it ---


def test_both_output_streams_are_read_in_order(run, lines):
    run("for n in 1 2 3; do echo out$n; echo err$n >&2; done")
    assert lines == ["out1", "err1", "out2", "err2", "out3", "err3"]


def test_a_line_is_delivered_as_soon_as_it_is_complete(run, lines, tmp_path):
    def show(line: str) -> None:
        lines.append(line)
        (tmp_path / "seen").touch()

    # The step goes on only when its first line was seen.
    run("echo first; while [ ! -e seen ]; do sleep 0.01; done; echo second", output=show)
    assert lines == ["first", "second"]


def test_output_in_any_encoding_is_decoded(run, lines):
    run(r"printf 'caf\303\251\nbad \377 byte\n\n\033[31mred\nno end of line'")
    assert lines == ["café", "bad � byte", "", "\x1b[31mred", "no end of line"]


def test_only_the_last_state_of_a_progress_bar_is_kept(run, lines):
    run(r"printf ' 10%%\r 50%%\r100%%\ndos\r\n\rlast\r\r\n'")
    assert lines == ["100%", "dos", "last"]


def test_long_lines_are_split_between_characters():
    shown: list[str] = []
    output = StepOutput(Redactor(), shown.append)
    most = step_output.LINE_BYTES_MOST
    text = "x" + "ä" * most
    data = text.encode()
    for start in range(0, len(data), 1000):
        output.feed(data[start : start + 1000])
    output.feed(b"\nnext\n" + b"\x80" * (most + 5))
    output.finish()
    assert "".join(shown[:3]) == text
    assert max(len(line.encode()) for line in shown[:3]) <= most
    assert shown[3] == "next"
    assert "".join(shown[4:]) == "\ufffd" * (most + 5)


def test_an_endless_progress_bar_uses_no_memory():
    shown: list[str] = []
    output = StepOutput(Redactor(), shown.append)
    for percent in range(50_000):
        output.feed(b"%d%%\r" % percent)
    output.feed(b"\n")
    output.finish()
    assert shown == ["49999%"]


SPLITTING = """
import os, sys, time
for place in range(0, len(sys.argv[1]), 7):
    os.write(1, b"<" + sys.argv[1][:place].encode())
    time.sleep(0.01)
    os.write(2, sys.argv[1][place:].encode() + b">\\n")
"""
FORMS = {
    "as it is": SECRET,
    "percent-encoded": "s3cret%27with%22quotes%2Fand%2Bmore-0123456789-0123456789-0123456789",
    "base64": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "shell-quoted": shlex.quote(SECRET),
    "JSON": json.dumps(SECRET),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_secret_split_at_any_position_is_masked(run, lines, python, form):
    run([*python(SPLITTING), form])
    assert len(lines) > 5
    for line in lines:
        assert MASK in line
        assert "0123456789" not in line
        assert "s3cret" not in line
        assert len(line) < 26


def test_a_key_is_masked_line_by_line(run, lines, tmp_path):
    key = "-----BEGIN KEY-----\n" + "\n".join(c * 64 for c in "abc") + "\n-----END KEY-----\n"
    (tmp_path / "key").write_text(key)
    run("sed 's/^/| /' key; cat key", redactor=Redactor([SecretStr(key)]))
    assert lines == [*[f"| {MASK}"] * 5, MASK]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_output, "OUTPUT_BYTES_MOST", 1000)
    monkeypatch.setattr(step_output, "TAIL_BYTES", 500)


@pytest.mark.usefixtures("small")
def test_the_middle_of_long_output_is_omitted():
    shown: list[str] = []
    output = StepOutput(Redactor([SecretStr(SECRET)]), shown.append)
    numbers = [f"{n:09}" for n in range(1000)]
    for number in numbers:
        output.feed(f"{number}\n".encode())
    output.finish()
    gap = next(at for at, line in enumerate(shown) if line.startswith("…"))
    assert shown[:gap] == numbers[:100]
    assert shown[gap + 1 :] == numbers[gap + 1 - len(shown) :]
    assert 40 <= len(shown) - gap - 1 <= 50
    left_out = 10 * (1000 - 100 - (len(shown) - gap - 1))
    assert shown[gap] == f"… {left_out:,} bytes of output are left out here …"


@pytest.mark.usefixtures("small")
def test_output_slightly_above_the_limit_is_shown_completely():
    shown: list[str] = []
    output = StepOutput(Redactor([SecretStr(SECRET)]), shown.append)
    for _ in range(15):
        output.feed(b"x" * 99 + b"\n")
    output.finish()
    assert shown == ["x" * 99] * 15


@pytest.mark.usefixtures("small")
def test_no_part_of_a_secret_remains_where_output_is_omitted():
    secret = "abcdefghijklmnopqrstuvwxyz" * 4
    redactor = Redactor([SecretStr(secret)])
    for before in range(0, 130, 3):
        shown: list[str] = []
        output = StepOutput(redactor, shown.append)
        data = b"." * before + (secret.encode() + b" ") * 100
        output.feed(data)
        output.finish()
        assert any(line.startswith("…") for line in shown)
        assert not [line for line in shown if "…" not in line and set(line) - set(".* ")]


@pytest.mark.parametrize(
    "line",
    ["head -c 256M /dev/zero | tr '\\0' x", "yes 'a line of output' | head -c 256M"],
    ids=["one line", "many lines"],
)
def test_much_output_uses_few_resources(run, lines, line):
    """It is more than twice what the process may grow by."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.monotonic()
    run(line, timeout=500)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert time.monotonic() - begun < 90
    assert after.ru_maxrss - before.ru_maxrss < 100 * 1024  # KiB
    assert sum(map(len, lines)) < 1.2 * 1024 * 1024
    assert sum(line.startswith("… 267,") for line in lines) == 1


# --- how it ends ---


def test_an_exit_status_is_reported_with_the_step(run):
    error = failure(run, "exit 3", name="build the site")
    assert str(error) == "The step 'build the site' ended with status 3."
    assert error.details == {"step": "build the site", "reason": "ended with status 3", "status": 3}
    assert error.hint
    assert failure(run, ["sh", "-c", "exit 4"]).details["step"] == "sh -c 'exit 4'"


def test_a_signal_is_reported_by_name(run):
    error = failure(run, "kill -SEGV $$")
    assert error.message.endswith("was ended by SIGSEGV.")
    assert error.details["signal"] == "SIGSEGV"
    assert "memory" in failure(run, "kill -KILL $$").hint


def test_a_program_without_execute_permission_is_reported_with_the_reason(
    run, tmp_path, monkeypatch
):
    (tmp_path / "program").write_text("#!/bin/sh\n")
    (tmp_path / "program").chmod(0o755)
    (tmp_path / "bin").mkdir()
    assert "its program is a directory" in failure(run, ["./bin"]).message

    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert "this user may not run its program" in failure(run, ["./program"]).message
    mounted = SimpleNamespace(f_flag=os.statvfs(tmp_path).f_flag | os.ST_NOEXEC)
    monkeypatch.setattr(os, "statvfs", lambda path: mounted)
    error = failure(run, ["./program"])
    assert "is mounted with noexec" in error.message
    assert "chmod" not in error.hint
    assert "sh bin/build" in error.hint


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["no-such-program-here"], "its program was not found", "such as bin/build"),
        (["bin/missing"], "its program was not found", "Install it"),
        (["./plain"], "its program is not executable", "Commit it as executable"),
        (["./unknown"], "this system cannot run its program", "such as #!/bin/sh"),
        (["./orphan"], "the interpreter of its script was not found", "Correct the first line"),
        (["true", "x" * 4000] + ["y" * 4000] * 3000, "are too long together", "in a file"),
    ],
    ids=["not in PATH", "missing", "not executable", "no format", "no interpreter", "too long"],
)
def test_a_command_that_cannot_be_started_is_reported(run, tmp_path, arguments, said, hint):
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    for name, content in (("unknown", "text\n"), ("orphan", "#!/no/such/interpreter\n")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    error = failure(run, arguments)
    assert f"could not be started: {said}" in error.message or said in error.message
    assert len(error.details["step"]) <= 120
    assert hint in error.hint
    assert error.__cause__ is error.__context__ is None
    (tmp_path / "long").write_text("x" * 4000)
    (tmp_path / "bin").mkdir()
    for name in ("plain", "unknown", "orphan", "bin/missing", "bin/build"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    followed = {"true": ["cat", "long"], "no-such-program-here": ["bin/build"]}
    run(followed.get(arguments[0], arguments))


def test_a_missing_directory_is_reported(run, tmp_path):
    error = failure(run, "true", directory=tmp_path / "gone")
    assert "its directory is missing" in error.message


@pytest.mark.parametrize("value", ["nul\0-" + SECRET, "\ud800" + SECRET])
def test_an_invalid_variable_is_named_without_its_value(run, value):
    error = failure(run, "true", environment={"TOKEN": value})
    assert error.details["variable"] == "TOKEN"
    assert SECRET not in "".join(traceback.format_exception(error))
    assert error.__context__ is None


def test_errors_contain_no_secret(run):
    for options in ({}, {"name": f"use {SECRET}"}):
        error = failure(run, ["sh", "-c", "exit 1", SECRET], **options)
        assert "0123456789" not in repr(error) + str(error.as_dict())
        assert MASK in error.message


def test_a_slow_step_is_stopped(run, lines):
    begun = time.monotonic()
    error = failure(run, "echo $$; sleep 60; echo late", timeout=0.3)
    assert time.monotonic() - begun < SANE
    assert error.message.endswith("took more than 0.3 seconds and was stopped.")
    assert error.details["timeout"] == 0.3
    assert has_gone(int(lines[0]))
    assert len(lines) == 1


def test_an_overall_deadline_stops_a_step(run):
    error = failure(run, "sleep 60", deadline=time.monotonic() + 0.2)
    assert "the deployment reached its time limit" in error.message
    assert error.details["deadline"] is True


def test_no_step_starts_after_the_deadline(run, tmp_path):
    failure(run, "touch begun", deadline=time.monotonic() - 1)
    assert not (tmp_path / "begun").exists()


def test_a_step_can_clean_up_when_it_is_stopped(run, lines):
    failure(run, "trap 'echo cleaned; exit 0' TERM; echo on; sleep 60 & wait", timeout=0.3)
    assert lines == ["on", "cleaned"]


def test_a_program_that_ignores_termination_is_killed(run, lines):
    program = "trap '' TERM; echo $$; (while :; do sleep 0.1; done) & echo $!; wait"
    error = failure(run, program, timeout=2.0)
    assert error.details["timeout"] == 2.0
    numbers = [int(line) for line in lines if line.isdecimal()]  # the shell may add "Killed"
    assert numbers
    assert all(has_gone(number) for number in numbers)


def test_a_program_with_endless_output_is_stopped(run):
    assert failure(run, "yes", timeout=0.3).details["timeout"] == 0.3


def test_a_step_that_closes_its_output_is_waited_for(run, tmp_path):
    run("exec >&- 2>&-; sleep 0.3; touch done")
    assert (tmp_path / "done").exists()


def test_an_error_of_a_listener_stops_the_step_and_is_raised(run, tmp_path):
    def full(line: str) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        run("echo $$ > pid; echo line; sleep 60", output=full)
    assert has_gone(int((tmp_path / "pid").read_text()))


# --- what it leaves ---

DAEMON = """
import os, sys, time
if os.fork() == 0:
    if "setsid" in sys.argv:
        os.setsid()
    if os.fork() == 0:
        with open("daemon", "w") as file:
            file.write(str(os.getpid()))
        for _ in range(300):
            time.sleep(0.1)
    os._exit(0)
os.wait()
while not os.path.exists("daemon") or not os.path.getsize("daemon"):
    time.sleep(0.01)
print("started", flush=True)
"""


def test_a_daemon_that_holds_the_output_is_stopped_without_waiting(run, lines, python, tmp_path):
    begun = time.monotonic()
    run(python(DAEMON))
    assert time.monotonic() - begun < SANE / 2
    assert lines == ["started"]
    assert has_gone(int((tmp_path / "daemon").read_text()))


def test_a_daemon_in_its_own_session_keeps_running(run, lines, python, tmp_path):
    run([*python(DAEMON), "setsid"])
    assert lines == ["started"]
    daemon = int((tmp_path / "daemon").read_text())
    try:
        assert is_running(daemon)
    finally:
        os.kill(daemon, signal.SIGKILL)


def test_a_daemon_that_ignores_termination_is_killed_after_a_success(run, tmp_path):
    run("(trap '' TERM; exec sleep 60) >/dev/null 2>&1 & echo $! > daemon")
    assert has_gone(int((tmp_path / "daemon").read_text()))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_other_process_groups_in_the_session_are_stopped(run, lines):
    failure(run, "timeout 60 sleep 61 & echo $!; wait", timeout=0.5)
    assert has_gone(int(lines[0]))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_members_of_a_session_are_found_if_its_number_may_not_be_asked_for(monkeypatch):
    """As under a security module."""
    session = os.getsid(0)
    found = dict(process_module.members(session))
    assert found[os.getpid()] == os.getpgrp()

    def refuse(process):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "getsid", refuse)
    assert dict(process_module.members(session))[os.getpid()] == os.getpgrp()


def test_many_steps_leave_no_descriptor_thread_or_zombie(run, cancellation):
    run("true")

    def children() -> str:
        return "".join(each.read_text() for each in Path("/proc/self/task").glob("*/children"))

    before = set(os.listdir("/dev/fd")), threading.active_count(), children()
    for number in range(48):
        if number % 4:
            run(["true"])
        else:
            failure(run, ["no-such-program-here"] if number % 8 else ["false"])
    assert (set(os.listdir("/dev/fd")), threading.active_count(), children()) == before
    assert not cancellation._listeners


def test_a_process_with_an_unknown_exit_code_is_a_failure(run):
    former = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert "unknown status" in failure(run, "true").message
    finally:
        signal.signal(signal.SIGCHLD, former)


# --- cancellation ---


def test_a_cancelled_step_does_not_start(run, cancellation, tmp_path):
    cancellation.cancel()
    with pytest.raises(Cancelled, match="before it began"):
        run("touch begun")
    assert not (tmp_path / "begun").exists()


def test_another_thread_cancels_at_once(run, cancellation, lines):
    thread = threading.Thread(target=lambda: soon(lambda: lines) and cancellation.cancel())
    thread.start()
    begun = time.monotonic()
    with pytest.raises(Cancelled, match=r"The step 'echo \$\$; sleep 60' was canceled"):
        run("echo $$; sleep 60")
    thread.join()
    assert time.monotonic() - begun < SANE
    assert has_gone(int(lines[0]))


@pytest.fixture
def alarm(tmp_path: Path) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Have something called by a signal handler, once the step has written its file ``pid``."""
    former = signal.getsignal(signal.SIGALRM)
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.02):
            if (tmp_path / "pid").exists():
                os.kill(os.getpid(), signal.SIGALRM)
                return

    def start(action: Callable[[], object]) -> None:
        signal.signal(signal.SIGALRM, lambda *_: action())
        sender.start()

    sender = threading.Thread(target=send)
    yield start
    over.set()
    sender.join()
    signal.signal(signal.SIGALRM, former)


def test_a_signal_handler_cancels_at_once(run, cancellation, alarm):
    alarm(cancellation.cancel)
    begun = time.monotonic()
    with pytest.raises(Cancelled):
        run("echo $$ > pid; sleep 60")
    assert time.monotonic() - begun < SANE


# On a slow machine, the signal may come before Popen has returned. Then nothing can wait for the
# program.
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_an_exception_in_a_signal_handler_stops_the_step(run, alarm, tmp_path):
    def interrupt() -> None:
        raise KeyboardInterrupt

    alarm(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("echo $$ > pid; sleep 60")
    assert has_gone(int((tmp_path / "pid").read_text()))


def test_an_exception_during_program_start_stops_it(run, tmp_path, monkeypatch):
    started = subprocess.Popen

    def interrupted(*arguments, **options):
        begun = started(*arguments, **options)
        assert soon((tmp_path / "pid").exists)
        interrupted.kept = begun, begun.stdout
        raise KeyboardInterrupt

    monkeypatch.setattr(process_module.subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("echo $$ > pid; sleep 60")
    begun, output = interrupted.kept
    assert begun.wait(SANE) < 0
    output.close()


def test_a_wakeup_is_remembered_and_harmless_without_a_waiter():
    with Wakeup() as wakeup:
        wakeup.wake()
        wakeup.wait(SANE)
        assert not select.select([wakeup], [], [], 0)[0]
        for _ in range(10_000):
            wakeup.wake()
    wakeup.wake()


def test_a_command_without_a_name_is_identified_by_its_line(tmp_path, cancellation):
    with pytest.raises(StepFailed, match="'false'"):
        run_command(
            Command(run=("false",)),
            directory=tmp_path,
            environment=step_environment({}),
            redactor=Redactor(),
            output=print,
            cancellation=cancellation,
        )
