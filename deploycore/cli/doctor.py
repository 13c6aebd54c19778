"""``deploycore doctor``: find what is wrong with this installation, and how to fix it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import Column, say, show_json, show_table
from deploycore.cli.tables import Cell
from deploycore.cli.waiting import telling_of_waits

if TYPE_CHECKING:
    from deploycore.doctor import Finding, Level

__all__ = ["register"]


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command()(doctor)


def doctor(
    offline: Annotated[
        bool, typer.Option("--offline", help="Skip checks that need the network.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find what is wrong with this installation, and how to fix it. Changes nothing.

    Exits with 0 if there is no problem, and otherwise with the exit code of the first problem.
    Fix the first problem first: others may depend on it.
    """
    from deploycore.doctor import diagnose

    with telling_of_waits():
        _probe_plugins()
        findings = list(diagnose(offline=offline))
    counts = Counter(finding.level for finding in findings)
    if as_json:
        show_json(
            {
                "ok": counts["ok"],
                "warnings": counts["warning"],
                "problems": counts["problem"],
                "findings": [finding.as_dict() for finding in findings],
            }
        )
    else:
        columns = [
            Column("STATE", style="state"),
            Column("WHAT"),
            Column("FOUND", is_prose=True),
        ]
        show_table(columns, map(_row, findings), empty="")
        say(_summary(counts))
    first = next((each for each in findings if each.level == "problem"), None)
    if first is not None:
        raise typer.Exit(first.exit_code)


def _probe_plugins() -> None:
    """Import plugins in separate processes, if the installation can do that."""
    try:
        from deploycore.provider.probing import probe_imports
    except ImportError:
        return  # diagnose() reports it
    probe_imports()


def _row(finding: Finding) -> Sequence[Cell]:
    hint = [f"Next: {finding.hint}"] if finding.hint else []
    return [finding.level, finding.subject, [finding.message, *hint]]


def _summary(counts: Counter[Level]) -> str:
    problems, warnings = counts["problem"], counts["warning"]
    if not problems and not warnings:
        return f"No problems found: {counts['ok']} checks passed."
    return f"Found: {_number(problems, 'problem')} and {_number(warnings, 'warning')}."


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
