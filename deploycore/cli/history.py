"""``releases``, ``deployments``, ``show``, ``logs``, ``cancel`` and ``recover``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

import deploycore
from deploycore.cli.listing import read_listing
from deploycore.cli.options import (
    ApplicationName,
    ApplicationOrAll,
    AsJson,
    DeploymentNumber,
    Follow,
    HistoryLimit,
)
from deploycore.cli.output import (
    Column,
    say,
    say_aside,
    show_json,
    show_json_array,
    show_json_line,
    show_record,
    show_table,
)
from deploycore.cli.progress import cancelled_by_signals
from deploycore.deployment_records import state_name
from deploycore.errors import ConfigurationError
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from deploycore.deploy import LogLine, Release
    from deploycore.disk.removal import Remains
    from deploycore.installation import Installation
    from deploycore.store import DeploymentRecord
    from deploycore.store.listing import Listing

__all__ = [
    "deployment_as_dict",
    "find_deployment",
    "print_deployment",
    "print_log_line",
    "register",
    "say_canceled",
    "show_deployments",
]


def register(application: typer.Typer) -> None:
    """Add these commands."""
    for command in (releases, deployments, show, logs, cancel, recover):
        application.command()(command)


def releases(name: ApplicationName, as_json: AsJson = False) -> None:
    """List the releases of an application that are on disk, newest first."""
    found, left = _find_releases(name)
    for each in left:
        say_aside(f"{each.path} could not be removed: {each}")
    if as_json:
        show_json_array(map(_release_as_dict, found))
        return
    show_table(
        [
            Column("RELEASE"),
            Column("STATE", style="state"),
            Column("COMMIT"),
            Column("AUTHOR", drop=2, is_prose=True),
            Column("SUBJECT", drop=3, is_prose=True),
            Column("SIZE", drop=1),
        ],
        (
            [
                each.name,
                state_name(_release_state(each)),
                ((each.deployment and each.deployment.commit) or "")[:12],
                (each.deployment and each.deployment.author) or "",
                (each.deployment and each.deployment.subject) or "",
                _size(each.deployment.bytes if each.deployment else None),
            ]
            for each in found
        ),
        empty=f"No releases yet. Make the first: deploycore deploy {name}",
    )


def deployments(
    name: ApplicationOrAll = None,
    limit: HistoryLimit = 20,
    as_json: AsJson = False,
) -> None:
    """List deployments and rollbacks, newest first, including those of removed applications."""
    found: Sequence[DeploymentRecord] | None
    found = read_listing(lambda listing: listing.history(name, limit))
    if found is None:
        with deploycore.Installation() as installation:
            found = installation.store.deployments.history(name, limit=limit)
    if as_json:
        show_json_array(map(deployment_as_dict, found))
        return
    show_deployments(found, "No deployments yet. Make the first: deploycore deploy APPLICATION")


def show(deployment: DeploymentNumber, as_json: AsJson = False) -> None:
    """Show what a deployment deployed, how long each phase took, and how it ended."""
    with deploycore.Installation() as installation:
        record = _find(installation, deployment)
    print_deployment(record, as_json=as_json)


def print_deployment(record: DeploymentRecord, *, as_json: bool) -> None:
    """Print a deployment as ``show`` does."""
    found = deployment_as_dict(record)
    if as_json:
        show_json(found)
        return
    phases = found.pop("seconds")
    found |= {name: at and for_people(at) for name, at in _times(record).items()}
    found["state"] = state_name(record.state)
    found["error_code"] = record.error_code and state_name(record.error_code)
    found["phases"] = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in phases.items())
    show_record(
        (_SHOWN.get(name, Column(name)), str(value))
        for name, value in found.items()
        if value is not None
    )


def logs(
    deployment: DeploymentNumber,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Print a deployment's log."""
    if not follow and (found := read_listing(lambda listing: _find_listed(listing, deployment))):
        from deploycore.deploy.log import Logs

        home = deploycore.Settings.from_environment().home
        _print_log(Logs.of(home).read(found.application, found.id), as_json=as_json)
        return
    with deploycore.Installation() as installation:
        record = _find(installation, deployment)
        store, all_logs = installation.store, installation.engine.logs

        def is_over() -> bool:
            return not follow or store.deployments.get(record.id).is_finished

        lines = all_logs.follow(record.application, record.id, until=is_over)
        _print_log(lines, as_json=as_json)


def cancel(deployment: DeploymentNumber, as_json: AsJson = False) -> None:
    """Cancel a deployment.

    A deployment that is waiting ends at once. A running deployment stops at its next safe point.
    """
    with deploycore.Installation() as installation:
        record = installation.engine.cancel(_find(installation, deployment).id)
    say_canceled(record, as_json=as_json)


def say_canceled(record: DeploymentRecord, *, as_json: bool) -> None:
    """Print a deployment that was just canceled."""
    if as_json:
        show_json(deployment_as_dict(record))
        return
    done = "is canceled" if record.is_finished else "will stop at its next safe point"
    say(f"Deployment {record.id} of {record.application} {done}.")


def recover(as_json: AsJson = False) -> None:
    """Recover deployments that a crash left unfinished, and restore a working release.

    It is safe at any time: running deployments are not affected. The next deployment of an
    application recovers that application too.
    """
    # Shielded: the steps of a restored release must not be interrupted half-way.
    with (
        deploycore.Installation() as installation,
        cancelled_by_signals() as cancellation,
        cancellation.shielded(),
    ):
        settled = installation.recover()
    if as_json:
        show_json_array(map(deployment_as_dict, settled))
        return
    show_deployments(settled, "No unfinished deployments.")


