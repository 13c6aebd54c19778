"""Commands for a server on another machine: ``deploycore --server URL COMMAND``.

They have the names and options of the commands for this machine, and use the server's REST API.
This module imports only the standard library, because each command line goes through it.
"""

from __future__ import annotations

import os

__all__ = ["REMOTE_COMMANDS", "SERVER_VARIABLE", "module_for_server", "take_server"]

SERVER_VARIABLE = "DEPLOYCORE_SERVER"

REMOTE_COMMANDS = {
    "provider": "deploycore.cli.remote.providers",
    "repos": "deploycore.cli.remote.browse",
    "branches": "deploycore.cli.remote.browse",
    "app": "deploycore.cli.remote.applications",
    "apply": "deploycore.cli.remote.applications",
    "export": "deploycore.cli.remote.applications",
    "deploy": "deploycore.cli.remote.deploying",
    "rollback": "deploycore.cli.remote.deploying",
    "releases": "deploycore.cli.remote.browse",
    "deployments": "deploycore.cli.remote.history",
    "show": "deploycore.cli.remote.history",
    "logs": "deploycore.cli.remote.history",
    "cancel": "deploycore.cli.remote.history",
    "webhook": "deploycore.cli.remote.webhooks",
    "key": "deploycore.cli.remote.keys",
    "recover": "deploycore.cli.remote.history",
    "cache": "deploycore.cli.remote.cache",
    "user": "deploycore.cli.remote.accounts",
    "token": "deploycore.cli.remote.accounts",
    "plugins": "deploycore.cli.remote.diagnosis",
    "doctor": "deploycore.cli.remote.diagnosis",
}
"""The module of each command that a server can run."""

_OPTION = "--server"


def take_server(arguments: list[str]) -> tuple[list[str], bool]:
    """Take the option ``--server`` from the beginning of a command line.

    Its value is kept in the environment variable, where commands look for it.

    Returns:
        The rest of the command line, and whether the option was given with a value.
    """
    first, equals, value = (arguments or [""])[0].partition("=")
    if first != _OPTION:
        return arguments, False
    if equals:
        rest = arguments[1:]
    elif len(arguments) > 1:
        value, rest = arguments[1], arguments[2:]
    else:
        return arguments, False
    os.environ[SERVER_VARIABLE] = value
    return rest, True


def module_for_server(command: str, *, is_explicit: bool) -> str | None:
    """Return the module that runs a command on the server; ``None`` to run it on this machine.

    Args:
        is_explicit: Whether ``--server`` was given. If only the variable is set, commands that no
            server can run are for this machine.

    Raises:
        ConfigurationError: ``--server`` was given, and no server can run the command.
    """
    if not is_explicit and not os.environ.get(SERVER_VARIABLE):
        return None
    found = REMOTE_COMMANDS.get(command)
    if found is None and is_explicit:
        from deploycore.errors import ConfigurationError

        raise ConfigurationError(
            f"The command {command!r} cannot be run with --server.",
            hint=f"Run it on the server's machine. With --server, you can use:"
            f" {', '.join(REMOTE_COMMANDS)}.",
        )
    return found
