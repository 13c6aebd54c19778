"""``deploycore app``: create, edit, list, show and remove applications."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

import deploycore
from deploycore.cli.application_changes import edit_command, edit_here
from deploycore.cli.application_creation import NewApplication, create_command
from deploycore.cli.checks import naming_offline, say_warnings
from deploycore.cli.confirmation import Yes, confirm, confirm_at_terminal
from deploycore.cli.history import deployment_as_dict, show_deployments
from deploycore.cli.listing import read_listing
from deploycore.cli.options import (
    AsJson,
    DropDamaged,
    EraseSecret,
    KeepWebhook,
    Purge,
    SecretFromStdin,
    SecretName,
    WithPreviews,
)
from deploycore.cli.output import Column, say, show_json, show_json_array, show_record, show_table
from deploycore.cli.removal import removal_as_dict, removal_lines, say_removed
from deploycore.cli.usage import NounGroup
from deploycore.cli.waiting import telling_of_waits
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from deploycore.store import ApplicationRecord, PreviewRecord, RepositoryRecord
    from deploycore.store.listing import Listing

__all__ = ["application_rows", "register", "say_accepted", "show_applications"]

commands = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Manage applications.")

Name = Annotated[str, typer.Argument(help="Name of the application.", show_default=False)]


def register(application: typer.Typer) -> None:
    """Add the commands of ``app``."""
    application.add_typer(commands, name="app")


def _create(new: NewApplication) -> dict[str, Any]:
    with (
        deploycore.Installation() as installation,
        telling_of_waits(),
        naming_offline(offline=new.offline),
    ):
        record = installation.add_application(
            new.name,
            provider=new.provider,
            repository=new.repository,
            ref=new.ref,
            target=new.target,
            verify=not new.offline,
            **new.more,
        )
    say_warnings(record.definition)
    return _as_dict(record)


commands.command("create")(create_command(_create))
commands.command("edit")(edit_command(edit_here))


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the applications."""
    listed = None if as_json else read_listing(_listed)
    if listed is None:
        with deploycore.Installation() as installation:
            records = installation.store.list_applications()
            previews = installation.store.previews.list()
        rows: list[Mapping[str, Any]] = [vars(each.definition) for each in records]
    else:
        rows, previews = listed
    parents = {each.name: each.parent for each in previews}
    if as_json:
        show_json_array(
            _as_dict(each) | ({"preview_of": parents[each.name]} if each.name in parents else {})
            for each in records
        )
        return
    show_applications(rows, parents)


def show_applications(
    applications: Iterable[Mapping[str, Any]], parents: Mapping[str, str] | None = None
) -> None:
    """Print a table of applications.

    Args:
        applications: The definitions.
        parents: The applications that previews are of, by the names of the previews.
    """
    columns = [
        Column("NAME"),
        Column("PROVIDER", drop=2),
        Column("REPOSITORY"),
        Column("REF"),
        Column("TARGET", drop=1),
    ]
    names = ("name", "provider", "repository", "ref", "target")
    rows = [[str(each[name]) for name in names] for each in applications]
    if parents:
        columns.append(Column("PREVIEW OF", drop=3))
        for row in rows:
            row.append(parents.get(row[0], ""))
    show_table(
        columns,
        rows,
        empty="No applications yet. Create one: deploycore app create --help",
    )


def _listed(listing: Listing) -> tuple[list[Mapping[str, Any]], Sequence[PreviewRecord]]:
    return [*listing.definitions()], listing.previews()


