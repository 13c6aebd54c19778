"""``deploycore demo``: run deploycore's commands against a sandbox, as a person would.

Each command runs in its own process, with a temporary data directory, so the demo shows what a
real installation does.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

import deploycore
from deploycore.cli.output import say
from deploycore.cli.sandbox import Kind, add_command, load_sandbox, provider_name
from deploycore.cli.standard_streams import signals_to_end
from deploycore.distribution import report_hint
from deploycore.errors import DeploycoreError

if TYPE_CHECKING:
    from deploycore.sandbox import ProviderSandbox, SandboxConnection

__all__ = ["register"]

_REPOSITORY = "deploycore-source"
_CHANGED = "CHANGED.txt"
_BROKEN = "BROKEN.txt"
_DECLARATION = """\
applications:
  {name}:
    provider: {provider}
    repository: {repository}
    ref: main
    target: {target}
    shared: {{directories: [uploads]}}
    environment: {{STAGE: demo}}
    steps:
      build:
        - shell: echo "building for $STAGE" && date > BUILT
    health_check:
      shell: test ! -e BROKEN.txt
      retries: 1
"""


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command()(demo)


def demo(
    kind: Kind = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="New directory to work in. It is kept after the demo."),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Run the dashboard afterwards, until Ctrl-C."),
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            help="Port of the dashboard, with --serve; 0: any free port.",
        ),
    ] = 8080,
) -> None:
    """Run a demo on a provider's sandbox, without an account or a network.

    The demo connects with each way to sign in, lists repositories and branches, and clones. It
    deploys deploycore's own source, changes it, and deploys it again. It then deploys a broken
    commit, which the health check rolls back, and shows the log. Nothing is left behind.

    With --serve, you can then look at all that in the dashboard, and deploy, break and roll back
    yourself. The sandboxes of the other installed plugins are connected too.
    """
    from deploycore.provider.entry_points import SANDBOX_GROUP, entry_points_by_name

    found, sandbox_class = load_sandbox(
        kind or next(iter(entry_points_by_name(SANDBOX_GROUP)), None)
    )
    leaving = _Leaving()
    for number in signals_to_end():
        signal.signal(number, leaving)
    say(f"Running the demo on the {found} sandbox.")
    started = time.monotonic()
    with ExitStack() as resources:
        with leaving.later():
            directory = _directory(keep, resources)
            demo = _Demo(found, sandbox_class.demo(), directory)
            resources.callback(demo.sandbox.stop)
        _run(demo)
        say(f"\nThe demo succeeded in {time.monotonic() - started:.0f} s.")
        if serve:
            _serve(demo, port, leaving)


def _directory(keep: Path | None, resources: ExitStack) -> Path:
    if keep is None:
        made = tempfile.TemporaryDirectory(prefix="deploycore-demo-")
        return Path(resources.enter_context(made))
    keep.mkdir(parents=True, exist_ok=True)
    return keep.absolute()


class _Leaving:
    """Exits at a signal with the code that shells use for it; cleanup still runs."""

    def __init__(self) -> None:
        self._is_postponed = False
        self._number = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        is_second = bool(self._number)
        self._number = number
        if is_second or not self._is_postponed:
            raise SystemExit(128 + number)

    @contextmanager
    def later(self) -> Iterator[None]:
        """Delay the exit until the end of the context, or until a second signal. Otherwise, the
        code that cleans up would not know a directory that is being created."""
        self._is_postponed = True
        try:
            yield
        finally:
            self._is_postponed = False
        if self._number:
            raise SystemExit(128 + self._number)


@dataclass(frozen=True)
class _Demo:
    kind: str
    sandbox: ProviderSandbox
    directory: Path

    def command(self, *arguments: str, given: str = "", code: int = 0) -> None:
        """Print a command and run it in its own process.

        Args:
            given: Text for its standard input.
            code: The expected exit code.

        Raises:
            DeploycoreError: The command ended with another exit code.
        """
        fed = 'printf %s "$SECRET" | ' if given else ""
        say(f"\n$ {fed}deploycore {shlex.join(arguments)}")
        sys.stdout.flush()
        done = subprocess.run(  # noqa: S603 - our own program, by a list of arguments
            [sys.executable, "-m", "deploycore", *arguments],
            input=given,
            text=True,
            env=self._environment(),
            cwd=self.directory,
            check=False,
        )
        if done.returncode != code:
            raise DeploycoreError(
                f"A command of the demo ended with exit code {done.returncode} instead of {code}.",
                hint=f"See the error that it printed above. {report_hint()}",
            )

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command in the background, and end it at the end of the context."""
        process = subprocess.Popen(  # noqa: S603 - our own program, by a list of arguments
            [sys.executable, "-m", "deploycore", *arguments],
            env=self._environment(),
            cwd=self.directory,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("DEPLOYCORE_")
        }
        return kept | {"DEPLOYCORE_HOME": str(self.directory / "home")}


