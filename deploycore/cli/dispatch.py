"""Runs one command with Typer, and turns whatever goes wrong into a message and exit code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext

import typer

from deploycore.cli import COMMANDS
from deploycore.cli.output import show_error
from deploycore.cli.standard_streams import (
    INTERRUPTED,
    LOST_OUTPUT,
    end_at_once,
    end_without_reader,
    find_lost_output,
    interrupts_end_with,
    interrupts_raise,
)
from deploycore.cli.streams import foreign_output_to_stderr
from deploycore.cli.usage import CommandGroup, StartedCommand
from deploycore.errors import DeploycoreError

__all__ = ["application_of", "run"]

_ENDLESS_READING = ("branches", "logs", "repos")
"""Commands that print while they read, without a limit, and change nothing."""


def run(arguments: Sequence[str], *, modules: Iterable[str]) -> None:
    """Run a command line and leave the process with its exit code.

    Args:
        arguments: The whole command line, without the program's name.
        modules: The commands to import; all of them for completion and unknown commands.
    """
    code = _run(arguments, modules)
    if reason := find_lost_output():
        lost = DeploycoreError(f"{LOST_OUTPUT} {reason}.")
        show_error(lost, as_json="--json" in arguments)
        code = code or 1
    # What is left to do is no longer the command: an interrupt does not change how that ended.
    interrupts_end_with(code)
    if _has_left_calls():
        # A plugin's own threads would be waited for, which may be as long as it hangs.
        end_at_once(code)
    sys.exit(code)


def _run(arguments: Sequence[str], modules: Iterable[str]) -> int:
    """Run a command line; its exit code."""
    as_json = "--json" in arguments
    is_answer = as_json and not {"--help", "-h"}.intersection(arguments)
    sys.unraisablehook = _end_if_interrupted
    try:
        with foreign_output_to_stderr() if is_answer else nullcontext():
            application = application_of(modules)
            interrupts_raise()
            if arguments[:1] and arguments[0] in _ENDLESS_READING:
                end_without_reader()
            application(args=list(arguments), prog_name="deploycore")
    except DeploycoreError as error:
        show_error(error, as_json=as_json)
        return error.exit_code
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException as error:
        show_error(_unforeseen(error), as_json=as_json)
        return 1
    return 0


def _has_left_calls() -> bool:
    """Whether a call of a plugin still runs; where nothing has called one, nothing is imported."""
    background = sys.modules.get("deploycore.provider.background")
    return background is not None and background.calls_left_behind()


def _end_if_interrupted(unraisable: sys.UnraisableHookArgs) -> None:
    """Python drops, and prints, an interrupt that comes up where nothing can be raised, such as
    while it frees an object. The person who interrupts wants the command to end."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        end_at_once(INTERRUPTED)
    sys.__unraisablehook__(unraisable)


def application_of(commands: Iterable[str]) -> typer.Typer:
    """One application of these commands, and of those that share a module with them."""
    commands = list(commands)
    application = typer.Typer(
        cls=CommandGroup,
        # Typer imports pydantic to read the values of --install-completion and --show-completion,
        # even where neither is given.
        add_completion=len(commands) > 1,
        rich_markup_mode=None,  # else help imports rich's Markdown, which takes 80 ms
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    # With a callback Typer keeps the command's name even where there is only one command.
    application.callback()(lambda: None)
    for module in dict.fromkeys(COMMANDS[command][0] for command in commands):
        importlib.import_module(module).register(application)
    _set_command_class(application)
    return application


def _set_command_class(application: typer.Typer) -> None:
    for command in application.registered_commands:
        if command.cls is None or not issubclass(command.cls, StartedCommand):
            command.cls = StartedCommand
    for group in application.registered_groups:
        if group.typer_instance is not None:
            _set_command_class(group.typer_instance)


def _unforeseen(error: BaseException) -> DeploycoreError:
    """A bug of ours. Its text may hold anything, a secret too, so only its kind is shown."""
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
