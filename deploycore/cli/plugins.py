"""``deploycore plugins``: what is installed, what it can do, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import printable, say, show_json_array
from deploycore.cli.waiting import telling_of_waits
from deploycore.inventory import PluginReport, plugin_reports
from deploycore.probing import probe_imports

__all__ = ["register"]


def register(application: typer.Typer) -> None:
    """Add this noun's command."""
    application.command()(plugins)


def plugins(as_json: AsJson = False) -> None:
    """List the installed plugins: providers, observers and sandboxes.

    One that can't be used is shown with the reason; so is one whose import does not end.
    """
    with telling_of_waits():
        probe_imports()
        reports = plugin_reports()
    if as_json:
        show_json_array(map(_as_dict, reports))
        return
    if not reports:
        say("No plugins are installed. Install one next to deploycore.")
    for report in reports:
        say("\n".join(_lines(report)))


def _lines(report: PluginReport) -> list[str]:
    problem = report.problem
    lines = [f"{report.type} {report.kind}: {'broken' if problem else 'ready'}"]
    if problem is not None:
        said = printable(problem.message)  # on one line, whatever an import has said
        lines += [f"  problem       {said}", f"  next          {problem.hint}"]
    lines += [
        f"  distribution  {origin.label}{', editable' if origin.is_editable else ''}"
        f" ({origin.entry_point})"
        for origin in report.origins
    ]
    if report.contract_version is not None:
        lines.append(f"  contract      {report.contract_version}")
    if report.hooks:
        lines.append(f"  hooks         {', '.join(report.hooks)}")
    return lines


def _as_dict(report: PluginReport) -> dict[str, Any]:
    return {
        "type": report.type,
        "kind": report.kind,
        "distributions": [origin.label for origin in report.origins],
        "origins": [origin.entry_point for origin in report.origins],
        "installed": [
            {
                "distribution": origin.distribution,
                "version": origin.version,
                "location": origin.location,
                "editable": origin.is_editable,
            }
            for origin in report.origins
        ],
        "ready": report.problem is None,
        "contract_version": report.contract_version,
        "hooks": list(report.hooks),
        "problem": report.problem.as_dict() if report.problem else None,
    }
