"""Calls of plugin code that may never return.

Python cannot end a thread. So code that may hang runs in a daemon thread, which does not prevent
the process from ending. The caller checks for cancellation while it waits, and abandons the call
after a time limit. The current call of each thread is recorded, so that a long wait can be
explained.
"""

from __future__ import annotations

import contextvars
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath
from typing import Any, Generic, NamedTuple, TextIO, TypeVar, cast

__all__ = [
    "BackgroundCall",
    "Unanswered",
    "UnderWay",
    "call_within",
    "calls_left_behind",
    "calls_under_way",
    "describe_raised",
    "is_interrupt",
    "printing_to_stderr",
    "running",
    "under_way",
]

T = TypeVar("T")

LOOK_SECONDS = 0.05
_THREAD_NAME = "deploycore-call"

running: dict[int, tuple[str, str, str, float]] = {}
"""The call of plugin code that each thread is in, by ``threading.get_ident``: the subject, the
hook, the plugin, and the start by the monotonic clock. ``under_way`` maintains it; code for which a
microsecond matters can set it directly. No lock is needed, because a dictionary adds and removes
one entry atomically in any thread."""

_left: set[threading.Thread] = set()
_left_lock = threading.Lock()

_printing_to_stderr: set[int] = set()
_stdout_lock = threading.Lock()


class UnderWay(NamedTuple):
    """A call of plugin code that has not returned.

    Attributes:
        subject: The caller's object, such as ``provider work``.
        hook: The hook.
        plugin: The plugin's name and version; may be empty.
        since: The start, by the monotonic clock.
    """

    subject: str
    hook: str
    plugin: str
    since: float

    def __str__(self) -> str:
        return f"{self.subject}: {self.hook}" + (f" of {self.plugin}" if self.plugin else "")


class Unanswered(Exception):
    """A call did not return in time.

    Attributes:
        under_way: The call of plugin code; ``None`` if it was not in plugin code.
    """

    def __init__(self, under_way: UnderWay | None) -> None:
        super().__init__(str(under_way or "a call has not come back in time"))
        self.under_way = under_way


class BackgroundCall(Generic[T]):
    """An action in a separate daemon thread, with the context variables of the caller.

    Attributes:
        began: The start, by the monotonic clock.
    """

    def __init__(self, action: Callable[[], T]) -> None:
        self.began = time.monotonic()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._late: Callable[[T], object] | None = None
        self._results: list[T] = []
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run, action), name=_THREAD_NAME, daemon=True
        )
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for a maximum time; return whether the call has ended."""
        return self._done.wait(max(0.0, seconds))

    @property
    def under_way(self) -> UnderWay | None:
        """The call of plugin code that the action is in."""
        entry = running.get(self._thread.ident or 0)
        return UnderWay(*entry) if entry else None

    def result(self) -> T:
        """Return the action's result, or raise its error, after it has ended."""
        if self._error is not None:
            # Otherwise the error, its traceback and this frame would keep each other alive.
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error
        return self._results[0]

    def leave(self, late: Callable[[T], object]) -> None:
        """Abandon the call.

        Args:
            late: Called with the result if the action returns later, to close it.
        """
        with self._lock:
            self._late = late
            if not self._done.is_set():
                _forget_ended(self._thread)
                return
        self._tell_late()

    def _run(self, action: Callable[[], T]) -> None:
        try:
            self._results.append(action())
        except BaseException as error:
            self._error = error
        with self._lock:
            self._done.set()
        self._tell_late()

    def _tell_late(self) -> None:
        if self._late is not None and self._results:
            with suppress(Exception):
                self._late(self._results[0])


