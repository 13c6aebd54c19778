"""``app``, ``apply`` and ``export`` of a server on another machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

import deploycore
from deploycore.cli.checks import Offline
from deploycore.cli.confirmation import Yes, confirm
from deploycore.cli.declaration import read_applications
from deploycore.cli.history import deployment_as_dict, show_deployments
from deploycore.cli.options import (
    ApplicationsOrAll,
    AsJson,
    DeclarationFile,
    DryRun,
    KeepWebhook,
    WithPreviews,
)
from deploycore.cli.output import (
    Column,
    printable,
    say,
    show_json,
    show_json_array,
    show_record,
    show_table,
)
from deploycore.cli.remote.connection import connected
from deploycore.cli.remote.records import deployment_of
from deploycore.cli.usage import NounGroup
from deploycore.remote import RemoteServer

__all__ = ["register"]

commands = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Manage applications.")

Name = Annotated[str, typer.Argument(help="Name of the application.", show_default=False)]
_APPLICATION = "/applications/{application}"
_DONE = {"create": "created", "change": "changed", "unchanged": "unchanged"}
_WOULD = {"create": "would be created", "change": "would be changed", "unchanged": "unchanged"}


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(commands, name="app")
    application.command()(apply)
    application.command()(export)


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the applications."""
    with connected() as server:
        found = [_flat(each) for each in server.ask("GET", "/applications")["items"]]
    if as_json:
        show_json_array(found)
        return
    names = ("name", "provider", "repository", "ref", "target")
    columns = ("APPLICATION", "PROVIDER", "REPOSITORY", "REF", "TARGET")
    show_table(
        [Column(title, drop=drop) for title, drop in zip(columns, (0, 1, 0, 0, 2), strict=True)],
        ([str(each[name]) for name in names] for each in found),
        empty="No applications yet. Create one: deploycore apply FILE",
    )


@commands.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show an application and its last deployments."""
    with connected() as server:
        found = _flat(server.ask("GET", _APPLICATION, application=name))
        query = {"application": name, "limit": 5}
        page = server.ask("GET", "/deployments", query=query)
    deployments = [*map(deployment_of, page["items"])]
    if as_json:
        show_json(found | {"deployments": [*map(deployment_as_dict, deployments)]})
        return
    show_record(
        (Column(key), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for key, value in found.items()
    )
    say("")
    show_deployments(deployments, f"No deployments yet. Make the first: deploycore deploy {name}")


@commands.command()
def remove(
    name: Name,
    purge: Annotated[bool, typer.Option("--purge", help="Erase the history and logs too.")] = False,
    with_previews: WithPreviews = False,
    keep_webhook: KeepWebhook = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove an application, but keep its releases, history and logs."""
    with connected() as server:
        history = "erased for good" if purge else "kept"
        lines = [
            f"This removes the application {name} from {server.url}.",
            f"Its releases stay on disk. Its history and logs are {history}.",
        ]
        confirm(f"Remove the application {name}", lines, yes=yes, as_json=as_json)
        query = {"purge": purge, "with_previews": with_previews, "keep_webhook": keep_webhook}
        done = server.ask("DELETE", _APPLICATION, query=query, application=name) or {}
    if as_json:
        show_json({"application": name, "history": "erased" if purge else "kept", **done})
        return
    say(f"Application {name} is removed.")
    for each in done.get("remains", ()):
        print(printable(f"Not removed; remove it yourself: {each}"), file=sys.stderr)


def apply(
    file: DeclarationFile,
    dry_run: DryRun = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Create or update applications from a file, without deploying them.

    The server checks all of them first. If anything is invalid, nothing is changed. Applications
    that are not in the file stay as they are.
    """
    declared = [each.as_dict() for each in read_applications(file)]
    with connected() as server:
        for is_dry in (True,) if dry_run else (True, False):
            query = {"dry_run": is_dry, "verify": is_dry and not offline}
            changes = [_put(server, each, query) for each in declared]
    if as_json:
        show_json_array(changes)
        return
    words = _WOULD if dry_run else _DONE
    for change in changes:
        say(f"{change['application']}: {words[change['change']]}")


def _put(
    server: RemoteServer, declared: Mapping[str, Any], query: Mapping[str, Any]
) -> dict[str, Any]:
    name = declared["name"]
    body = {field: value for field, value in declared.items() if field != "name"}
    done = server.ask("PUT", _APPLICATION, query=query, body=body, application=name)
    return {"application": name, "change": done["change"]}


def export(
    names: ApplicationsOrAll = None,
) -> None:
    """Print applications as a YAML file for deploycore apply, without secrets."""
    from deploycore.applications.application import parse_application

    with connected() as server:
        if names:
            found = [server.ask("GET", _APPLICATION, application=name) for name in names]
        else:
            found = server.ask("GET", "/applications")["items"]
    declared = [parse_application({**each["declaration"], "name": each["name"]}) for each in found]
    typer.echo(deploycore.render_declaration(declared), nl=False)


def _flat(view: Mapping[str, Any]) -> dict[str, Any]:
    """An application as ``app show`` prints it."""
    return {"name": view["name"], **view["declaration"], "created_at": view["created_at"]}
