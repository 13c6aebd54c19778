"""``deploycore app create``: the arguments and options, for this machine and for a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from deploycore.cli.application_fields import read_shared, read_variable
from deploycore.cli.checks import Offline
from deploycore.cli.options import AsJson
from deploycore.cli.output import say, show_json

__all__ = ["NewApplication", "create_command"]

Lines = list[str] | None


@dataclass(frozen=True)
class NewApplication:
    """An application to create.

    Attributes:
        target: The directory, as it was typed.
        more: The other fields.
        offline: Whether to skip the checks at the git host.
    """

    name: str
    provider: str
    repository: str
    ref: str
    target: Path
    more: Mapping[str, Any]
    offline: bool


def create_command(store: Callable[[NewApplication], Mapping[str, Any]]) -> Callable[..., None]:
    """Return the command ``app create``.

    Args:
        store: Creates the application, and returns it as ``--json`` prints it.
    """

    def create(
        name: Annotated[str, typer.Argument(help="Name for the application.", show_default=False)],
        provider: Annotated[str, typer.Option("--provider", help="Name of a configured provider.")],
        repository: Annotated[
            str,
            typer.Option(
                "--repository",
                metavar="OWNER/REPOSITORY",
                help="Repository to deploy, or its URL.",
            ),
        ],
        ref: Annotated[
            str,
            typer.Option("--ref", "--branch", help="Branch, tag or full commit hash to deploy."),
        ],
        target: Annotated[
            Path,
            typer.Option(
                "--target",
                help="New or empty directory to deploy to; it gets releases/, shared/ and current.",
            ),
        ],
        submodules: Annotated[bool, typer.Option("--submodules", help="Fetch submodules.")] = False,
        credentials: Annotated[
            Lines,
            typer.Option(
                metavar="NAME",
                help="Another provider, whose credentials serve submodules at its own host."
                " Repeatable.",
            ),
        ] = None,
        lfs: Annotated[bool, typer.Option("--lfs", help="Download Git LFS files.")] = False,
        hard_link: Annotated[
            bool,
            typer.Option(
                "--hard-link",
                help="Hard-link unchanged files between releases instead of copying them. Faster."
                " Use it only if nothing writes into releases.",
            ),
        ] = False,
        shared: Annotated[
            Lines,
            typer.Option(
                help="Path that all releases share: a file, or a directory if it ends with /."
                " Repeatable."
            ),
        ] = None,
        env: Annotated[
            Lines,
            typer.Option(
                help="Variable for steps: NAME=VALUE. For a secret: NAME=@env:VARIABLE,"
                " NAME=@file:/PATH or NAME=@stored. Repeatable."
            ),
        ] = None,
        build: Annotated[
            Lines, typer.Option(help="Command to run in each new release. Repeatable.")
        ] = None,
        before_activate: Annotated[
            Lines, typer.Option(help="Command to run before a release becomes live. Repeatable.")
        ] = None,
        after_activate: Annotated[
            Lines, typer.Option(help="Command to run after a release became live. Repeatable.")
        ] = None,
        health_url: Annotated[
            str | None,
            typer.Option(
                help="URL that must answer with a status of 200 to 299 after a release became live."
            ),
        ] = None,
        keep: Annotated[int, typer.Option(help="Number of releases to keep.", min=2)] = 5,
        watch: Annotated[
            Lines,
            typer.Option(
                help="Deploy only if a changed file matches this pattern (.gitignore syntax)."
                " Repeatable."
            ),
        ] = None,
        offline: Offline = False,
        as_json: AsJson = False,
    ) -> None:
        """Create an application, without deploying it.

        Checks at the git host that the repository and the ref exist. An application has more fields
        than there are options here: write them into a file, and run deploycore apply.
        """
        more: dict[str, Any] = {
            "submodules": submodules,
            "credentials": credentials or [],
            "lfs": lfs,
            "reuse": "hard-link" if hard_link else "copy",
            "shared": read_shared(shared or ()),
            "environment": dict(map(read_variable, env or ())),
            "steps": {
                "build": build or [],
                "before_activate": before_activate or [],
                "after_activate": after_activate or [],
            },
            "keep": keep,
            "watch": watch or [],
        }
        if health_url:
            more["health_check"] = {"url": health_url}
        new = NewApplication(name, provider, repository, ref, target, more, offline)
        _say_created(new, store(new), as_json=as_json)

    return create


def _say_created(new: NewApplication, created: Mapping[str, Any], *, as_json: bool) -> None:
    """Print an application that was created."""
    if as_json:
        show_json(created)
        return
    if created["repository"] != new.repository:
        say(f"The repository is {created['repository']}.")
    say(f"Application {new.name} is created. Deploy it: deploycore deploy {new.name}")
