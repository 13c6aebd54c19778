"""``python -m deploycore.testing.check KIND``: the conformance kit on an installed provider.

``deploycore plugin check`` runs this. Only a child process (:mod:`deploycore.testing.check_run`)
imports and runs the plugin, because the plugin may block the interpreter or end its process. If
that happens, the check fails, and the remaining checks run in a new child.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from deploycore.errors import ConfigurationError, DeploycoreError, PluginError
from deploycore.hookspecs import ProviderSpec
from deploycore.provider.isolation import Ending, IsolatedProcess
from deploycore.provider.registry import isolated_import_error, normalise_kind

__all__ = ["TOTAL_SECONDS", "CheckedPlugin", "Outcome", "check_and_show", "check_plugin", "main"]

TOTAL_SECONDS = 1800.0
"""Maximum seconds for all checks together (default)."""
_PHASE_SECONDS = 180.0
"""Maximum seconds for one check. The kit itself stops a check earlier."""
_MOST_INCIDENTS = 3

_HOOKS = frozenset(name for name in vars(ProviderSpec) if not name.startswith("_"))


@dataclass(frozen=True)
class CheckedPlugin:
    """The plugin that is checked, as the child has found it.

    Attributes:
        label: The name and version of its distribution.
        hooks: The hooks that it implements.
        directory: The directory of its provider class; empty if it is not known.
    """

    kind: str
    label: str
    hooks: tuple[str, ...]
    directory: str = ""


@dataclass
class Outcome:
    """The results of the checks.

    Attributes:
        passed: The number of checks that passed.
        failed, set_aside, skipped, not_run: The names of checks, and the reason for each.
        knobs: The attributes of the contract class that make checks less strict or different.
    """

    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    knobs: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def check_plugin(
    kind: str, *, only: str = "", seconds: float = TOTAL_SECONDS
) -> tuple[CheckedPlugin, Outcome]:
    """Run the kit on the installed provider of a kind.

    Args:
        only: Run only the checks whose names contain this text.
        seconds: The maximum time for all checks together.

    Raises:
        PluginError: The plugin cannot be loaded, or is not a provider.
        ConfigurationError: The provider does not exist or has no contract class, or pytest is not
            installed.
    """
    run = _Run(normalise_kind(kind), only, seconds)
    plugin = run.checked()
    return plugin, run.outcome


class _Run:
    """Runs checks in a child process, and in a new one after a check has ended or blocked the
    previous one."""

    def __init__(self, kind: str, only: str, seconds: float) -> None:
        self.outcome = Outcome()
        self._kind = kind
        self._only = only
        self._seconds = seconds
        self._plugin = CheckedPlugin("", "", ())
        self._error: DeploycoreError | None = None
        self._code = ""
        self._current = ""
        self._names: list[str] = []
        self._standard: set[str] = set()
        self._ended: set[str] = set()
        self._done: dict[str, None] = {}

    def checked(self) -> CheckedPlugin:
        """Run all checks, and fill in the outcome."""
        began = time.monotonic()
        for incidents in range(1, _MOST_INCIDENTS + 1):
            ending = self._run_child(self._seconds - (time.monotonic() - began))
            if self._code:
                self._judge()
                break
            self._blame(ending)
            if incidents == _MOST_INCIDENTS or ending.cause == "late" or not self._rest():
                self._leave_out(ending)
                break
        self.outcome.seconds = round(time.monotonic() - began, 1)
        return self._plugin

    def _run_child(self, seconds: float) -> Ending:
        order = {"kind": self._kind, "only": self._only, "without": list(self._done)}
        target = "deploycore.testing.check_run:run_checks"
        with IsolatedProcess(
            target, order, seconds=seconds, idle_seconds=_PHASE_SECONDS
        ) as process:
            for event in process.events():
                getattr(self, f"_on_{event.pop('event')}")(**event)
                if self._error is not None:
                    raise self._error
                if self._code:
                    break  # whatever the plugin does when its process exits
        return process.ending or Ending("ended", 0)

    def _on_plugin(self, *, kind: str, label: str, hooks: list[str], directory: str) -> None:
        self._plugin = CheckedPlugin(kind, label, tuple(hooks), directory)

    def _on_error(self, *, error: Mapping[str, Any]) -> None:
        made = PluginError if error["code"] == PluginError.code else ConfigurationError
        self._error = made(error["message"], hint=error["hint"], **error["details"])

    def _on_collected(
        self, *, names: list[str], standard: list[str], knobs: dict[str, str]
    ) -> None:
        self._names, self._standard = names, set(standard)
        self.outcome.knobs = knobs

    def _on_begin(self, *, name: str) -> None:
        self._current = name

    def _on_result(self, *, category: str, name: str, text: str) -> None:
        if category == "passed":
            self.outcome.passed += 1
        else:
            getattr(self.outcome, category)[name] = text
        if category in ("passed", "set_aside"):
            self._ended.add(_check(name))

    def _on_done(self, *, name: str) -> None:
        self._done[name] = None
        self._current = ""
        if sys.stderr.isatty():
            done, count = len(self._done), len(self._names)
            end = "\n" if done == count else ""
            print(f"\r{done} of {count} checks", end=end, file=sys.stderr, flush=True)

    def _on_end(self, *, code: str) -> None:
        self._code = code

    def _judge(self) -> None:
        """Evaluate pytest's exit code, and the checks of which no run has ended: they failed."""
        failed = self.outcome.failed
        told = set(map(_check, [*failed, *self.outcome.skipped]))
        for name in sorted(self._standard - self._ended - told):
            failed[name] = "None of its runs has ended."
        if self._code == "NO_TESTS_COLLECTED" and self._only and not failed:
            failed["the kit"] = f"No check has {self._only!r} in its name."
        elif self._code not in ("OK", "TESTS_FAILED") and not failed:
            failed["the kit"] = f"pytest ended with {self._code}"

    def _blame(self, ending: Ending) -> None:
        """Record that the check that ran when the child ended has failed."""
        if not self._plugin.kind:
            raise isolated_import_error(self._kind, ending)
        name = self._current or ("the kit" if self._names else "the contract class")
        self.outcome.failed[name] = self._told(ending)
        self._done[name] = None
        self._current = ""

    def _told(self, ending: Ending) -> str:
        from deploycore.testing.contract.base import ENDS_BY_ITSELF, asked

        within = Path(self._plugin.directory) if self._plugin.directory else None
        frame = ending.frame(_HOOKS, within=within)
        of = frame.function if frame and frame.function in _HOOKS else "class"
        place = f" in {frame}" if frame else ""
        seen = {
            "ended": f"{ending}{place}",
            "held": f"the code held the interpreter{place}, so no other thread could run; {ending}",
            "idle": f"it did not end within {_PHASE_SECONDS:g} s{place}; {ending}",
            "late": f"the time for all checks, {self._seconds:g} s, was over{place}; {ending}",
        }
        return f"{asked(of, ENDS_BY_ITSELF)} {seen[ending.cause]}".strip()

    def _rest(self) -> list[str]:
        return [name for name in self._names if name not in self._done]

    def _leave_out(self, ending: Ending) -> None:
        reason = (
            f"the time for all checks, {self._seconds:g} s, was over: --timeout"
            if ending.cause == "late"
            else f"{_MOST_INCIDENTS} checks before it hung, or ended their process"
        )
        self.outcome.not_run = dict.fromkeys(self._rest(), reason)


