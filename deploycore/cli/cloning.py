"""Clone one branch of a repository; on failure, leave nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import deploycore
from deploycore.cli.output import say, show_json
from deploycore.cli.progress import cancelled_by_signals, reporting
from deploycore.cli.ssh_process import prepared_if, provider_uses_ssh
from deploycore.cli.waiting import telling_of_waits
from deploycore.errors import DeploycoreError, GitError, NotFound
from deploycore.times import for_machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploycore.applications.application import Limits
    from deploycore.deploy import InterruptibleProvider
    from deploycore.git import Cancellation, EscapingLinks, GitSettings
    from deploycore.models import RepositoryId
    from deploycore.provider import Provider

__all__ = ["clone_repository"]


def clone_repository(
    provider: str,
    repository: str,
    directory: Path | None = None,
    *,
    branch: str | None = None,
    submodules: bool = False,
    links: EscapingLinks = "write-as-links",
    limit: Sequence[str] | None = None,
    timeout: float | None = None,
    as_json: bool = False,
) -> None:
    """Clone one branch, tag or commit of a repository, and print what was cloned."""
    limits = None
    if limit:
        from deploycore.cli.limits import read_limits

        limits = read_limits(limit)
    with (
        prepared_if(lambda listing: provider_uses_ssh(listing, provider)),
        deploycore.Installation() as installation,
        telling_of_waits(interruptible=False),
        cancelled_by_signals() as cancellation,
        _opened(provider, installation, cancellation) as opened,
        reporting(silent=as_json) as reporter,
    ):
        from deploycore.git import clone as git_clone

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
                settings=_limited(opened.git_settings(installation.git_settings), limits, timeout),
                renew=opened.renew_credential(wanted),
            )
        except GitError as error:
            from deploycore.cli.limits import name_option
            from deploycore.deploy import fetch_hint

            fetch_hint(opened, error)
            name_option(error)
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


def _opened(
    provider: str, installation: deploycore.Installation, cancellation: Cancellation
) -> InterruptibleProvider:
    from deploycore.deploy import InterruptibleProvider  # after the process for SSH was forked

    return InterruptibleProvider(
        provider,
        lambda: installation.open_provider(provider),
        look=cancellation.raise_if_cancelled,
    )


def _limited(settings: GitSettings, limits: Limits | None, timeout: float | None) -> GitSettings:
    if limits is None and timeout is None:
        return settings
    from deploycore.cli.limits import limited, read_limits

    return limited(settings, limits or read_limits(()), timeout)


def _suggest(
    provider: Provider, repository: RepositoryId, branch: str | None, error: GitError
) -> None:
    """Suggest similar names in the hint if the branch or repository was not found."""
    from deploycore.installation.verification import suggest_repository

    suggest_repository(error, repository, provider.list_repos)
    if branch is None or "ref" not in error.details:
        return
    try:
        provider.find_branch(repository, branch)
    except NotFound as missing:
        error.hint = missing.hint
    except DeploycoreError:
        return  # keep git's own hint
