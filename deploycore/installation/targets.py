"""Check the targets of applications before they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from socket import gethostname

from deploycore.applications.application import Application
from deploycore.deploy.ownership import refuse_data_directory, refuse_taken_target
from deploycore.deploy.releases import Releases
from deploycore.errors import ConfigurationError
from deploycore.store import Store

__all__ = ["refuse_foreign_targets", "refuse_taken_targets"]


def refuse_taken_targets(wanted: Sequence[Application], store: Store, home: Path) -> None:
    """Raise an error if a target belongs to another application, also under another path.

    Args:
        home: The data directory, which no target may be in or contain.
    """
    new = {each.name: each.target for each in wanted}

    def target_of(name: str) -> Path:
        return new.get(name) or store.get_application(name).definition.target

    for name, target in new.items():
        refuse_taken_target(name, target, target_of)
        refuse_data_directory(name, target, home)


def refuse_foreign_targets(
    applications: Iterable[Application], may_store: Callable[[], object]
) -> None:
    """Refuse targets on this machine with files that deploycore did not create.

    Args:
        may_store: Raises if the applications cannot be stored anyway. That error comes first:
            the files may be the releases of another application.
    """
    for each in applications:
        if each.host is None or each.host == gethostname():
            try:
                with suppress(OSError):  # the user who deploys may have more permissions
                    Releases(each.target).refuse_foreign_target()
            except ConfigurationError:
                may_store()
                raise
