"""The release that a rollback goes to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deploycore.deploy.release_list import Release, list_releases
from deploycore.deploy.releases import Releases
from deploycore.deploy.selection import find_way_back
from deploycore.errors import ConfigurationError
from deploycore.store import ApplicationRecord, DeploymentRecord, Store

__all__ = ["find_former_release", "find_releases"]

_SHORT = 7  # the minimum length of a shortened commit
_LISTED = 5  # releases that an error names


def find_releases(store: Store, application: ApplicationRecord) -> list[Release]:
    """List the releases of an application that are on disk, the newest first."""
    makers = partial(store.deployments.of_releases, application.name)
    return list_releases(Releases(application.definition.target), makers)


def find_former_release(
    store: Store, application: ApplicationRecord, to: str | None
) -> tuple[Path, DeploymentRecord]:
    """Find the release to roll back to, and the deployment that made it.

    Args:
        to: A release's name, or at least seven characters of its commit (default: the last
            release of a different commit that worked and that nobody rolled back from).

    Raises:
        ConfigurationError: The release does not exist, is live or never worked, or ``to``
            matches several commits.
    """
    found = find_releases(store, application)
    if to is None:
        return _way_back(store, application, found)
    former = _named(found, to)
    if former is not None and former.name != to:
        _refuse_ambiguous(application.name, found, to)
    if former is None:
        problem = "does not exist"
    elif former.is_live:
        problem = "is already live"
    elif former.deployment is None or former.deployment.state != "healthy":
        problem = "is not known to have worked"
    else:
        return former.path, former.deployment
    raise ConfigurationError(
        f"The release {to!r} of {application.name} {problem}.",
        hint=("" if former else _similar(found, to))
        + f"List the releases: deploycore releases {application.name}",
        application=application.name,
    )


def _way_back(
    store: Store, application: ApplicationRecord, found: Sequence[Release]
) -> tuple[Path, DeploymentRecord]:
    names = [each.name for each in found]
    live = next((each for each in found if each.is_live), None)
    history = store.deployments.release_history(application.name, names)
    name = find_way_back(names, live.name if live else None, history)
    for each in found:
        if each.name == name and each.deployment is not None:
            return each.path, each.deployment
    commit = _commit(live) if live else ""
    other = f" other than the live one ({commit[:12]})" if commit else ""
    raise ConfigurationError(
        f"The application {application.name} has no release to roll back to. It needs a release on"
        f" disk of a commit{other} that worked and that no rollback replaced.",
        hint=_choose(application.name, found),
        application=application.name,
    )


def _choose(name: str, found: Sequence[Release]) -> str:
    if not found:
        return f"Make the first release: deploycore deploy {name}"
    if all(each.is_live for each in found):
        return f"Push another commit, then deploy it: deploycore deploy {name}"
    return (
        f"List the releases: deploycore releases {name}. Then choose one:"
        f" deploycore rollback {name} --to RELEASE"
    )


def _named(found: Sequence[Release], text: str) -> Release | None:
    """Find the release of a name or commit. If there are several: the live one, or the newest that
    worked."""
    named = [each for each in found if _is_named(each, text)]
    exact = [each for each in named if each.name == text]
    live = [each for each in named if each.is_live]
    good = [each for each in named if each.deployment and each.deployment.state == "healthy"]
    return next(iter([*exact, *live, *good, *named]), None)


def _refuse_ambiguous(application: str, found: Sequence[Release], text: str) -> None:
    """Refuse a text that is the start of several commits."""
    named = [each for each in found if _is_named(each, text)]
    commits = {each.deployment.commit for each in named if each.deployment}
    if len(commits) > 1:
        raise ConfigurationError(
            f"The commit {text!r} is ambiguous: releases of {len(commits)} commits of"
            f" {application} match.",
            hint=f"Give the name of a release or more of its commit: {_listed(named)}",
            application=application,
            releases=[each.name for each in named],
        )


def _similar(found: Sequence[Release], text: str) -> str:
    """Suggest releases whose name or commit begins with a text that is too short."""
    begin = [
        each
        for each in found
        if text and (each.name.startswith(text) or _commit(each).startswith(text))
    ]
    if not begin:
        return ""
    return f"Give a full name, or {_SHORT} characters of a commit: {_listed(begin)}. "


def _listed(releases: Sequence[Release]) -> str:
    """List some releases, each with its commit."""
    shown = [f"{each.name} ({_commit(each) or 'commit unknown'})" for each in releases[:_LISTED]]
    rest = len(releases) - len(shown)
    return ", ".join(shown) + (f", and {rest} more" if rest else "")


def _commit(release: Release) -> str:
    return (release.deployment and release.deployment.commit) or ""


def _is_named(release: Release, text: str) -> bool:
    return release.name == text or (len(text) >= _SHORT and _commit(release).startswith(text))
