"""The command line: reads arguments, calls the Python API, and prints the result.

This module prints ``deploycore --help`` itself. For any other command it imports only the
module of that command, so that start-up stays fast. For the same reason it imports only the
standard library, :mod:`deploycore.cli.remote` and :mod:`deploycore.cli.standard_streams`.
"""

from __future__ import annotations

import os
import sys

from deploycore.cli.remote import take_server

__all__ = ["COMMANDS", "EXIT_CODES", "main", "overview"]

COMMANDS = {
    "provider": ("deploycore.cli.provider", "Connect git hosts: add, test, list, show, remove"),
    "repos": ("deploycore.cli.browse", "List the repositories of a provider"),
    "branches": ("deploycore.cli.browse", "List the branches of a repository"),
    "clone": ("deploycore.cli.clone", "Clone one branch of a repository into a directory"),
    "app": ("deploycore.cli.application", "Manage applications: create, list, show, remove"),
    "apply": ("deploycore.cli.declaration", "Create or update applications from a file"),
    "export": ("deploycore.cli.declaration", "Print applications as a YAML file"),
    "deploy": ("deploycore.cli.deploy", "Deploy an application's newest commit"),
    "rollback": ("deploycore.cli.deploy", "Roll back to a previous release"),
    "releases": ("deploycore.cli.history", "List the releases of an application"),
    "deployments": ("deploycore.cli.history", "List deployments and rollbacks"),
    "show": ("deploycore.cli.history", "Show a deployment"),
    "logs": ("deploycore.cli.history", "Print a deployment's log, or follow it"),
    "cancel": ("deploycore.cli.history", "Cancel a deployment"),
    "worker": (
        "deploycore.cli.worker",
        "Run a worker that deploys on pushes, polls and API requests",
    ),
    "recover": ("deploycore.cli.history", "Recover deployments that a crash left unfinished"),
    "webhook": (
        "deploycore.cli.webhook",
        "Manage an application's webhook: register, rotate, remove",
    ),
    "key": ("deploycore.cli.key", "Manage SSH deploy keys: create, list, rotate, remove"),
    "token": ("deploycore.cli.token", "Manage API tokens: add, list, remove"),
    "user": ("deploycore.cli.user", "Manage users of the dashboard: add, list, remove"),
    "serve": ("deploycore.cli.serve", "Run the server: dashboard, webhooks, REST API, metrics"),
    "login": ("deploycore.cli.login", "Sign in to a server on another machine, for --server"),
    "logout": ("deploycore.cli.login", "Remove the stored token of a server"),
    "plugin": ("deploycore.cli.plugin", "Develop a provider plugin: create it, and check it"),
    "plugins": (
        "deploycore.cli.plugins",
        "List the installed plugins: providers, observers, sandboxes",
    ),
    "doctor": ("deploycore.cli.doctor", "Find what is wrong with this installation"),
    "cache": ("deploycore.cli.cache", "Inspect and clear the git cache"),
    "sandbox": ("deploycore.cli.sandbox", "Run a provider's sandbox server on this machine"),
    "demo": ("deploycore.cli.demo", "Run a demo on a sandbox, without an account"),
}
"""The module and summary of each command. Help, dispatch and completion use it."""

EXIT_CODES = {
    0: "done",
    1: "another error",
    2: "the command line is wrong",
    3: "a name or value is invalid",
    4: "credentials are rejected or lack a permission",
    5: "the workspace, repository or branch was not found",
    6: "the git host is unreachable, limits requests, or sent an invalid response",
    7: "git failed: access denied, corrupt or unsafe data, or a limit exceeded",
    8: "the deployment failed, or another one is running",
    9: "the database or its key cannot be used",
    10: "a plugin is broken",
    130: "canceled",
}

_COMPLETION_VARIABLE = "_DEPLOYCORE_COMPLETE"
_OBJECTS_BETWEEN_COLLECTIONS = 250_000
_OBJECTS_IN_SERVICES = 50_000
_SERVICES = ("serve", "worker")
"""Commands that run until they are stopped, so that garbage collection matters."""
_COMPLETION_OPTIONS = ("--install-completion", "--show-completion")


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its exit code.

    Args:
        arguments: The arguments after the program's name (default: ``sys.argv[1:]``).
    """
    try:
        # Ctrl-C during the imports must not show a traceback. They take as long as the start of
        # Python.
        from deploycore.cli.standard_streams import (
            INTERRUPTED,
            interrupts_end_with,
            prepare_streams,
        )

        interrupts_end_with(INTERRUPTED)
    except KeyboardInterrupt:
        os._exit(130)
    prepare_streams()
    is_whole_process = arguments is None
    if arguments is None:
        arguments = sys.argv[1:]
        is_service = arguments[:1] and arguments[0] in _SERVICES
        _collect_rarely(_OBJECTS_IN_SERVICES if is_service else _OBJECTS_BETWEEN_COLLECTIONS)
        _skip_plugins_of_pydantic()
    completing = _COMPLETION_VARIABLE in os.environ
    arguments, is_remote = take_server(arguments)
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
    commands = list(COMMANDS) if everything else arguments[:1]
    run(arguments, commands=commands, is_remote=is_remote, is_whole_process=is_whole_process)


def _collect_rarely(objects: int) -> None:
    """Collect garbage only after this number of new objects, and not at the end of the process.

    Imports create many objects that are never freed. Python would examine them again and again
    during the imports, and once more at the end: up to a tenth of a command's time.
    """
    import atexit
    import gc

    gc.set_threshold(objects)
    atexit.register(gc.freeze)


def _skip_plugins_of_pydantic() -> None:
    """Prevent pydantic from searching every installed distribution for pydantic's own plugins.

    The search takes a fifth of the time of pydantic's imports. The plugins observe models, which a
    command does not need. The variable can be set to load them. Steps do not inherit it.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def _print(text: str) -> None:
    """Print a text and exit."""
    from deploycore.cli.standard_streams import LOST_OUTPUT, find_lost_output

    print(text)
    if reason := find_lost_output():
        print(f"Error: {LOST_OUTPUT} {reason}.", file=sys.stderr)
    sys.exit(1 if reason else 0)


def overview() -> str:
    """Return the text of ``deploycore --help``."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    own = ("--help", "--version", "--server URL", *_COMPLETION_OPTIONS)
    options = "\n".join(f"  {option}" for option in own)
    return f"""\
Usage: deploycore [--server URL] COMMAND [ARGUMENTS]

Deploy code from a git host to this machine, through provider plugins.
With --server, run the command on a server that you are signed in to.

Commands (for details: deploycore help COMMAND):
{commands}

Options:
{options}

Environment:
  DEPLOYCORE_HOME          data directory: database, key, logs and cache
  DEPLOYCORE_DATABASE_URL  URL of the database (default: SQLite in the data directory)
  DEPLOYCORE_SECRET_KEY    key that encrypts secrets (default: a file in the data directory)
  DEPLOYCORE_PUBLIC_URL    URL at which git hosts reach 'deploycore serve'
  DEPLOYCORE_SERVER        server on which to run commands, as with --server
  DEPLOYCORE_TOKEN         API token for that server (default: the stored one)

Exit codes:
{codes}"""
