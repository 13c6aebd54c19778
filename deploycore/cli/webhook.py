"""``deploycore webhook``: show, register, rotate and remove an application's webhook."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

import deploycore
from deploycore.cli.confirmation import Yes, confirm_at_terminal
from deploycore.cli.options import AsJson, parse_duration
from deploycore.cli.output import Column, say, show_json, show_record
from deploycore.cli.usage import NounGroup
from deploycore.errors import DeploycoreError
from deploycore.text.sentences import sentences
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from deploycore.installation import Installation
    from deploycore.store import WebhookRecord

__all__ = ["register"]

Name = Annotated[
    str,
    typer.Argument(metavar="APPLICATION", help="Name of the application.", show_default=False),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="URL at which git hosts reach the server, such as https://deploy.example.com"
        " (default: DEPLOYCORE_PUBLIC_URL).",
    ),
]
RevealSecret = Annotated[
    bool,
    typer.Option(
        "--reveal-secret", help="Print the secret, so that you can set up the webhook by hand."
    ),
]


def register(application: typer.Typer) -> None:
    """Add the commands of ``webhook``."""
    noun = typer.Typer(
        cls=NounGroup, no_args_is_help=True, help="Manage the webhooks of applications."
    )
    for command in (show, register_, rotate, remove):
        noun.command(command.__name__.rstrip("_"))(command)
    application.add_typer(noun, name="webhook")


def show(name: Name, reveal_secret: RevealSecret = False, as_json: AsJson = False) -> None:
    """Show an application's webhook."""
    with deploycore.Installation() as installation:
        record = installation.store.webhooks.get(name)
        _show(installation, record, reveal_secret=reveal_secret, as_json=as_json)


def register_(
    name: Name,
    url: Url = None,
    by_hand: Annotated[
        bool,
        typer.Option(
            "--by-hand",
            help="Only create the secret. Set up the webhook at the git host yourself.",
        ),
    ] = False,
    reveal_secret: RevealSecret = False,
    as_json: AsJson = False,
) -> None:
    """Register a webhook at the git host, so that pushes reach the server.

    To try again after a failure, or to change the --url, run it again.
    """
    with deploycore.Installation() as installation:
        address = installation.webhooks.url(name, url)
        if by_hand:
            record = installation.webhooks.prepare(name)
        else:
            record = installation.webhooks.register(name, address)
        _show(installation, record, reveal_secret=reveal_secret, as_json=as_json, address=address)


def rotate(
    name: Name,
    grace: Annotated[
        str,
        typer.Option(
            "--grace",
            metavar="DURATION",
            help="Time for which the previous secret stays valid, such as 24h or 30m.",
        ),
    ] = "24h",
    url: Url = None,
    reveal_secret: RevealSecret = False,
    as_json: AsJson = False,
) -> None:
    """Replace a webhook's secret, here and at the git host."""
    held = parse_duration(grace, "--grace")
    with deploycore.Installation() as installation:
        address = None if url is None else installation.webhooks.url(name, url)
        record = installation.webhooks.rotate(name, grace=held, url=address)
        _show(installation, record, reveal_secret=reveal_secret, as_json=as_json)


def remove(
    name: Name,
    keep_at_host: Annotated[
        bool, typer.Option("--keep-at-host", help="Leave the webhook at the git host.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Remove a webhook and its secrets, here and at the git host.

    If the git host does not remove it, nothing is removed.
    """
    from deploycore.installation.application_removal import describe_remaining

    with deploycore.Installation() as installation:
        record = installation.store.webhooks.get(name)
        definition = installation.store.get_application(name).definition
        at_host = describe_remaining(record, definition)
        where = "here, but not at the git host" if keep_at_host else "here and at the git host"
        lines = [
            f"This removes the webhook of {name} {where}: {at_host}",
            "After that, pushes deploy nothing.",
        ]
        confirm_at_terminal(f"Remove the webhook of {name}", lines, yes=yes)
        try:
            removed = installation.webhooks.remove(name, at_host=not keep_at_host)
        except DeploycoreError as error:
            hint = f"Or remove it at the host yourself, and here: deploycore webhook remove {name}"
            error.hint = sentences(error.hint, f"{hint} --keep-at-host", f"At the host: {at_host}")
            raise
    if removed or (record.hosts_id is not None and not keep_at_host):
        say(f"The webhook of {name} is removed here and at the git host.")
    else:
        say(f"The webhook of {name} is removed here; the git host was not changed.")
        say(f"  Remove it there yourself: {at_host}")


def _show(
    installation: Installation,
    record: WebhookRecord,
    *,
    reveal_secret: bool,
    as_json: bool,
    address: str | None = None,
) -> None:
    found = _as_dict(installation, record, address, as_text=for_machines if as_json else for_people)
    if reveal_secret:
        found["secret"] = installation.secrets.reveal(record.secret).get_secret_value()
    if as_json:
        show_json(found)
        return
    show_record((Column(key), "" if value is None else str(value)) for key, value in found.items())
    definition = installation.store.get_application(record.application).definition
    if definition.auto_deploy is None or not definition.auto_deploy.push:
        say(
            "\nPushes deploy nothing yet. To deploy on pushes, add auto_deploy: {} to"
            f" {definition.name} in its file, and apply the file."
        )


def _as_dict(
    installation: Installation,
    record: WebhookRecord,
    address: str | None,
    *,
    as_text: Callable[[datetime], str],
) -> dict[str, Any]:
    former = None
    if record.former is not None and record.former_until is None:
        former = "valid until the host has the new secret: rotate or register again"
    elif record.former_until is not None and record.former_until > datetime.now(UTC):
        former = f"valid until {as_text(record.former_until)}"
    url = record.url or address
    if url is None and installation.settings.public_url is not None:
        url = installation.webhooks.url(record.application)
    return {
        "application": record.application,
        "url": url,
        "hosts_id": record.hosts_id,
        "secret": installation.secrets.describe(record.secret),
        "former_secret": former,
        "created_at": as_text(record.created_at),
        "delivered_at": record.delivered_at and as_text(record.delivered_at),
    }
