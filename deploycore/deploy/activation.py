"""A release becomes the live one, and stays so only if it works.

The switch is one rename. What comes after it (steps, the health check) may fail: then the
former release is put back in the same way, and its own steps tell whatever serves it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploycore.applications.application import Application, Step
from deploycore.deploy.environment import Variables
from deploycore.deploy.recorder import Recorder
from deploycore.deploy.releases import Releases
from deploycore.deploy.steps import run_command, step_environment
from deploycore.errors import Cancelled, DeploycoreError, DeployError, LimitExceeded
from deploycore.git import Cancellation

__all__ = ["Activation", "StepRunner", "typed_error"]


@dataclass(frozen=True)
class StepRunner:
    """Runs an application's steps in a release.

    Attributes:
        variables: The application's own variables.
        deadline: When all must be done, by the monotonic clock.
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
            StepFailed: One ended badly, or took too long.
            Cancelled: Somebody asked for the deployment to stop.
        """
        self._perform(kind, release, self.cancellation, self.deadline)

    def repeat(self, kind: str, release: Path) -> None:
        """Run them for a release that is put back, whoever has cancelled, and however late it is.

        Raises:
            StepFailed: One ended badly, or took too long by itself.
        """
        self._perform(kind, release, Cancellation(), None)

    def _perform(
        self, kind: str, release: Path, cancellation: Cancellation, deadline: float | None
    ) -> None:
        steps: Sequence[Step] = getattr(self.application.steps, kind)
        for step in steps:
            environment = self._environment(release)  # before the redactor is asked for
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
        """See whether a release that is live works, if the application says how to tell.

        Raises:
            HealthCheckFailed: It does not.
            Cancelled: Somebody asked for the deployment to stop.
        """
        check = self.application.health_check
        if check is None:
            return
        from deploycore.deploy.health import check_health  # needs requests, for this alone

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
        """Have the hint of what fails here name the variables that a command ran without."""
        try:
            yield
        except DeploycoreError as error:
            if self.variables.missing:
                names = ", ".join(self.variables.missing)
                said = f"The command ran without these variables, which could not be read: {names}."
                error.hint = " ".join(filter(None, (said, error.hint)))
            raise

    @property
    def _record(self) -> Path:
        return Releases(self.application.target).step_record

    def refuse_late(self) -> None:
        """Go on only while there is time, and nobody asked to stop.

        Raises:
            Cancelled: Somebody did.
            LimitExceeded: The time is over.
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
    """Switches ``current``, forwards and back.

    Args:
        shielded: Keeps impatient people from interrupting what happens meanwhile.
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
        """Make a release that is complete and on the disk the live one, and see that it works.

        Args:
            known: Fields of the record that are recorded with it.

        Raises:
            DeploycoreError: It does not, or can't be; what was live before is live again, and
                that is recorded, or left to be settled where it could not be done.
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
        """Have what was live before live again, and record that the release did not work.

        Where that can't be done the deployment has no end on record, so that it is tried again
        by the next one, or by ``recover``.

        Args:
            error: Why; gets a hint that says what is live.
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
            error.hint = " ".join(filter(None, (told, error.hint, seen)))
            if isinstance(error, Cancelled):
                self._recorder.finish("cancelled", error)
            else:
                self._recorder.finish("rolled_back" if is_back else "failed", error)

    def _put_back(self, previous: Path | None) -> Path | None:
        """Switch back.

        The former release's ``after_activate`` steps are run once more, so that what serves it
        notices; what fails in them is told and changes nothing.

        Returns:
            What is live now.

        Raises:
            DeploycoreError: It can't be put back.
        """
        if previous is None:
            self._releases.deactivate()
            self._recorder.note("no release was live before, so none is now")
            return None
        if not self._releases.holds(previous):
            self._recorder.note(f"the former release {previous.name} is gone: this one stays")
            return self._releases.current
        if self._releases.current != previous:
            self._releases.activate(previous)
        self._recorder.note(f"release {previous.name} is live again")
        try:
            self._steps.repeat("after_activate", previous)
        except DeploycoreError as failure:
            self._recorder.note(f"after_activate of the former release: {failure.message}")
        return previous


def typed_error(error: BaseException) -> DeploycoreError:
    """What ended a deployment, as an error that can be recorded; a bug shows its kind alone."""
    if isinstance(error, DeploycoreError):
        return error
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return Cancelled("The deployment was interrupted.")
    return DeploycoreError(
        f"deploycore stopped because of an unexpected error: {type(error).__name__}."
    )
