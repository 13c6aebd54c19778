"""``plugins`` and ``doctor`` of a server on another machine."""

from __future__ import annotations

from typing import Annotated

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import Column, say, show_json, show_json_array, show_table
from deploycore.cli.remote.connection import connected

__all__ = ["register"]


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.command()(plugins)
    application.command()(doctor)


def plugins(as_json: AsJson = False) -> None:
    """List the plugins that are installed on the server's machine."""
    with connected() as server:
        found = server.ask("GET", "/plugins")["items"]
    if as_json:
        show_json_array(found)
        return
    show_table(
        [
            Column("TYPE"),
            Column("KIND"),
            Column("STATE", style="state"),
            Column("DISTRIBUTION"),
            Column("PROBLEM", is_prose=True, style="bad"),
        ],
        (
            [
                each["type"],
                each["kind"],
                "broken" if each["problem"] else "ready",
                ", ".join(each["distributions"]),
                (each["problem"] or {}).get("message", ""),
            ]
            for each in found
        ),
        empty="No plugins are installed there.",
    )


def doctor(
    offline: Annotated[
        bool, typer.Option("--offline", help="Skip checks that need the network.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find what is wrong with the server's installation, and how to fix it. Changes nothing.

    Exits with 1 if there is a problem.
    """
    with connected() as server:
        found = server.ask("GET", "/doctor", query={"offline": offline})
    if as_json:
        show_json(found)
    else:
        show_table(
            [Column("STATE", style="state"), Column("WHAT"), Column("FOUND", is_prose=True)],
            (
                [
                    each["level"],
                    each["subject"],
                    [each["message"], *([f"Next: {each['hint']}"] if each["hint"] else [])],
                ]
                for each in found["findings"]
            ),
            empty="",
        )
        say(f"Found: {found['problems']} problems and {found['warnings']} warnings.")
    if found["problems"]:
        raise typer.Exit(1)
