"""Whose a target is: the name of the application that deploys there, in the lock's file.

Two paths may lead to one directory, through links, mounts, or names whose case the file system
ignores. So the name lies in the directory itself, where it is found by whichever path.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deploycore.deploy.releases import Releases
from deploycore.disk.durable import open_regular_file
from deploycore.errors import ConfigurationError

__all__ = ["claim_target", "refuse_taken_target"]

_NAME_BYTES_MOST = 256
_TargetOf = Callable[[str], Path]


def refuse_taken_target(name: str, target: Path, target_of: _TargetOf) -> None:
    """Refuse a target that is another application's, or within another's.

    Args:
        name: The application that is to be deployed.
        target_of: Gives the target of an application, or raises ``ConfigurationError``. A name
            that is no longer known, or whose target is elsewhere by now, owns nothing.

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


def claim_target(name: str, releases: Releases, target_of: _TargetOf) -> None:
    """Note whose a target is, for who holds its lock.

    Raises:
        ConfigurationError: It is another application's.
        DeployError: The name can't be written.
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
        return  # nothing was deployed there, or it is gone: then there is nothing to own
    except OSError as error:
        raise releases.unusable(error) from error


def _owner(target: Path) -> str:
    """The name in a target's lock file; empty where there is none, or nobody may read it."""
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
