"""``provider`` of a server on another machine."""

from __future__ import annotations

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import Column, show_json_array, show_table
from deploycore.cli.remote.connection import connected
from deploycore.cli.usage import NounGroup

__all__ = ["register"]

commands = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Connect git hosts.")


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(commands, name="provider")
    commands.callback()(lambda: None)


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the configured providers."""
    with connected() as server:
        found = server.ask("GET", "/providers")["items"]
    if as_json:
        show_json_array(found)
        return
    show_table(
        [Column("PROVIDER"), Column("KIND"), Column("MODE")],
        ([each["name"], each["kind"], each["settings"].get("mode", "")] for each in found),
        empty="No providers yet.",
    )
