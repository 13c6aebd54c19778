"""Programs in processes of their own that begin with what was imported before.

Most of what a short command takes is importing libraries. A fork server (see ``multiprocessing``)
has done that once; each program is a fork of it that has imported nothing of the command line
yet, with its own environment, directory and streams.
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["run"]

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "_pytest.junitxml",
        "alembic.command",
        "deploycore.deploy",
        "deploycore.doctor",
        "deploycore.git",
        "deploycore.installation.installation",
        "deploycore_bitbucket",
        "deploycore_bitbucket_datacenter",
        "deploycore_git",
        "deploycore_gitea",
        "deploycore_github",
        "deploycore_gitlab",
        "deploycore.sandbox",
        "deploycore.server",
        "deploycore.worker",
        "pytest",
        "rich.console",
        "rich.progress",
        "rich.table",
        "sqlalchemy.dialects.sqlite",
        "typer.main",
    ]
)


def run(
    module: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    given: str = "",
    timeout: float = 500,
) -> subprocess.CompletedProcess[str]:
    """What ``python -m MODULE ARGUMENTS`` prints and ends with.

    Args:
        environment: All of its variables.
        given: What it can read.
        timeout: Seconds.

    Raises:
        subprocess.TimeoutExpired: It took longer.
    """
    with tempfile.TemporaryDirectory() as name:
        streams = [Path(name) / each for each in ("stdin", "stdout", "stderr")]
        streams[0].write_text(given)
        process = _CONTEXT.Process(
            target=_become,
            args=(module, list(arguments), dict(environment), str(directory), streams),
        )
        process.start()
        process.join(timeout)
        try:
            if process.is_alive():
                process.kill()
                process.join()
                raise subprocess.TimeoutExpired([module, *arguments], timeout)
            assert process.exitcode is not None
            printed, told = (each.read_text() for each in streams[1:])
            return subprocess.CompletedProcess(
                [module, *arguments], process.exitcode, printed, told
            )
        finally:
            process.close()


def _become(
    module: str,
    arguments: list[str],
    environment: dict[str, str],
    directory: str,
    streams: list[Path],
) -> None:
    for number, path in enumerate(streams):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(path, flags, 0o600), number)
    encoding = environment.get("PYTHONIOENCODING")
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    places = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [directory, *filter(None, places)]
    importlib.invalidate_caches()
    sys.argv = ["", *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
