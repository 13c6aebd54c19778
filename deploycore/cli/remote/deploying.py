"""``deploy`` and ``rollback`` on a server's machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from deploycore.cli.choice import choose_applications
from deploycore.cli.deploying import finished_as_dict
from deploycore.cli.history import print_log_line
from deploycore.cli.options import AsJson, DeployAll, Deployed, Force, RollbackTo
from deploycore.cli.output import say, show_error, show_json_line
from deploycore.cli.remote.connection import connected
from deploycore.cli.remote.history import LOOK_SECONDS, follow_log
from deploycore.cli.remote.records import deployment_of
from deploycore.deployment_records import DeploymentRecord, state_name
from deploycore.errors import ConfigurationError
from deploycore.remote import RemoteServer
from deploycore.remote.server import error_of

__all__ = ["register"]

_TOLD_AFTER_SECONDS = 5.0

NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Print the request, and do not wait until it has ended.")
]


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.command()(deploy)
    application.command()(rollback)


def deploy(
    applications: Deployed = None,
    all_: DeployAll = False,
    force: Force = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Deploy the newest commit of one or more applications on the server's machine.

    A worker of the server deploys them. The command prints the log until the deployments end. If
    you stop it with Ctrl-C, the deployments continue.
    """
    with connected() as server:
        names = _chosen(server, applications or [], everything=all_)
        path = "/applications/{application}/deployments"
        triggers = [
            server.ask("POST", path, body={"force": force}, application=name) for name in names
        ]
        if no_wait:
            for trigger in triggers:
                _tell_requested(trigger, as_json=as_json)
            return
        codes = [_awaited(server, trigger, as_json=as_json) for trigger in triggers]
    if any(codes):
        raise typer.Exit(next(filter(None, codes)))


def rollback(
    application: Annotated[str, typer.Argument(help="Name of the application.")],
    to: RollbackTo = None,
    as_json: AsJson = False,
) -> None:
    """Roll back to a previous release on the server's machine, without contacting the git host."""
    with connected() as server:
        path = "/applications/{application}/rollback"
        begun = server.ask("POST", path, body={"to": to}, application=application)
        code = _finished(server, begun["id"], as_json=as_json)
    if code:
        raise typer.Exit(code)


def _chosen(server: RemoteServer, names: Sequence[str], *, everything: bool) -> Sequence[str]:
    return choose_applications(
        names,
        everything=everything,
        list_names=lambda: [each["name"] for each in server.ask("GET", "/applications")["items"]],
        check=lambda named: _refuse_unknown(server, named),
    )


def _refuse_unknown(server: RemoteServer, names: Sequence[str]) -> None:
    """Raise the server's error for names that do not exist; it names all of them."""
    unknown = []
    for name in dict.fromkeys(names):
        try:
            server.ask("GET", "/applications/{application}", application=name)
        except ConfigurationError as error:
            unknown.append(error)
    if unknown:
        unknown[0].message = " ".join(each.message for each in unknown)
        unknown[0].args = (unknown[0].message,)
        raise unknown[0]


def _tell_requested(trigger: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json_line(trigger)
    else:
        say(f"The deployment of {trigger['application']} is requested.")


def _awaited(server: RemoteServer, trigger: dict[str, Any], *, as_json: bool) -> int:
    """Wait for the result of a request, and return its exit code."""
    began, is_told = time.monotonic(), False
    with _going_on(trigger["application"]):
        while trigger["settled_at"] is None and trigger["deployment"] is None:
            if not is_told and time.monotonic() - began > _TOLD_AFTER_SECONDS:
                is_told = True
                print(f"{trigger['application']}: waiting for a worker …", file=sys.stderr)
            time.sleep(LOOK_SECONDS)
            trigger = server.ask("GET", "/triggers/{trigger}", trigger=trigger["id"])
    if trigger["deployment"] is None:
        name = trigger["application"]
        message = f"The deployment of {name} was requested, but could not start."
        hint = "Find the reason: deploycore doctor"
        error = error_of(trigger["error_code"] or "", message, hint=hint, application=name)
        show_error(error, as_json=as_json, application=name)
        return error.exit_code
    return _finished(server, trigger["deployment"], as_json=as_json)


def _finished(server: RemoteServer, number: int, *, as_json: bool) -> int:
    """Print a deployment's log until it has ended, then its outcome; return its exit code."""
    path = "/deployments/{deployment}"
    name = server.ask("GET", path, deployment=number)["application"]
    with _going_on(name):
        for line in follow_log(server, number, follow=True):
            if as_json:
                show_json_line(_event_of(line, number, name))
            else:
                print_log_line(line, as_json=False)
    done = deployment_of(server.ask("GET", path, deployment=number))
    if done.error_code is None:
        _tell(server, done, as_json=as_json)
        return 0
    error = error_of(
        done.error_code,
        done.error or f"The deployment {done.id} of {name} ended as {state_name(done.state)}.",
        hint=f"See its log: deploycore --server {server.url} logs {done.id}",
        application=name,
        deployment=done.id,
    )
    show_error(error, as_json=as_json, application=name)
    return error.exit_code


def _event_of(line: Mapping[str, Any], deployment: int, application: str) -> dict[str, Any]:
    """A line of a log, as ``deploy --json`` prints what happens on the server's machine."""
    return {
        "event": line["kind"],
        "deployment": deployment,
        "application": application,
        "at": line["at"],
        "phase": line["phase"],
        "text": line["text"],
    }


def _tell(server: RemoteServer, done: DeploymentRecord, *, as_json: bool) -> None:
    if as_json:
        path = "/applications/{application}"
        found = server.ask("GET", path, application=done.application)["declaration"]
        show_json_line(finished_as_dict(done, Path(found["target"])))
        return
    commit = (done.commit or "unknown")[:12]
    if done.state == "skipped":
        say(f"Skipped {done.application}: commit {commit} is already live.")
    else:
        what = "Rolled back" if done.kind == "rollback" else "Deployed"
        say(f"{what} {done.application}: commit {commit}, release {done.release}")


@contextmanager
def _going_on(application: str) -> Iterator[None]:
    """At an interrupt, print that the server continues."""
    try:
        yield
    except KeyboardInterrupt:
        print(
            f"The deployment of {application} goes on. To stop it: deploycore cancel {application}",
            file=sys.stderr,
        )
        raise
