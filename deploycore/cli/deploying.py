"""Deploy applications, and roll them back, on this machine."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import deploycore
from deploycore.cli.choice import choose_applications
from deploycore.cli.output import say, show_error, show_json_line
from deploycore.cli.progress import cancelled_by_signals, reporting
from deploycore.cli.ssh_process import application_uses_ssh, prepared_if
from deploycore.cli.usage_error import UsageError
from deploycore.cli.waiting import telling_of_waits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from deploycore.deploy import DeployEvent, Outcome
    from deploycore.git import Cancellation, Reuse
    from deploycore.installation import Installation
    from deploycore.store import DeploymentRecord

__all__ = ["PARALLEL", "deploy_applications", "finished_as_dict", "roll_back"]

PARALLEL = 4
"""How many applications are deployed at once by default."""


def deploy_applications(
    applications: Sequence[str] | None = None,
    *,
    all_: bool = False,
    parallel: int = PARALLEL,
    force: bool = False,
    if_changed: bool = False,
    hard_link: bool = False,
    no_wait: bool = False,
    as_json: bool = False,
) -> None:
    """Deploy the newest commit of one or more applications, and print what was done."""
    if force and if_changed:
        hint = "Leave --if-changed out: it is the default."
        raise UsageError("--force and --if-changed cannot be combined.", hint=hint)
    if if_changed:
        print("Note: --if-changed is the default now and has no effect.", file=sys.stderr)
    named = list(dict.fromkeys(applications or []))
    with (
        prepared_if(lambda listing: application_uses_ssh(listing, named[0]))
        if len(named) == 1 and not all_
        else nullcontext(),
        deploycore.Installation() as installation,
    ):
        from deploycore.deploy import DeployRequest, no_listener

        store = installation.store
        names = choose_applications(
            applications or [],
            everything=all_,
            list_names=lambda: [each.name for each in store.list_applications()],
            check=store.get_applications,
        )
        reuse: Reuse | None = "hard-link" if hard_link else None
        if len(names) > 1:
            with (
                telling_of_waits(interruptible=False),
                cancelled_by_signals() as cancellation,
            ):
                request = DeployRequest(
                    requested_by=_person(),
                    cause="cli",
                    force=force,
                    reuse=reuse,
                    wait=not no_wait,
                    listener=_print_event if as_json else no_listener,
                    cancellation=cancellation,
                )
                outcomes = installation.engine.deploy_many(names, request, parallel=parallel)
                _tell_all(installation, outcomes, as_json)
            return
        with _listening(as_json) as (listener, cancellation):
            done = installation.deploy(
                names[0],
                requested_by=_person(),
                cause="cli",
                force=force,
                reuse=reuse,
                wait=not no_wait,
                listener=listener,
                cancellation=cancellation,
            )
        _tell(installation, done, as_json)


def roll_back(
    application: str, *, to: str | None = None, no_wait: bool = False, as_json: bool = False
) -> None:
    """Roll back to a previous release, and print what was done."""
    with deploycore.Installation() as installation:
        with _listening(as_json) as (listener, cancellation):
            done = installation.roll_back(
                application,
                to=to,
                requested_by=_person(),
                wait=not no_wait,
                listener=listener,
                cancellation=cancellation,
            )
        _tell(installation, done, as_json)


@contextmanager
def _listening(as_json: bool) -> Iterator[tuple[Callable[[DeployEvent], None], Cancellation]]:
    with (
        telling_of_waits(interruptible=False),
        cancelled_by_signals() as cancellation,
        reporting(silent=as_json) as reporter,
    ):

        def listen(event: DeployEvent) -> None:
            if as_json:
                _print_event(event)
            elif event.kind in ("state", "progress"):
                reporter.show(event.phase, event.git)
            else:
                reporter.say(event.text)

        yield listen, cancellation


def _print_event(event: DeployEvent) -> None:
    show_json_line(event.as_dict())


def _tell_all(installation: Installation, outcomes: Iterable[Outcome], as_json: bool) -> None:
    """Print the outcome of each deployment as it ends, then exit with the first error's code."""
    codes = []
    for outcome in outcomes:
        if outcome.error is not None:
            codes.append(outcome.error.exit_code)
            show_error(outcome.error, as_json=as_json, application=outcome.application)
        elif outcome.deployment is not None:
            _tell(installation, outcome.deployment, as_json)
    if codes:
        raise SystemExit(codes[0])


def _tell(installation: Installation, done: DeploymentRecord, as_json: bool) -> None:
    target = installation.store.get_application(done.application).definition.target
    if as_json:
        show_json_line(finished_as_dict(done, target))
        return
    if done.state == "skipped":
        _tell_skipped(installation, done)
        return
    began = done.started_at or done.requested_at
    seconds = (done.finished_at - began).total_seconds() if done.finished_at else 0.0
    if done.kind == "rollback":
        from_ = f"commit {_short(done.previous_commit)} (release {done.previous})"
        say(f"Rolled back {done.application} in {max(seconds, 0):.1f} s")
        say(f"  from {from_ if done.previous else 'no release'}")
        say(f"  to   commit {_short(done.commit)} (release {done.release})")
    else:
        commit = _short(done.commit)
        say(f"Deployed {done.application}: commit {commit} in {max(seconds, 0):.1f} s")
    say(f"  live at {target / 'current'} -> releases/{done.release}")


def finished_as_dict(done: DeploymentRecord, target: Path) -> dict[str, Any]:
    """Return the last line of ``deploy`` and ``rollback`` with ``--json``."""
    from deploycore.cli.history import deployment_as_dict

    result: dict[str, Any] = {"event": "finished", **deployment_as_dict(done)}
    if done.kind == "rollback":
        result["from"] = {"commit": done.previous_commit, "release": done.previous}
        result["to"] = {"commit": done.commit, "release": done.release}
    return result | {"current": str(target / "current")}


def _tell_skipped(installation: Installation, done: DeploymentRecord) -> None:
    name = done.application
    live = next((each for each in installation.releases(name) if each.is_live), None)
    if live is not None and live.deployment and live.deployment.commit == done.commit:
        say(
            f"Skipped {name}: commit {_short(done.commit)} is already live (release {live.name})."
            f"\n  To deploy it again: deploycore deploy {name} --force"
        )
    else:
        say(f"Skipped {name}: there is nothing to deploy. See why: deploycore logs {done.id}")


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "unknown"


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""  # in a container, the user may have no name
