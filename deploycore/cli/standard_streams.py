"""Standard streams that never fail, whatever they are connected to.

The caller may close a stream, connect it to a full disk or to a reader that ends early, or hang
up the terminal. That is not the command's fault, so printing never raises: a stream without a
reader drops what is printed. The command continues, and its exit code says what it did. It fails
only if output could not be stored. Every command imports this module, so it imports little.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from contextlib import suppress

TYPE_CHECKING = False  # type checkers treat this as true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import TextIO

    from _typeshed import ReadableBuffer

__all__ = [
    "INTERRUPTED",
    "LOST_OUTPUT",
    "end_at_once",
    "end_without_reader",
    "find_lost_output",
    "interrupts_end_with",
    "interrupts_raise",
    "own_descriptors",
    "prepare_streams",
    "reliable_output",
    "signals_to_end",
]

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the number of the signal, as in shells."""

LOST_OUTPUT = "Standard output cannot be written:"
"""The beginning of the error; the reason follows."""

_outputs: list[_Output] = []
"""The files for standard output: usually one."""

_streams: list[TextIO] = []
"""The text streams on top of them."""

_places: dict[int, tuple[int, int]] = {}
"""Where the descriptors of the standard streams led when the process started: the numbers of the
file system and of the file."""

_LEFT = (errno.EPIPE, errno.ECONNRESET)


class _Output(io.FileIO):
    """A file of standard output or standard error; writing to it never fails.

    Attributes:
        lost: The error number of a failed write; 0 if everything was written.
        is_left: Whether the reader has ended.
        needs_reader: Whether to end the process, with success, when the reader has ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number, "wb", closefd=False)
        self.lost = 0
        self.needs_reader = False
        self._was_terminal = self.isatty()

    @property
    def is_left(self) -> bool:
        return self.lost in _LEFT or (self.lost == errno.EIO and self._was_terminal)

    def write(self, data: ReadableBuffer, /) -> int:
        while not self.lost:
            try:
                written = super().write(data)
            except OSError as error:
                self.lost = error.errno or errno.EIO
            else:
                if written is not None:
                    return written
                self._wait()
        if self.is_left and self.needs_reader:
            self.needs_reader = False  # later output is dropped
            raise SystemExit(0)
        return memoryview(data).nbytes

    def _wait(self) -> None:
        """Wait until the pipe has room: another process may have made it non-blocking."""
        import select

        select.select([], [self], [])


def prepare_streams() -> None:
    """Make standard input, output and error usable. Call it when the process starts.

    A closed stream is opened on the null device. Otherwise the next file that is opened, such as
    the database, would get its descriptor, and output would be written into that file. Characters
    that the encoding cannot express are printed as escapes, such as ``\\xe9``.
    """
    _places.clear()
    opened = ((os.O_RDONLY, sys.__stdin__), (os.O_WRONLY, sys.__stdout__))
    for number, (flags, stream) in enumerate((*opened, (os.O_WRONLY, sys.__stderr__))):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)
        else:
            if stream is None:  # it was closed, and something else was opened there since
                continue
        _places[number] = _place(number)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    _outputs.clear()
    _streams.clear()
    if _is_own(sys.stdout, 1):
        sys.stdout = reliable_output(1, like=sys.stdout)
    if _is_own(sys.stderr, 2):
        sys.stderr = _reliable(_Output(2), like=sys.stderr)


def own_descriptors() -> set[int]:
    """Return the descriptors of standard streams, without those that now lead to another file."""
    own = {output.fileno() for output in _outputs} - {0, 1, 2}
    for number, place in _places.items():
        with suppress(OSError):
            if _place(number) == place:
                own.add(number)
    return own


def _place(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def reliable_output(number: int, *, like: TextIO | None) -> TextIO:
    """Return a text stream on a descriptor of standard output. Writing to it never fails.

    Args:
        number: The descriptor, which stays open.
        like: The stream whose encoding and buffering to use.
    """
    output = _Output(number)
    stream = _reliable(output, like=like)
    _outputs.append(output)
    _streams.append(stream)
    return stream


def end_without_reader() -> None:
    """From now on, end the process when the reader of standard output has ended.

    For commands that only print, and can print for long.
    """
    for output in _outputs:
        output.needs_reader = True


def find_lost_output() -> str:
    """Flush all streams, and return why output could not be stored; empty if it was.

    A reader that ended early does not count as lost output.
    """
    for stream in (*_streams, sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, SystemExit):
            continue  # not one of these streams, or the reader has just ended
    return next((os.strerror(o.lost) for o in _outputs if o.lost and not o.is_left), "")


def end_at_once(code: int) -> None:
    """Flush all streams, and end the process without waiting for threads."""
    for stream in (*_streams, sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # noqa: S112 - another thread may be writing to it
            continue
    os._exit(code)


def interrupts_end_with(code: int) -> None:
    """Let Ctrl-C end the process at once with an exit code, while there is nothing to clean up.

    An exception could appear anywhere, such as in the middle of an import. If the caller made the
    process ignore SIGINT, it stays ignored.
    """

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(code)

    _replace_handler(end)


def interrupts_raise() -> None:
    """Let Ctrl-C raise ``KeyboardInterrupt``, as usual."""
    _replace_handler(signal.default_int_handler)


def signals_to_end() -> tuple[signal.Signals, ...]:
    """Return the signals that ask a process to end: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

    SIGHUP means that the terminal was closed. If it is ignored, as with ``nohup``, it stays
    ignored.
    """
    first = (signal.SIGINT, signal.SIGTERM)
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return first if is_ignored else (*first, signal.SIGHUP)


def _replace_handler(handler: Callable[[int, FrameType | None], object]) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return
    # A program that runs a command in another thread handles its signals itself.
    with suppress(ValueError):
        signal.signal(signal.SIGINT, handler)


def _is_own(stream: TextIO | None, number: int) -> bool:
    """Whether a stream is the process's own, and not a replacement, such as a test's."""
    if stream is None:
        return True
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == number
    except (OSError, ValueError):
        return False


def _reliable(output: _Output, *, like: TextIO | None) -> TextIO:
    known = like if isinstance(like, io.TextIOWrapper) else None
    return io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=known.encoding if known else "utf-8",
        errors="backslashreplace",
        line_buffering=bool(known and known.line_buffering),
        write_through=bool(known and known.write_through),
    )
