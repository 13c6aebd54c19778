"""Work that deploycore does once in each process, done before a process forks children.

Much of a short command's time goes to what the first use of something costs: SQLAlchemy compiles
the statements, ``re`` the expressions, Typer reads the signatures of the commands, and classes
remember what they are subclasses of. A process that does all of this before it forks passes it on
to its children, which do the same as without it.
"""

from __future__ import annotations

import functools
import io
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import typer.main
import typer.utils
from deploycore_bitbucket.sandbox import Sandbox

from deploycore import Installation, Settings
from deploycore.cli import COMMANDS
from deploycore.cli.dispatch import application_of
from deploycore.cli.fast_path import find_fast_path
from deploycore.cli.sandbox import add_command
from deploycore.doctor import diagnose
from deploycore.provider.observers import installed_observers
from deploycore.server.app import create_application
from tests.reuse import keep_between_tests

__all__ = ["warm_up"]

_LINES = """provider list
provider list --json
provider show work
provider test work
repos work
branches work acme/shop
app list
app show shop
app show shop --json
deploy shop
recover
releases shop
clone work acme/shop {directory}/clone
deployments
logs shop
provider edit work --workspace acme
app edit shop --branch main
export
apply {directory}/applications.yaml
token add ci --role read
app remove shop --yes
provider remove work --yes"""


_APPLICATIONS = """applications:
  shop:
    provider: work
    repository: acme/shop
    ref: main
    target: {directory}/target
"""


def warm_up() -> list[str]:
    """Run the usual commands once. Afterwards, this process has a single thread, as before.

    Returns:
        Why commands failed, each with its traceback. They have tests of their own.
    """
    keep_between_tests()
    read = functools.cache(typer.utils.get_params_from_function)
    typer.main.get_params_from_function = read  # type: ignore[attr-defined]
    typer.main.get_command(application_of(COMMANDS))
    environment = dict(os.environ)
    directory = tempfile.mkdtemp(prefix="warming-")
    try:
        for name in [*environment]:
            if name.startswith("DEPLOYCORE_"):
                del os.environ[name]
        os.environ["DEPLOYCORE_HOME"] = os.path.join(directory, "home")
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), _sandbox() as sandbox:
            failed = _run_commands(sandbox, Path(directory))
    finally:
        os.environ.clear()
        os.environ.update(environment)
        shutil.rmtree(directory)
    installed_observers.cache_clear()
    ends = time.monotonic() + 60
    while threading.active_count() > 1:
        assert time.monotonic() < ends, threading.enumerate()
        time.sleep(0.001)
    return failed


@contextmanager
def _sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox().start().with_demo_content()
    try:
        yield sandbox
    finally:
        sandbox.stop()


def _run_commands(sandbox: Sandbox, directory: Path) -> list[str]:
    connection = next(c for c in sandbox.connections if c.settings["mode"] == "api-token")
    arguments, given = add_command("bitbucket", connection, "work")
    (directory / "applications.yaml").write_text(_APPLICATIONS.format(directory=directory))
    sandbox.publish("acme", "shop", "main", {"page": b"one"}, "One")
    repository = ("--provider", "work", "--repository", "acme/shop", "--branch", "main")
    create = ("app", "create", "shop", *repository, "--target", str(directory / "target"))
    lines = [line.split() for line in _LINES.format(directory=directory).split("\n")]
    failed = [_error_of(each, given) for each in (arguments, create, *lines)]
    # As the command, but without importing all plugins in a process of their own.
    settings = Settings.from_environment()
    list(diagnose(lambda: settings, offline=True))
    with Installation(settings) as installation:
        create_application(installation)
    return [each for each in failed if each]


def _error_of(arguments: Sequence[str], given: str) -> str:
    """Run a command; return the traceback if it fails."""
    sys.stdin = io.StringIO(given)
    try:
        plain = find_fast_path(arguments)
        if plain is not None:
            plain()
        else:
            command = typer.main.get_command(application_of(arguments[:1]))
            command.main(list(arguments), prog_name="deploycore", standalone_mode=False)
    except Exception:
        return traceback.format_exc()
    finally:
        sys.stdin = sys.__stdin__
    return ""
