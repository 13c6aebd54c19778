"""``webhook`` of a server on another machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from deploycore.cli.confirmation import Yes
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
from deploycore.cli.remote.connection import connected
from deploycore.cli.usage import NounGroup
from deploycore.cli.webhook import (
    confirm_removal,
    explaining_removal,
    print_webhook,
    say_removed,
)
from deploycore.errors import ConfigurationError
from deploycore.remote import RemoteServer

__all__ = ["register"]

_KEPT = "stored, encrypted"
"""The place of a webhook's secret, as the text for the server's machine."""

_WEBHOOK = "/applications/{application}/webhook"


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
    with connected() as server:
        _print(server, name, _existing(server, name), reveal=reveal_secret, as_json=as_json)


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
    with connected() as server:
        body = {"server_url": url, "by_hand": by_hand}
        found = server.ask("POST", _WEBHOOK, body=body, application=name)
        _print(server, name, found, reveal=reveal_secret, as_json=as_json)


def rotate(
    name: WebhookName,
    grace: Grace = "24h",
    url: PublicUrl = None,
    reveal_secret: RevealSecret = False,
    as_json: AsJson = False,
) -> None:
    """Replace a webhook's secret, on the server and at the git host."""
    seconds = int(parse_duration(grace, "--grace").total_seconds())
    with connected() as server:
        body = {"grace_seconds": seconds, "server_url": url}
        found = server.ask("POST", f"{_WEBHOOK}/rotate", body=body, application=name)
        _print(server, name, found, reveal=reveal_secret, as_json=as_json)


def remove(name: WebhookName, keep_at_host: KeepAtHost = False, yes: Yes = False) -> None:
    """Remove a webhook and its secrets, on the server and at the git host.

    If the git host does not remove it, nothing is removed.
    """
    with connected() as server:
        at_host = _existing(server, name)["at_host"]
        confirm_removal(name, at_host, keep_at_host=keep_at_host, yes=yes)
        with explaining_removal(name, at_host):
            query = {"keep_at_host": keep_at_host}
            done = server.ask("DELETE", _WEBHOOK, query=query, application=name)
    say_removed(name, done["remains"])


def _existing(server: RemoteServer, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = server.ask("GET", _WEBHOOK, application=name)
    if not found["exists"]:
        raise ConfigurationError(
            f"The application {name!r} has no webhook.",
            hint=f"Register one: deploycore webhook register {name} --url …",
            application=name,
        )
    return found


def _print(
    server: RemoteServer, name: str, view: Mapping[str, Any], *, reveal: bool, as_json: bool
) -> None:
    secret = _KEPT
    if reveal:
        secret = server.ask("POST", f"{_WEBHOOK}/reveal", application=name)["secret"]
    print_webhook({"application": name, **view}, secret=secret, as_json=as_json)
