"""Previews: a separate application for each pull request into an application's branch.

The author of a pull request chooses the branch's name and content. So no part of it becomes a path,
a name or a setting before unsafe characters are replaced. A preview does not get its parent's
secrets, environment or webhook. A preview to remove is first recorded in the store, so a worker
continues the removal after a crash.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from deploycore.applications.application import Application, Previews, parse_application
from deploycore.deploy import Releases
from deploycore.errors import (
    ConfigurationError,
    DeploycoreError,
    DeployError,
    Locked,
    with_next_step,
)
from deploycore.events import PullRequestEvent
from deploycore.installation import Installation
from deploycore.store import ApplicationRecord, PreviewRecord

__all__ = ["handle", "preview_of", "remove_ended"]

logger = logging.getLogger(__name__)

Outcome = Literal["made", "ended", "refused", "ignored"]

_CAUSE = "pull_request"
_LEASE_SECONDS = 30.0
_NAME_LENGTH = 63
_BRANCH_LENGTH = 40
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_BRANCHES = "refs/heads/"


def handle(
    installation: Installation, application: ApplicationRecord, event: PullRequestEvent
) -> Outcome:
    """Record what a pull request means for the previews of an application. This sends no request.

    Args:
        application: The application that the pull request's repository belongs to.

    Returns:
        The result. A rejected pull request is logged.

    Raises:
        StoreError: It cannot be recorded now. The host should send the event again.
    """
    parent = application.definition
    previews = parent.auto_deploy.previews if parent.auto_deploy else None
    store = installation.store
    if previews is None or event.target_branch != parent.ref.removeprefix(_BRANCHES):
        # The pull request may have another target branch now.
        return "ended" if store.previews.end(parent.name, event.number) else "ignored"
    if event.action in ("merged", "declined"):
        is_merged = event.action == "merged"
        had_one = store.previews.close(parent, event.number, merged=is_merged)
        return "ended" if had_one else "ignored"
    if (event.is_from_fork and not previews.forks) or event.source is None:
        return "ignored"
    try:
        made, within = preview_of(parent, previews, event)
        is_there = store.begin_preview(
            made,
            parent=parent,
            number=event.number,
            within=within,
            limit=previews.limit,
            opens=event.action == "opened",
        )
    except ConfigurationError as error:
        logger.warning(
            "no preview was created for pull request %s of %s: %s",
            event.number,
            parent.name,
            with_next_step(error),
        )
        return "refused"
    if not is_there:
        return "ignored"
    store.triggers.add(
        made.name,
        cause=_CAUSE,
        ref=event.source_branch,
        commit=event.commit,
        actor=event.actor,
    )
    logger.info("preview %s of %s: pull request %s", made.name, parent.name, event.number)
    return "made"


def preview_of(
    parent: Application, previews: Previews, event: PullRequestEvent
) -> tuple[Application, Path]:
    """Return the application for a pull request, and the directory that must contain its target.

    Raises:
        ConfigurationError: The patterns and the pull request do not result in a valid application.
    """
    within = _fixed_part(previews.target)
    target = Path(_filled(previews.target, parent, event))
    auto = parent.auto_deploy
    made = parse_application(
        parent.as_dict()
        | {
            "name": _fit_name(_filled(previews.name, parent, event)),
            "repository": str(event.source if event.is_from_fork else parent.repository),
            # The full name, because a branch's name may look like a hash, or like another ref.
            "ref": f"{_BRANCHES}{event.source_branch}",
            "target": target,
            # Otherwise the .gitmodules of an unknown author could name private repositories of
            # these hosts.
            "credentials": () if event.is_from_fork else parent.credentials,
            "environment": previews.model_dump(mode="json")["environment"],
            "auto_deploy": {
                "push": False,
                "poll": "off",
                # The credentials are not valid for another person's repository.
                "report_status": bool(auto and auto.report_status and not event.is_from_fork),
            },
        },
        where=f"the preview of pull request {event.number}",
    )
    if not _is_below(made.target, within):
        raise ConfigurationError(
            f"The preview's directory {made.target} would not be below {within}.",
            hint="Change auto_deploy/previews/target so that it begins with one slash.",
        )
    return made, within


def remove_ended(installation: Installation) -> frozenset[str]:
    """Remove the applications and directories of previews that have ended, as far as possible.

    Previews of other machines are left to those machines. Previews that are being deployed are
    canceled, and removed in a later round.

    Returns:
        What could not be removed, and why.
    """
    store, here = installation.store, socket.gethostname()
    failures = set()
    for preview in store.previews.ended():
        if preview.host not in (None, here):
            continue
        try:
            _remove(installation, preview)
        except Locked:
            continue
        except DeploycoreError as error:
            failures.add(f"the preview {preview.name} cannot be removed: {with_next_step(error)}")
        except Exception as error:  # the other previews must still be removed
            failures.add(
                f"the preview {preview.name} cannot be removed, because of an unexpected error:"
                f" {type(error).__name__}"
            )
    return frozenset(failures)


def _remove(installation: Installation, preview: PreviewRecord) -> None:
    store = installation.store
    if not store.previews.begin_removal(preview.name):
        return
    for each in store.deployments.unfinished(preview.name):
        with suppress(ConfigurationError):  # the preview has ended in the meantime
            installation.engine.cancel(each.id)
    targets = store.list_targets()
    if targets.get(preview.name) == preview.target:
        _remove_application(installation, preview.name)
        del targets[preview.name]
    _remove_target(preview, targets)
    store.previews.forget(preview.name)
    logger.info("preview %s of %s was removed", preview.name, preview.parent)


def _remove_application(installation: Installation, name: str) -> None:
    """Remove a preview's application.

    Raises:
        Locked: A worker is processing it, or it is being deployed.
        DeployError: The deployment of a dead process cannot be recovered.
    """
    claims, remover = installation.store.claims, str(uuid.uuid4())
    claim = claims.take(name, remover, lease=_LEASE_SECONDS)
    try:
        if claim is not None:
            installation.recover(name)
        if claim is None or installation.store.deployments.unfinished(name):
            raise Locked(f"The preview {name!r} is being deployed.")
        # The history of previews is not kept: there are too many pull requests, and people do not
        # need it.
        installation.remove_application(name, purge=True)
    finally:
        claims.release(name, remover)


def _remove_target(preview: PreviewRecord, others: Mapping[str, Path]) -> None:
    """Remove a preview's directory, if it certainly belongs to no other application.

    Raises:
        ConfigurationError: It belongs, or may belong, to another application.
        DeployError, Locked: It cannot be removed now.
    """
    target = preview.target
    if not _is_below(target, preview.within):
        raise ConfigurationError(
            f"Its directory {target} is not below {preview.within}.",
            hint="Restore a backup of the database: the record of the preview is damaged.",
        )
    real = _real(target.parent) / target.name
    if not _is_below(real, _real(preview.within)):
        raise ConfigurationError(
            f"Its directory {target} leads out of {preview.within}.",
            hint=f"Replace the links above {target} by directories. deploycore then removes it.",
        )
    for name, other in others.items():
        its = _real(other)
        if its == real or its in real.parents or real in its.parents:
            raise ConfigurationError(
                f"Its directory {target} overlaps with that of {name}.",
                hint=f"Give {name} another target: deploycore app edit {name} --target DIRECTORY",
            )
    Releases(target).remove()


def _real(path: Path) -> Path:
    """Resolve a path. If a part cannot be examined, it may be a link, and the path is unknown.

    Raises:
        DeployError: A part cannot be examined.
    """
    try:
        return Path(os.path.realpath(path, strict=True))
    except FileNotFoundError:
        return Path(os.path.realpath(path))
    except OSError as error:
        raise DeployError(
            f"{path} cannot be examined: {error.strerror or error}.",
            hint="Correct the permissions of the directories above it.",
            path=str(path),
        ) from None


def _filled(pattern: str, parent: Application, event: PullRequestEvent) -> str:
    values = {
        "{application}": parent.name,
        "{number}": str(event.number),
        "{branch}": _fit_branch(event.source_branch),
    }
    # Replace all names at once, so that inserted text is not replaced again.
    return re.sub("|".join(map(re.escape, values)), lambda found: values[found.group()], pattern)


def _fixed_part(pattern: str) -> Path:
    """Return the directory that contains all targets of a pattern."""
    return Path(pattern.partition("{")[0] + "x").expanduser().parent


def _is_below(path: Path, directory: Path) -> bool:
    return ".." not in path.parts and directory in path.parents


def _fit_branch(name: str) -> str:
    """Return a branch's name as one part of a path: never ``..``, empty, hidden or long."""
    return _UNFIT.sub("-", name)[:_BRANCH_LENGTH].strip("-.") or "branch"


def _fit_name(text: str) -> str:
    """Return a valid name of an application. A shortened name gets a digest of the whole name."""
    fit = _UNFIT.sub("-", text).lstrip("-._") or "preview"
    if len(fit) <= _NAME_LENGTH:
        return fit
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:10]
    return f"{fit[: _NAME_LENGTH - len(digest) - 1]}-{digest}"
