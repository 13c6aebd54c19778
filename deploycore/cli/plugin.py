"""``deploycore plugin``: for authors of providers, a new one from the template, and its check."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, TextIO

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import say, show_json
from deploycore.cli.streams import command_output
from deploycore.scaffold import render_template

__all__ = ["register"]


def register(application: typer.Typer) -> None:
    """Add this noun's commands."""
    noun = typer.Typer(help="Write a provider: start one from the template, and check it.")
    noun.command()(new)
    noun.command()(check)
    application.add_typer(noun, name="plugin")


def new(
    name: Annotated[str, typer.Argument(help="What the git host is called, such as my-host.")],
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where to; deploycore-NAME unless you say.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a provider: a whole distribution whose tests pass before the first edit."""
    made = _near(render_template(name, directory))
    if as_json:
        show_json({"directory": str(made.resolve())})
        return
    say(f"A provider is in {made}. Its tests pass as it is:")
    say(f"\n  pip install -e {shlex.quote(f'{made}[dev]')}\n  pytest {shlex.quote(str(made))}\n")
    say(f"Then make it yours, from EDIT 1 on: {made / 'README.md'} lists the places.")


def check(
    kind: Annotated[str, typer.Argument(help="The provider's kind, as in deploycore plugins.")],
    only: Annotated[
        str, typer.Option("--only", help="Just the checks that have this in their name.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Run the conformance kit on an installed provider, against its own fake host."""
    arguments = [sys.executable, "-m", "deploycore.testing.check", kind, f"--only={only}"]
    command = [*arguments, "--json"] if as_json else arguments
    done = subprocess.run(command, stdout=_inheritable(), check=False)  # noqa: S603
    raise typer.Exit(done.returncode)


def _inheritable() -> TextIO | None:
    """The command's own output for a child process; ``None`` for whatever it inherits."""
    output = command_output()
    return None if output is sys.stdout else output


def _near(directory: Path) -> Path:
    """The directory as a person would write it here."""
    here = Path.cwd()
    return directory.relative_to(here) if directory.is_relative_to(here) else directory
