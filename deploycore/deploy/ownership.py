"""The owner of a target: the application that deploys there, named in the lock file.

Two paths may lead to the same directory, through links, mounts, or a file system that ignores
case. So the name is stored in the directory itself, where every path finds it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deploycore.deploy.releases import Releases
from deploycore.disk.durable import open_regular_file
from deploycore.errors import ConfigurationError

if TYPE_CHECKING:
    from deploycore.store import ApplicationRecord

__all__ = ["claim_target", "refuse_data_directory", "refuse_elsewhere", "refuse_taken_target"]

_NAME_BYTES_MOST = 256
_TargetOf = Callable[[str], Path]


def refuse_taken_target(name: str, target: Path, target_of: _TargetOf) -> None:
    """Refuse a target that belongs to another application, or that is inside such a target.

    Args:
        name: The application to deploy.
        target_of: Returns the target of an application, or raises ``ConfigurationError``. An
            application that no longer exists, or that now has another target, owns nothing.

    Raises:
        ConfigurationError: Another application deploys there.
    """
    real = Path(os.path.realpath(target))
    for place in (real, *real.parents):
        owner = _owner(place)
        if owner and owner != name and _is_target_of(place, owner, target_of):
            within = "" if place == real else f" is within {place}, which"
            raise ConfigurationError(
                f"The target {target} of {name}{within} belongs to the application {owner!r}.",
                hint=f"Give {name} a directory of its own, or remove {owner} first:"
                f" deploycore app remove {owner}",
                application=name,
                target=str(target),
                owner=owner,
            )


def refuse_data_directory(name: str, target: Path, home: Path) -> None:
    """Refuse a target that is deploycore's data directory, is inside it, or contains it.

    Otherwise, what deploycore removes from its data directory, such as the git cache, could be
    removed from the live release.

    Args:
        home: The data directory.

    Raises:
        ConfigurationError: One of the two directories contains the other.
    """
    real, data = Path(os.path.realpath(target)), Path(os.path.realpath(home))
    if real.is_relative_to(data) or data.is_relative_to(real):
        how = "contains" if data != real and data.is_relative_to(real) else "is in"
        raise ConfigurationError(
            f"The target {target} of {name} {how} deploycore's data directory {home}.",
            hint=f"Give {name} a directory that is apart from it, such as /srv/{name}.",
            application=name,
            target=str(target),
        )


def claim_target(name: str, releases: Releases, target_of: _TargetOf) -> None:
    """Write an application's name into its target's lock file. The caller holds the lock.

    Raises:
        ConfigurationError: The target belongs to another application.
        DeployError: The name cannot be written.
    """
    refuse_taken_target(name, releases.target, target_of)
    if _owner(releases.target) == name:
        return
    try:
        descriptor = os.open(releases.lock, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{name}\n".encode())
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return  # nothing was deployed there, or it was removed: there is nothing to own
    except OSError as error:
        raise releases.unusable(error) from error


def _owner(target: Path) -> str:
    """Read the name in a target's lock file; empty if there is none or it cannot be read."""
    with suppress(OSError, UnicodeDecodeError):
        descriptor = open_regular_file(Releases(target).lock)
        try:
            return os.read(descriptor, _NAME_BYTES_MOST).decode().strip()
        finally:
            os.close(descriptor)
    return ""


def _is_target_of(place: Path, owner: str, target_of: _TargetOf) -> bool:
    try:
        return os.path.samefile(target_of(owner), place)
    except (ConfigurationError, OSError):
        return False


def refuse_elsewhere(application: ApplicationRecord) -> None:
    """Refuse an application that another machine deploys.

    Raises:
        ConfigurationError: The application's ``host`` is another machine.
    """
    host = application.definition.host
    if host not in (None, socket.gethostname()):
        raise ConfigurationError(
            f"The application {application.name!r} is deployed by the machine {host!r}, and this"
            f" machine is {socket.gethostname()!r}.",
            hint=f"Run the command there, or change the host of {application.name}.",
            application=application.name,
            host=host,
        )