def _check(name: str) -> str:
    """Return the name of the check that a run belongs to."""
    return name.partition("[")[0]


def main(arguments: list[str] | None = None) -> int:
    """Run the checks, and print their results.

    Returns:
        0 if all checks that ran passed; 10 if a check failed or the plugin is broken; 3 if nothing
        could be checked.
    """
    options = _parser().parse_args(arguments)
    return check_and_show(
        options.kind, only=options.only, seconds=options.timeout, as_json=options.json
    )


def check_and_show(
    kind: str, *, only: str, seconds: float, as_json: bool, output: TextIO | None = None
) -> int:
    """Run the checks and print their results, for a caller that has already parsed the command
    line.

    Args:
        only: Run only the checks whose names contain this text.
        seconds: The maximum time for all checks together.
        as_json: Whether to print only JSON.
        output: The stream for the JSON (default: standard output).
    """
    try:
        plugin, outcome = check_plugin(kind, only=only, seconds=seconds)
    except (PluginError, ConfigurationError) as error:
        _show_error(error, as_json=as_json)
        return error.exit_code
    if as_json:
        about = {"kind": plugin.kind, "plugin": plugin.label, "hooks": list(plugin.hooks)}
        conforms = None if only and not outcome.failed else not outcome.failed
        print(json.dumps({**about, "conforms": conforms, **asdict(outcome)}, indent=2), file=output)
    else:
        _show(plugin, outcome, whole=not only)
    return PluginError.exit_code if outcome.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploycore.testing.check")
    parser.add_argument("kind")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--timeout", type=float, default=TOTAL_SECONDS)
    return parser


def _show_error(error: DeploycoreError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": error.as_dict()}), file=sys.stderr)
    else:
        print(f"Error: {error}\n  Next: {error.hint}", file=sys.stderr)


def _show(plugin: CheckedPlugin, outcome: Outcome, *, whole: bool) -> None:
    for name, text in outcome.knobs.items():
        print(f"The contract class says: {name} = {text}")
    for title, found in (
        ("Failed", outcome.failed),
        ("Set aside", outcome.set_aside),
        ("Skipped", _by_reason(outcome.skipped)),
        ("Not run", _by_reason(outcome.not_run)),
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
            ("not run", outcome.not_run),
        )
        if found
    ]
    print(", ".join([counted, *others]) + ".")
    if whole or outcome.failed:
        verdict = "does not fulfil" if outcome.failed else "fulfils"
        print(f"{plugin.label} {verdict} the provider contract.")


def _by_reason(skipped: Mapping[str, str]) -> dict[str, str]:
    """Group checks by the reason for which they were skipped, to print each reason once."""
    groups: dict[str, list[str]] = {}
    for name, reason in skipped.items():
        groups.setdefault(reason, []).append(name)
    return {
        names[0] if len(names) == 1 else f"{len(names)} checks, such as {names[0]}": reason
        for reason, names in groups.items()
    }


if __name__ == "__main__":
    sys.exit(main())
