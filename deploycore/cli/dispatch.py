"""Run one command, and turn every error into a message and an exit code."""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import io
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from deploycore.cli import COMMANDS
from deploycore.cli.fast_path import find_fast_path
from deploycore.cli.output import show_error
from deploycore.cli.remote import module_for_server
from deploycore.cli.standard_streams import (
    INTERRUPTED,
    LOST_OUTPUT,
    end_at_once,
    end_without_reader,
    find_lost_output,
    interrupts_end_with,
    interrupts_raise,
    own_descriptors,
)
from deploycore.cli.streams import foreign_output_to_stderr
from deploycore.errors import DeploycoreError

if TYPE_CHECKING:
    import typer

__all__ = ["application_of", "run"]

_WRITERS = frozenset({io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom})
_FLUSHED_SECONDS = 5.0
"""How long the process waits at its end until pipes and sockets have accepted the rest."""

_ENDLESS_READING = ("branches", "logs", "repos")
"""Commands that can print without end and change nothing."""


def run(
    arguments: Sequence[str],
    *,
    commands: Iterable[str],
    is_remote: bool = False,
    is_whole_process: bool = False,
) -> None:
    """Run a command line and exit with its exit code.

    Args:
        arguments: The whole command line, without the program's name.
        commands: The commands to import: all of them for completion and for unknown commands.
        is_remote: Whether ``--server`` was given.
        is_whole_process: Whether this process does nothing else.
    """
    code = _run(arguments, commands, is_remote=is_remote)
    if reason := find_lost_output():
        lost = DeploycoreError(f"{LOST_OUTPUT} {reason}.")
        show_error(lost, as_json="--json" in arguments)
        code = code or 1
    # The command has ended: an interrupt from now on must not change its exit code.
    interrupts_end_with(code)
    if is_whole_process and _has_left_calls():
        end_at_once(code)  # a normal exit would wait for threads of a plugin that hangs
    # A normal exit may wait forever for something that a thread holds which an interrupt has
    # stopped, such as a lock of SQLite. It also frees all objects, although the process ends
    # anyway. Temporary directories are still removed.
    if code == INTERRUPTED or (is_whole_process and not _is_still_needed()):
        atexit.unregister(gc.freeze)  # frozen objects are not in the list of those that are alive
        atexit._run_exitfuncs()
        _flush_files()
        end_at_once(code)
    sys.exit(code)


def _run(arguments: Sequence[str], commands: Iterable[str], *, is_remote: bool = False) -> int:
    """Run a command line and return its exit code."""
    as_json = "--json" in arguments
    is_answer = as_json and not {"--help", "-h"}.intersection(arguments)
    sys.unraisablehook = _end_if_interrupted
    try:
        with foreign_output_to_stderr() if is_answer else nullcontext():
            plain = None if is_remote else find_fast_path(arguments)
            command = plain or _typer_command(arguments, commands, is_remote=is_remote)
            interrupts_raise()
            if arguments[:1] and arguments[0] in _ENDLESS_READING:
                end_without_reader()
            command()
    except DeploycoreError as error:
        show_error(error, as_json=as_json)
        return error.exit_code
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException as error:
        told = _misread(error) or _unforeseen(error)
        show_error(told, as_json=as_json)
        return told.exit_code
    return 0


def _typer_command(
    arguments: Sequence[str], commands: Iterable[str], *, is_remote: bool
) -> Callable[[], object]:
    application = application_of(commands, is_remote=is_remote)
    return partial(application, args=list(arguments), prog_name="deploycore")


def _has_left_calls() -> bool:
    """Return whether a plugin call still runs; imports nothing if no plugin was called."""
    background = sys.modules.get("deploycore.provider.background")
    return background is not None and background.calls_left_behind()


def _flush_files() -> None:
    """Flush files that are still open, because the process ends without closing them.

    Where descriptors can be listed, objects without one of their own, such as a second text stream
    on standard output, are not found unless such a file is open, too.

    A pipe or a socket may be full, and a thread that writes to it holds its lock. So flushing
    these has a time limit.
    """
    if not _may_write_to_files():
        return
    others = []
    for each in gc.get_objects():
        if type(each) in _WRITERS:
            if _is_on_disk(each):
                _flush(each)
            else:
                others.append(each)
    flushing = threading.Thread(target=lambda: [*map(_flush, others)], daemon=True)
    flushing.start()
    flushing.join(_FLUSHED_SECONDS)