def _run(demo: _Demo) -> None:
    _heading(f"The {demo.kind} sandbox listens on {demo.sandbox.url}")
    demo.command("plugins")
    source = _own_source()
    for owner in dict.fromkeys(connection.owner for connection in demo.sandbox.connections):
        demo.sandbox.publish(owner, _REPOSITORY, "main", source, "Publish the source")
    for connection in demo.sandbox.connections:
        _connect_and_deploy(demo, connection)
    _change_and_deploy_again(demo, demo.sandbox.connections[0], source)
    _break_and_recover(demo, demo.sandbox.connections[0], source)


def _serve(demo: _Demo, port: int, leaving: _Leaving) -> None:
    """Run the dashboard on what the demo has deployed, until a signal ends it."""
    with ExitStack() as others:
        for kind, sandbox_class in _other_sandboxes(demo.kind):
            with leaving.later():
                running = sandbox_class.demo()
                others.callback(running.stop)
            _heading(f"The {kind} sandbox listens on {running.url}")
            for connection in running.connections[:1]:
                name = provider_name(connection, kind)
                arguments, given = add_command(kind, connection, name)
                demo.command(*arguments, given=given)
        _heading("The dashboard: open the link to sign in, and stop it with Ctrl-C")
        arguments = ["serve", "--port", str(port)]
        say(f"\n$ deploycore {shlex.join(arguments)}")
        sys.stdout.flush()
        others.enter_context(demo.running(*arguments)).wait()


def _other_sandboxes(kind: str) -> Iterator[tuple[str, type[ProviderSandbox]]]:
    """Yield the sandboxes of the other installed plugins, without those that cannot be imported."""
    from deploycore.provider.entry_points import SANDBOX_GROUP, entry_points_by_name

    for each in entry_points_by_name(SANDBOX_GROUP):
        if each != kind:
            with suppress(DeploycoreError):
                yield load_sandbox(each)


def _connect_and_deploy(demo: _Demo, connection: SandboxConnection) -> None:
    _heading(f"Connect: {connection.title}")
    name = provider_name(connection)
    repository = f"{connection.owner}/{_REPOSITORY}"
    arguments, given = add_command(demo.kind, connection, name)
    demo.command(*arguments, given=given)
    demo.command("provider", "test", name)
    demo.command("repos", name)
    demo.command("branches", name, repository)
    demo.command("clone", name, repository, str(demo.directory / "clones" / name))
    target = str(demo.directory / "deployed" / name)
    demo.command(
        *("app", "create", f"{name}-app", "--provider", name, "--repository", repository),
        *("--branch", "main", "--target", target),
    )
    demo.command("deploy", f"{name}-app")


def _change_and_deploy_again(
    demo: _Demo, connection: SandboxConnection, source: Mapping[str, bytes]
) -> None:
    _heading("Change the repository, and deploy again")
    name = provider_name(connection)
    changed = {**source, _CHANGED: b"A new commit, made live by one atomic switch.\n"}
    commit = demo.sandbox.publish(
        connection.owner, _REPOSITORY, "main", changed, "Add a file to be seen"
    )
    say(f"commit {commit[:12]}: Add a file to be seen")
    demo.command("deploy", f"{name}-app")
    demo.command("app", "show", f"{name}-app")
    target = demo.directory / "deployed" / name
    live = (target / "current" / _CHANGED).read_bytes()
    releases = sorted(path.name for path in (target / "releases").iterdir())
    if live != changed[_CHANGED] or len(releases) != 2:
        raise DeploycoreError(
            "The deployment succeeded, but the changed file is not live.", hint=report_hint()
        )
    say(f"\n$ cat current/{_CHANGED}\n{live.decode().rstrip()}")
    say("$ ls releases\n" + "\n".join(releases))


def _break_and_recover(
    demo: _Demo, connection: SandboxConnection, source: Mapping[str, bytes]
) -> None:
    _heading("Add a build step and a health check")
    name = f"{provider_name(connection)}-app"
    target = demo.directory / "deployed" / provider_name(connection)
    declaration = demo.directory / "applications.yaml"
    declaration.write_text(
        _DECLARATION.format(
            name=name,
            provider=provider_name(connection),
            repository=f"{connection.owner}/{_REPOSITORY}",
            target=target,
        )
    )
    say(f"\n$ cat {declaration.name}\n{declaration.read_text().rstrip()}")
    demo.command("apply", declaration.name)
    demo.command("deploy", name)
    good = (target / "current").resolve()

    _heading("Deploy a broken commit: deploycore rolls back to the last good release")
    broken = {**source, _BROKEN: b"A commit that should not have been made.\n"}
    demo.sandbox.publish(connection.owner, _REPOSITORY, "main", broken, "Break everything")
    demo.command("deploy", name, code=8)
    if (target / "current").resolve() != good:
        raise DeploycoreError(
            "The health check failed, but the last good release is not live.", hint=report_hint()
        )
    demo.command("deployments", name)
    demo.command("logs", name)

    _heading("Roll back by hand, without the git host")
    demo.command("rollback", name)
    demo.command("releases", name)


def _own_source() -> dict[str, bytes]:
    """Return deploycore's own source files: real content that every installation has."""
    root = Path(deploycore.__file__).parent
    return {
        f"deploycore/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }


def _heading(text: str) -> None:
    say(f"\n── {text} {'─' * max(3, 70 - len(text))}")
