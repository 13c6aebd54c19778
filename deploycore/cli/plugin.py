"""``deploycore plugin``: for authors of providers, a new one from the template, and its check."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import say, show_json
from deploycore.cli.streams import command_output
from deploycore.cli.usage import NounGroup

__all__ = ["register"]


_CHECK_SECONDS = 1800.0
"""What ``deploycore.testing.check`` takes by default; help imports nothing to show it."""


def register(application: typer.Typer) -> None:
    """Add this noun's commands."""
    noun = typer.Typer(
        cls=NounGroup, help="Write a provider: start one from the template, and check it."
    )
    noun.command()(new)
    noun.command()(check)
    application.add_typer(noun, name="plugin")


def new(
    name: Annotated[str, typer.Argument(help="Name of the git host, such as my-host.")],
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where to; deploycore-NAME unless you say.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a provider: a whole distribution whose tests pass before the first edit."""
    from deploycore.provider.scaffold import render_template

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
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=1, metavar="SECONDS", help="How long all checks together may take."
        ),
    ] = _CHECK_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Run the conformance kit on an installed provider, against its own fake host.

    The checks run in a process of their own. A check that holds the interpreter or ends that
    process fails, and the next ones go on in a new process.
    """
    from deploycore.testing.check import check_and_show

    code = check_and_show(
        kind, only=only, seconds=timeout, as_json=as_json, output=command_output()
    )
    raise typer.Exit(code)


def _near(directory: Path) -> Path:
    """The directory as a person would write it here."""
    here = Path.cwd()
    return directory.relative_to(here) if directory.is_relative_to(here) else directory
