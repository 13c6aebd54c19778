"""Runs one command with Typer, and turns whatever goes wrong into a message and exit code."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterable, Sequence

import typer

from deploycore.calls import calls_left_behind
from deploycore.cli import COMMANDS
from deploycore.cli.output import show_error
from deploycore.cli.usage import CommandGroup
from deploycore.cli.waiting import end_at_once
from deploycore.distribution import report_hint
from deploycore.errors import DeploycoreError
from deploycore.printable import LogFormatter

__all__ = ["application_of", "run"]


def run(arguments: Sequence[str], *, modules: Iterable[str]) -> None:
    """Run a command line and leave the process with its exit code.

    Args:
        arguments: The whole command line, without the program's name.
        modules: The commands to import; all of them for completion and unknown commands.
    """
    if logging.lastResort is not None:  # what logs warnings where a command sets up nothing else
        logging.lastResort.setFormatter(LogFormatter("%(message)s"))
    try:
        _run(arguments, modules)
    except SystemExit as ending:
        if calls_left_behind():
            # A plugin's own threads would be waited for, which may be as long as it hangs.
            end_at_once(ending.code if isinstance(ending.code, int) else 0)
        raise


def _run(arguments: Sequence[str], modules: Iterable[str]) -> None:
    as_json = "--json" in arguments
    try:
        application_of(modules)(args=list(arguments), prog_name="deploycore")
    except DeploycoreError as error:
        show_error(error, as_json=as_json)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader, such as head, has seen enough; there is nobody left to write to.
        sys.stderr.close()
        sys.exit(1)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        show_error(_unforeseen(error), as_json=as_json)
        sys.exit(1)


def application_of(commands: Iterable[str]) -> typer.Typer:
    """One application of these commands, and of those that share a module with them."""
    application = typer.Typer(
        cls=CommandGroup,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    # With a callback Typer keeps the command's name even where there is only one command.
    application.callback()(lambda: None)
    for module in dict.fromkeys(COMMANDS[command][0] for command in commands):
        importlib.import_module(module).register(application)
    return application


def _unforeseen(error: BaseException) -> DeploycoreError:
    """A bug of ours. Its text may hold anything, a secret too, so only its kind is shown."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    place = ""
    if traceback:
        module = traceback.tb_frame.f_globals.get("__name__", "?")
        place = f" in {module}, line {traceback.tb_lineno}"
    return DeploycoreError(
        f"deploycore stopped at something unforeseen: {type(error).__name__}{place}.",
        hint=report_hint(),
    )