@commands.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show an application, its live release and its last deployments."""
    from deploycore.deploy import Releases

    with deploycore.Installation() as installation:
        record = installation.store.get_application(name)
        deployments = installation.store.deployments.list(name, limit=5)
        known = installation.store.repositories.find(record.definition)
    current = Releases(record.definition.target).current
    if as_json:
        show_json(
            _as_dict(record)
            | {
                "current": str(current) if current else None,
                "host_repository": _repository_as_dict(known),
                "deployments": [deployment_as_dict(deployment) for deployment in deployments],
            }
        )
        return
    rows = application_rows(
        _as_dict(record),
        current=str(current) if current else None,
        repository=_repository_as_dict(known),
    )
    show_record((Column(key), value) for key, value in rows.items())
    say("")
    show_deployments(deployments, f"No deployments yet. Make the first: deploycore deploy {name}")


def application_rows(
    application: Mapping[str, Any], *, current: str | None, repository: Mapping[str, Any] | None
) -> dict[str, str]:
    """Return the fields of an application as ``app show`` prints them.

    Args:
        application: The fields, as ``--json`` prints them.
        current: The directory of the live release.
        repository: The repository's identity at its host, as ``--json`` prints it.
    """
    rows = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in application.items()
    }
    rows["created_at"] = for_people(datetime.fromisoformat(application["created_at"]))
    rows["current"] = current or "(nothing is deployed yet)"
    if repository and repository["renamed_at"] is not None and repository["former_names"]:
        rows["repository"] += f" (renamed from {repository['former_names'][0]})"
    if repository and repository["replaced_by"] is not None:
        rows["repository"] += " (another repository has this name now; deployments fail)"
    return rows


@commands.command()
def secret(
    name: Name,
    variable: SecretName,
    from_stdin: SecretFromStdin = False,
    remove: EraseSecret = False,
    yes: Yes = False,
) -> None:
    """Store the encrypted value of a variable that is declared as {secret: stored}.

    Asks for the value at the terminal, unless you add --stdin.
    """
    from deploycore.cli.fields import read_secret

    with deploycore.Installation() as installation:
        application = installation.store.get_application(name)
        if remove:
            lines = [f"This erases the stored value of {variable}. Deployments of {name} need it."]
            confirm_at_terminal(f"Erase the value of {variable}", lines, yes=yes)
        value = None if remove else read_secret(variable, from_stdin=from_stdin)
        installation.keep_application_secret(name, variable, value)
    say(f"The value of {variable} is {'erased' if remove else 'stored, encrypted'}.")
    if not remove and variable not in application.definition.environment:
        say(f"  {name} does not use it yet. Declare it: {variable}: {{secret: stored}}")


@commands.command("accept-repository")
def accept_repository(name: Name) -> None:
    """Deploy from the new repository that now has the name of the application's repository.

    Use this if the repository was deleted and created again, or replaced by another one.
    """
    with deploycore.Installation() as installation:
        installation.store.repositories.forget(name)
        repository = installation.store.get_application(name).definition.repository
    say_accepted(name, repository)


def say_accepted(name: str, repository: str) -> None:
    """Print that an application deploys from another repository with the same name."""
    say(f"The next deployment of {name} uses the repository that is named {repository} then.")


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
    """Remove an application, but keep its releases, history and logs.

    Also removes its webhook at the git host. If that fails, the application is removed anyway, and
    the command prints what remains at the host.
    """
    with deploycore.Installation() as installation:
        plan = installation.removals.plan(name, purge=purge, force=force)
        lines = removal_lines(
            plan, purge=purge, with_previews=with_previews, keep_webhook=keep_webhook
        )
        confirm(f"Remove the application {name}", lines, yes=yes, as_json=as_json)
        with telling_of_waits(interruptible=False):
            done = installation.removals.remove(
                name,
                purge=purge,
                end_previews=with_previews,
                keep_webhook=keep_webhook,
                force=force,
            )
    if as_json:
        show_json(removal_as_dict(done, purge=purge))
        return
    say_removed(done, purge=purge)


def _as_dict(record: ApplicationRecord) -> dict[str, Any]:
    definition = record.definition
    return {
        "name": definition.name,
        "provider": definition.provider,
        "repository": definition.repository,
        "ref": definition.ref,
        "target": str(definition.target),
        **definition.as_dict(),
        "created_at": for_machines(record.created_at),
    }


def _repository_as_dict(known: RepositoryRecord | None) -> dict[str, Any] | None:
    """Return the repository's identity at its host, as printed with ``--json``."""
    if known is None:
        return None
    return {
        "host_id": known.host_id,
        "former_names": list(known.former_names),
        "renamed_at": known.renamed_at and for_machines(known.renamed_at),
        "replaced_by": known.other_host_id,
    }
