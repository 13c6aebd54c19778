"""Whether the host still has, under an application's repository name, what was deployed before.

A renamed or transferred repository is followed; another one that got its name is refused. Which
one it is, is told by the host's own identifier (``Repository.host_id``). A new name is stored only
after the host has confirmed that it belongs to the known identifier.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Protocol

from deploycore.applications.application import Application
from deploycore.errors import NotFound, PermissionDenied, RepositoryReplaced
from deploycore.models import Repository, RepositoryId
from deploycore.store import ApplicationRecord, RepositoryRecord, Store

__all__ = ["confirm_repository", "is_same_name"]

logger = logging.getLogger(__name__)


class _Finder(Protocol):
    def supports(self, hook: str, /) -> bool:
        """Whether the plugin has a hook."""

    def find_repository(self, repository: RepositoryId, /) -> Repository:
        """The repository of a name."""


def confirm_repository(
    store: Store, provider: _Finder, application: ApplicationRecord
) -> ApplicationRecord:
    """Ask the host for an application's repository, and follow it where it was renamed.

    The first time, its identifier is learned. A plugin or host that has none, and credentials that
    may not ask, change nothing.

    Returns:
        The application, with the repository's present name.

    Raises:
        RepositoryReplaced: Another repository has the name now.
        ProviderError: The host can't be asked.
    """
    definition = application.definition
    known = store.repositories.find(definition)
    found = _find(provider, definition, known)
    if found is None or found.host_id is None:
        return application
    if known is not None and known.host_id not in (None, found.host_id):
        store.repositories.note_other(definition, found.host_id)
        raise RepositoryReplaced(
            f"{definition.repository} is another repository now than the one that"
            f" {definition.name} was deployed from.",
            hint="Change the application's repository. If it is to be deployed from this one:"
            f" deploycore app accept-repository {definition.name}",
            application=definition.name,
            repository=definition.repository,
        )
    if is_same_name(found.id, definition.repository_id):
        if known is None or known != _settled(known, found.host_id):
            store.repositories.learn(definition, found.host_id)
        return application
    return _renamed(store, application, found.id, found.host_id)


def is_same_name(one: RepositoryId, other: RepositoryId) -> bool:
    """Whether two names are one: hosts tell them as they were first written, in any case."""
    return str(one).casefold() == str(other).casefold()


def _find(
    provider: _Finder, definition: Application, known: RepositoryRecord | None
) -> Repository | None:
    """What the host has: under the name that a delivery told, or else under the known one."""
    if not provider.supports("find_repository"):
        return None
    if known is not None and known.told_name is not None and known.host_id is not None:
        with suppress(NotFound, PermissionDenied):
            found = provider.find_repository(RepositoryId.parse(known.told_name))
            if found.host_id == known.host_id:
                return found
    try:
        return provider.find_repository(definition.repository_id)
    except PermissionDenied:
        return None  # who may clone may deploy
    except NotFound as error:
        if known is None or known.host_id is None:
            return None  # where it is not there at all, what asks next tells that better
        if known.told_name is not None:
            error.hint = (
                f"The host's webhook calls it {known.told_name} now. Give the credentials of"
                f" provider {definition.provider} access to it."
            )
        raise


def _settled(known: RepositoryRecord, host_id: str) -> RepositoryRecord:
    """The record that has nothing left to settle."""
    return RepositoryRecord(
        known.application,
        known.provider,
        known.repository,
        host_id,
        known.former_names,
        known.renamed_at,
    )


def _renamed(
    store: Store, application: ApplicationRecord, name: RepositoryId, host_id: str
) -> ApplicationRecord:
    definition = application.definition
    if store.repositories.rename(definition, str(name), host_id):
        logger.warning(
            "%s: the repository %s is %s now, and is deployed under that name; change it where"
            " the application is declared",
            definition.name,
            definition.repository,
            name,
        )
    return store.get_application(definition.name)