def call_within(
    action: Callable[[], T],
    seconds: float,
    *,
    look: Callable[[], None] = lambda: None,
    late: Callable[[T], object] = lambda result: None,
) -> T:
    """Run an action that may hang, for a maximum time.

    Args:
        action: The action. It runs in a separate thread.
        seconds: The maximum time.
        look: Called about every twentieth of a second while waiting. If it raises, the wait ends.
        late: Called with the result if the action returns after the wait has ended, to close it.

    Returns:
        The result of the action. Its errors are raised.

    Raises:
        Unanswered: The action took too long and was abandoned.
    """
    call = BackgroundCall(action)
    try:
        while not call.wait(min(LOOK_SECONDS, call.began + seconds - time.monotonic())):
            look()
            if time.monotonic() >= call.began + seconds:
                raise Unanswered(call.under_way)
    except BaseException:
        call.leave(late)
        raise
    return call.result()


@contextmanager
def under_way(subject: str, hook: str, plugin: str = "") -> Iterator[None]:
    """Record that this thread calls a plugin; see ``UnderWay``."""
    me = threading.get_ident()
    before = running.get(me)
    running[me] = subject, hook, plugin, time.monotonic()
    try:
        yield
    finally:
        if before is None:
            running.pop(me, None)
        else:
            running[me] = before


def calls_under_way() -> list[UnderWay]:
    """Return all calls of plugin code that a thread waits for, the longest first."""
    left = {thread.ident for thread in _forget_ended()}
    found = [UnderWay(*entry) for ident, entry in list(running.items()) if ident not in left]
    return sorted(found, key=lambda call: call.since)


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Redirect what this thread prints to standard error.

    The standard output of a command is only for its own text, which a program may read. Other
    threads print as usual.
    """
    me = threading.get_ident()
    with _stdout_lock:
        _printing_to_stderr.add(me)
        if sys.stdout is not None and not isinstance(sys.stdout, _StdoutByThread):
            sys.stdout = cast("TextIO", _StdoutByThread(sys.stdout))
    try:
        yield
    finally:
        with _stdout_lock:
            _printing_to_stderr.discard(me)
            if not _printing_to_stderr and isinstance(sys.stdout, _StdoutByThread):
                sys.stdout = sys.stdout.usual


class _StdoutByThread:
    """Replaces ``sys.stdout``, which all threads share."""

    def __init__(self, usual: TextIO) -> None:
        self.usual = usual

    def __getattr__(self, name: str) -> Any:
        apart = threading.get_ident() in _printing_to_stderr
        return getattr(sys.stderr if apart and sys.stderr is not None else self.usual, name)


def is_interrupt(error: BaseException) -> bool:
    """Whether an error from a plugin's code is a request from outside to stop.

    That is ``KeyboardInterrupt``, and anything else that the handler of a signal raises, such as a
    test runner's at a time limit. Python calls these handlers only in the main thread. Every other
    error is the plugin's own fault, even if it is not an ``Exception``, such as
    ``asyncio.CancelledError``.
    """
    if threading.current_thread() is not threading.main_thread() or isinstance(error, Exception):
        return False
    return isinstance(error, KeyboardInterrupt) or _is_of_handler(error)


def _is_of_handler(error: BaseException) -> bool:
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = {getattr(each, "__code__", None) for each in handlers} - {None}
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code in codes for frame, _ in frames)


def describe_raised(error: BaseException) -> str:
    """Describe what a plugin's code raised, and where, for the end of an error's message."""
    # Imported here, because every command imports this module, and few need pydantic for their
    # help.
    from pydantic import ValidationError

    from deploycore.text.raised import text_of
    from deploycore.text.validation import describe_problems

    said = text_of(error)
    if isinstance(error, ValidationError):
        said = f"{error.title} is not valid: {describe_problems(error, Any, None)}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (at {PurePath(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"raised {type(error).__name__}: {said}{where}"


def calls_left_behind() -> bool:
    """Whether a call still runs at the end of a command, when no caller waits for it any more.

    An interrupt ends the wait for a call at any point, so the caller may not have been able to
    abandon the call.
    """
    return any(thread.name == _THREAD_NAME for thread in threading.enumerate())


def _forget_ended(*more: threading.Thread) -> frozenset[threading.Thread]:
    """The threads that were abandoned and still run."""
    with _left_lock:
        _left.update(more)
        _left.difference_update([thread for thread in _left if not thread.is_alive()])
        return frozenset(_left)
