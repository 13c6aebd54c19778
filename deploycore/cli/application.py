"""``deploycore app``: say what is deployed where, and see what is live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploycore.cli.options import AsJson, parse_repository
from deploycore.cli.output import say, show_json, show_json_array, show_table
from deploycore.installation import Installation

if TYPE_CHECKING:
    from deploycore.store import ApplicationRecord, DeploymentRecord

__all__ = ["deployment_as_dict", "register"]

commands = typer.Typer(no_args_is_help=True, help="Say what to deploy where.")

Name = Annotated[str, typer.Argument(help="The application's name.", show_default=False)]


def register(application: typer.Typer) -> None:
    """Add this noun's commands."""
    application.add_typer(commands, name="app")


@commands.command()
def create(
    name: Annotated[str, typer.Argument(help="Your name for it.", show_default=False)],
    provider: Annotated[str, typer.Option("--provider", help="A configured provider.")],
    repository: Annotated[
        str, typer.Option("--repository", metavar="OWNER/REPOSITORY", help="What to deploy.")
    ],
    branch: Annotated[str, typer.Option("--branch", help="Which branch's newest commit.")],
    target: Annotated[
        Path, typer.Option("--target", help="Directory for releases/ and current; new or empty.")
    ],
    submodules: Annotated[bool, typer.Option("--submodules", help="With submodules.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create an application. Nothing is fetched yet."""
    with Installation() as installation:
        record = installation.add_application(
            name,
            provider=provider,
            repository=parse_repository(repository),
            branch=branch,
            target=target,
            submodules=submodules,
        )
    if as_json:
        show_json(_as_dict(record))
        return
    say(f"Application {name} is created. Deploy it: deploycore deploy {name}")


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the applications."""
    with Installation() as installation:
        records = installation.store.list_applications()
    if as_json:
        show_json_array(map(_as_dict, records))
        return
    show_table(
        ["NAME", "PROVIDER", "REPOSITORY", "BRANCH", "TARGET"],
        (
            [app.name, app.provider, f"{app.owner}/{app.slug}", app.branch, str(app.target)]
            for app in records
        ),
        empty="No applications yet. Create one: deploycore app create --help",
    )


@commands.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show an application, the release that is live, and its last deployments."""
    from deploycore.deploy import Releases

    with Installation() as installation:
        record = installation.store.get_application(name)
        deployments = installation.store.list_deployments(name, limit=5)
    current = Releases(record.target).current
    if as_json:
        show_json(
            _as_dict(record)
            | {
                "current": str(current) if current else None,
                "deployments": [deployment_as_dict(deployment) for deployment in deployments],
            }
        )
        return
    rows = {key: str(value) for key, value in _as_dict(record).items()}
    rows["current"] = str(current) if current else "(nothing is deployed yet)"
    show_table(["FIELD", "VALUE"], ([key, value] for key, value in rows.items()), empty="")
    say("")
    show_table(
        ["DEPLOYMENT", "STARTED", "STATE", "COMMIT", "ERROR"],
        (
            [
                str(deployment.id),
                f"{deployment.started_at:%Y-%m-%d %H:%M:%S}",
                deployment.state,
                (deployment.commit or "")[:12],
                deployment.error or "",
            ]
            for deployment in deployments
        ),
        empty=f"No deployments yet. Make the first: deploycore deploy {name}",
    )


@commands.command()
def remove(name: Name) -> None:
    """Forget an application and its history; its releases stay on disk."""
    with Installation() as installation:
        record = installation.store.get_application(name)
        installation.store.remove_application(name)
    say(f"Application {name} is removed. Its releases are still in {record.target}.")


def deployment_as_dict(record: DeploymentRecord) -> dict[str, Any]:
    """A deployment as machines read it."""
    return {
        "id": record.id,
        "application": record.application,
        "state": record.state,
        "commit": record.commit,
        "release": record.release,
        "started_at": record.started_at.isoformat(),
        "finished_at": record.finished_at and record.finished_at.isoformat(),
        "error_code": record.error_code,
        "error": record.error,
        "requested_by": record.requested_by,
    }


def _as_dict(record: ApplicationRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "provider": record.provider,
        "repository": f"{record.owner}/{record.slug}",
        "branch": record.branch,
        "target": str(record.target),
        "submodules": record.submodules,
        "created_at": record.created_at.isoformat(),
    }
