"""The command lines of ``deploycore deploy`` and ``deploycore rollback``."""

from __future__ import annotations

from typing import Annotated

import typer

from deploycore.cli.deploying import PARALLEL, deploy_applications, roll_back
from deploycore.cli.options import AsJson, DeployAll, Deployed, Force, RollbackTo

__all__ = ["register"]

NoWait = Annotated[
    bool,
    typer.Option(
        "--no-wait",
        help="Fail if another deployment of the application is running, instead of waiting.",
    ),
]


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.command()(deploy)
    application.command()(rollback)


def deploy(
    applications: Deployed = None,
    all_: DeployAll = False,
    parallel: Annotated[
        int,
        typer.Option("--parallel", min=1, max=64, help="Maximum number of deployments at once."),
    ] = PARALLEL,
    force: Force = False,
    if_changed: Annotated[
        bool,
        typer.Option("--if-changed", help="Deprecated: this is the default.", hidden=True),
    ] = False,
    hard_link: Annotated[
        bool,
        typer.Option(
            "--hard-link",
            help="Hard-link unchanged files of the live release instead of copying them. Faster."
            " Use it only if nothing writes into releases.",
        ),
    ] = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Deploy the newest commit of one or more applications.

    Skips a commit that is already live, unless the application's definition or a secret of its
    variables has changed since.

    With --json, prints one JSON object per line for each event. The last line is the result.
    """
    deploy_applications(
        applications,
        all_=all_,
        parallel=parallel,
        force=force,
        if_changed=if_changed,
        hard_link=hard_link,
        no_wait=no_wait,
        as_json=as_json,
    )


def rollback(
    application: Annotated[str, typer.Argument(help="Name of the application.")],
    to: RollbackTo = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Roll back to a previous release, without contacting the git host."""
    roll_back(application, to=to, no_wait=no_wait, as_json=as_json)
