"""``app``, ``apply`` and ``export`` of a server on another machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

import deploycore
from deploycore.cli.application import application_rows, say_accepted, show_applications
from deploycore.cli.application_changes import Edit, edit_command
from deploycore.cli.application_creation import NewApplication, create_command
from deploycore.cli.checks import Offline, naming_offline, warn_about
from deploycore.cli.confirmation import Yes, confirm, confirm_at_terminal
from deploycore.cli.declaration import change_as_dict, read_applications, say_change
from deploycore.cli.history import deployment_as_dict, show_deployments
from deploycore.cli.options import (
    ApplicationsOrAll,
    AsJson,
    DeclarationFile,
    DropDamaged,
    DryRun,
    EraseSecret,
    KeepWebhook,
    Purge,
    SecretFromStdin,
    SecretName,
    WithPreviews,
)
from deploycore.cli.output import (
    Column,
    printable,
    say,
    show_json,
    show_json_array,
    show_record,
)
from deploycore.cli.remote.connection import connected
from deploycore.cli.remote.records import deployment_of, in_utc
from deploycore.cli.usage import NounGroup
from deploycore.remote import RemoteServer
from deploycore.remote.server import error_of

if TYPE_CHECKING:
    from deploycore.applications.files import Change

__all__ = ["register"]

commands = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Manage applications.")

Name = Annotated[str, typer.Argument(help="Name of the application.", show_default=False)]
_APPLICATION = "/applications/{application}"


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(commands, name="app")
    application.command()(apply)
    application.command()(export)


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the applications."""
    with connected() as server:
        found = server.ask("GET", "/applications")["items"]
    parents = {each["name"]: each["preview_of"] for each in found if each["preview_of"]}
    listed = [_flat(each) for each in found]
    if as_json:
        show_json_array(
            each | ({"preview_of": parents[each["name"]]} if each["name"] in parents else {})
            for each in listed
        )
        return
    show_applications(listed, parents)


@commands.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show an application and its last deployments."""
    with connected() as server:
        view = server.ask("GET", _APPLICATION, application=name)
        _raise(view["problem"])
        query = {"application": name, "limit": 5}
        page = server.ask("GET", "/deployments", query=query)
    found, known = _flat(view), _repository_of(view)
    deployments = [*map(deployment_of, page["items"])]
    if as_json:
        shown = {"current": view["current"], "host_repository": known}
        listed = [*map(deployment_as_dict, deployments)]
        show_json(found | shown | {"deployments": listed})
        return
    rows = application_rows(found, current=view["current"], repository=known)
    show_record((Column(key), value) for key, value in rows.items())
    say("")
    show_deployments(deployments, f"No deployments yet. Make the first: deploycore deploy {name}")


@commands.command()
def remove(
    name: Name,
    purge: Purge = False,
    with_previews: WithPreviews = False,
    keep_webhook: KeepWebhook = False,
    force: DropDamaged = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove an application, but keep its releases, history and logs."""
    query = {
        "purge": purge,
        "with_previews": with_previews,
        "keep_webhook": keep_webhook,
        "force": force,
    }
    with connected() as server:
        plan = server.ask("GET", f"{_APPLICATION}/removal", query=query, application=name)
        parts = [f"  {each['part']:<9} {each['text']}" for each in plan["parts"]]
        lines = [f"This removes the application {name} from {server.url}:", *parts]
        confirm(f"Remove the application {name}", lines, yes=yes, as_json=as_json)
        done = server.ask("DELETE", _APPLICATION, query=query, application=name) or {}
    if as_json:
        show_json(_removal_as_dict(plan, done, purge=purge))
        return
    is_former = plan["is_former"]
    say(f"The history of {name} is erased." if is_former else f"Application {name} is removed.")
    if done.get("error"):
        _warn(f"The webhook could not be removed at the git host: {done['error']}")
    for each in done.get("remains", ()):
        _warn(f"Not removed; remove it yourself: {each}")


def _removal_as_dict(
    plan: Mapping[str, Any], done: Mapping[str, Any], *, purge: bool
) -> dict[str, Any]:
    """A removal as ``app remove --json`` prints it on the server's machine."""
    return {
        "application": plan["name"],
        "target": plan["target"],
        "releases": plan["releases"],
        "dropped": done.get("dropped", []),
        "deployments": plan["deployments"] + (plan["former"] if purge else 0),
        "history": "erased" if purge else "kept",
        "secrets": plan["secrets"],
        "webhook": plan["webhook"],
        "previews": plan["preview_details"],
        "remains": done.get("remains", []),
        "error": done.get("problem"),
    }


