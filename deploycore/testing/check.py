"""``python -m deploycore.testing.check KIND``: the conformance kit on an installed provider.

``deploycore plugin check`` runs this in a process of its own: the kit needs pytest, which no
other command does, and a plugin's tests should not run within the command that reports them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from deploycore.distribution import install_command
from deploycore.errors import ConfigurationError, DeploycoreError, PluginError
from deploycore.hookspecs import ProviderSpec
from deploycore.registry import (
    CONTRACT_GROUP,
    Plugin,
    entry_points_by_name,
    load_plugin,
    normalise_kind,
    only_one,
)

__all__ = ["Outcome", "check_plugin", "main", "refuse_other_classes"]

_MODULE = """\
from deploycore.testing.check import refuse_other_classes
from {module} import {name} as Contract

refuse_other_classes(Contract, {kind!r})


class TestContract(Contract):
    pass
"""


@dataclass
class Outcome:
    """What the checks came to.

    Attributes:
        passed: How many checks passed.
        failed, set_aside, skipped: Names of checks, and why.
        knobs: What the contract class says that makes checks ask for less, or for something else.
    """

    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    knobs: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def check_plugin(kind: str, *, only: str = "") -> tuple[Plugin, Outcome]:
    """Run the kit on the installed provider of a kind.

    Args:
        only: Just the checks whose name contains this.

    Raises:
        PluginError: It can't be loaded, or does not even have the form of a provider.
        ConfigurationError: No such provider, no contract class, or pytest is not installed.
    """
    plugin = load_plugin(kind)
    point = _contract(plugin)
    try:
        import pytest
    except ImportError:
        pytest = None  # type: ignore[assignment]
    if pytest is None:
        raise ConfigurationError(
            "The conformance kit needs pytest, which is not installed.",
            hint=f"Install it beside deploycore: {install_command('testing')}",
        )
    with tempfile.TemporaryDirectory(prefix="deploycore-check-") as directory:
        return plugin, _run(Path(directory), plugin, point, only)


def refuse_other_classes(contract: Any, kind: str) -> None:
    """Stop the collection of what is not the kit's class for this kind.

    Raises:
        pytest.Collector.CollectError: It is no ``ProviderContract``, or one of another kind.
    """
    import pytest

    from deploycore.testing import ProviderContract
    from deploycore.testing.contract.base import asked

    seen = ""
    if not (isinstance(contract, type) and issubclass(contract, ProviderContract)):
        seen = f"{contract!r} is no ProviderContract"
    elif normalise_kind(contract.kind) != normalise_kind(kind):
        seen = f"{contract.__name__} says kind = {contract.kind!r}, and is named for {kind!r}"
    if seen:
        rule = f"{CONTRACT_GROUP} names a ProviderContract that checks the provider of its name"
        raise pytest.Collector.CollectError(f"{asked('class', rule)} {seen}")


def _contract(plugin: Plugin) -> EntryPoint:
    points = entry_points_by_name(CONTRACT_GROUP).get(normalise_kind(plugin.kind))
    if not points:
        raise ConfigurationError(
            f"The plugin {plugin.label} has the form of a provider, but names no class for the "
            f"conformance kit, so nothing more can be checked.",
            hint=f"Its author adds one: an entry point in the group {CONTRACT_GROUP}.",
            plugin=plugin.label,
        )
    return only_one(plugin.kind, points)


def _run(directory: Path, plugin: Plugin, point: EntryPoint, only: str) -> Outcome:
    import pytest

    module = directory / "test_contract.py"
    text = _MODULE.format(module=point.module, name=point.attr, kind=plugin.kind)
    module.write_text(text, encoding="utf-8")
    recorder = _Recorder(plugin.hooks, only)
    started = time.monotonic()
    arguments = [
        str(module), f"--rootdir={directory}", "-c", str(directory / "none.ini"), "-q",
        "-p", "no:cacheprovider", "-p", "no:xdist", "--import-mode=importlib", "-W", "error",
    ]  # fmt: skip
    (directory / "none.ini").write_text("[pytest]\n", encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        code = pytest.main(arguments, plugins=[recorder])
    outcome = recorder.outcome
    outcome.seconds = round(time.monotonic() - started, 1)
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and only and not outcome.failed:
        outcome.failed["the kit"] = f"No check has {only!r} in its name."
    elif code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not outcome.failed:
        outcome.failed["the kit"] = f"pytest ended with {pytest.ExitCode(code).name}"
    return outcome


class _Recorder:
    """A plugin of pytest that keeps what the checks came to, and shows how far they are."""

    def __init__(self, hooks: Collection[str], only: str) -> None:
        self.outcome = Outcome()
        self._hooks = hooks
        self._only = only
        self._count = 0
        self._done = 0
        self._standard: set[str] = set()
        self._overridden: set[str] = set()
        self._ended: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Every standard check has to be among what could run."""
        from deploycore.testing import ProviderContract
        from deploycore.testing.contract.setting_aside import has_a_reason, knobs

        standard = {name for name in dir(ProviderContract) if name.startswith("test_")}
        collected = {item.originalname for item in items}
        if not self.outcome.failed:
            for name in sorted(standard - collected):
                self.outcome.failed[name] = "The contract class leaves this standard check out."
        items[:] = [item for item in items if self._only in item.name]
        self._count = len(items)
        for checks in {item.cls for item in items if issubclass(item.cls, ProviderContract)}:
            self.outcome.knobs.update(knobs(checks))
        self._standard = standard & {item.originalname for item in items}
        self._overridden = {item.name for item in items if has_a_reason(item.function)}

    def pytest_collectreport(self, report: Any) -> None:
        """A contract class that can't be imported or is refused."""
        if report.failed:
            self.outcome.failed["the contract class"] = _last_lines(report.longreprtext)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """One phase of a check has ended."""
        name = report.nodeid.rpartition("::")[2]
        if report.failed:
            self.outcome.failed[name] = _last_lines(report.longreprtext)
        elif hasattr(report, "wasxfail"):
            self._is_set_aside(name, report)
        elif report.skipped:
            self._is_skipped(name, _reason(report.longrepr))
        elif report.when == "call":
            self.outcome.passed += 1
            self._ended.add(_check(name))
        if report.when == "teardown":
            self._progress()

    def pytest_sessionfinish(self) -> None:
        """A standard check that came to nothing at all is none that was fulfilled."""
        told = set(map(_check, [*self.outcome.failed, *self.outcome.skipped]))
        for name in sorted(self._standard - self._ended - told):
            self.outcome.failed[name] = "None of its runs came to an end."

    def _is_set_aside(self, name: str, report: Any) -> None:
        reason = report.wasxfail.removeprefix("reason: ")
        if report.outcome == "skipped" and name in self._overridden:
            self.outcome.set_aside[name] = reason
            self._ended.add(_check(name))
        elif report.outcome == "skipped":
            self.outcome.failed[name] = f"It is set aside while it runs: {reason}"
        elif report.when == "call":
            self.outcome.failed[name] = f"It passes, but is set aside: {report.wasxfail}"

    def _is_skipped(self, name: str, reason: str) -> None:
        """Only the kit itself may skip one of its checks; an author's own are the author's."""
        from deploycore.testing.contract.base import SKIPPED_BY_THE_KIT

        check = _check(name)
        known = SKIPPED_BY_THE_KIT.get(check) == reason or self._is_optional(check, reason)
        if check not in self._standard or known:
            self.outcome.skipped[name] = reason
        else:
            self.outcome.failed[name] = f"It is skipped, and not by the kit: {reason}"

    def _is_optional(self, check: str, reason: str) -> bool:
        """Whether a check is skipped for a hook that is optional, and really not there."""
        from deploycore.testing.contract import OPTIONAL_CHECKS
        from deploycore.testing.contract.base import NO_DEPLOYMENTS, NO_HOOK, NO_WEBHOOKS

        missing = set(vars(ProviderSpec)).difference(self._hooks)
        reasons = [NO_DEPLOYMENTS, NO_WEBHOOKS, *(NO_HOOK.format(hook=hook) for hook in missing)]
        return check in OPTIONAL_CHECKS and reason in reasons

    def _progress(self) -> None:
        self._done += 1
        if sys.stderr.isatty():
            end = "\n" if self._done == self._count else ""
            print(f"\r{self._done} of {self._count} checks", end=end, file=sys.stderr, flush=True)


