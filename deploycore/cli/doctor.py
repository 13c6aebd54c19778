"""``deploycore doctor``: find what is wrong with this installation, and how to fix it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import Column, say, show_json, show_table
from deploycore.cli.tables import Cell
from deploycore.cli.waiting import telling_of_waits

__all__ = ["Offline", "register", "show_findings"]

Offline = Annotated[bool, typer.Option("--offline", help="Skip checks that need the network.")]


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command()(doctor)


def doctor(offline: Offline = False, as_json: AsJson = False) -> None:
    """Find what is wrong with this installation, and how to fix it. Changes nothing.

    Exits with 0 if there is no problem, and otherwise with the exit code of the first problem.
    Fix the first problem first: others may depend on it.
    """
    from deploycore.doctor import diagnose

    with telling_of_waits():
        _probe_plugins()
        findings = list(diagnose(offline=offline))
    counts = Counter(finding.level for finding in findings)
    show_findings(
        {
            "ok": counts["ok"],
            "warnings": counts["warning"],
            "problems": counts["problem"],
            "findings": [finding.as_dict() for finding in findings],
        },
        as_json=as_json,
    )


def show_findings(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what was found, and exit with the exit code of the first problem.

    Args:
        found: The findings and their counts, as ``--json`` prints them.
    """
    findings = found["findings"]
    if as_json:
        show_json(found)
    else:
        columns = [
            Column("STATE", style="state"),
            Column("WHAT"),
            Column("FOUND", is_prose=True),
        ]
        show_table(columns, map(_row, findings), empty="")
        say(_summary(found))
    first = next((each for each in findings if each["level"] == "problem"), None)
    if first is not None:
        raise typer.Exit(first["exit_code"])


def _probe_plugins() -> None:
    """Import plugins in separate processes, if the installation can do that."""
    try:
        from deploycore.provider.probing import probe_imports
    except ImportError:
        return  # diagnose() reports it
    probe_imports()


def _row(finding: Mapping[str, Any]) -> Sequence[Cell]:
    hint = [f"Next: {finding['hint']}"] if finding["hint"] else []
    return [finding["level"], finding["subject"], [finding["message"], *hint]]


def _summary(found: Mapping[str, Any]) -> str:
    problems, warnings = found["problems"], found["warnings"]
    if not problems and not warnings:
        return f"No problems found: {found['ok']} checks passed."
    return f"Found: {_number(problems, 'problem')} and {_number(warnings, 'warning')}."


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
