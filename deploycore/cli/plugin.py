"""``deploycore plugin``: create a plugin from a template, and check a provider plugin."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import say, show_json
from deploycore.cli.streams import command_output
from deploycore.cli.usage import NounGroup

if TYPE_CHECKING:
    from deploycore.provider.scaffold import PluginTemplate

__all__ = ["register"]


_CHECK_SECONDS = 1800.0
"""The default timeout of ``deploycore.testing.check``. A copy, so that help need not import it."""


def register(application: typer.Typer) -> None:
    """Add the commands of ``plugin``."""
    noun = typer.Typer(
        cls=NounGroup, help="Develop a plugin: create it from a template, and check it."
    )
    noun.command()(new)
    noun.command()(check)
    application.add_typer(noun, name="plugin")


def new(
    name: Annotated[
        str, typer.Argument(help="Name of the git host or the observer, such as my-host.")
    ],
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Directory to create (default: deploycore-NAME)."),
    ] = None,
    observer: Annotated[
        bool,
        typer.Option(
            "--observer", help="Create an observer, which watches deployments, not a provider."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create a plugin from a template: a distribution whose tests pass at once.

    The plugin is a provider, which connects a git host, unless --observer is given.
    """
    from deploycore.provider.scaffold import render_template

    template: PluginTemplate = "observer" if observer else "provider"
    made = _near(render_template(name, directory, template=template))
    if as_json:
        show_json({"directory": str(made.resolve())})
        return
    article = "an" if observer else "a"
    say(f"Created {article} {template} plugin in {made}. Its tests pass already:")
    say(f"\n  pip install -e {shlex.quote(f'{made}[dev]')}\n  pytest {shlex.quote(str(made))}\n")
    say(f"Next, edit the places that are marked EDIT: {made / 'README.md'} lists them.")


def check(
    kind: Annotated[str, typer.Argument(help="Kind of the provider, as in deploycore plugins.")],
    only: Annotated[
        str, typer.Option("--only", help="Run only checks whose name contains this text.")
    ] = "",
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=1, metavar="SECONDS", help="Maximum seconds for all checks together."
        ),
    ] = _CHECK_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Run the conformance kit on an installed provider, against its own sandbox.

    The checks run in a separate process. If a check blocks the interpreter or ends that process,
    the check fails, and the remaining checks run in a new process.
    """
    from deploycore.testing.check import check_and_show

    code = check_and_show(
        kind, only=only, seconds=timeout, as_json=as_json, output=command_output()
    )
    raise typer.Exit(code)


def _near(directory: Path) -> Path:
    """Return a directory relative to the current one, if it is inside it."""
    here = Path.cwd()
    return directory.relative_to(here) if directory.is_relative_to(here) else directory
