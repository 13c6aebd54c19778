"""Deployments in which one file-system call fails, each in its own process.

Run as ``-m tests.faults.refusals HOME PLACE UID`` by ``tests.forked``. For each line of standard
input, a JSON object, a child is forked that becomes another user, deploys, and has the n-th call
refused that concerns something in ``PLACE`` once the release is being activated. The children begin
with all modules loaded. Each prints how it ended, and how many such calls there were.
"""

from __future__ import annotations

import codecs
import errno
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

NUMBERS = (errno.EPERM, errno.EACCES, errno.EBUSY, errno.ENOTEMPTY, errno.EROFS)
#: By default each call is refused once, with the next of these errors. With DEPLOYCORE_REFUSE_ALL=1
#: each call is refused with each of them, which takes five times as long.
ROUNDS = range(len(NUMBERS) if os.environ.get("DEPLOYCORE_REFUSE_ALL") else 1)
CALLS = (
    "chmod",
    "fchmod",
    "fstat",
    "fsync",
    "listdir",
    "lstat",
    "mkdir",
    "open",
    "readlink",
    "rename",
    "replace",
    "rmdir",
    "scandir",
    "stat",
    "symlink",
    "unlink",
)


class Refuser:
    """Counts the calls about a path, and lets one of them fail.

    Args:
        at: The number of the call, from 1; 0 for none.
        number: The ``errno``.
        calls: The functions of ``os`` that are counted.
    """

    def __init__(self, place: str, at: int, number: int, calls: tuple[str, ...] = CALLS) -> None:
        self.count = 0
        self.armed = False
        self._place = place
        self._at = at
        self._number = number
        self._thread = threading.get_ident()
        self._readlink = os.readlink
        self._former = {name: getattr(os, name) for name in calls}
        for name, function in self._former.items():
            setattr(os, name, self._counted(function))

    def undo(self) -> None:
        """Let no further call fail."""
        for name, function in self._former.items():
            setattr(os, name, function)

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            is_meant = self.armed and threading.get_ident() == self._thread
            if is_meant and self._concerns(*arguments[:2], *options.values()):
                self.count += 1
                if self.count == self._at:
                    raise OSError(self._number, os.strerror(self._number))
            return function(*arguments, **options)

        return call

    def _concerns(self, *arguments: Any) -> bool:
        for each in arguments:
            path = each
            if type(each) is int and each > 2:
                try:
                    path = self._readlink(f"/proc/self/fd/{each}")
                except OSError:
                    continue
            if isinstance(path, str | bytes | os.PathLike):
                text = os.fsdecode(path)
                if text.startswith((self._place, "/proc/self/fd")):
                    return True
        return False


def perform(home: str, place: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Deploy, roll back or recover while one call fails."""
    from deploycore import DeploycoreError, Installation, Settings

    refuser = Refuser(place, wanted.get("at", 0), wanted.get("number", 0))

    def listen(event: Any) -> None:
        if event.kind == "state" and event.phase == "activating":
            refuser.armed = True

    how = "healthy"
    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": home})) as installation:
        try:
            if wanted["what"] == "recover":
                refuser.armed = True
                installation.recover()
            else:
                installation.deploy("site", listener=listen)
        except DeploycoreError as error:
            how = error.code
        finally:
            refuser.armed = False
    return {"how": how, "count": refuser.count}


def main() -> None:
    """Fork a child for each line."""
    # Python itself may be where the other user may not read.
    for name in ("ascii", "idna", "latin-1", "utf-16-be", "utf-16-le"):
        codecs.lookup(name)
    home, place, user = sys.argv[1], sys.argv[2], int(sys.argv[3])
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if os.getuid() == 0:
                    os.setgroups([])
                    os.setgid(user)
                    os.setuid(user)
                print(json.dumps(perform(home, place, json.loads(line))), flush=True)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if status:
            print(json.dumps({"how": f"ended with {status}", "count": 0}), flush=True)


if __name__ == "__main__":
    main()
