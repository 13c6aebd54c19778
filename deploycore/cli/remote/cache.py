"""``cache`` of a server on another machine."""

from __future__ import annotations

import typer

from deploycore.cli.cache import (
    MIB,
    Mebibytes,
    Url,
    say_pruned,
    say_removed,
    show_entries,
)
from deploycore.cli.options import AsJson
from deploycore.cli.remote.connection import connected
from deploycore.cli.remote.records import in_utc
from deploycore.cli.usage import NounGroup

__all__ = ["register"]

commands = typer.Typer(
    cls=NounGroup, no_args_is_help=True, help="Inspect and clear the server's git cache."
)


def register(application: typer.Typer) -> None:
    """Add the commands of ``cache``."""
    application.add_typer(commands, name="cache")


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the repositories in the cache, most recently used first."""
    with connected() as server:
        found = [in_utc(each, ("used_at",)) for each in server.ask("GET", "/cache")["items"]]
    show_entries(found, as_json=as_json)


@commands.command()
def remove(url: Url, as_json: AsJson = False) -> None:
    """Remove one repository from the cache. The next deployment fetches it again."""
    with connected() as server:
        server.ask("DELETE", "/cache", query={"url": url})
    say_removed(url, as_json=as_json)


@commands.command()
def prune(mebibytes: Mebibytes = 0, as_json: AsJson = False) -> None:
    """Remove the least recently used repositories until the cache has at most --to MiB."""
    with connected() as server:
        removed = server.ask("POST", "/cache/prune", body={"bytes": mebibytes * MIB})["items"]
    say_pruned(removed, as_json=as_json)
