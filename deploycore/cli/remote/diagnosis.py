"""``plugins`` and ``doctor`` of a server on another machine."""

from __future__ import annotations

import typer

from deploycore.cli.doctor import Offline, show_findings
from deploycore.cli.options import AsJson
from deploycore.cli.plugins import show_plugins
from deploycore.cli.remote.connection import connected

__all__ = ["register"]


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.command()(plugins)
    application.command()(doctor)


def plugins(as_json: AsJson = False) -> None:
    """List the plugins that are installed on the server's machine.

    For a plugin that cannot be used, the list shows the reason.
    """
    with connected() as server:
        found = server.ask("GET", "/plugins")["items"]
    show_plugins(found, as_json=as_json)


def doctor(offline: Offline = False, as_json: AsJson = False) -> None:
    """Find what is wrong with the server's installation, and how to fix it. Changes nothing.

    Exits with 0 if there is no problem, and otherwise with the exit code of the first problem.
    """
    with connected() as server:
        found = server.ask("GET", "/doctor", query={"offline": offline})
    show_findings(found, as_json=as_json)
