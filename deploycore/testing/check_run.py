"""The part of ``deploycore plugin check`` that runs in a process that can be killed: pytest, with
the kit.

Each result is reported to the parent (:mod:`deploycore.testing.check`) at once, because a plugin
may end or block this process at any point.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Collection, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from deploycore.distribution import install_command
from deploycore.errors import ConfigurationError, PluginError
from deploycore.hookspecs import ProviderSpec
from deploycore.provider.entry_points import CONTRACT_GROUP, entry_points_by_name
from deploycore.provider.isolation import Reporter
from deploycore.provider.registry import Plugin, load_plugin, normalise_kind, only_one

__all__ = ["refuse_other_classes", "run_checks"]

_MODULE = """\
from deploycore.testing.check_run import refuse_other_classes
from {module} import {name} as Contract

refuse_other_classes(Contract, {kind!r})


class TestContract(Contract):
    pass
"""


def refuse_other_classes(contract: Any, kind: str) -> None:
    """Stop the collection of a class that is not the kit's class for this kind.

    Raises:
        pytest.Collector.CollectError: It is not a ``ProviderContract``, or has another kind.
    """
    import pytest

    from deploycore.testing import ProviderContract
    from deploycore.testing.contract.base import asked

    seen = ""
    if not (isinstance(contract, type) and issubclass(contract, ProviderContract)):
        seen = f"{contract!r} is not a ProviderContract"
    elif normalise_kind(contract.kind) != normalise_kind(kind):
        seen = f"{contract.__name__} has kind = {contract.kind!r}, but its entry point is {kind!r}"
    if seen:
        rule = f"an entry point in {CONTRACT_GROUP} names a ProviderContract with the same kind"
        raise pytest.Collector.CollectError(f"{asked('class', rule)} {seen}")


def _contract(plugin: Plugin) -> EntryPoint:
    points = entry_points_by_name(CONTRACT_GROUP).get(normalise_kind(plugin.kind))
    if not points:
        raise ConfigurationError(
            f"The plugin {plugin.label} has the form of a provider, but no contract class, so "
            "the kit cannot check more.",
            hint="Add a contract class, and register it as an entry point in the group"
            f" {CONTRACT_GROUP}.",
            plugin=plugin.label,
        )
    return only_one(plugin.kind, points)


def run_checks(order: Mapping[str, Any], reporter: Reporter) -> None:
    """Load the plugin, run its checks, and report everything.

    Args:
        order: ``kind``, ``only`` (part of the names of checks), and ``without`` (the checks that
            have run already).
    """
    try:
        plugin = load_plugin(order["kind"])
        _report_plugin(plugin, reporter)
        point = _contract(plugin)
        _need_pytest()
    except (PluginError, ConfigurationError) as error:
        reporter.tell("error", error=error.as_dict())
        return
    with tempfile.TemporaryDirectory(prefix="deploycore-check-") as directory:
        recorder = _Recorder(reporter, plugin.hooks, order["only"], order["without"])
        code = _run(Path(directory), plugin, point, recorder)
    reporter.tell("end", code=code)


def _report_plugin(plugin: Plugin, reporter: Reporter) -> None:
    source = getattr(sys.modules.get(plugin.provider_class.__module__), "__file__", None)
    directory = str(Path(source).parent) if source else ""
    reporter.tell(
        "plugin", kind=plugin.kind, label=plugin.label, hooks=plugin.hooks, directory=directory
    )


def _need_pytest() -> None:
    try:
        import pytest
    except ImportError:
        pytest = None  # type: ignore[assignment]
    if pytest is None:
        raise ConfigurationError(
            "The conformance kit needs pytest, which is not installed.",
            hint=f"Install it beside deploycore: {install_command('testing')}",
        )


def _run(directory: Path, plugin: Plugin, point: EntryPoint, recorder: _Recorder) -> str:
    import pytest

    module = directory / "test_contract.py"
    text = _MODULE.format(module=point.module, name=point.attr, kind=plugin.kind)
    module.write_text(text, encoding="utf-8")
    arguments = [
        str(module), f"--rootdir={directory}", "-c", str(directory / "none.ini"), "-q",
        "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:faulthandler",
        "--import-mode=importlib", "-W", "error",
    ]  # fmt: skip
    (directory / "none.ini").write_text("[pytest]\n", encoding="utf-8")
    # The pytest options of the caller's own tests must not change the result.
    os.environ.pop("PYTEST_ADDOPTS", None)
    with contextlib.redirect_stdout(io.StringIO()):
        return pytest.ExitCode(pytest.main(arguments, plugins=[recorder])).name


class _Recorder:
    """A pytest plugin that reports the results of the checks."""

    def __init__(
        self, reporter: Reporter, hooks: Collection[str], only: str, without: Collection[str]
    ) -> None:
        self._tell = reporter.tell
        self._hooks = hooks
        self._only = only
        self._without = frozenset(without)
        self._standard: set[str] = set()
        self._overridden: set[str] = set()
        self._is_refused = False

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Check that every standard check was collected."""
        from deploycore.testing import ProviderContract
        from deploycore.testing.contract.setting_aside import has_a_reason, knobs

        standard = {name for name in dir(ProviderContract) if name.startswith("test_")}
        collected = {item.originalname for item in items}
        if not self._is_refused:
            for name in sorted(standard - collected):
                self._tell_result("failed", name, "The contract class removes this standard check.")
        said: dict[str, str] = {}
        for checks in {item.cls for item in items if issubclass(item.cls, ProviderContract)}:
            said.update(knobs(checks))
        wanted = [item for item in items if self._only in item.name]
        self._standard = standard & {item.originalname for item in wanted}
        self._overridden = {item.name for item in wanted if has_a_reason(item.function)}
        names = [item.name for item in wanted]
        self._tell("collected", names=names, standard=sorted(self._standard), knobs=said)
        items[:] = [item for item in wanted if item.name not in self._without]

    def pytest_collectreport(self, report: Any) -> None:
        """Report a contract class that cannot be imported or is invalid."""
        if report.failed:
            self._is_refused = True
            self._tell_result("failed", "the contract class", _last_lines(report.longreprtext))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Report that a check begins."""
        self._tell("begin", name=_name(nodeid))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Report that a phase of a check has ended."""
        name = _name(report.nodeid)
        if report.failed:
            self._tell_result("failed", name, _last_lines(report.longreprtext))
        elif hasattr(report, "wasxfail"):
            self._is_set_aside(name, report)
        elif report.skipped:
            self._is_skipped(name, _reason(report.longrepr))
        elif report.when == "call":
            self._tell_result("passed", name)
        if report.when == "teardown":
            self._tell("done", name=name)

    def _tell_result(self, category: str, name: str, text: str = "") -> None:
        self._tell("result", category=category, name=name, text=text)

    def _is_set_aside(self, name: str, report: Any) -> None:
        reason = report.wasxfail.removeprefix("reason: ")
        if report.outcome == "skipped" and name in self._overridden:
            self._tell_result("set_aside", name, reason)
        elif report.outcome == "skipped":
            self._tell_result("failed", name, f"It sets itself aside at run time: {reason}")
        elif report.when == "call":
            said = f"It passes, but is set aside: {report.wasxfail}"
            self._tell_result("failed", name, said)

    def _is_skipped(self, name: str, reason: str) -> None:
        """Only the kit itself may skip one of its standard checks. Authors may skip their own
        tests."""
        from deploycore.testing.contract.base import SKIPPED_BY_THE_KIT

        check = name.partition("[")[0]
        known = SKIPPED_BY_THE_KIT.get(check) == reason or self._is_optional(check, reason)
        if check not in self._standard or known:
            self._tell_result("skipped", name, reason)
        else:
            self._tell_result("failed", name, f"It is skipped by code outside the kit: {reason}")

    def _is_optional(self, check: str, reason: str) -> bool:
        """Whether a check is skipped because the provider does not have an optional hook."""
        from deploycore.testing.contract import OPTIONAL_CHECKS
        from deploycore.testing.contract.base import (
            NO_ASYNCSSH,
            NO_DEPLOY_KEYS,
            NO_DEPLOYMENTS,
            NO_HOOK,
            NO_PULL_REQUESTS,
            NO_SSH_MODES,
            NO_WEBHOOKS,
        )

        missing = set(vars(ProviderSpec)).difference(self._hooks)
        reasons = {NO_ASYNCSSH, NO_DEPLOY_KEYS, NO_DEPLOYMENTS, NO_PULL_REQUESTS}
        reasons |= {NO_SSH_MODES, NO_WEBHOOKS}
        reasons |= {NO_HOOK.format(hook=hook) for hook in missing}
        return check in OPTIONAL_CHECKS and reason in reasons


def _name(nodeid: str) -> str:
    """Return the name of a check's run, with its parameters."""
    return nodeid.rpartition("::")[2]


def _last_lines(text: str) -> str:
    """Return the message of a failed check for people: from the rule on, without the code around
    it."""
    lines = [re.sub(r"^E {1,7}", "", line) for line in text.splitlines()]
    first = next((at for at, line in enumerate(lines) if "The contract requires" in line), None)
    shown = lines[first:] if first is not None else lines[-12:]
    return "\n".join(line for line in shown if line.strip())


def _reason(longrepr: Any) -> str:
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return str(text).removeprefix("Skipped: ")
