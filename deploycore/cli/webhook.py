"""``deploycore webhook``: show, register, rotate and remove an application's webhook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

import deploycore
from deploycore.cli.confirmation import Yes, confirm_at_terminal
from deploycore.cli.options import (
    AsJson,
    ByHand,
    Grace,
    KeepAtHost,
    PublicUrl,
    RevealSecret,
    WebhookName,
    parse_duration,
)
from deploycore.cli.output import Column, say, show_json, show_record
from deploycore.cli.usage import NounGroup
from deploycore.errors import DeploycoreError
from deploycore.text.sentences import sentences
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from deploycore.installation import Installation
    from deploycore.store import WebhookRecord

__all__ = [
    "confirm_removal",
    "explaining_removal",
    "print_webhook",
    "register",
    "say_removed",
]


def register(application: typer.Typer) -> None:
    """Add the commands of ``webhook``."""
    noun = typer.Typer(
        cls=NounGroup, no_args_is_help=True, help="Manage the webhooks of applications."
    )
    for command in (show, register_, rotate, remove):
        noun.command(command.__name__.rstrip("_"))(command)
    application.add_typer(noun, name="webhook")


def show(name: WebhookName, reveal_secret: RevealSecret = False, as_json: AsJson = False) -> None:
    """Show an application's webhook."""
    with deploycore.Installation() as installation:
        record = installation.store.webhooks.get(name)
        _show(installation, record, reveal_secret=reveal_secret, as_json=as_json)


def register_(
    name: WebhookName,
    url: PublicUrl = None,
    by_hand: ByHand = False,
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
    name: WebhookName,
    grace: Grace = "24h",
    url: PublicUrl = None,
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
    name: WebhookName,
    keep_at_host: KeepAtHost = False,
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
        confirm_removal(name, at_host, keep_at_host=keep_at_host, yes=yes)
        with explaining_removal(name, at_host):
            removed = installation.webhooks.remove(name, at_host=not keep_at_host)
    is_gone = removed or (record.hosts_id is not None and not keep_at_host)
    say_removed(name, None if is_gone else at_host)


def confirm_removal(name: str, at_host: str, *, keep_at_host: bool, yes: bool) -> None:
    """Ask at the terminal whether to remove a webhook.

    Args:
        at_host: What remains at the git host for a person to remove.
    """
    where = "here, but not at the git host" if keep_at_host else "here and at the git host"
    lines = [
        f"This removes the webhook of {name} {where}: {at_host}",
        "After that, pushes deploy nothing.",
    ]
    confirm_at_terminal(f"Remove the webhook of {name}", lines, yes=yes)


@contextmanager
def explaining_removal(name: str, at_host: str) -> Iterator[None]:
    """Add to the error of a failed removal how to do it by hand."""
    try:
        yield
    except DeploycoreError as error:
        hint = f"Or remove it at the host yourself, and here: deploycore webhook remove {name}"
        error.hint = sentences(error.hint, f"{hint} --keep-at-host", f"At the host: {at_host}")
        raise


def say_removed(name: str, remains: str | None) -> None:
    """Print that a webhook is removed, and what remains at the git host."""
    if remains is None:
        say(f"The webhook of {name} is removed here and at the git host.")
    else:
        say(f"The webhook of {name} is removed here; the git host was not changed.")
        say(f"  Remove it there yourself: {remains}")


def print_webhook(view: Mapping[str, Any], *, secret: str, as_json: bool) -> None:
    """Print a webhook.

    Args:
        view: The webhook as the REST API describes it, and its ``application``.
        secret: The secret, or the place where it is stored.
    """
    as_text = for_machines if as_json else for_people
    times = {
        key: view[key] and as_text(datetime.fromisoformat(view[key]))
        for key in ("former_until", "created_at", "delivered_at")
    }
    until = times["former_until"] or "the host has the new secret: rotate or register again"
    found = {
        **{key: view[key] for key in ("application", "url", "hosts_id")},
        "secret": secret,
        "former_secret": f"valid until {until}" if view["is_former_valid"] else None,
        "created_at": times["created_at"],
        "delivered_at": times["delivered_at"],
    }
    if as_json:
        show_json(found)
        return
    show_record((Column(key), "" if value is None else str(value)) for key, value in found.items())
    if not view["deploys_pushes"]:
        say(
            "\nPushes deploy nothing yet. To deploy on pushes, add auto_deploy: {} to"
            f" {view['application']} in its file, and apply the file."
        )


def _show(
    installation: Installation,
    record: WebhookRecord,
    *,
    reveal_secret: bool,
    as_json: bool,
    address: str | None = None,
) -> None:
    url = record.url or address
    if url is None and installation.settings.public_url is not None:
        url = installation.webhooks.url(record.application)
    auto = installation.store.get_application(record.application).definition.auto_deploy
    until = record.former_until
    view = {
        "application": record.application,
        "url": url,
        "hosts_id": record.hosts_id,
        "former_until": until and for_machines(until),
        "is_former_valid": record.former is not None
        and (until is None or until > datetime.now(UTC)),
        "created_at": for_machines(record.created_at),
        "delivered_at": record.delivered_at and for_machines(record.delivered_at),
        "deploys_pushes": auto is not None and auto.push,
    }
    secrets = installation.secrets
    secret = (
        secrets.reveal(record.secret).get_secret_value()
        if reveal_secret
        else secrets.describe(record.secret)
    )
    print_webhook(view, secret=secret, as_json=as_json)
