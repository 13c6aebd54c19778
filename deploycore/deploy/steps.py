"""Run the commands of an application: steps, and health checks that are commands."""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import field
from pathlib import Path
from typing import Any

from deploycore.applications.steps import Command, Step
from deploycore.deploy.orphans import on_record
from deploycore.deploy.process import Process
from deploycore.deploy.step_output import StepOutput
from deploycore.deploy.wakeup import Wakeup
from deploycore.errors import Cancelled, StepFailed
from deploycore.git import Cancellation
from deploycore.records import record
from deploycore.redaction import Redactor

__all__ = ["run_command", "step_environment"]

LINGER_SECONDS = 0.5
"""Seconds to wait for the end of the output after a program has ended."""
_GIVEN_UP_AFTER = 5.0
_READ_BYTES = 1024 * 1024
_LOOK_EVERY = 0.05
_TITLE_CHARACTERS = 120

# XDG_RUNTIME_DIR is where `systemctl --user` finds the user's services.
_INHERITED = frozenset(
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TMPDIR XDG_RUNTIME_DIR".split()  # noqa: SIM905
)


def step_environment(
    own: Mapping[str, str], inherited: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return all variables of a step: those of the application, and those that any program needs.

    Args:
        own: The application's variables. They take precedence over inherited ones.
        inherited: The variables to inherit from. Only PATH, HOME, USER, LOGNAME, SHELL, LANG,
            LANGUAGE, LC_*, TZ, TMPDIR and XDG_RUNTIME_DIR are used, never deploycore's own settings
            and secrets.
    """
    taken = {
        name: value
        for name, value in inherited.items()
        if name in _INHERITED or name.startswith("LC_")
    }
    return {"PATH": os.defpath, **taken, **own}


def run_command(
    command: Command,
    *,
    directory: Path,
    environment: Mapping[str, str],
    redactor: Redactor,
    output: Callable[[str], None],
    cancellation: Cancellation,
    deadline: float | None = None,
    record: Path | None = None,
) -> None:
    """Run a command to its end, and pass on what it prints, line by line.

    The command runs in its own session, with an empty standard input. When it ends, the processes
    that are left in its session are ended too: with SIGTERM, and after five seconds with SIGKILL.
    So a step leaves no processes behind; services belong to a service manager. A process that calls
    setsid continues to run if the command succeeds. It should close its standard output, which is
    not read any more. If the command fails, is canceled or takes too long, such processes are ended
    too, as far as they are known (see ``containment``).

    Standard output and error are one stream. Its lines are decoded as UTF-8. Lines over 8 KiB are
    split. If a line overwrites itself with carriage returns, only its last state is passed on.
    Control characters are not changed. If the output is long, only the first MiB and the last 64
    KiB are passed on, with one line between them that says how much was left out.

    Args:
        command: The command. Its ``timeout`` starts now.
        directory: The working directory: the release.
        environment: All of its variables; see :func:`step_environment`.
        redactor: Masks the secrets in the output and in errors.
        output: Called with each line, without its line end. While it blocks, no output is read and
            no time limit is applied. If it raises, the command is ended and the error is passed on.
        cancellation: Ends the command at once.
        deadline: When the command must end, whatever its own timeout is, by ``time.monotonic``.
        record: A file that has the command's session while it runs; see ``end_orphans``.

    Raises:
        StepFailed: The command could not be started, ended with another status than 0 or by a
            signal, or took too long. ``details`` has ``step`` and ``reason``, and the one of
            ``status``, ``signal`` (its name), ``timeout`` (seconds) and ``deadline`` (true) that
            applies.
        Cancelled: The command was canceled.
    """
    title = _title(command, redactor)
    if cancellation.cancelled:
        raise Cancelled(f"The step {title!r} was canceled before it began.", step=title)
    run = _Run(command, cancellation, deadline)
    failure = run.to_its_end(directory, environment, StepOutput(redactor, output), record)
    if failure is _CANCELLED:
        raise Cancelled(f"The step {title!r} {failure.reason}.", step=title)
    if failure is not None:
        raise StepFailed(
            f"The step {title!r} {failure.reason}.",
            hint=failure.hint,
            step=title,
            reason=failure.reason,
            **failure.details,
        )


@record
class _Failure:
    """Return what went wrong, in words without secrets; an exception's frames may hold some."""

    reason: str
    hint: str = "See what it printed."
    details: dict[str, Any] = field(default_factory=dict)


_CANCELLED = _Failure("was canceled")


class _Run:
    """One run of a command, with its time limits and the reason why it was stopped."""

    def __init__(
        self, command: Command, cancellation: Cancellation, deadline: float | None
    ) -> None:
        own_limit = time.monotonic() + command.timeout
        self._command = command
        self._cancellation = cancellation
        self._limit = own_limit if deadline is None else min(own_limit, deadline)
        self._too_long = _too_long(command) if self._limit == own_limit else _NO_TIME_LEFT
        self._stopped: _Failure | None = None
        self._kill_at = float("inf")
        self._give_up_at = float("inf")
        self._linger_until = float("inf")

    def to_its_end(
        self,
        directory: Path,
        environment: Mapping[str, str],
        output: StepOutput,
        record: Path | None,
    ) -> _Failure | None:
        if time.monotonic() >= self._limit:
            return self._too_long
        process = _started(self._command, directory, environment)
        if isinstance(process, _Failure):
            return process
        status, kept = None, process.contained
        with nullcontext() if record is None else on_record(record, process.session, kept):
            try:
                self._follow(process, output)
            finally:
                status = process.end()
        if process.left:
            output.feed(f"\n{process.left} processes of this step could not be ended.\n".encode())
        output.finish()
        return self._stopped or _ended_badly(status)

    def _follow(self, process: Process, output: StepOutput) -> None:
        """Read until the program and its output have ended, or the wait for the end of the output
        is over."""
        with Wakeup() as wakeup, self._cancellation.waking(wakeup.wake):
            poll = select.poll()
            poll.register(wakeup, select.POLLIN)
            poll.register(process, select.POLLIN)
            reading, pause = True, 0.001
            while not self._is_over(process, reading=reading):
                ready = {descriptor for descriptor, _ in poll.poll(1000 * self._until_next(pause))}
                pause = min(2 * pause, _LOOK_EVERY)
                if wakeup.fileno() in ready:
                    poll.unregister(wakeup)
                if reading and process.fileno() in ready:
                    pause = 0.001
                    data = process.read(_READ_BYTES)
                    if data:
                        output.feed(data)
                    elif data is not None:
                        poll.unregister(process)
                        reading = False

    def _until_next(self, pause: float) -> float:
        limit = self._limit if self._stopped is None else float("inf")
        return max(0.0, min(pause, min(limit, self._kill_at) - time.monotonic()))

    def _is_over(self, process: Process, *, reading: bool) -> bool:
        now = time.monotonic()
        if process.ended:
            self._linger_until = min(self._linger_until, now + LINGER_SECONDS)
            return not reading or now >= self._linger_until or self._cancellation.cancelled
        if self._stopped is None:
            if self._cancellation.cancelled:
                self._stopped = _CANCELLED
            elif now >= self._limit:
                self._stopped = self._too_long
            if self._stopped is not None:
                self._kill_at = process.terminate()
        elif now >= self._kill_at:
            process.kill()
            self._kill_at, self._give_up_at = float("inf"), now + _GIVEN_UP_AFTER
        return now >= self._give_up_at


def _title(command: Command, redactor: Redactor) -> str:
    """Return the name of a step for messages: on one line, and masked before it is shortened."""
    name = command.name if isinstance(command, Step) and command.name else str(command)
    masked = redactor.mask(name)
    text = " ".join("".join(each if each.isprintable() else " " for each in masked).split())
    return text if len(text) <= _TITLE_CHARACTERS else text[: _TITLE_CHARACTERS - 1] + "…"


def _too_long(command: Command) -> _Failure:
    return _Failure(
        f"took more than {command.timeout:g} seconds and was stopped",
        "Raise the step's timeout if it needs more time.",
        {"timeout": command.timeout},
    )


_NO_TIME_LEFT = _Failure(
    "was stopped, because the deployment reached its time limit",
    "Raise timeouts: {deploy: SECONDS}, or make the steps before it faster.",
    {"deadline": True},
)


def _ended_badly(status: int | None) -> _Failure | None:
    if status is None:
        return _Failure(
            "ended with an unknown status, or could not be stopped",
            "It may run as another user, or SIGCHLD may be ignored in deploycore's own process.",
        )
    if status < 0:
        name = _signal_name(-status)
        hint = "The machine may have run out of memory; see its log." if name == "SIGKILL" else ""
        return _Failure(f"was ended by {name}", hint or "See what it printed.", {"signal": name})
    if status:
        return _Failure(f"ended with status {status}", details={"status": status})
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _started(
    command: Command, directory: Path, environment: Mapping[str, str]
) -> Process | _Failure:
    try:
        return Process(command.arguments, directory=directory, environment=environment)
    except OSError as error:
        return _not_started(error, command.arguments[0], directory)
    except ValueError:
        return _unfit(environment)


def _unfit(environment: Mapping[str, str]) -> _Failure:
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name + value or not _can_be_encoded(name + value):
            return _Failure(
                f"could not be started: its variable {name!r} has an invalid value",
                "Correct the value: it has a NUL character or is not valid text.",
                {"variable": name},
            )
    return _Failure("could not be started: an argument is not valid text", "Correct the command.")


def _can_be_encoded(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _not_allowed(program: Path | None) -> _Failure:
    """Return why the system cannot run a program; ``None`` for one that is searched in PATH."""
    try:
        mode, flags = (program.stat().st_mode, os.statvfs(program).f_flag) if program else (0, 0)
    except OSError:
        mode, flags = 0, 0
    if stat.S_ISDIR(mode):
        return _Failure(
            "could not be started: its program is a directory", "Name a file that can be run."
        )
    if mode and flags & os.ST_NOEXEC:
        return _Failure(
            "could not be started: its file system is mounted with noexec, so that no program on"
            " it can be run",
            "Mount it without noexec, move the target elsewhere, or have the step name the"
            " interpreter: sh bin/build.",
        )
    if mode & 0o111 or program is None:
        return _Failure(
            "could not be started: this user may not run its program",
            "Check the permissions of the program, and of the interpreter that the script names.",
        )
    return _Failure(
        "could not be started: its program is not executable",
        "Commit it as executable: git update-index --chmod=+x FILE.",
    )


def _not_started(error: OSError, program: str, directory: Path) -> _Failure:
    """Return why a program could not be started; the system's message has only an error number."""
    if not directory.is_dir():
        return _Failure("could not be started: its directory is missing", "Deploy again.")
    if not os.access(directory, os.X_OK):
        return _Failure(
            "could not be started: this user may not enter its directory", "Check its permissions."
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if "/" in program and (directory / program).exists():
            return _Failure(
                "could not be started: the interpreter of its script was not found",
                "Correct the first line of the script, or install what it names.",
            )
        return _Failure(
            "could not be started: its program was not found",
            "Install it, or name it as a path within the release, such as bin/build.",
        )
    if error.errno == errno.EACCES:
        return _not_allowed(directory / program if "/" in program else None)
    if error.errno == errno.ENOEXEC:
        return _Failure(
            "could not be started: this system cannot run its program",
            "Begin a script with a line such as #!/bin/sh.",
        )
    if error.errno == errno.E2BIG:
        return _Failure(
            "could not be started: its arguments and variables are too long together",
            "Pass long values in a file.",
        )
    said = os.strerror(error.errno) if error.errno else "the system refuses"
    return _Failure(
        f"could not be started: {said}", "Check the process limits of this machine (ulimit -a)."
    )
