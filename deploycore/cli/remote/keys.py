"""``key`` of a server on another machine."""

from __future__ import annotations

from typing import Any

import typer

from deploycore.cli.confirmation import Yes
from deploycore.cli.key import (
    KeepAtHost,
    LeftOver,
    Name,
    Of,
    Repositories,
    Type,
    confirm_removal,
    explaining_removal,
    key_command,
    say_removed,
    show_keys,
    show_outcome,
)
from deploycore.cli.options import AsJson
from deploycore.cli.remote.connection import connected
from deploycore.cli.remote.records import in_utc
from deploycore.cli.usage import NounGroup
from deploycore.errors import ConfigurationError, NotFound
from deploycore.remote import RemoteServer

__all__ = ["register"]

_TIMES = ("created_at",)
_PLACES = {
    "application": "/applications/{application}",
    "provider": "/providers/{provider}",
}


def register(application: typer.Typer) -> None:
    """Add the commands of ``key``."""
    noun = typer.Typer(
        cls=NounGroup,
        no_args_is_help=True,
        help="Manage deploy keys: SSH keys that can read a repository and nothing else.",
    )
    for command in (create, list_, rotate, remove):
        noun.command(command.__name__.rstrip("_"))(command)
    application.add_typer(noun, name="key")


def create(
    name: Name,
    of: Of = None,
    type_: Type = None,
    repository: Repositories = None,
    as_json: AsJson = False,
) -> None:
    """Make an SSH key on the server, and register it at the git host.

    The private key never leaves the server. Git uses the key of an application to read the
    application's repository, in place of the provider's credentials. If these credentials cannot
    register keys, the command prints the public key. Add it at the git host, and run the command
    again.
    """
    _bring("create", name, of, type_, repository, as_json=as_json)


def rotate(
    name: Name,
    of: Of = None,
    type_: Type = None,
    repository: Repositories = None,
    as_json: AsJson = False,
) -> None:
    """Replace an SSH key. Git uses the previous key until the new one can read the repository.

    If the command fails, run it again.
    """
    _bring("rotate", name, of, type_, repository, as_json=as_json)


def list_(as_json: AsJson = False) -> None:
    """List SSH keys and their states.

    Keys that were replaced are listed until the git host has removed them.
    """
    with connected() as server:
        found = [in_utc(each, _TIMES) for each in server.ask("GET", "/deploy-keys")["items"]]
    show_keys(found, as_json=as_json)


def remove(
    name: Name,
    of: Of = None,
    left_over: LeftOver = False,
    keep_at_host: KeepAtHost = False,
    yes: Yes = False,
) -> None:
    """Remove the SSH keys of an application or a provider, on the server and at the git host.

    If the git host does not remove a key, the server keeps it too.
    """
    with connected() as server:
        noun = of or _noun(server, name)
        confirm_removal(name, noun, left_over=left_over, keep_at_host=keep_at_host, yes=yes)
        query = {"left_over": left_over, "keep_at_host": keep_at_host}
        path = f"{_PLACES[noun]}/deploy-keys"
        with explaining_removal(name, of, left_over=left_over):
            done = server.ask("DELETE", path, query=query, **_whose(noun, name))
    say_removed(name, done["remains"], left_over=left_over)


def _bring(
    verb: str,
    name: str,
    of: str | None,
    kind: str | None,
    repositories: list[str] | None,
    *,
    as_json: bool,
) -> None:
    """Create or replace a key."""
    body: dict[str, Any] = {"type": kind}
    with connected() as server:
        noun = of or _noun(server, name)
        if noun == "provider":
            body["repositories"] = repositories or []
        path = f"{_PLACES[noun]}/deploy-keys{'/rotate' if verb == 'rotate' else ''}"
        done = server.ask("POST", path, body=body, **_whose(noun, name))
    done = {**done, "key": in_utc(done["key"], _TIMES)}
    show_outcome(done, key_command(verb, name, of, repositories), name, of, as_json=as_json)


def _noun(server: RemoteServer, name: str) -> str:
    """Return what has a name: an application or a provider.

    Raises:
        ConfigurationError: Nothing has it, or both have it.
    """
    found = [noun for noun, path in _PLACES.items() if _exists(server, path, noun, name)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigurationError(
            f"There is no application and no provider named {name!r}.",
            hint="List the applications: deploycore app list (or the providers: deploycore"
            " provider list)",
            name=name,
        )
    raise ConfigurationError(
        f"Both an application and a provider are named {name!r}.",
        hint="Add --of application or --of provider.",
        name=name,
    )


def _exists(server: RemoteServer, path: str, noun: str, name: str) -> bool:
    try:
        server.ask("GET", path, **_whose(noun, name))
    except (ConfigurationError, NotFound):
        return False
    return True


def _whose(noun: str, name: str) -> dict[str, Any]:
    """The parameter of a path that names the application or the provider."""
    return {noun: name}
