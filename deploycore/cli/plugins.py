"""``deploycore plugins``: list installed plugins, their hooks and their problems."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import Column, say, say_state, show_json_array, show_record
from deploycore.cli.waiting import telling_of_waits

if TYPE_CHECKING:
    from deploycore.provider.installed import PluginReport

__all__ = ["register"]


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command()(plugins)


def plugins(as_json: AsJson = False) -> None:
    """List the installed plugins: providers, observers and sandboxes.

    For a plugin that cannot be used, the list shows the reason.
    """
    from deploycore.provider.installed import plugin_reports
    from deploycore.provider.probing import probe_imports

    with telling_of_waits():
        probe_imports()
        reports = plugin_reports()
    if as_json:
        show_json_array(map(_as_dict, reports))
        return
    if not reports:
        say("No plugins are installed. Install one into the environment of deploycore.")
    for report in reports:
        _show(report)


def _show(report: PluginReport) -> None:
    is_ready = report.problem is None
    state = "ready" if is_ready else "broken"
    say_state(f"{report.type} {report.kind}", state, "good" if is_ready else "bad")
    show_record(_fields(report), indent="  ")


def _fields(report: PluginReport) -> Iterator[tuple[Column, str]]:
    if report.problem is not None:
        yield Column("problem", is_prose=True, style="bad"), report.problem.message
        yield Column("next", is_prose=True), report.problem.hint
    for origin in report.origins:
        label = f"{origin.label}{', editable' if origin.is_editable else ''}"
        yield Column("distribution", is_prose=True), f"{label} ({origin.entry_point})"
    if report.contract_version is not None:
        yield Column("contract"), str(report.contract_version)
    if report.hooks:
        yield Column("hooks", is_prose=True), ", ".join(report.hooks)


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
