"""The command line: a thin door to the rest.

This module answers ``deploycore --help`` by itself and imports one noun's module for
anything else, so that start-up costs what the command needs. For that reason it imports
nothing but parts of Python and :mod:`deploycore.cli.standard_streams`.
"""

from __future__ import annotations

import os
import sys

from deploycore.cli.standard_streams import (
    INTERRUPTED,
    LOST_OUTPUT,
    find_lost_output,
    interrupts_end_with,
    prepare_streams,
)

__all__ = ["COMMANDS", "EXIT_CODES", "main", "overview"]

COMMANDS = {
    "provider": ("deploycore.cli.provider", "Connect git hosts: add, test, list, show, remove"),
    "repos": ("deploycore.cli.browse", "List the repositories of a provider"),
    "branches": ("deploycore.cli.browse", "List the branches of a repository"),
    "clone": ("deploycore.cli.clone", "Clone one branch of a repository into a directory"),
    "app": ("deploycore.cli.application", "Say what to deploy where: create, list, show, remove"),
    "apply": ("deploycore.cli.declaration", "Make applications what a file says"),
    "export": ("deploycore.cli.declaration", "Print applications as a file"),
    "deploy": ("deploycore.cli.deploy", "Deploy an application's newest commit"),
    "rollback": ("deploycore.cli.deploy", "Make a former release the live one"),
    "releases": ("deploycore.cli.history", "List the releases of an application"),
    "deployments": ("deploycore.cli.history", "List what was deployed"),
    "show": ("deploycore.cli.history", "Show a deployment"),
    "logs": ("deploycore.cli.history", "Print a deployment's log, or follow it"),
    "cancel": ("deploycore.cli.history", "Ask a deployment to stop"),
    "worker": ("deploycore.cli.worker", "Deploy what pushes and other triggers ask for"),
    "recover": ("deploycore.cli.history", "Clear up after processes that have died"),
    "webhook": (
        "deploycore.cli.webhook",
        "Let a git host tell of pushes: register, rotate, remove",
    ),
    "token": ("deploycore.cli.token", "Say who may use the server's API: add, list, remove"),
    "serve": ("deploycore.cli.serve", "Run the server: webhooks, a REST API, metrics"),
    "plugin": ("deploycore.cli.plugin", "Write a provider: start one, and check it"),
    "plugins": (
        "deploycore.cli.plugins",
        "List the installed plugins: providers, observers, sandboxes",
    ),
    "doctor": ("deploycore.cli.doctor", "Find what is wrong with this installation"),
    "cache": ("deploycore.cli.cache", "See and clear what was fetched before"),
    "sandbox": ("deploycore.cli.sandbox", "Run a provider's sandbox server on this machine"),
    "demo": ("deploycore.cli.demo", "See everything work on a sandbox, without an account"),
}
"""Each command's module and summary: help, dispatch and completion are made from this."""

EXIT_CODES = {
    0: "done",
    1: "another error",
    2: "the command line is wrong",
    3: "a value or name that was given is wrong",
    4: "credentials are rejected or lack a permission",
    5: "the workspace, repository or branch does not exist, or is hidden",
    6: "the git host cannot be reached, limits us, or answers nonsense",
    7: "git failed: refused, corrupt, unsafe, or over a limit",
    8: "the deployment failed, or another one is running",
    9: "the database or its key cannot be used",
    10: "a plugin is broken",
    130: "cancelled",
}

_COMPLETION_VARIABLE = "_DEPLOYCORE_COMPLETE"
_OBJECTS_BETWEEN_COLLECTIONS = 50_000
_COMPLETION_OPTIONS = ("--install-completion", "--show-completion")


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave the process with its exit code.

    Args:
        arguments: What follows the program's name; by default the process's own.
    """
    interrupts_end_with(INTERRUPTED)
    prepare_streams()
    if arguments is None:
        _collect_rarely()
        arguments = sys.argv[1:]
    completing = _COMPLETION_VARIABLE in os.environ
    if not completing and arguments[:1] == ["help"] and len(arguments) > 1:
        arguments = [*arguments[1:], "--help"]
    if completing:
        from deploycore.cli.completion import complete

        code = complete(os.environ[_COMPLETION_VARIABLE])
        if code is not None:
            sys.exit(code)
    if not completing and (not arguments or arguments[0] in ("--help", "-h", "help")):
        _print(overview())
    if arguments[:1] == ["--version"]:
        from deploycore import __version__

        _print(f"deploycore {__version__}")
    from deploycore.cli.dispatch import run

    everything = completing or arguments[0] not in COMMANDS
    run(arguments, modules=list(COMMANDS) if everything else arguments[:1])


def _collect_rarely() -> None:
    """Have Python look for garbage less often in this process, and not at its end.

    Imports make many objects that stay. Python would look through them again and again while they
    are made, and once more before it ends: up to a tenth of what a command takes.
    """
    import atexit
    import gc

    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    atexit.register(gc.freeze)


def _print(text: str) -> None:
    """Print it, and leave the process."""
    print(text)
    if reason := find_lost_output():
        print(f"Error: {LOST_OUTPUT} {reason}.", file=sys.stderr)
    sys.exit(1 if reason else 0)


def overview() -> str:
    """The text of ``deploycore --help``."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    options = "\n".join(f"  {option}" for option in ("--help", "--version", *_COMPLETION_OPTIONS))
    return f"""\
Usage: deploycore COMMAND [ARGUMENTS]

From a git host to files on this machine, through provider plugins.

Commands (deploycore help COMMAND says more):
{commands}

Options:
{options}

Environment:
  DEPLOYCORE_HOME          where configuration and history are kept
  DEPLOYCORE_DATABASE_URL  another database than SQLite in that directory
  DEPLOYCORE_SECRET_KEY    the key of stored secrets, instead of a file in that directory
  DEPLOYCORE_PUBLIC_URL    where git hosts reach 'deploycore serve'

Exit codes:
{codes}"""