def _check(name: str) -> str:
    """The check that a run belongs to."""
    return name.partition("[")[0]


def _last_lines(text: str) -> str:
    """What a failed check says for people: from the rule on, without the code around it."""
    lines = [re.sub(r"^E {1,7}", "", line) for line in text.splitlines()]
    first = next((at for at, line in enumerate(lines) if "The contract asks" in line), None)
    shown = lines[first:] if first is not None else lines[-12:]
    return "\n".join(line for line in shown if line.strip())


def _reason(longrepr: Any) -> str:
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return str(text).removeprefix("Skipped: ")


def main(arguments: list[str] | None = None) -> int:
    """Run the checks and print what they came to.

    Returns:
        0 where all that ran passed; 10 where a check failed or the plugin is broken; 3 where
        nothing could be checked.
    """
    options = _parser().parse_args(arguments)
    try:
        plugin, outcome = check_plugin(options.kind, only=options.only)
    except (PluginError, ConfigurationError) as error:
        _show_error(error, as_json=options.json)
        return error.exit_code
    if options.json:
        about = {"kind": plugin.kind, "plugin": plugin.label, "hooks": list(plugin.hooks)}
        conforms = None if options.only and not outcome.failed else not outcome.failed
        print(json.dumps({**about, "conforms": conforms, **asdict(outcome)}, indent=2))
    else:
        _show(plugin, outcome, whole=not options.only)
    return PluginError.exit_code if outcome.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploycore.testing.check")
    parser.add_argument("kind")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="")
    return parser


