"""``deploycore sandbox``: a provider's own test server on loopback, to try things against."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from deploycore.cli.options import AsJson
from deploycore.cli.output import say, show_json
from deploycore.errors import ConfigurationError
from deploycore.registry import (
    SANDBOX_GROUP,
    entry_points_by_name,
    import_entry_point,
    normalise_kind,
    only_one,
)
from deploycore.sandbox import ProviderSandbox, SandboxConnection
from deploycore.suggestions import did_you_mean

__all__ = ["add_command", "load_sandbox", "provider_name", "register"]

Kind = Annotated[
    str | None, typer.Option("--kind", help="Whose sandbox, where several are installed.")
]


def register(application: typer.Typer) -> None:
    """Add this noun's command."""
    application.command()(sandbox)


def sandbox(
    kind: Kind = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run a provider's sandbox on this machine until Ctrl-C.

    Its credentials are made up at each start and open nothing but the sandbox, so they are
    printed, for you to connect with.
    """
    found, sandbox_class = load_sandbox(kind)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    running = _start(sandbox_class, port)
    try:
        if as_json:
            show_json(_as_dict(found, running))
        else:
            _introduce(found, running)
        sys.stdout.flush()
        stopped.wait()
    finally:
        running.stop()


def load_sandbox(kind: str | None) -> tuple[str, type[ProviderSandbox]]:
    """The sandbox of a kind, or of the only kind that has one.

    Raises:
        ConfigurationError: There is none, or several and no kind was named.
        PluginError: It can't be imported.
    """
    installed = entry_points_by_name(SANDBOX_GROUP)
    wanted = normalise_kind(kind) if kind else next(iter(installed), "")
    if wanted not in installed or (not kind and len(installed) > 1):
        known = ", ".join(installed) or "none"
        raise ConfigurationError(
            f"There is no sandbox to choose: {kind or 'no kind'} was named, installed: {known}.",
            hint=f"{did_you_mean(wanted, installed) if kind else ''}Install a provider plugin that"
            " ships one, or name one by --kind.",
        )
    return wanted, import_entry_point(only_one(wanted, installed[wanted]))


def add_command(kind: str, connection: SandboxConnection, name: str) -> tuple[list[str], str]:
    """The arguments that connect deploycore to a sandbox, and what to give on standard input."""
    arguments = ["provider", "add", name, "--kind", kind]
    lines = []
    for field, value in connection.settings.items():
        option = "--" + field.replace("_", "-")
        if isinstance(value, SecretStr):
            arguments.append(f"{option}-stdin")
            lines.append(value.get_secret_value() + "\n")
        else:
            arguments += [option, value]
    return arguments, "".join(lines)


def provider_name(connection: SandboxConnection) -> str:
    """A name for the provider of a sandbox's connection."""
    return re.sub("[^a-z0-9]+", "-", connection.title.lower()).strip("-")


def _start(sandbox_class: type[ProviderSandbox], port: int) -> ProviderSandbox:
    try:
        return sandbox_class.demo(port)
    except OSError as error:
        reason = error.strerror or str(error)
    raise ConfigurationError(
        f"The sandbox can't listen on port {port}: {reason}.", hint="Choose another --port."
    )


def _introduce(kind: str, running: ProviderSandbox) -> None:
    say(f"The {kind} sandbox runs at {running.url} (Ctrl-C ends it). Connect with one of:")
    for connection in running.connections:
        name = provider_name(connection)
        arguments, secrets = add_command(kind, connection, name)
        say(f"\n# {connection.title}; browse with: deploycore repos {name}")
        given = shlex.join(["%s\\n", *secrets.splitlines()])
        say(f"printf {given} | deploycore {shlex.join(arguments)}")


def _as_dict(kind: str, running: ProviderSandbox) -> dict[str, Any]:
    return {
        "kind": kind,
        "url": running.url,
        "connections": [
            {
                "title": connection.title,
                "owner": connection.owner,
                "settings": _revealed(connection.settings),
            }
            for connection in running.connections
        ],
    }


def _revealed(settings: Mapping[str, str | SecretStr]) -> dict[str, str]:
    return {
        field: value.get_secret_value() if isinstance(value, SecretStr) else value
        for field, value in settings.items()
    }
