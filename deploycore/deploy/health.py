"""Run a release's health check repeatedly, until it succeeds or its time is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import requests

from deploycore.applications.steps import HealthCheck
from deploycore.deploy.steps import run_command
from deploycore.deploy.wakeup import Wakeup
from deploycore.errors import Cancelled, HealthCheckFailed, StepFailed
from deploycore.git import Cancellation
from deploycore.http.adapter import WatchedAdapter
from deploycore.http.authorisation import Authorisation
from deploycore.http.causes import failure_of
from deploycore.http.environment import environment_settings
from deploycore.http.wire import Wire
from deploycore.redaction import Redactor

__all__ = ["check_health"]

# After an attempt has ended, its thread can continue only while it resolves a name or connects,
# which cannot be interrupted.
_JOINED_WITHIN = 0.5


def check_health(
    check: HealthCheck,
    *,
    directory: Path,
    environment: Mapping[str, str],
    redactor: Redactor,
    output: Callable[[str], None],
    cancellation: Cancellation,
    deadline: float | None = None,
    record: Path | None = None,
) -> None:
    """Run a health check until one attempt succeeds.

    A URL is requested with GET. Only the status matters: redirects are not followed, and the body
    is not read. Proxies and trusted certificates are those of deploycore's environment, but this
    machine is contacted directly, and ``.netrc`` is not read. A command runs as in
    :func:`deploycore.deploy.steps.run_command`.

    Args:
        directory: The working directory of a command: the release.
        environment: All variables of a command.
        redactor: Masks the secrets in the output and in errors.
        output: Called with a line for each attempt that failed, and with the lines that a command
            prints.
        cancellation: Ends the check at once.
        deadline: When the check must end, whatever its own time limit is, by ``time.monotonic``.
        record: A file that has a command's session while the command runs; see ``end_orphans``.

    Raises:
        HealthCheckFailed: No attempt succeeded. ``details`` has ``tries`` and the last ``reason``.
        Cancelled: The check was canceled.
    """
    own = time.monotonic() + check.deadline
    until = own if deadline is None else min(own, deadline)
    with Wakeup() as wakeup, cancellation.waking(wakeup.wake):
        trying = _Trying(
            check, directory, environment, redactor, output, cancellation, until, record
        )
        tries, reason = trying.until_good(wakeup)
    if reason is not None:
        times = "once" if tries == 1 else f"{tries} times"
        raise HealthCheckFailed(
            f"The release failed its health check {times}. Last result: {reason}.",
            hint="Check the health_check of the application, and see the application's own log. If"
            " it needs more time to start, raise the check's retries, interval or deadline.",
            tries=tries,
            reason=reason,
        )


@dataclass(frozen=True, repr=False)
class _Trying:
    check: HealthCheck
    directory: Path
    environment: Mapping[str, str]
    redactor: Redactor
    output: Callable[[str], None]
    cancellation: Cancellation
    until: float
    record: Path | None

    def until_good(self, wakeup: Wakeup) -> tuple[int, str | None]:
        """Return the number of attempts, and why the last one failed; ``None`` if it succeeded."""
        allowed = 1 + self.check.retries
        for number in range(1, allowed + 1):
            self._raise_if_cancelled()
            reason = self._once(wakeup)
            self._raise_if_cancelled()
            if reason is None:
                return number, None
            self.output(f"try {number} of {allowed}: {reason}")
            next_at = time.monotonic() + self.check.interval
            if number == allowed or next_at >= self.until:
                break
            self._wait_until(next_at, wakeup)
        return number, reason

    def _raise_if_cancelled(self) -> None:
        if self.cancellation.cancelled:
            raise Cancelled("The health check was canceled.")

    def _wait_until(self, moment: float, wakeup: Wakeup) -> None:
        # The thread of an earlier attempt may wake this one without a reason.
        while time.monotonic() < moment and not self.cancellation.cancelled:
            wakeup.wait(moment - time.monotonic())

    def _once(self, wakeup: Wakeup) -> str | None:
        if self.check.url is None:
            return self._run()
        answer = self._ask(self.check.url, wakeup)
        if isinstance(answer, str):
            return self.redactor.mask(answer)
        good = self.check.is_good(answer)
        return None if good else f"{answer}, {self.check.status} was expected"

    def _run(self) -> str | None:
        try:
            run_command(
                self.check,
                directory=self.directory,
                environment=self.environment,
                redactor=self.redactor,
                output=self.output,
                cancellation=self.cancellation,
                deadline=self.until,
                record=self.record,
            )
        except StepFailed as error:
            return f"it {error.details['reason']}"
        return None

    def _ask(self, url: str, wakeup: Wakeup) -> int | str:
        """Return the status of the response, or the reason why there is none.

        The request runs in a thread, because a socket's timeout starts again with every byte, and a
        cancellation cannot end it.
        """
        end = min(time.monotonic() + self.check.timeout, self.until)
        # Cutting the wire also ends a connection that is being established.
        wire, answers = Wire(self.check.timeout), list[int | str]()
        thread = threading.Thread(
            target=_answer, args=(url, end, wire, answers, wakeup), daemon=True
        )
        thread.start()
        try:
            while not answers and time.monotonic() < end and not self.cancellation.cancelled:
                wakeup.wait(end - time.monotonic())
            return answers[0] if answers else "it timed out"
        finally:
            wire.cut()
            thread.join(_JOINED_WITHIN)


def _answer(url: str, end: float, wire: Wire, answers: list[int | str], wakeup: Wakeup) -> None:
    try:
        answers.append(_status(url, end - time.monotonic(), wire))
    except ValueError as error:
        known = isinstance(error, requests.RequestException)
        answers.append(failure_of(error).reason if known else "its address is malformed")
    except Exception as error:  # libraries raise other exceptions too when their socket is cut
        answers.append(failure_of(error).reason)
    finally:
        wire.close()
        wakeup.wake()


def _status(url: str, timeout: float, wire: Wire) -> int:
    with requests.Session() as session, closing(WatchedAdapter(lambda: wire)) as adapter:
        session.auth = Authorisation(None)
        session.headers["User-Agent"] = "deploycore (health check)"
        request = session.prepare_request(requests.Request("GET", url))
        # The session is not used to send: it reads the whole body of a redirect, even if it does
        # not follow it.
        how = environment_settings(url)
        with adapter.send(request, timeout=max(timeout, 0.001), **how) as answer:
            return answer.status_code
