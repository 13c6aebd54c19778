"""``deploycore apply`` and ``export``: create applications from a file, and print them as one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import deploycore
from deploycore.cli.checks import Offline, naming_offline, say_warnings
from deploycore.cli.options import ApplicationsOrAll, AsJson, DeclarationFile, DryRun
from deploycore.cli.output import say, show_json_array
from deploycore.cli.waiting import telling_of_waits

if TYPE_CHECKING:
    from deploycore.applications.application import Application
    from deploycore.applications.files import Change

__all__ = ["change_as_dict", "read_applications", "register", "say_change"]

_DONE = {"create": "created", "change": "changed", "unchanged": "unchanged"}
_WOULD = {"create": "would be created", "change": "would be changed", "unchanged": "unchanged"}


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.command()(apply)
    application.command()(export)


def apply(
    file: DeclarationFile,
    dry_run: DryRun = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Create or update applications from a file, without deploying them.

    If anything in the file is invalid, nothing is changed. Applications that are not in the file
    stay as they are. Checks at the git hosts that each new or changed repository and ref exists.
    """
    applications = read_applications(file)
    with (
        deploycore.Installation() as installation,
        telling_of_waits(),
        naming_offline(offline=offline),
    ):
        changes = installation.apply(applications, dry_run=dry_run, verify=not offline)
    for application in applications:
        say_warnings(application)
    if as_json:
        show_json_array(map(change_as_dict, changes))
        return
    for change in changes:
        say_change(change, dry_run=dry_run)


def say_change(change: Change, *, dry_run: bool) -> None:
    """Print what has changed about an application, or would."""
    say(f"{change.application}: {(_WOULD if dry_run else _DONE)[change.kind]}")
    for path, (before, after) in change.fields.items():
        say(f"  {path}: {_shown(before)} → {_shown(after)}")


def export(
    names: ApplicationsOrAll = None,
) -> None:
    """Print applications as a YAML file for deploycore apply, without secrets."""
    with deploycore.Installation() as installation:
        store = installation.store
        records = store.get_applications(names) if names else store.list_applications()
    text = deploycore.render_declaration(record.definition for record in records)
    typer.echo(text, nl=False)
    _warn_if_too_large(text)


def _warn_if_too_large(text: str) -> None:
    from deploycore.applications.files import MOST_BYTES

    if len(text.encode()) > MOST_BYTES:
        typer.echo(
            f"This file is larger than {MOST_BYTES:,} bytes, and deploycore apply will refuse it."
            " Export fewer applications at a time: deploycore export NAME…",
            err=True,
        )


def read_applications(file: Path) -> list[Application]:
    """Read applications from a file; ``-`` for standard input.

    Raises:
        ConfigurationError: It cannot be read, or something in it is invalid.
    """
    from deploycore.applications.files import MOST_BYTES, decode_declaration, read_declaration

    if str(file) != "-":
        return read_declaration(file)
    return decode_declaration(sys.stdin.buffer.read(MOST_BYTES + 1), "standard input")


def change_as_dict(change: Change) -> dict[str, Any]:
    """Return a change of an application, as printed with ``--json``."""
    fields = {
        path: {"before": before, "after": after} for path, (before, after) in change.fields.items()
    }
    return {"application": change.application, "change": change.kind, "fields": fields}


def _shown(value: Any) -> str:
    return "(not set)" if value is None else json.dumps(value, ensure_ascii=False)