def show_deployments(records: Sequence[DeploymentRecord], empty: str) -> None:
    """Print a table of deployments."""
    show_table(
        [
            Column("DEPLOYMENT"),
            Column("APPLICATION"),
            Column("REQUESTED", drop=3),
            Column("KIND", drop=1),
            Column("STATE", style="state"),
            Column("COMMIT"),
            Column("BY", drop=2, is_prose=True),
            Column("ERROR", is_prose=True, style="bad"),
        ],
        (
            [
                str(each.id),
                each.application + (" (removed)" if each.removed_at else ""),
                for_people(each.requested_at),
                each.kind,
                state_name(each.state),
                (each.commit or "")[:12],
                each.requested_by,
                each.error or "",
            ]
            for each in records
        ),
        empty=empty,
    )


def deployment_as_dict(record: DeploymentRecord) -> dict[str, Any]:
    """Return a deployment as printed with ``--json``."""
    plain = {name: getattr(record, name) for name in _FIELDS}
    return plain | {name: _text(at) for name, at in _times(record).items()}


_TIMES = ("requested_at", "started_at", "finished_at", "committed_at", "removed_at")


_FIELDS = (
    "id",
    "application",
    "kind",
    "state",
    "ref",
    "commit",
    "author",
    "subject",
    "release",
    "previous",
    "previous_commit",
    "files",
    "bytes",
    "seconds",
    "requested_by",
    "error_code",
    "error",
)


_SHOWN = {
    column.title: column
    for column in (
        Column("state", style="state"),
        Column("error", is_prose=True, style="bad"),
        Column("author", is_prose=True),
        Column("subject", is_prose=True),
        Column("requested_by", is_prose=True),
        Column("phases", is_prose=True),
    )
}
"""The columns of fields that ``show`` colors or wraps."""


def _times(record: DeploymentRecord) -> dict[str, datetime | None]:
    return {name: getattr(record, name) for name in _TIMES}


def _text(at: datetime | None) -> str | None:
    return None if at is None else for_machines(at)


def _find_releases(name: str) -> tuple[list[Release], list[Remains]]:
    """Return the releases of an application, and the directories that could not be removed."""
    found = read_listing(lambda listing: _list_releases(listing, name))
    if found is not None:
        return found
    with deploycore.Installation() as installation:
        return installation.releases(name), installation.engine.leftovers(name)


def _list_releases(listing: Listing, name: str) -> tuple[list[Release], list[Remains]]:
    from deploycore.deploy.release_list import list_releases
    from deploycore.deploy.releases import Releases

    on_disk = Releases(listing.target(name))
    found = list_releases(on_disk, lambda releases: listing.of_releases(name, releases))
    return found, [] if on_disk.is_locked() else on_disk.leftovers()


def _find_listed(listing: Listing, text: str) -> DeploymentRecord:
    return listing.deployment(int(text)) if _is_number(text) else listing.last_deployment(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _print_log(lines: Iterable[LogLine], *, as_json: bool) -> None:
    for line in lines:
        print_log_line(_line_as_dict(line), as_json=as_json)


def print_log_line(line: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a line of a log.

    Args:
        line: Its ``at`` as an ISO 8601 text, ``kind``, ``phase`` and ``text``.
    """
    if as_json:
        show_json_line(line)
    else:
        at = for_people(datetime.fromisoformat(line["at"]))
        say(f"{at}  {state_name(line['phase']):14}  {_line_text(line)}")


def find_deployment(
    text: str,
    *,
    by_number: Callable[[int], DeploymentRecord],
    newest: Callable[[str], Sequence[DeploymentRecord]],
) -> DeploymentRecord:
    """Find a deployment by its number, or the last deployment of an application.

    Args:
        text: The number, or the name of the application.
        by_number: Reads the deployment of a number.
        newest: Lists the last deployment of an application.

    Raises:
        ConfigurationError: The deployment does not exist.
    """
    if _is_number(text):
        return by_number(int(text))
    found = newest(text)
    if not found:
        raise ConfigurationError(
            f"{text} has no deployments yet.", hint=f"Make the first: deploycore deploy {text}"
        )
    return found[0]


def _find(installation: Installation, text: str) -> DeploymentRecord:
    deployments = installation.store.deployments

    def newest(name: str) -> Sequence[DeploymentRecord]:
        try:
            return deployments.list(name, limit=1)
        except ConfigurationError:  # the application may have been removed
            return deployments.history(name, limit=1)

    return find_deployment(text, by_number=deployments.get, newest=newest)


def _release_as_dict(release: Release) -> dict[str, Any]:
    made_by = release.deployment
    return {
        "release": release.name,
        "path": str(release.path),
        "state": _release_state(release),
        "commit": made_by and made_by.commit,
        "author": made_by and made_by.author,
        "subject": made_by and made_by.subject,
        "committed_at": made_by and _text(made_by.committed_at),
        "files": made_by and made_by.files,
        "bytes": made_by and made_by.bytes,
        "deployment": made_by and made_by.id,
    }


def _release_state(release: Release) -> str:
    if release.is_live:
        return "live"
    if release.deployment is None:
        return "unknown"
    return "kept" if release.deployment.state == "healthy" else release.deployment.state


def _size(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:,.1f} MB"


def _line_as_dict(line: LogLine) -> dict[str, Any]:
    return {"at": for_machines(line.at), "kind": line.kind, "phase": line.phase, "text": line.text}


def _line_text(line: Mapping[str, Any]) -> str:
    text: str = line["text"]
    if line["kind"] == "state":
        return f"→ {state_name(line['phase'])}{': ' if text else ''}{text}"
    if line["kind"] == "hint":
        return f"Next: {text}"
    return f"| {text}" if line["kind"] == "output" else text
