"""``deploycore clone``: one branch of a repository, into a directory, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from deploycore.application import Limits
from deploycore.cli.options import AsJson, ProviderName, RepositoryArgument
from deploycore.cli.output import say, show_json
from deploycore.cli.progress import cancelled_by_signals, reporting
from deploycore.cli.usage import UsageError
from deploycore.cli.waiting import telling_of_waits
from deploycore.deploy import InterruptibleProvider, fetch_hint
from deploycore.errors import DeploycoreError, GitError, NotFound
from deploycore.git import EscapingLinks, GitSettings
from deploycore.git import clone as git_clone
from deploycore.installation import Installation
from deploycore.installation.verification import suggest_repository
from deploycore.models import RepositoryId
from deploycore.text.suggestions import did_you_mean
from deploycore.text.validation import find_problems
from deploycore.times import for_machines

__all__ = ["register"]


def register(application: typer.Typer) -> None:
    """Add this noun's command."""
    application.command()(clone)


def clone(
    provider: ProviderName,
    repository: RepositoryArgument,
    directory: Annotated[
        Path | None, typer.Argument(help="New or empty; by default the repository's name.")
    ] = None,
    branch: Annotated[
        str | None,
        typer.Option(
            "--branch", "-b", help="Or a tag, or a full hash; by default the default branch."
        ),
    ] = None,
    submodules: Annotated[bool, typer.Option("--submodules", help="With submodules.")] = False,
    links: Annotated[
        EscapingLinks,
        typer.Option(
            "--links",
            help="What to do with symbolic links that lead out of the directory: write-as-links"
            " (as git does), write-as-files (a file that holds the link's target), or refuse.",
        ),
    ] = "write-as-links",
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=NUMBER",
            help="Raise or lower a limit, such as files=1000000. The names are those of an"
            " application's limits. Repeatable.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="Seconds for the whole clone (default: 1800)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Clone one branch, tag or commit of a repository, without its history."""
    limits = _read_limits(limit or ())
    with (
        Installation() as installation,
        telling_of_waits(interruptible=False),
        cancelled_by_signals() as cancellation,
        InterruptibleProvider(
            provider,
            lambda: installation.open_provider(provider),
            look=cancellation.raise_if_cancelled,
        ) as opened,
        reporting(silent=as_json) as reporter,
    ):
        wanted = installation.read_repository(provider, repository)
        target = (directory or Path(wanted.slug)).absolute()
        try:
            done = git_clone(
                opened.clone_url(wanted),
                branch,
                target,
                submodules=submodules,
                escaping_links=links,
                name=str(wanted),
                progress=lambda git: reporter.show("cloning", git),
                cancellation=cancellation,
                settings=_limited(installation.git_settings, limits, timeout),
            )
        except GitError as error:
            fetch_hint(opened, error)
            _name_option(error)
            _suggest(opened, wanted, branch, error)
            error.add_context(provider=provider, repository=str(wanted))
            raise
    if as_json:
        show_json(
            {
                "directory": str(target),
                "repository": str(wanted),
                "branch": done.ref,
                "commit": done.commit,
                "author": done.author,
                "subject": done.subject,
                "committed_at": done.committed_at and for_machines(done.committed_at),
                "files": done.files,
                "bytes": done.bytes,
                "submodules": done.submodules,
                "notes": list(done.notes),
            }
        )
        return
    say(f"Cloned {wanted}, at {done.ref}, into {target}")
    say(f"  {done.headline}")
    say(f"  {done.files:,} files, {done.bytes:,} bytes")
    for note in done.notes:
        say(f"  {note}")


def _read_limits(given: Iterable[str]) -> Limits:
    """What ``--limit`` says, as an application has it.

    Raises:
        UsageError: It is malformed, there is no such limit, or the number is out of range.
    """
    values: dict[str, str] = {}
    for text in given:
        name, equals, number = text.partition("=")
        if not equals or not number:
            raise UsageError(
                f"--limit {text!r} is not a name and a number.",
                hint="Write --limit NAME=NUMBER, for example --limit files=1000000.",
            )
        if name not in Limits.model_fields:
            known = ", ".join(Limits.model_fields)
            raise UsageError(
                f"There is no limit {name!r}.",
                hint=f"{did_you_mean(name, Limits.model_fields)}The limits are: {known}.",
            )
        values[name] = number
    try:
        return Limits.model_validate_strings(values)
    except ValidationError as error:
        problems = find_problems(error, Limits, values)
        raise UsageError(
            "; ".join(f"--limit {each.path[0]} {each.said}" for each in problems) + ".",
            hint="Correct the number.",
        ) from None


def _limited(settings: GitSettings, limits: Limits, timeout: float | None) -> GitSettings:
    raised: dict[str, Any] = {f"{name}_most": most for name, most in limits if most is not None}
    return replace(settings, **raised, total_timeout=timeout or settings.total_timeout)


def _name_option(error: GitError) -> None:
    """Name in the hint this command's own option, where there is one for what was refused."""
    limit = str(error.details.get("limit", "")).removesuffix("_most")
    if "link_target" in error.details:
        error.hint = "Clone with --links write-as-links, as git does, or write-as-files."
    elif limit == "total_timeout":
        error.hint = "Try again. If it happens again, allow more time: --timeout SECONDS."
    elif limit in Limits.model_fields:
        error.hint = f"If you trust this repository, raise the limit: --limit {limit}=NUMBER."


def _suggest(
    provider: InterruptibleProvider, repository: RepositoryId, branch: str | None, error: GitError
) -> None:
    """Name in the hint what may have been meant, where there is no such branch or repository."""
    suggest_repository(error, repository, provider.list_repos)
    if branch is None or "ref" not in error.details:
        return
    try:
        provider.find_branch(repository, branch)
    except NotFound as missing:
        error.hint = missing.hint
    except DeploycoreError:
        return  # what git said is what is told
