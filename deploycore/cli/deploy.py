"""``deploycore deploy``: an application's newest commit becomes the live release."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from deploycore.cli.application import deployment_as_dict
from deploycore.cli.options import AsJson
from deploycore.cli.output import say, show_json
from deploycore.cli.progress import cancelled_by_signals, reporting
from deploycore.installation import Installation

__all__ = ["register"]


def register(application: typer.Typer) -> None:
    """Add this noun's command."""
    application.command()(deploy)


def deploy(
    application: Annotated[str, typer.Argument(help="The application's name.")],
    hard_link: Annotated[
        bool,
        typer.Option(
            "--hard-link",
            help="Share unchanged files with the live release: faster, but only for releases"
            " that nothing writes into.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Deploy the newest commit of an application's branch."""
    with (
        Installation() as installation,
        cancelled_by_signals() as cancellation,
        reporting(silent=as_json) as reporter,
    ):
        target = installation.store.get_application(application).target
        done = installation.deploy(
            application,
            requested_by=_person(),
            reuse="hard-link" if hard_link else "copy",
            progress=lambda step: reporter.show(step.phase, step.git),
            cancellation=cancellation,
        )
    if as_json:
        show_json(deployment_as_dict(done) | {"current": str(target / "current")})
        return
    seconds = (done.finished_at - done.started_at).total_seconds() if done.finished_at else 0.0
    say(f"Deployed {application}: commit {(done.commit or '')[:12]} in {seconds:.1f} s")
    say(f"  live at {target / 'current'} -> releases/{done.release}")


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""  # a container may run as a user that has no name