def _warn(text: str) -> None:
    print(printable(text), file=sys.stderr)


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
    with connected() as server, naming_offline(offline=offline):
        for is_dry in (True,) if dry_run else (True, False):
            query = {"dry_run": is_dry, "verify": is_dry and not offline}
            changes = [_put(server, each, query) for each in declared]
    if as_json:
        show_json_array(map(change_as_dict, changes))
        return
    for change in changes:
        say_change(change, dry_run=dry_run)


def _create(new: NewApplication) -> dict[str, Any]:
    fields = {
        "provider": new.provider,
        "repository": new.repository,
        "ref": new.ref,
        "target": str(new.target),
        **new.more,
    }
    query = {"verify": not new.offline, "revision": 0}
    with connected() as server, naming_offline(offline=new.offline):
        done = server.ask("PUT", _APPLICATION, query=query, body=fields, application=new.name)
    warn_about(new.name, done["warnings"])
    return _flat(done["application"])


def _edit(edit: Edit) -> Change:
    with connected() as server, naming_offline(offline=edit.offline):
        view = server.ask("GET", _APPLICATION, application=edit.name)
        after = edit.of({"name": view["name"], **view["declaration"]})
        query = {
            "verify": not edit.offline,
            "dry_run": edit.dry_run,
            "revision": view["revision"],
        }
        return _put(server, after.as_dict(), query)


commands.command("create")(create_command(_create))
commands.command("edit")(edit_command(_edit))


@commands.command()
def secret(
    name: Name,
    variable: SecretName,
    from_stdin: SecretFromStdin = False,
    remove: EraseSecret = False,
    yes: Yes = False,
) -> None:
    """Store the encrypted value of a variable, and declare it as {secret: stored}.

    Asks for the value at the terminal, unless you add --stdin. With --remove, the variable is
    removed from the application too.
    """
    from deploycore.cli.fields import read_secret

    path = f"{_APPLICATION}/environment/{{variable}}"
    with connected() as server:
        server.ask("GET", _APPLICATION, application=name)
        if remove:
            lines = [f"This removes the variable {variable} of {name}, with its stored value."]
            confirm_at_terminal(f"Remove the variable {variable}", lines, yes=yes)
            server.ask("DELETE", path, application=name, variable=variable)
        else:
            value = read_secret(variable, from_stdin=from_stdin)
            body = {"secret": value.get_secret_value()}
            server.ask("PUT", path, body=body, application=name, variable=variable)
    say(f"The variable {variable} is {'removed' if remove else 'stored, encrypted'}.")


@commands.command("accept-repository")
def accept_repository(name: Name) -> None:
    """Deploy from the new repository that now has the name of the application's repository.

    Use this if the repository was deleted and created again, or replaced by another one.
    """
    with connected() as server:
        done = server.ask("POST", f"{_APPLICATION}/accept-repository", application=name)
    say_accepted(name, done["repository"])


def _put(server: RemoteServer, declared: Mapping[str, Any], query: Mapping[str, Any]) -> Change:
    from deploycore.applications.files import Change

    name = declared["name"]
    body = {field: value for field, value in declared.items() if field != "name"}
    done = server.ask("PUT", _APPLICATION, query=query, body=body, application=name)
    if query.get("dry_run") or "revision" in query:
        warn_about(name, done["warnings"])
    fields = {path: (each["before"], each["after"]) for path, each in done["fields"].items()}
    return Change(name, done["change"], fields)


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
    """An application as ``app list`` prints it."""
    return in_utc(
        {"name": view["name"], **view["declaration"], "created_at": view["created_at"]},
        ("created_at",),
    )


def _raise(problem: Mapping[str, Any] | None) -> None:
    """Raise an error that the server describes, as it is raised on the server's machine."""
    if problem is not None:
        code, message, hint = problem["code"], problem["message"], problem["hint"]
        raise error_of(code, message, hint=hint, **problem["details"])


def _repository_of(view: Mapping[str, Any]) -> dict[str, Any] | None:
    """An application's repository at its host, as ``app show`` prints it."""
    known = view["host_repository"]
    return None if known is None else in_utc(known, ("renamed_at",))
