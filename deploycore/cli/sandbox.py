"""``deploycore sandbox``: run a provider's sandbox server on this machine."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import say, show_json
from deploycore.cli.standard_streams import signals_to_end
from deploycore.errors import ConfigurationError
from deploycore.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from pydantic import SecretStr

    from deploycore.sandbox import ProviderSandbox, SandboxConnection

__all__ = ["add_command", "load_sandbox", "provider_name", "provider_names", "register"]

Kind = Annotated[
    str | None,
    typer.Option("--kind", help="Kind of the provider. Required if several have a sandbox."),
]


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command()(sandbox)


def sandbox(
    kind: Kind = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: any free port.")
    ] = 0,
    seed: Annotated[
        str | None,
        typer.Option(
            "--seed",
            metavar="TEXT",
            help="Text to derive the credentials from, so that they stay the same after a restart"
            " (default: random credentials). Use it with --port.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a provider's sandbox server on this machine until Ctrl-C.

    Prints the commands that connect to the sandbox, with its credentials. They are valid for the
    sandbox only, and change at each start unless you give --seed.
    """
    found, sandbox_class = load_sandbox(kind)
    stopped = threading.Event()
    for number in signals_to_end():
        signal.signal(number, lambda *_: stopped.set())
    running = _start(sandbox_class, port) if seed is None else _seeded(sandbox_class, port, seed)
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
    """Load the sandbox of a kind, or of the only kind that has one.

    Raises:
        ConfigurationError: The kind has no sandbox, or no kind was given and several have one.
        PluginError: The sandbox cannot be imported.
    """
    from deploycore.provider.entry_points import SANDBOX_GROUP, entry_points_by_name
    from deploycore.provider.registry import import_entry_point, normalise_kind, only_one

    installed = entry_points_by_name(SANDBOX_GROUP)
    wanted = normalise_kind(kind) if kind else next(iter(installed), "")
    if wanted not in installed or (not kind and len(installed) > 1):
        known = ", ".join(installed) or "none"
        problem = (
            f"There is no sandbox of kind {kind}." if kind else "No kind of sandbox was given."
        )
        raise ConfigurationError(
            f"{problem} Installed sandboxes: {known}.",
            hint=f"{did_you_mean(wanted, installed) if kind else ''}Give --kind KIND, or install a"
            " provider plugin that has a sandbox.",
        )
    return wanted, import_entry_point(only_one(wanted, installed[wanted]))


def add_command(kind: str, connection: SandboxConnection, name: str) -> tuple[list[str], str]:
    """Return the arguments that connect deploycore to a sandbox, and text for standard input."""
    from pydantic import SecretStr

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


def provider_name(connection: SandboxConnection, kind: str = "") -> str:
    """Return a name for a connection's provider, made of its kind and its way to sign in."""
    return re.sub("[^a-z0-9]+", "-", f"{kind} {connection.title}".lower()).strip("-")


def provider_names(kind: str, connections: Iterable[SandboxConnection]) -> list[str]:
    """Return a unique name for each connection's provider."""
    names: list[str] = []
    for connection in connections:
        wanted = name = provider_name(connection, kind)
        number = 1
        while name in names:
            number += 1
            name = f"{wanted}-no{number}"
        names.append(name)
    return names


def _start(sandbox_class: type[ProviderSandbox], port: int) -> ProviderSandbox:
    try:
        return sandbox_class.demo(port)
    except OSError as error:
        reason = error.strerror or str(error)
    raise ConfigurationError(
        f"The sandbox cannot listen on port {port}: {reason}.", hint="Give another --port."
    )


def _seeded(sandbox_class: type[ProviderSandbox], port: int, seed: str) -> ProviderSandbox:
    """Start a sandbox whose credentials are all derived from a seed.

    Raises:
        ConfigurationError: The seed is empty, or the sandbox does not support seeds.
    """
    from pydantic import SecretStr

    from deploycore.sandbox import seeded

    if not seed:
        raise ConfigurationError("The value of --seed is empty.", hint="Give a text: --seed TEXT.")
    with seeded(seed) as source:
        running = _start(sandbox_class, port)
    given = [value for each in running.connections for value in each.settings.values()]
    if all(source.has_made(value) for value in given if isinstance(value, SecretStr)):
        return running
    running.stop()
    raise ConfigurationError(
        "This sandbox does not support --seed: it creates its credentials in another way.",
        hint="Run it without --seed. If you are the plugin's author, create the credentials with"
        " deploycore.sandbox.secret_source.",
    )


def _introduce(kind: str, running: ProviderSandbox) -> None:
    say(f"The {kind} sandbox runs at {running.url}. Stop it with Ctrl-C. Connect with one of:")
    connections = running.connections
    for connection, name in zip(connections, provider_names(kind, connections), strict=True):
        arguments, secrets = add_command(kind, connection, name)
        say(f"\n# {connection.title}; then list repositories: deploycore repos {name}")
        given = shlex.join(["%s\\n", *secrets.splitlines()])
        say(f"printf {given} | deploycore {shlex.join(arguments)}")


def _as_dict(kind: str, running: ProviderSandbox) -> dict[str, Any]:
    connections = running.connections
    names = provider_names(kind, connections)
    return {
        "kind": kind,
        "url": running.url,
        "connections": [
            {
                "title": connection.title,
                "name": name,
                "owner": connection.owner,
                "settings": _revealed(connection.settings),
            }
            for connection, name in zip(connections, names, strict=True)
        ],
    }


def _revealed(settings: Mapping[str, str | SecretStr]) -> dict[str, str]:
    from pydantic import SecretStr

    return {
        field: value.get_secret_value() if isinstance(value, SecretStr) else value
        for field, value in settings.items()
    }
