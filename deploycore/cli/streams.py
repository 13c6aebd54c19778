"""Standard streams that every command can rely on, whatever they are connected to.

The caller may close a stream, connect it to a full disk or to a reader that ends early, or hang
up the terminal. None of this is a fault of the command, so code that prints never hears of it: a
stream whose other end is gone takes what is printed and drops it. What a command does is not
stopped by that, and its exit code says what it did. Only output that was to be stored, and was
not, makes the command fail. Imported by every command, so it imports little.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys

TYPE_CHECKING = False  # what type checkers take for true; importing typing would cost 10 ms
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
    "prepare_streams",
    "signals_to_end",
]

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the number of the signal, as in shells."""

LOST_OUTPUT = "Standard output cannot be written:"
"""The beginning of the error; the reason follows."""

_LEFT = (errno.EPIPE, errno.ECONNRESET)


class _Output(io.FileIO):
    """The file of standard output or standard error; writing to it never fails.

    Attributes:
        lost: Why something could not be written; 0 if everything was.
        is_left: Whether nobody is there any more to read it.
        needs_reader: Whether to end the process, successfully, when the reader is gone.
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
            self.needs_reader = False  # what is still to be printed is dropped
            raise SystemExit(0)
        return memoryview(data).nbytes

    def _wait(self) -> None:
        """Wait until more fits in: another process may have made the pipe a non-blocking one."""
        import select

        select.select([], [self], [])


def prepare_streams() -> None:
    """Make standard input, output and error usable. For the start of the process.

    A closed one is opened on the null device: else the next file that is opened, such as the
    database, would get its number, and what is printed would be written into that. What the
    encoding cannot express is printed as an escape, such as ``\\xe9``.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.stdout = _reliable(sys.stdout, 1)
    sys.stderr = _reliable(sys.stderr, 2)


def end_without_reader() -> None:
    """From now on, end the process when nobody reads standard output any more.

    For commands that only print, and would go on for long.
    """
    output = _output()
    if output is not None:
        output.needs_reader = True


def find_lost_output() -> str:
    """Write out what was printed; why it could not be stored, or nothing if it was.

    A reader that went away early has lost nothing that it wanted.
    """
    output = _output()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, SystemExit):
            continue  # not a stream of ours, or the reader has left just now
    return os.strerror(output.lost) if output and output.lost and not output.is_left else ""


def end_at_once(code: int) -> None:
    """End the process without waiting for threads; what was printed comes out."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # noqa: S112 - somebody may be writing to it
            continue
    os._exit(code)


def interrupts_end_with(code: int) -> None:
    """Have Ctrl-C end the process at once, with this exit code, where there is nothing to clear up.

    An exception would come up anywhere, such as half-way through an import. An interrupt that the
    caller has the process ignore stays ignored.
    """

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(code)

    _replace_handler(end)


def interrupts_raise() -> None:
    """Have Ctrl-C raise ``KeyboardInterrupt``, as usual."""
    _replace_handler(signal.default_int_handler)


def signals_to_end() -> tuple[signal.Signals, ...]:
    """What asks a process to end: Ctrl-C, SIGTERM, and SIGHUP, which says that the terminal, or the
    connection to it, is gone. ``nohup`` has a process ignore that, and it stays ignored."""
    first = (signal.SIGINT, signal.SIGTERM)
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return first if is_ignored else (*first, signal.SIGHUP)


def _replace_handler(handler: Callable[[int, FrameType | None], object]) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return
    try:
        signal.signal(signal.SIGINT, handler)
    except ValueError:
        pass  # a program that runs a command in another thread minds its signals itself


def _reliable(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        encoding, line_buffering, write_through = "utf-8", False, False
    elif isinstance(stream, io.TextIOWrapper) and _number_of(stream) == number:
        encoding = stream.encoding
        line_buffering, write_through = stream.line_buffering, stream.write_through
    else:
        return stream  # a program's own, such as a test's
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=line_buffering,
        write_through=write_through,
    )


def _number_of(stream: TextIO) -> int:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return -1


def _output() -> _Output | None:
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", None)
    return raw if isinstance(raw, _Output) else None