def _show_error(error: DeploycoreError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": error.as_dict()}), file=sys.stderr)
    else:
        print(f"Error: {error}\n  Next: {error.hint}", file=sys.stderr)


def _show(plugin: Plugin, outcome: Outcome, *, whole: bool) -> None:
    for name, text in outcome.knobs.items():
        print(f"The contract class says: {name} = {text}")
    for title, found in (
        ("Failed", outcome.failed),
        ("Set aside", outcome.set_aside),
        ("Skipped", _by_reason(outcome.skipped)),
    ):
        for name, text in found.items():
            indented = text.replace("\n", "\n    ")
            print(f"{title}: {name}\n    {indented}")
    counted = f"{outcome.passed} checks passed in {outcome.seconds:.0f} s"
    others = [
        f"{len(found)} {word}"
        for word, found in (
            ("failed", outcome.failed),
            ("set aside", outcome.set_aside),
            ("skipped", outcome.skipped),
        )
        if found
    ]
    print(", ".join([counted, *others]) + ".")
    if whole or outcome.failed:
        verdict = "does not fulfil" if outcome.failed else "fulfils"
        print(f"{plugin.label} {verdict} the provider contract.")


def _by_reason(skipped: Mapping[str, str]) -> dict[str, str]:
    """Whole groups of checks are skipped for one reason, and shown as one."""
    groups: dict[str, list[str]] = {}
    for name, reason in skipped.items():
        groups.setdefault(reason, []).append(name)
    return {
        names[0] if len(names) == 1 else f"{len(names)} checks, such as {names[0]}": reason
        for reason, names in groups.items()
    }


if __name__ == "__main__":
    sys.exit(main())
