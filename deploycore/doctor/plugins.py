"""Checks of installed plugins, with the results of ``deploycore plugins``."""

from __future__ import annotations

from collections.abc import Iterator

from deploycore.doctor.finding import Finding, fine, problem, warning
from deploycore.provider.installed import plugin_reports

__all__ = ["look_at_plugins"]


def look_at_plugins() -> Iterator[Finding]:
    """Check every installed provider, observer and sandbox."""
    reports = plugin_reports()
    for report in reports:
        subject = f"{report.type} plugin {report.kind}"
        if report.problem is not None:
            yield problem(subject, report.problem)
        else:
            yield fine(subject, f"{report.origins[0].label} can be used.")
    if not any(report.type == "provider" for report in reports):
        yield warning(
            "plugins",
            "No provider plugin is installed, so you cannot connect a git host.",
            "Install one into the same environment as deploycore.",
        )
