"""``deploycore plugins``: what is installed, what it can do, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import show_json_array, show_table
from deploycore.hookspecs import API_VERSION
from deploycore.registry import PluginReport, plugin_reports

__all__ = ["register"]


def register(application: typer.Typer) -> None:
    """Add this noun's command."""
    application.command()(plugins)


def plugins(as_json: AsJson = False) -> None:
    """List the installed provider plugins; a broken one is shown with the reason."""
    reports = plugin_reports()
    if as_json:
        show_json_array(map(_as_dict, reports))
        return
    show_table(
        ["KIND", "DISTRIBUTION", "CONTRACT", "ORIGIN", "STATE"],
        (
            [
                report.kind,
                ", ".join(report.distributions),
                str(API_VERSION) if report.plugin else "",
                ", ".join(report.origins),
                report.problem.message if report.problem else "ready",
            ]
            for report in reports
        ),
        empty="No provider plugins are installed. Install one next to deploycore.",
    )


def _as_dict(report: PluginReport) -> dict[str, Any]:
    return {
        "kind": report.kind,
        "distributions": list(report.distributions),
        "origins": list(report.origins),
        "ready": report.plugin is not None,
        "contract_version": API_VERSION if report.plugin else None,
        "hooks": list(report.plugin.hooks) if report.plugin else [],
        "problem": report.problem.as_dict() if report.problem else None,
    }