def _may_write_to_files() -> bool:
    """Return whether a descriptor is open for writing, besides those of the standard streams.

    This is much faster than to look at all objects, and most commands close what they open.
    """
    try:
        others = {*map(int, os.listdir("/dev/fd"))} - own_descriptors()
    except OSError:  # this system cannot list them
        return True
    # A list of all descriptors has its own, too. Some systems only list the standard ones.
    return not others or any(map(_is_writable, others))


def _is_writable(descriptor: int) -> bool:
    try:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    except OSError:  # the one of the list itself, which is closed
        return False
    return flags & os.O_ACCMODE != os.O_RDONLY


def _is_on_disk(file: Any) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (OSError, ValueError):  # it is closed, or no file of the system
        return False


def _flush(file: Any) -> None:
    with suppress(Exception):
        file.flush()


def _is_still_needed() -> bool:
    """Return whether a profiler, a tracer, or a thread that must end uses this process."""
    if sys.getprofile() is not None or sys.gettrace() is not None:
        return True
    return any(
        not each.daemon and each is not threading.current_thread() for each in threading.enumerate()
    )


def _end_if_interrupted(unraisable: sys.UnraisableHookArgs) -> None:
    """End the process if an interrupt arrives where Python cannot raise it.

    Python only prints an interrupt that arrives, for example, while it frees an object.
    """
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        end_at_once(INTERRUPTED)
    sys.__unraisablehook__(unraisable)


def application_of(commands: Iterable[str], *, is_remote: bool = False) -> typer.Typer:
    """Build the Typer application for commands, and for those that share a module with them.

    Args:
        is_remote: Whether ``--server`` was given.

    Raises:
        ConfigurationError: It was given, and no server can run the command.
    """
    import typer

    from deploycore.cli.usage import CommandGroup

    commands = list(commands)
    application = typer.Typer(
        cls=CommandGroup,
        # Typer imports pydantic to parse --install-completion and --show-completion, even if
        # neither is given.
        add_completion=len(commands) > 1,
        rich_markup_mode=None,  # otherwise help imports rich's Markdown, which takes 80 ms
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    # Without a callback, Typer drops the command's name if there is only one command.
    application.callback()(lambda: None)
    # It is one of all commands, for completion and for the list of commands in errors.
    find = partial(_module_of, is_remote=is_remote) if len(commands) == 1 else _own_module
    for module in dict.fromkeys(map(find, commands)):
        importlib.import_module(module).register(application)
    _set_command_class(application)
    return application


def _own_module(command: str) -> str:
    """Return the module that runs a command on this machine."""
    return COMMANDS[command][0]


def _module_of(command: str, *, is_remote: bool) -> str:
    """Return the module that runs a command, on this machine or on a server."""
    return module_for_server(command, is_explicit=is_remote) or _own_module(command)


def _set_command_class(application: typer.Typer) -> None:
    from deploycore.cli.usage import StartedCommand

    for command in application.registered_commands:
        if command.cls is None or not issubclass(command.cls, StartedCommand):
            command.cls = StartedCommand
    for group in application.registered_groups:
        if group.typer_instance is not None:
            _set_command_class(group.typer_instance)


def _misread(error: BaseException) -> DeploycoreError | None:
    """Describe a response of a remote server that has another form than expected."""
    connection = sys.modules.get("deploycore.cli.remote.connection")
    found: DeploycoreError | None = connection.misread_answer(error) if connection else None
    return found


def _unforeseen(error: BaseException) -> DeploycoreError:
    """Describe a bug by its type and place. Its text is not shown: it may contain a secret."""
    from deploycore.distribution import report_hint

    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    place = ""
    if traceback:
        module = traceback.tb_frame.f_globals.get("__name__", "?")
        place = f" in {module}, line {traceback.tb_lineno}"
    return DeploycoreError(
        f"deploycore stopped because of an unexpected error: {type(error).__name__}{place}.",
        hint=report_hint(),
    )
