"""``deployments``, ``show``, ``logs``, ``cancel`` and ``recover`` of a server elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import typer

from deploycore.cli.history import (
    deployment_as_dict,
    find_deployment,
    print_deployment,
    print_log_line,
    say_canceled,
    show_deployments,
)
from deploycore.cli.options import ApplicationOrAll, AsJson, DeploymentNumber, Follow, HistoryLimit
from deploycore.cli.output import show_json_array
from deploycore.cli.remote.connection import connected
from deploycore.cli.remote.records import deployment_of
from deploycore.deployment_records import DeploymentRecord
from deploycore.remote import RemoteServer

__all__ = ["follow_log", "register"]

LOOK_SECONDS = 0.5
_PAGE = 200


def register(application: typer.Typer) -> None:
    """Add these commands."""
    for command in (deployments, show, logs, cancel, recover):
        application.command()(command)


def deployments(
    name: ApplicationOrAll = None,
    limit: HistoryLimit = 20,
    as_json: AsJson = False,
) -> None:
    """List deployments and rollbacks, newest first, including those of removed applications."""
    with connected() as server:
        query = {"application": name, "limit": min(limit, _PAGE)}
        found = [*map(deployment_of, server.items("/deployments", most=limit, query=query))]
    if as_json:
        show_json_array(map(deployment_as_dict, found))
        return
    show_deployments(found, "No deployments yet. Make the first: deploycore deploy APPLICATION")


def show(deployment: DeploymentNumber, as_json: AsJson = False) -> None:
    """Show what a deployment deployed, how long each phase took, and how it ended."""
    with connected() as server:
        record = _find(server, deployment)
    print_deployment(record, as_json=as_json)


def logs(
    deployment: DeploymentNumber,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Print a deployment's log."""
    with connected() as server:
        record = _find(server, deployment)
        for line in follow_log(server, record.id, follow=follow):
            print_log_line(line, as_json=as_json)


def cancel(deployment: DeploymentNumber, as_json: AsJson = False) -> None:
    """Cancel a deployment.

    A deployment that is waiting ends at once. A running deployment stops at its next safe point.
    """
    with connected() as server:
        number = _find(server, deployment).id
        path = "/deployments/{deployment}/cancel"
        record = deployment_of(server.ask("POST", path, deployment=number))
    say_canceled(record, as_json=as_json)


def recover(as_json: AsJson = False) -> None:
    """Recover deployments that a crash left unfinished, and restore a working release.

    It is safe at any time: running deployments are not affected. Recovers deployments of the
    server's machine.
    """
    with connected() as server:
        found = [*map(deployment_of, server.ask("POST", "/recover")["items"])]
    if as_json:
        show_json_array(map(deployment_as_dict, found))
        return
    show_deployments(found, "No unfinished deployments.")


def follow_log(server: RemoteServer, deployment: int, *, follow: bool) -> Iterator[Any]:
    """Yield the lines of a deployment's log.

    Args:
        follow: Whether to wait for more lines until the deployment has ended.
    """
    position = 0
    while True:
        path = "/deployments/{deployment}/log"
        page = server.ask("GET", path, query={"after": position}, deployment=deployment)
        yield from page["items"]
        has_more, position = page["position"] > position, page["position"]
        if has_more:
            continue
        if page["finished"] or not follow:
            return
        time.sleep(LOOK_SECONDS)


def _find(server: RemoteServer, text: str) -> DeploymentRecord:
    def by_number(number: int) -> DeploymentRecord:
        return deployment_of(server.ask("GET", "/deployments/{deployment}", deployment=number))

    def newest(name: str) -> list[DeploymentRecord]:
        query = {"application": name, "limit": 1}
        return [*map(deployment_of, server.ask("GET", "/deployments", query=query)["items"])]

    return find_deployment(text, by_number=by_number, newest=newest)
