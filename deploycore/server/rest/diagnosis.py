"""Operations about this installation itself: its plugins and its problems."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from starlette.responses import Response

from deploycore.doctor import diagnose
from deploycore.provider.installed import PluginReport, plugin_reports
from deploycore.provider.probing import probe_imports
from deploycore.server.api import PREFIX, Api, Call, answer
from deploycore.server.problems import Refusal
from deploycore.server.rest.operation import Operation
from deploycore.server.views import Given, View

__all__ = ["OPERATIONS"]

_examining = threading.Lock()


class InstalledView(View):
    """A Python distribution that provides a plugin.

    Attributes:
        distribution: The name of the distribution.
        version: Its version.
        location: The directory that contains it; empty if it is unknown.
        editable: Whether it is an editable installation of a source tree.
    """

    distribution: str
    version: str
    location: str
    editable: bool


class PluginView(View):
    """An installed plugin.

    Attributes:
        type: What the plugin provides.
        kind: The name of the plugin, such as ``bitbucket``.
        display_name: The name to show to people.
        summary: What it is for, in one sentence; may be empty.
        distributions: The Python distributions that provide it, with their versions.
        origins: The entry point of each distribution.
        installed: The same distributions in detail.
        ready: Whether it can be used.
        contract_version: The version of the plugin contract that it was written for; ``None`` if it
            cannot be read.
        hooks: The hooks that it implements.
        problem: Why it cannot be used, as an error; ``None`` if it can.
    """

    type: Literal["provider", "observer", "sandbox"]
    kind: str
    display_name: str
    summary: str
    distributions: Sequence[str]
    origins: Sequence[str]
    installed: Sequence[InstalledView]
    ready: bool
    contract_version: int | str | None
    hooks: Sequence[str]
    problem: dict[str, Any] | None

    @classmethod
    def of(cls, report: PluginReport) -> PluginView:
        """The view of a report."""
        return cls(
            type=report.type,
            kind=report.kind,
            display_name=report.display_name,
            summary=report.summary,
            distributions=[origin.label for origin in report.origins],
            origins=[origin.entry_point for origin in report.origins],
            installed=[
                InstalledView(
                    distribution=origin.distribution,
                    version=origin.version,
                    location=origin.location,
                    editable=origin.is_editable,
                )
                for origin in report.origins
            ],
            ready=report.problem is None,
            contract_version=report.contract_version,
            hooks=report.hooks,
            problem=report.problem.as_dict() if report.problem else None,
        )


class PluginPage(View):
    """All installed plugins.

    Attributes:
        items: The plugins.
    """

    items: Sequence[PluginView]


class FindingView(View):
    """The result of one check of the installation.

    Attributes:
        level: Whether it is a problem, a warning, or neither.
        subject: What was checked, such as ``provider work``.
        exit_code: The exit code of ``deploycore doctor`` for a problem; otherwise 0.
    """

    level: Literal["ok", "warning", "problem"]
    subject: str
    message: str
    hint: str
    exit_code: int


class Diagnosis(View):
    """The results of all checks of the installation.

    Attributes:
        ok: Number of checks that found nothing.
        warnings: Number of warnings.
        problems: Number of problems.
        findings: The result of each check.
    """

    ok: int
    warnings: int
    problems: int
    findings: Sequence[FindingView]


class DiagnosisQuery(Given):
    """The checks to run.

    Attributes:
        offline: Whether to skip checks that need the network.
    """

    offline: bool = False


def list_plugins(api: Api, call: Call) -> Response:
    """List the installed plugins, and for a plugin that cannot be used, the reason."""
    with _one_at_a_time():
        probe_imports()
        reports = plugin_reports()
    return answer(PluginPage(items=[PluginView.of(each) for each in reports]))


def diagnose_installation(api: Api, call: Call) -> Response:
    """Find what is wrong with this installation, and how to fix it. Changes nothing."""
    query: DiagnosisQuery = call.query
    with _one_at_a_time():
        probe_imports()
        found = list(diagnose(lambda: api.installation.settings, offline=query.offline))
    counts = Counter(each.level for each in found)
    return answer(
        Diagnosis(
            ok=counts["ok"],
            warnings=counts["warning"],
            problems=counts["problem"],
            findings=[FindingView.model_validate(each) for each in found],
        )
    )


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """A context for checks, which import plugins in separate processes and send requests to hosts.

    Raises:
        Refusal: The checks of another request are still running (503).
    """
    if not _examining.acquire(timeout=20):
        raise Refusal(
            503,
            "busy",
            "Another request is checking the installation.",
            hint="Send the request again in a minute.",
            headers={"Retry-After": "60"},
        )
    try:
        yield
    finally:
        _examining.release()


OPERATIONS = (
    Operation("GET", f"{PREFIX}/plugins", "admin", list_plugins, {200: PluginPage}),
    Operation(
        "GET",
        f"{PREFIX}/doctor",
        "admin",
        diagnose_installation,
        {200: Diagnosis},
        query=DiagnosisQuery,
    ),
)
