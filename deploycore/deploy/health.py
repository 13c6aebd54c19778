"""Asking a release whether it works, again and again until it does or the time is over."""

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

# An ended try hangs on only while it looks up a name or connects, which nothing can cut.
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
    """Try a health check until one try is good.

    A URL is asked with GET. Only the status counts: redirects are not followed, and the body
    is not read. Proxies and trusted certificates are those of deploycore's environment, but
    what is on this machine is asked directly, and ``.netrc`` is not looked at. A command is
    run as :func:`deploycore.deploy.steps.run_command` does it.

    Args:
        directory: Where a command runs: the release.
        environment: All variables of a command.
        redactor: Knows the secrets, which are masked in the output and in errors.
        output: Gets one line for each try that failed, and what a command prints.
        cancellation: Ends the check at once.
        deadline: When it must have ended whatever its own, in the time of ``time.monotonic``.
        record: A file that names a command's session while it runs; see ``end_orphans``.

    Raises:
        HealthCheckFailed: No try was good. ``details`` has ``tries`` and the last ``reason``.
        Cancelled: It was cancelled.
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
        """How many tries there were, and why the last was bad; ``None``: it was good."""
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
        # A former try that hung on may wake us for nothing.
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
        """The status of an answer, or why there is none.

        In a thread, since the time-outs of sockets begin anew with every byte, and none ends
        for a cancellation.
        """
        end = min(time.monotonic() + self.check.timeout, self.until)
        # Whoever cuts the wire ends a connection that is being made, too.
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
    except Exception as error:  # also what libraries do when a socket is cut below them
        answers.append(failure_of(error).reason)
    finally:
        wire.close()
        wakeup.wake()


def _status(url: str, timeout: float, wire: Wire) -> int:
    with requests.Session() as session, closing(WatchedAdapter(lambda: wire)) as adapter:
        session.auth = Authorisation(None)
        session.headers["User-Agent"] = "deploycore (health check)"
        request = session.prepare_request(requests.Request("GET", url))
        # Not by the session, which reads all of a redirect's body even if it is not followed.
        how = environment_settings(session, url)
        with adapter.send(request, timeout=max(timeout, 0.001), **how) as answer:
            return answer.status_code
