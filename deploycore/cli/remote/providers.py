"""``provider list`` and ``provider test`` of a server on another machine."""

from __future__ import annotations

from typing import Annotated

import typer

from deploycore.cli.options import AsJson, ProviderName
from deploycore.cli.output import Column, say, show_json, show_json_array, show_table
from deploycore.cli.remote.connection import connected
from deploycore.cli.usage import NounGroup

__all__ = ["register"]

_ALL = 1_000_000

commands = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Test connections to git hosts.")


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(commands, name="provider")


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the configured providers."""
    with connected() as server:
        found = list(server.items("/providers", most=_ALL))
    if as_json:
        show_json_array(found)
        return
    columns = [Column("PROVIDER"), Column("KIND"), Column("MODE"), Column("CREDENTIALS", drop=1)]
    rows = (
        [each["name"], each["kind"], each["mode"], each["credentials"].replace("_", " ")]
        for each in found
    )
    show_table(columns, rows, empty="No providers yet. Add one in the dashboard.")


@commands.command("test")
def check(
    name: ProviderName,
    repository: Annotated[
        str | None,
        typer.Option(
            "--repository",
            metavar="OWNER/REPOSITORY",
            help="Repository to test with, if the credentials cannot list repositories.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a provider's credentials and its host's API, from the server's machine."""
    with connected() as server:
        path = "/providers/{provider}/test"
        found = server.ask("POST", path, body={"repository": repository}, provider=name)
    if as_json:
        show_json(found)
        return
    say(f"Credentials   valid: {found['account']['username']}")
    say(f"API           works: responded in {found['milliseconds']} ms")
    if found["repositories"] is not None:
        more = " or more" if found["has_more"] else ""
        say(f"Repositories  {found['repositories']}{more} accessible")
    if found["hint"]:
        say(f"  Next: {found['hint']}")
