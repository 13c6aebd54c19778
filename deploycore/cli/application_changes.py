"""``deploycore app edit``: change fields of an application."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import deploycore
from deploycore.cli.application_fields import read_shared, read_variable
from deploycore.cli.checks import Offline, naming_offline, say_warnings
from deploycore.cli.declaration import change_as_dict, say_change
from deploycore.cli.options import AsJson, DryRun
from deploycore.cli.output import show_json
from deploycore.cli.usage import UsageError
from deploycore.cli.waiting import telling_of_waits

if TYPE_CHECKING:
    from deploycore.applications.application import Application
    from deploycore.applications.files import Change

__all__ = ["Edit", "edit_command", "edit_here", "edited"]

Lines = list[str] | None
Switch = bool | None

_STEPS = ("build", "before_activate", "after_activate")
_FIXED = ("name", "provider", "repository", "ref", "target")


@dataclass(frozen=True)
class Edit:
    """A change of an application.

    Attributes:
        given: The new values; ``None`` for values that stay. The target is as it was typed.
        unset: Fields to reset to their defaults.
        unset_variables: Variables to remove.
        dry_run: Whether only to print what would change.
        offline: Whether to skip the checks at the git host.
    """

    name: str
    given: Mapping[str, Any]
    unset: Sequence[str]
    unset_variables: Sequence[str]
    dry_run: bool
    offline: bool

    def of(self, before: Mapping[str, Any]) -> Application:
        """Return the application after the change.

        Args:
            before: The values before the change, without default values.

        Raises:
            UsageError: A field or a variable cannot be removed.
            ConfigurationError: A value is invalid.
        """
        from deploycore.applications.application import parse_application

        return parse_application(edited(before, self.given, self.unset, self.unset_variables))


def edit_command(store: Callable[[Edit], Change]) -> Callable[..., None]:
    """Return the command ``app edit``.

    Args:
        store: Makes the change, and returns it.
    """

    def edit(
        name: Annotated[str, typer.Argument(help="Name of the application.", show_default=False)],
        provider: Annotated[
            str | None, typer.Option("--provider", help="Name of a configured provider.")
        ] = None,
        repository: Annotated[
            str | None,
            typer.Option(
                "--repository", metavar="OWNER/REPOSITORY", help="Repository to deploy, or its URL."
            ),
        ] = None,
        ref: Annotated[
            str | None,
            typer.Option("--ref", "--branch", help="Branch, tag or full commit hash to deploy."),
        ] = None,
        target: Annotated[
            Path | None,
            typer.Option(
                "--target", help="New or empty directory to deploy to. The releases are not moved."
            ),
        ] = None,
        submodules: Annotated[
            Switch, typer.Option("--submodules/--no-submodules", help="Fetch submodules.")
        ] = None,
        credentials: Annotated[
            Lines,
            typer.Option(
                metavar="NAME",
                help="Another provider, whose credentials serve submodules at its own host."
                " Replaces all of them. Repeatable.",
            ),
        ] = None,
        lfs: Annotated[
            Switch, typer.Option("--lfs/--no-lfs", help="Download Git LFS files.")
        ] = None,
        hard_link: Annotated[
            Switch,
            typer.Option(
                "--hard-link/--no-hard-link",
                help="Hard-link unchanged files between releases instead of copying them.",
            ),
        ] = None,
        shared: Annotated[
            Lines,
            typer.Option(
                help="Path that all releases share, a directory if it ends with /. Replaces all"
                " shared paths. Repeatable."
            ),
        ] = None,
        env: Annotated[
            Lines,
            typer.Option(
                help="Variable to add or change: NAME=VALUE, or NAME=@SOURCE for a secret."
                " Repeatable."
            ),
        ] = None,
        unset_env: Annotated[
            Lines,
            typer.Option("--unset-env", metavar="NAME", help="Variable to remove. Repeatable."),
        ] = None,
        build: Annotated[
            Lines,
            typer.Option(
                help="Command to run in each new release. Replaces all build commands. Repeatable."
            ),
        ] = None,
        before_activate: Annotated[
            Lines,
            typer.Option(
                help="Command to run before a release becomes live. Replaces all commands of this"
                " phase. Repeatable."
            ),
        ] = None,
        after_activate: Annotated[
            Lines,
            typer.Option(
                help="Command to run after a release became live. Replaces all commands of this"
                " phase. Repeatable."
            ),
        ] = None,
        health_url: Annotated[
            str | None,
            typer.Option(
                help="URL that must answer with a status of 200 to 299 after a release became live."
            ),
        ] = None,
        keep: Annotated[int | None, typer.Option(help="Number of releases to keep.", min=2)] = None,
        watch: Annotated[
            Lines,
            typer.Option(
                help="Deploy only if a changed file matches this pattern. Replaces all patterns."
                " Repeatable."
            ),
        ] = None,
        unset: Annotated[
            Lines,
            typer.Option(
                "--unset",
                metavar="FIELD",
                help="Field to set back to its default, such as health_check. Repeatable.",
            ),
        ] = None,
        dry_run: DryRun = False,
        offline: Offline = False,
        as_json: AsJson = False,
    ) -> None:
        """Change fields of an application, without deploying it.

        Its history, releases and webhook stay. Checks at the git host that a new repository or ref
        exists. An application has more fields than there are options here: to change those, use
        deploycore export and deploycore apply.
        """
        given: dict[str, Any] = {
            "provider": provider,
            "repository": repository,
            "ref": ref,
            "target": target,
            "submodules": submodules,
            "credentials": credentials,
            "lfs": lfs,
            "reuse": None if hard_link is None else "hard-link" if hard_link else "copy",
            "shared": None if shared is None else read_shared(shared),
            "environment": dict(map(read_variable, env or ())),
            "steps": dict(zip(_STEPS, (build, before_activate, after_activate), strict=True)),
            "health_check": None if health_url is None else {"url": health_url},
            "keep": keep,
            "watch": watch,
        }
        change = store(Edit(name, given, unset or (), unset_env or (), dry_run, offline))
        if as_json:
            show_json(change_as_dict(change))
            return
        say_change(change, dry_run=dry_run)

    return edit


def edit_here(edit: Edit) -> Change:
    """Make a change on this machine."""
    target = edit.given["target"]
    if target is not None:
        edit = replace(edit, given={**edit.given, "target": target.expanduser().absolute()})
    with (
        deploycore.Installation() as installation,
        telling_of_waits(),
        naming_offline(offline=edit.offline),
    ):
        after = edit.of(installation.store.get_application(edit.name).definition.as_dict())
        (change,) = installation.apply([after], dry_run=edit.dry_run, verify=not edit.offline)
    say_warnings(after)
    return change


def edited(
    before: Mapping[str, Any],
    given: Mapping[str, Any],
    unset: Sequence[str],
    unset_variables: Sequence[str],
) -> dict[str, Any]:
    """Return the values of an application after a change.

    Args:
        before: The values before the change, without default values.
        given: The new values; ``None`` for values that stay. Variables and steps are added to the
            existing ones.
        unset: Fields to reset to their defaults.
        unset_variables: Variables to remove.

    Raises:
        UsageError: A field or a variable cannot be removed.
    """
    values = dict(before)
    for written in unset:
        values.pop(_optional_field(written), None)
    variables = dict(values.get("environment", {}))
    for name in unset_variables:
        if variables.pop(name, None) is None:
            raise UsageError(
                f"The application has no variable {name!r}.",
                hint=f"Its variables are: {', '.join(sorted(variables)) or 'none'}.",
            )
    values["environment"] = variables | given["environment"]
    steps = {step: lines for step, lines in given["steps"].items() if lines is not None}
    values["steps"] = dict(values.get("steps", {})) | steps
    merged = ("environment", "steps")
    return values | {
        field: value for field, value in given.items() if field not in merged and value is not None
    }


def _optional_field(written: str) -> str:
    """Return the name of a field that has a default.

    Raises:
        UsageError: The field does not exist, or has no default.
    """
    from deploycore.applications.application import Application
    from deploycore.text.suggestions import did_you_mean

    name = written.removeprefix("--").replace("-", "_")
    optional = [field for field in Application.model_fields if field not in _FIXED]
    if name not in optional:
        raise UsageError(
            f"An application has no optional field {name!r}.",
            hint=f"{did_you_mean(name, optional)}These have a default: {', '.join(optional)}.",
        )
    return name
