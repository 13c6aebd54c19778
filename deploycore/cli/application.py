"""``deploycore app``: create, edit, list, show and remove applications."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import deploycore
from deploycore.cli import application_changes
from deploycore.cli.application_fields import read_shared, read_variable
from deploycore.cli.checks import Offline, naming_offline, say_warnings
from deploycore.cli.confirmation import Yes, confirm, confirm_at_terminal
from deploycore.cli.history import deployment_as_dict, show_deployments
from deploycore.cli.listing import read_listing
from deploycore.cli.options import AsJson, KeepWebhook, WithPreviews
from deploycore.cli.output import Column, say, show_json, show_json_array, show_record, show_table
from deploycore.cli.removal import removal_as_dict, removal_lines, say_removed
from deploycore.cli.usage import NounGroup
from deploycore.cli.waiting import telling_of_waits
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from deploycore.store import ApplicationRecord, PreviewRecord, RepositoryRecord
    from deploycore.store.listing import Listing

__all__ = ["register"]

commands = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Manage applications.")

Name = Annotated[str, typer.Argument(help="Name of the application.", show_default=False)]
Lines = list[str] | None


def register(application: typer.Typer) -> None:
    """Add the commands of ``app``."""
    application.add_typer(commands, name="app")


@commands.command()
def create(
    name: Annotated[str, typer.Argument(help="Name for the application.", show_default=False)],
    provider: Annotated[str, typer.Option("--provider", help="Name of a configured provider.")],
    repository: Annotated[
        str,
        typer.Option(
            "--repository",
            metavar="OWNER/REPOSITORY",
            help="Repository to deploy, or its URL.",
        ),
    ],
    ref: Annotated[
        str, typer.Option("--ref", "--branch", help="Branch, tag or full commit hash to deploy.")
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--target",
            help="New or empty directory to deploy to; it gets releases/, shared/ and current.",
        ),
    ],
    submodules: Annotated[bool, typer.Option("--submodules", help="Fetch submodules.")] = False,
    credentials: Annotated[
        Lines,
        typer.Option(
            metavar="NAME",
            help="Another provider, whose credentials serve submodules at its own host."
            " Repeatable.",
        ),
    ] = None,
    lfs: Annotated[bool, typer.Option("--lfs", help="Download Git LFS files.")] = False,
    hard_link: Annotated[
        bool,
        typer.Option(
            "--hard-link",
            help="Hard-link unchanged files between releases instead of copying them. Faster. Use"
            " it only if nothing writes into releases.",
        ),
    ] = False,
    shared: Annotated[
        Lines,
        typer.Option(
            help="Path that all releases share: a file, or a directory if it ends with /."
            " Repeatable."
        ),
    ] = None,
    env: Annotated[
        Lines,
        typer.Option(
            help="Variable for steps: NAME=VALUE. For a secret: NAME=@env:VARIABLE,"
            " NAME=@file:/PATH or NAME=@stored. Repeatable."
        ),
    ] = None,
    build: Annotated[
        Lines, typer.Option(help="Command to run in each new release. Repeatable.")
    ] = None,
    before_activate: Annotated[
        Lines, typer.Option(help="Command to run before a release becomes live. Repeatable.")
    ] = None,
    after_activate: Annotated[
        Lines, typer.Option(help="Command to run after a release became live. Repeatable.")
    ] = None,
    health_url: Annotated[
        str | None,
        typer.Option(
            help="URL that must answer with a status of 200 to 299 after a release became live."
        ),
    ] = None,
    keep: Annotated[int, typer.Option(help="Number of releases to keep.", min=2)] = 5,
    watch: Annotated[
        Lines,
        typer.Option(
            help="Deploy only if a changed file matches this pattern (.gitignore syntax)."
            " Repeatable."
        ),
    ] = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Create an application, without deploying it.

    Checks at the git host that the repository and the ref exist. An application has more fields
    than there are options here: write them into a file, and run deploycore apply.
    """
    more: dict[str, Any] = {
        "submodules": submodules,
        "credentials": credentials or [],
        "lfs": lfs,
        "reuse": "hard-link" if hard_link else "copy",
        "shared": read_shared(shared or ()),
        "environment": dict(map(read_variable, env or ())),
        "steps": {
            "build": build or [],
            "before_activate": before_activate or [],
            "after_activate": after_activate or [],
        },
        "keep": keep,
        "watch": watch or [],
    }
    if health_url:
        more["health_check"] = {"url": health_url}
    with (
        deploycore.Installation() as installation,
        telling_of_waits(),
        naming_offline(offline=offline),
    ):
        record = installation.add_application(
            name,
            provider=provider,
            repository=repository,
            ref=ref,
            target=target,
            verify=not offline,
            **more,
        )
    say_warnings(record.definition)
    if as_json:
        show_json(_as_dict(record))
        return
    if record.definition.repository != repository:
        say(f"The repository is {record.definition.repository}.")
    say(f"Application {name} is created. Deploy it: deploycore deploy {name}")


commands.command()(application_changes.edit)


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the applications."""
    listed = None if as_json else read_listing(_listed)
    if listed is None:
        with deploycore.Installation() as installation:
            records = installation.store.list_applications()
            previews = installation.store.previews.list()
        rows = [_row(vars(each.definition)) for each in records]
    else:
        rows, previews = listed
    parents = {each.name: each.parent for each in previews}
    if as_json:
        show_json_array(
            _as_dict(each) | ({"preview_of": parents[each.name]} if each.name in parents else {})
            for each in records
        )
        return
    columns = [
        Column("NAME"),
        Column("PROVIDER", drop=2),
        Column("REPOSITORY"),
        Column("REF"),
        Column("TARGET", drop=1),
    ]
    if parents:
        columns.append(Column("PREVIEW OF", drop=3))
        for row in rows:
            row.append(parents.get(row[0], ""))
    show_table(
        columns,
        rows,
        empty="No applications yet. Create one: deploycore app create --help",
    )


def _listed(listing: Listing) -> tuple[list[list[str]], Sequence[PreviewRecord]]:
    return [_row(each) for each in listing.definitions()], listing.previews()


def _row(definition: Mapping[str, Any]) -> list[str]:
    names = ("name", "provider", "repository", "ref", "target")
    return [str(definition[name]) for name in names]


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
    rows = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in _as_dict(record).items()
    }
    rows["created_at"] = for_people(record.created_at)
    rows["current"] = str(current) if current else "(nothing is deployed yet)"
    if known is not None and known.renamed_at is not None and known.former_names:
        rows["repository"] += f" (renamed from {known.former_names[0]})"
    if known is not None and known.other_host_id is not None:
        rows["repository"] += " (another repository has this name now; deployments fail)"
    show_record((Column(key), value) for key, value in rows.items())
    say("")
    show_deployments(deployments, f"No deployments yet. Make the first: deploycore deploy {name}")


@commands.command()
def secret(
    name: Name,
    variable: Annotated[str, typer.Argument(help="Name of the variable.", show_default=False)],
    from_stdin: Annotated[
        bool, typer.Option("--stdin", help="Read the value from standard input.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Erase the stored value.")] = False,
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
    say(f"The next deployment of {name} uses the repository that is named {repository} then.")


@commands.command()
def remove(
    name: Name,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge",
            help="Erase the history and logs too. Also works if the application was removed"
            " before.",
        ),
    ] = False,
    with_previews: WithPreviews = False,
    keep_webhook: KeepWebhook = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Delete damaged records of unfinished deployments too."),
    ] = False,
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
