"""Logs of deployments: one JSON object per line.

Each line is written as its event happens. After a crash the last line may be incomplete; readers
skip it. If a log cannot be written, the deployment goes on.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from deploycore.deploy.events import DeployEvent
from deploycore.disk.durable import make_private_directory
from deploycore.disk.removal import Remains, remove_tree
from deploycore.records import record
from deploycore.times import for_machines

__all__ = ["DeploymentLog", "LogLine", "LogPart", "Logs"]

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_STEP = 64 * 1024
_END_BYTES = 256 * 1024
_SEARCHED_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class LogLine:
    """A line of a deployment's log; the attributes are those of ``DeployEvent``."""

    at: datetime
    kind: str
    phase: str
    text: str


@record
class LogPart:
    """Lines of a log, from a position on.

    Attributes:
        lines: Each line with the position after it, from where the next part can begin.
        position: The position after everything that was read.
        start: The position of the first line.
    """

    lines: Sequence[tuple[int, LogLine]]
    position: int
    start: int = 0


class Logs:
    """The logs of all deployments on this machine.

    Args:
        directory: Created when it is needed, accessible to its owner only.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def of(cls, home: Path) -> Self:
        """The logs of the installation with this data directory."""
        return cls(home / "logs")

    def path(self, application: str, deployment: int) -> Path:
        """The path of a deployment's log; the file may not exist."""
        return self._path(application, deployment)

    def size(self, application: str, deployment: int) -> int:
        """The length of a deployment's log in bytes; 0 if there is no log."""
        try:
            return self._path(application, deployment).stat().st_size
        except OSError:
            return 0

    def open(self, application: str, deployment: int) -> DeploymentLog:
        """Open the log of a deployment for writing."""
        return DeploymentLog(self._path(application, deployment))

    def read(self, application: str, deployment: int) -> Iterator[LogLine]:
        """Read the lines that a deployment's log has now; none if there is no log."""
        return self.follow(application, deployment, until=lambda: True)

    def follow(
        self, application: str, deployment: int, *, until: Callable[[], bool]
    ) -> Iterator[LogLine]:
        """Yield a deployment's log from its beginning, each line as soon as it is written.

        Args:
            until: Called whenever everything was read. Once it returns true, what is in the log
                is yielded and the iterator ends.
        """
        path = self._path(application, deployment)
        rest, position = b"", 0
        while True:
            is_last = until()
            for data in _from(path, position):
                position += len(data)
                *lines, rest = (rest + data).split(b"\n")
                yield from filter(None, map(_line, lines))
            if is_last:
                return
            time.sleep(_POLL_SECONDS)

    def part(
        self, application: str, deployment: int, position: int = 0, *, lines: int = 1000
    ) -> LogPart:
        """Read lines of a log from a position on.

        Args:
            position: The position in bytes: 0, or the one of an earlier part.
            lines: Maximum number of lines.
        """
        found: list[tuple[int, LogLine]] = []
        rest, start = b"", position
        for data in _from(self._path(application, deployment), position):
            *complete, rest = (rest + data).split(b"\n")
            for each in complete:
                position += len(each) + 1
                line = _line(each)
                if line is not None:
                    found.append((position, line))
                if len(found) >= lines:
                    return LogPart(found, position, start)
        return LogPart(found, position, start)

    def end(self, application: str, deployment: int, *, lines: int) -> LogPart:
        """Read the last lines of a log.

        Args:
            lines: Maximum number of lines. There are fewer if they are very long.
        """
        first = max(0, self.size(application, deployment) - _END_BYTES)
        part = self.part(application, deployment, first, lines=_END_BYTES)
        found = part.lines[-lines:]
        left_out = len(part.lines) - len(found)
        # A position within a line is that of no line: what is read of it is skipped.
        start = part.lines[left_out - 1][0] if left_out else first
        return LogPart(found, part.position, start)

    def search(
        self, application: str, deployment: int, text: str, position: int = 0, *, lines: int
    ) -> LogPart:
        """Find the lines of a log that contain a text, in any case.

        Args:
            position: The position to start at.
            lines: Maximum number of lines that are found; of a large log, not all is searched.
        """
        found: list[tuple[int, LogLine]] = []
        wanted, start = text.casefold(), position
        while position - start < _SEARCHED_BYTES:
            part = self.part(application, deployment, position)
            found += [each for each in part.lines if wanted in each[1].text.casefold()]
            if len(found) >= lines or part.position == position:
                break
            position = part.position
        if len(found) > lines:
            position = found[lines - 1][0]
        return LogPart(found[:lines], position, start)

    def remove(self, application: str, deployments: Sequence[int] | None = None) -> Remains | None:
        """Remove the logs of some deployments of an application (default: all).

        Returns:
            What could not be removed, if all were to be removed.
        """
        if deployments is None:
            left = remove_tree(self._directory / application)
            if left is not None:
                logger.warning("logs of %s could not be removed: %s", application, left)
            return left
        for each in deployments:
            with suppress(OSError):
                self._path(application, each).unlink(missing_ok=True)
        return None

    def _path(self, application: str, deployment: int) -> Path:
        return self._directory / application / f"{deployment}.jsonl"


class DeploymentLog:
    """A log that is being written; threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        try:
            make_private_directory(path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
            if os.fstat(self._descriptor).st_size:
                os.write(self._descriptor, b"\n")  # the last line may be incomplete
        except OSError as error:
            self._give_up(error)

    def write(self, event: DeployEvent) -> None:
        """Write an event, unless it only reports progress."""
        if event.kind == "progress" or self._descriptor < 0:
            return
        line = {
            "at": for_machines(event.at),
            "kind": event.kind,
            "phase": event.phase,
            "text": event.text,
        }
        try:
            os.write(self._descriptor, json.dumps(line).encode() + b"\n")
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the log."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _give_up(self, error: OSError) -> None:
        logger.warning("the log %s cannot be written: %s", self._path, error.strerror)
        self.close()


def _from(path: Path, position: int) -> Iterator[bytes]:
    with suppress(OSError), path.open("rb") as file:
        file.seek(position)
        while data := file.read(_STEP):
            yield data


def _line(data: bytes) -> LogLine | None:
    try:
        found = json.loads(data)
        at = datetime.fromisoformat(found["at"])
        return LogLine(at, found["kind"], found["phase"], found["text"])
    except (ValueError, KeyError, TypeError):
        return None  # a crash cut it off
