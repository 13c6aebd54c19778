"""One run of each of the programs that are compared, each in a process of its own.

Ours and dulwich are told apart from the interpreter's start: the child imports what it needs,
then measures itself. Memory is what came on top of that, for the child and for the process that
it starts to write files. C git is measured as a whole, as its users meet it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from git_servers import GIT_ENVIRONMENT

__all__ = ["Run", "git", "interleaved", "medians", "ours", "porcelain", "scratch"]


@dataclass(frozen=True)
class Run:
    """What one run took.

    Attributes:
        seconds: Of wall time.
        cpu: Seconds of processor time, of all processes of the client.
        mebibytes: Peak of resident memory; for Python, without what it takes after imports.
    """

    seconds: float
    cpu: float
    mebibytes: float


def ours(url: str, target: Path, **options: str) -> Run:
    """``deploycore.git.export``; options are paths, or texts, as its parameters are named."""
    return _python("ours", url, target, options)


def porcelain(url: str, target: Path) -> Run:
    """``dulwich.porcelain.clone`` with depth 1."""
    return _python("porcelain", url, target, {})


def git(*commands: str, at: Path) -> Run:
    """Shell command lines with C git, one after the other, in a directory."""
    started = time.perf_counter()
    shell = subprocess.Popen(["sh", "-ec", "\n".join(commands)], cwd=at, env=GIT_ENVIRONMENT)
    _, status, used = os.wait4(shell.pid, 0)
    shell.returncode = os.waitstatus_to_exitcode(status)
    if shell.returncode:
        raise SystemExit(f"failed: {'; '.join(commands)}")
    seconds = time.perf_counter() - started
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def interleaved(
    programs: dict[str, Callable[[], Run]], rounds: int, clear: Callable[[], None]
) -> dict[str, list[Run]]:
    """Run all programs in turn, so that what else the machine does hits all alike.

    Args:
        clear: Removes what the runs made; not measured.
    """
    runs: dict[str, list[Run]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            clear()
            runs[name].append(program())
    clear()
    return runs


def medians(runs: Iterable[Run]) -> Run:
    """The median of each figure."""
    found = list(runs)
    return Run(
        statistics.median(run.seconds for run in found),
        statistics.median(run.cpu for run in found),
        statistics.median(run.mebibytes for run in found),
    )


def scratch() -> Path | None:
    """A file system in memory, where there is one, so that the disk is not what is measured."""
    return Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


def _python(what: str, url: str, target: Path, options: dict[str, str]) -> Run:
    command = [sys.executable, __file__, what, url, str(target), json.dumps(options)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Run(**json.loads(done.stdout))


def _child(arguments: Sequence[str]) -> None:
    what, url, target, options = arguments
    call = {"ours": _export, "porcelain": _clone}[what](url, Path(target), json.loads(options))
    before = resource.getrusage(resource.RUSAGE_SELF)
    with _PeakOfChildren() as writer:
        started = time.perf_counter()
        call()
        seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum((after.ru_utime, after.ru_stime, -before.ru_utime, -before.ru_stime))
    memory = after.ru_maxrss - before.ru_maxrss + writer.kibibytes
    run = Run(seconds, cpu + children.ru_utime + children.ru_stime, memory / 1024)
    print(json.dumps(run.__dict__))


class _PeakOfChildren(threading.Thread):
    """The peak memory of the processes that this one starts, less what any Python takes.

    ``getrusage`` does not tell: a child begins there with the peak of its parent.

    Attributes:
        kibibytes: The most of one of them.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.kibibytes = 0
        self._nothing = 0
        self._done = threading.Event()

    def __enter__(self) -> _PeakOfChildren:
        # A Python that has imported what the writer does, and has done nothing.
        program = (
            "import marshal, os, stat, struct, typing; print(open('/proc/self/status').read())"
        )
        command = [sys.executable, "-I", "-S", "-c", program]
        self._nothing = _peak(subprocess.run(command, capture_output=True, text=True).stdout)
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        own = Path("/proc/self/cmdline").read_bytes()
        while not self._done.wait(0.01):
            for task in Path("/proc/self/task").iterdir():
                with suppress(OSError):
                    for child in (task / "children").read_text().split():
                        if Path("/proc", child, "cmdline").read_bytes() == own:
                            continue  # it has not begun its program, and shares this memory
                        found = _peak(Path("/proc", child, "status").read_text())
                        self.kibibytes = max(self.kibibytes, found - self._nothing)


def _peak(status: str) -> int:
    return next((int(e.split()[1]) for e in status.splitlines() if e.startswith("VmHWM")), 0)


def _export(url: str, target: Path, options: dict[str, str]) -> Callable[[], object]:
    import deploycore.git.run
    from deploycore.git import RepositoryCache, export
    from deploycore.models import CloneUrl

    given: dict[str, object] = dict(options)
    source = CloneUrl(url=url)
    if "key" not in options:
        import deploycore.git.wire.http_client
    else:
        import deploycore.git.wire.ssh_client
        from deploycore.models import SshCredential
        from deploycore.ssh.library import require_extra

        require_extra()
        import deploycore.ssh.session  # noqa: F401  the same

        host_keys = tuple(options["host_keys"].splitlines())
        key = Path(options["key"]).read_text()
        source = CloneUrl(url=url, credential=SshCredential(private_key=key, host_keys=host_keys))
        given = {name: each for name, each in given.items() if name not in ("key", "host_keys")}
    if "cache" in options:
        given["cache"] = RepositoryCache(Path(options["cache"]))
    if "former" in options:
        given["former"] = Path(options["former"])
    return lambda: export(source, "main", target, **given)  # type: ignore[arg-type]


def _clone(url: str, target: Path, options: dict[str, str]) -> Callable[[], object]:
    from dulwich import porcelain

    def clone() -> None:
        with open(os.devnull, "wb") as nothing:
            porcelain.clone(url, str(target), depth=1, branch=b"main", errstream=nothing).close()

    return clone


def remove(path: Path) -> None:
    """Remove a directory, if it is there."""
    shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    _child(sys.argv[1:])
