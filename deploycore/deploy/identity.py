"""Check that an application's repository name still means the repository deployed before.

If the repository was renamed or transferred, the application follows it. If another repository got
its name, the deployment is refused. Repositories are recognized by the host's own identifier
(``Repository.host_id``). A new name is stored only after the host has confirmed that it belongs to
the known identifier.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
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
        """Find the repository of a name."""


def confirm_repository(
    store: Store,
    provider: _Finder,
    application: ApplicationRecord,
    *,
    learn: Callable[[Repository], None] = lambda found: None,
) -> ApplicationRecord:
    """Ask the host for an application's repository, and follow it if it was renamed.

    The first call stores the repository's identifier. If the host has no identifiers, or the
    credentials may not read them, the application is returned unchanged.

    Args:
        learn: Called with the repository that the host has under the application's name.

    Returns:
        The application, with the repository's current name.

    Raises:
        RepositoryReplaced: The name now belongs to another repository.
        ProviderError: The request to the host failed.
    """
    definition = application.definition
    known = store.repositories.find(definition)
    found = _find(provider, definition, known)
    if found is not None:
        learn(found)
    if found is None or found.host_id is None:
        return application
    if known is not None and known.host_id not in (None, found.host_id):
        store.repositories.note_other(definition, found.host_id)
        raise RepositoryReplaced(
            f"The name {definition.repository} now belongs to another repository than the one that"
            f" {definition.name} was deployed from.",
            hint="Change the application's repository. To deploy from the other repository:"
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
    """Whether two names are the same; hosts ignore the case of names."""
    return str(one).casefold() == str(other).casefold()


def _find(
    provider: _Finder, definition: Application, known: RepositoryRecord | None
) -> Repository | None:
    """Find the repository, under the name that a webhook reported or else under the known one."""
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
        return None  # credentials that can clone are enough to deploy
    except NotFound as error:
        if known is None or known.host_id is None:
            return None  # if the repository does not exist, the next request says so better
        if known.told_name is not None:
            error.hint = (
                f"A webhook reported that it was renamed to {known.told_name}. Give the"
                f" credentials of the provider {definition.provider} access to it."
            )
        raise


def _settled(known: RepositoryRecord, host_id: str) -> RepositoryRecord:
    """The record without reports of other names or repositories."""
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
            "%s: the repository %s was renamed to %s, and is deployed under that name; change"
            " the name in the application's file",
            definition.name,
            definition.repository,
            name,
        )
    return store.get_application(definition.name)
