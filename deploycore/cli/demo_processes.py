"""Run the demo's commands, each in its own process.

The commands import the same modules, which takes two thirds of their time. So on Linux, each is
forked from a process that has imported them: the fork server of multiprocessing. On macOS, system
libraries may not be used after a fork.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver, get_context
from pathlib import Path

__all__ = ["IMPORTED", "prepare", "run_command"]

IMPORTED = (
    "alembic.command",
    "cryptography.fernet",
    "requests",
    "rich.console",
    "rich.progress",
    "rich.table",
    "sqlalchemy.dialects.sqlite",
    "typer.main",
    "deploycore.applications.application",
    "deploycore.applications.files",
    "deploycore.cli.application",
    "deploycore.cli.application_creation",
    "deploycore.cli.browse",
    "deploycore.cli.cloning",
    "deploycore.cli.declaration",
    "deploycore.cli.deploying",
    "deploycore.cli.dispatch",
    "deploycore.cli.history",
    "deploycore.cli.plugins",
    "deploycore.cli.provider",
    "deploycore.deploy.engine",
    "deploycore.git.repositories.cache",
    "deploycore.git.run",
    "deploycore.git.wire.http_client",
    "deploycore.installation.connections",
    "deploycore.installation.installation",
    "deploycore.installation.provider_changes",
    "deploycore.installation.verification",
    "deploycore.provider.installed",
    "deploycore.store.store",
)
"""What the commands import."""


def prepare() -> None:
    """Start to import what the commands need, and return at once."""
    if sys.platform == "linux":
        get_context("forkserver").set_forkserver_preload(list(IMPORTED))
        with suppress(OSError):  # the first command tries again
            forkserver.ensure_running()


def run_command(
    arguments: Sequence[str], *, given: str, environment: Mapping[str, str], directory: Path
) -> int:
    """Run a deploycore command, and return its exit code.

    If this is interrupted, the process is killed.

    Args:
        given: Text for its standard input. It is passed through a pipe.
        environment: All of its environment variables.
        directory: Its working directory.

    Raises:
        OSError: The process cannot be started.
    """
    if sys.platform != "linux":
        return subprocess.run(  # noqa: S603 - our own program, by a list of arguments
            [sys.executable, "-m", "deploycore", *arguments],
            input=given,
            text=True,
            env=environment,
            cwd=directory,
            check=False,
        ).returncode
    process = get_context("forkserver").Process(
        target=_run, args=(list(arguments), given, dict(environment), str(directory))
    )
    process.start()
    try:
        process.join()
    except BaseException:
        process.kill()
        process.join()
        raise
    return process.exitcode or 0


def _run(arguments: list[str], given: str, environment: dict[str, str], directory: str) -> None:
    """Become a process like a newly started one, and run the command in it."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as file:
        file.write(given)  # a secret is shorter than what fits into a pipe
    os.dup2(reading, 0)
    os.close(reading)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    from deploycore.cli import main

    main(arguments)
