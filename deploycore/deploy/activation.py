"""Activation: a release becomes live, and stays live only if it works.

The switch is one rename. If a step or the health check after it fails, the previous release is
restored in the same way, and its ``after_activate`` steps run again to notify what serves it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from deploycore.applications.application import Application
from deploycore.applications.steps import Step
from deploycore.deploy.environment import Variables
from deploycore.deploy.recorder import Recorder
from deploycore.deploy.releases import Releases
from deploycore.deploy.steps import run_command, step_environment
from deploycore.distribution import report_hint
from deploycore.errors import Cancelled, DeploycoreError, DeployError, LimitExceeded
from deploycore.git import Cancellation
from deploycore.records import record
from deploycore.text.sentences import sentences

__all__ = ["Activation", "StepRunner", "typed_error"]


@record
class StepRunner:
    """Runs an application's steps in a release.

    Attributes:
        variables: The application's own variables.
        deadline: When the deployment must be finished, by the monotonic clock.
    """

    application: Application
    variables: Variables
    recorder: Recorder
    cancellation: Cancellation
    deadline: float

    @property
    def has_proofs(self) -> bool:
        """Whether there is something to do once a release is live."""
        definition = self.application
        return bool(definition.steps.after_activate) or definition.health_check is not None

    def perform(self, kind: str, release: Path) -> None:
        """Run all steps of a kind: ``build``, ``before_activate`` or ``after_activate``.

        Raises:
            StepFailed: A step failed or timed out.
            Cancelled: The deployment was asked to stop.
        """
        self._perform(kind, release, self.cancellation, self.deadline)

    def repeat(self, kind: str, release: Path) -> None:
        """Run all steps of a kind for a restored release, despite a cancellation or the deadline.

        Raises:
            StepFailed: A step failed or exceeded its own timeout.
        """
        self._perform(kind, release, Cancellation(), None)

    def _perform(
        self, kind: str, release: Path, cancellation: Cancellation, deadline: float | None
    ) -> None:
        steps: Sequence[Step] = getattr(self.application.steps, kind)
        for step in steps:
            # The steps' secrets must be revealed before the redactor is built.
            environment = self._environment(release)
            self.recorder.note(f"{kind}: {step.name or step}")
            with self._naming_missing():
                run_command(
                    step,
                    directory=release,
                    environment=environment,
                    redactor=self.recorder.redactor,
                    output=self.recorder.output,
                    cancellation=cancellation,
                    deadline=deadline,
                    record=self._record,
                )

    def check_health(self, release: Path) -> None:
        """Run the application's health check, if it has one, on the live release.

        Raises:
            HealthCheckFailed: The release does not work.
            Cancelled: The deployment was asked to stop.
        """
        check = self.application.health_check
        if check is None:
            return
        from deploycore.deploy.health import check_health  # requests is imported only for this

        environment = self._environment(release) if check.url is None else {}
        self.recorder.note(f"health check: {check.url or check}")
        with self._naming_missing():
            check_health(
                check,
                directory=release,
                environment=environment,
                redactor=self.recorder.redactor,
                output=self.recorder.output,
                cancellation=self.cancellation,
                deadline=self.deadline,
                record=self._record,
            )

    @contextmanager
    def _naming_missing(self) -> Iterator[None]:
        """Name the variables that could not be read in the hint of an error raised inside."""
        try:
            yield
        except DeploycoreError as error:
            if self.variables.missing:
                names = ", ".join(self.variables.missing)
                said = f"The command ran without these variables, which could not be read: {names}."
                error.hint = sentences(said, error.hint)
            raise

    @property
    def _record(self) -> Path:
        return Releases(self.application.target).step_record

    def refuse_late(self) -> None:
        """Stop if the deployment was cancelled or has exceeded its time limit.

        Raises:
            Cancelled: The deployment was asked to stop.
            LimitExceeded: The time limit is exceeded.
        """
        self.cancellation.raise_if_cancelled()
        if time.monotonic() > self.deadline:
            seconds = self.application.timeouts.deploy
            raise LimitExceeded(
                f"The deployment took more than {seconds:g} seconds.",
                hint="See its log for the slow steps, or raise timeouts: {deploy: SECONDS}.",
                limit="timeouts/deploy",
            )

    def _environment(self, release: Path) -> dict[str, str]:
        record = self.recorder.record
        own = {
            "DEPLOYCORE_APPLICATION": self.application.name,
            "DEPLOYCORE_REF": self.application.ref,
            "DEPLOYCORE_COMMIT": record.commit or "",
            "DEPLOYCORE_RELEASE": str(release),
        }
        return step_environment({**own, **self.variables.available(self.recorder.note)})


class Activation:
    """Switches the link ``current`` to a new release, and back if that fails.

    Args:
        shielded: Makes a context that signals do not interrupt, for the switch back.
    """

    def __init__(
        self,
        releases: Releases,
        steps: StepRunner,
        recorder: Recorder,
        shielded: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._releases = releases
        self._steps = steps
        self._recorder = recorder
        self._shielded = shielded

    def activate(self, release: Path, **known: Any) -> None:
        """Make a complete release live, and check that it works.

        Args:
            known: Fields to record together with the state.

        Raises:
            DeploycoreError: The release does not work, or cannot be made live. The previous
                release is live again and the end is recorded; if that failed, the end is left to
                recovery.
        """
        self._steps.refuse_late()
        previous = self._releases.current
        if not self._releases.holds(release):
            raise DeployError(
                f"The release {release.name} was removed during the deployment, by a step or by"
                " another program.",
                hint="Correct the step that removes it, then deploy again.",
                release=release.name,
            )
        self._recorder.enter(
            "activating",
            release=release.name,
            previous=previous.name if previous else None,
            unproved=self._steps.has_proofs,
            **known,
        )
        try:
            self._releases.activate(release)
            self._steps.perform("after_activate", release)
            self._steps.check_health(release)
        except BaseException as raised:
            error = typed_error(raised)
        else:
            self._recorder.finish("healthy")
            return
        self.take_back(release, previous, error)
        raise error

    def take_back(self, release: Path, previous: Path | None, error: DeploycoreError) -> None:
        """Restore the previous release, and record that this one did not work.

        If it cannot be restored, the deployment's end is not recorded, so that the next
        deployment, or ``recover``, tries again.

        Args:
            error: Why the release is taken back; its hint will say what is live.
        """
        with self._shielded():
            self._recorder.note_error(error)
            try:
                live = self._put_back(previous)
            except DeploycoreError as failure:
                self._recorder.note(f"the previous release cannot be restored: {failure.message}")
                error.hint = (
                    f"The previous release could not be restored ({failure.message}); the live"
                    " release may not work. Correct the problem, then run: deploycore recover"
                )
                return
            is_back = previous is not None and live == previous
            again = " again" if is_back else ""
            told = f"Release {live.name} is live{again}." if live else "No release is live."
            seen = f"See what happened: deploycore logs {self._recorder.record.id}"
            error.hint = sentences(told, error.hint, seen)
            if isinstance(error, Cancelled):
                self._recorder.finish("cancelled", error)
            else:
                self._recorder.finish("rolled_back" if is_back else "failed", error)

    def _put_back(self, previous: Path | None) -> Path | None:
        """Switch back to the previous release.

        Its ``after_activate`` steps run again, to notify what serves it. A failure of these steps
        is only logged.

        Returns:
            The release that is live now.

        Raises:
            DeploycoreError: The previous release cannot be restored.
        """
        if previous is None:
            self._releases.deactivate()
            self._recorder.note("no release was live before, so none is now")
            return None
        if not self._releases.holds(previous):
            self._recorder.note(
                f"the previous release {previous.name} no longer exists: this one stays live"
            )
            return self._releases.current
        if self._releases.current != previous:
            self._releases.activate(previous)
        self._recorder.note(f"release {previous.name} is live again")
        try:
            self._steps.repeat("after_activate", previous)
        except DeploycoreError as failure:
            self._recorder.note(f"after_activate of the previous release failed: {failure.message}")
        return previous


def typed_error(error: BaseException) -> DeploycoreError:
    """Turn any exception into an error that can be recorded; of a bug it shows only the type."""
    if isinstance(error, DeploycoreError):
        return error
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return Cancelled("The deployment was interrupted.")
    return DeploycoreError(
        f"deploycore stopped because of an unexpected error: {type(error).__name__}.",
        hint=report_hint(),
    )
