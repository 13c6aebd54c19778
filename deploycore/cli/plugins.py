"""``deploycore plugins``: list installed plugins, their hooks and their problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import Column, say, say_state, show_json_array, show_record
from deploycore.cli.waiting import telling_of_waits

if TYPE_CHECKING:
    from deploycore.provider.installed import PluginReport

__all__ = ["register", "show_plugins"]


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
    show_plugins([*map(_as_dict, reports)], as_json=as_json)


def show_plugins(plugins: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print plugins, each as ``--json`` prints it."""
    if as_json:
        show_json_array(plugins)
        return
    if not plugins:
        say("No plugins are installed. Install one into the environment of deploycore.")
    for each in plugins:
        _show(each)


def _show(plugin: Mapping[str, Any]) -> None:
    is_ready = plugin["problem"] is None
    state = "ready" if is_ready else "broken"
    say_state(f"{plugin['type']} {plugin['kind']}", state, "good" if is_ready else "bad")
    show_record(_fields(plugin), indent="  ")


def _fields(plugin: Mapping[str, Any]) -> Iterator[tuple[Column, str]]:
    if plugin["problem"] is not None:
        yield Column("problem", is_prose=True, style="bad"), plugin["problem"]["message"]
        yield Column("next", is_prose=True), plugin["problem"]["hint"]
    origins = zip(plugin["distributions"], plugin["origins"], plugin["installed"], strict=True)
    for label, entry_point, installed in origins:
        shown = f"{label}{', editable' if installed['editable'] else ''}"
        yield Column("distribution", is_prose=True), f"{shown} ({entry_point})"
    if plugin["contract_version"] is not None:
        yield Column("contract"), str(plugin["contract_version"])
    if plugin["hooks"]:
        yield Column("hooks", is_prose=True), ", ".join(plugin["hooks"])


def _as_dict(report: PluginReport) -> dict[str, Any]:
    return {
        "type": report.type,
        "kind": report.kind,
        "display_name": report.display_name,
        "summary": report.summary,
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
