"""Checks of the machine: Python, the installed distribution, directories and disks."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import deploycore
from deploycore.distribution import install_command
from deploycore.doctor.finding import Finding, fine, problem, warning
from deploycore.errors import DeploycoreError, DeployError
from deploycore.provider.installed import location_of
from deploycore.settings import HOME, Settings

__all__ = [
    "failure_to_write",
    "look_at_disks",
    "look_at_home",
    "look_at_software",
    "nearest_directory",
]

_DISTRIBUTION = "deploycore"
_GIB = 1024**3
LEAST_BYTES = 100 * 1024**2
LOW_BYTES = _GIB
_LEAST_FILES = 1000
_SHOWN = 5
_TRIED_BYTES = 64 * 1024


def look_at_software() -> Iterator[Finding]:
    """Check Python, deploycore's distribution and its dependencies."""
    version = platform.python_version()
    try:
        found = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        yield warning(
            "deploycore",
            f"deploycore {deploycore.__version__} runs on Python {version}, but is not installed.",
            f"Install it together with its dependencies: {install_command()}",
        )
        return
    location, is_editable = location_of(found)
    kind = "editable, " if is_editable else ""
    said = f"deploycore {found.version} ({kind}{location}) runs on Python {version}."
    missing = sorted(_missing(found.requires or []))
    if missing:
        yield problem(
            "deploycore",
            f"{said} Dependencies are missing: {', '.join(missing)}.",
            f"Install it again: {install_command()}",
            kind=DeploycoreError,
        )
    elif found.version != deploycore.__version__:
        yield warning(
            "deploycore",
            f"{said} But the code has version {deploycore.__version__}.",
            "Two installations are mixed: check PYTHONPATH, or reinstall it.",
        )
    else:
        yield fine("deploycore", said)


def _missing(requirements: Iterable[str]) -> Iterator[str]:
    for requirement in requirements:
        name, _, marker = requirement.partition(";")
        if marker:
            continue  # for an extra, or for another system
        name = re.split(r"[^A-Za-z0-9._-]", name.strip())[0]
        try:
            version = _version_of(importlib.metadata.distribution(name))
        except importlib.metadata.PackageNotFoundError:
            yield name
            continue
        if wanted := _wanted_instead(requirement, version):
            yield f"{name}{wanted} (installed: {version})"


def _version_of(found: importlib.metadata.Distribution) -> str:
    """Return a distribution's version without parsing its description, which can be long."""
    head = (found.read_text("METADATA") or "").partition("\n\n")[0]
    named = re.search(r"(?im)^Version:(.+)$", head)
    return named[1].strip() if named else found.version


def _wanted_instead(requirement: str, version: str) -> str:
    """Return the required versions, if the installed version is not one of them.

    Source: the "Version specifiers" of PyPA, as read by ``packaging``. deploycore does not depend
    on that package; without it, versions are not checked.
    """
    try:
        from packaging.requirements import Requirement

        wanted = Requirement(requirement).specifier
        return "" if wanted.contains(version, prereleases=True) else str(wanted)
    except (ImportError, ValueError):
        return ""


def look_at_home(settings: Settings) -> Iterator[Finding]:
    """Check the data directory: whether it exists, its owner, and who else can write to it."""
    home, subject = settings.home, "data directory"
    try:
        status = home.stat()
    except (FileNotFoundError, NotADirectoryError):
        yield _absent(home, subject)
        return
    except OSError as error:
        said = f"The data directory {home} cannot be checked: {error.strerror}."
        yield problem(subject, said, _own(home))
        return
    if not stat.S_ISDIR(status.st_mode):
        said = f"The data directory {home} is a file."
        yield problem(subject, said, f"Move it away, or set {HOME} to a directory.")
        return
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        yield problem(subject, f"You cannot write to the data directory {home}.", _own(home))
        return
    if failure := failure_to_write(home):
        said = f"The data directory {home} cannot be written: {failure.strerror or failure}."
        yield problem(subject, said, _room_or_own(home, failure))
        return
    yield _access(home, status)
    yield from _open_to_others(home)
    yield from _strange_owners(home, status.st_uid, subject)


def _access(home: Path, status: os.stat_result) -> Finding:
    subject = "data directory"
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        said = f"All users of this machine can write to the data directory {home}."
        return problem(subject, said, f"Restrict access: chmod 700 {home}")
    if status.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        said = f"Others can write to the data directory {home} (mode {status.st_mode & 0o7777:o})."
        return warning(subject, said, f"Restrict access: chmod 700 {home}")
    if status.st_uid != os.geteuid():
        said = f"The data directory {home} belongs to another user ({_user(status.st_uid)})."
        return warning(subject, said, "Run deploycore as that user, who must own all its files.")
    return fine(subject, f"You own {home} and can write to it.")


def failure_to_write(directory: Path) -> OSError | None:
    """Write a file without a name, and sync it: permissions do not show that a disk is full."""
    try:
        with tempfile.TemporaryFile(prefix=".doctor-", dir=directory) as file:
            file.write(bytes(_TRIED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _room_or_own(home: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"Free some space on its disk, or set {HOME} to a directory on another disk."
    return _own(home)


def _open_to_others(home: Path) -> Iterator[Finding]:
    """Warn about directories that earlier versions created with a permissive umask."""
    for path in (home / "cache", home / "cache" / "git", home / "logs", home / "locks"):
        with suppress(OSError):
            mode = path.stat().st_mode
            if mode & (stat.S_IWOTH | stat.S_IWGRP):
                said = f"Others can write to {path} (mode {mode & 0o7777:o})."
                yield warning("data directory", said, f"Restrict access: chmod 700 {path}")


def _absent(home: Path, subject: str) -> Finding:
    if not home.is_absolute():
        said = f"You have no home directory, so the data directory is not an absolute path: {home}."
        return problem(subject, said, f"Set {HOME} to an absolute path.")
    above = nearest_directory(home)
    if above is not None and os.access(above, os.W_OK | os.X_OK):
        return fine(subject, f"{home} does not exist yet; it is created when it is needed.")
    said = f"The data directory {home} does not exist and cannot be created"
    place = f": you cannot write to {above}" if above else ""
    return problem(subject, f"{said}{place}.", _own(home))


def _own(home: Path) -> str:
    return f"Give {home} to the user that runs deploycore, or set {HOME} to another directory."


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _strange_owners(home: Path, owner: int, subject: str) -> Iterator[Finding]:
    """Find files of another user in the directory: one command that was run as root is enough for
    that."""
    try:
        found = [*home.iterdir(), *(home / "locks").glob("*"), *(home / "logs").glob("*")]
        strange = sorted(
            str(path.relative_to(home)) for path in found if path.lstat().st_uid != owner
        )
    except OSError as error:
        said = f"The files in {home} cannot be checked: {error.strerror}."
        yield warning(subject, said, _own(home))
        return
    if strange:
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        said = f"Files in {home} have another owner: {', '.join(strange[:_SHOWN])}{more}."
        yield problem(subject, said, f"Change their owner: chown -R {_user(owner)} {home}")


def nearest_directory(path: Path) -> Path | None:
    """Return the nearest existing directory: a path itself, or one above it.

    Returns:
        ``None`` if the nearest existing path is a file or cannot be examined.
    """
    for each in (path, *path.parents):
        try:
            if stat.S_ISDIR(each.stat().st_mode):
                return each
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return None
    return None


def look_at_disks(settings: Settings, targets: Iterable[Path]) -> Iterator[Finding]:
    """Check the free space for the data directory and for releases, once per disk."""
    seen = set()
    places = [(settings.home, False), *((target, True) for target in targets)]
    for place, is_target in places:
        directory = nearest_directory(place)
        if directory is None:
            continue  # the check of the directory itself reports it
        try:
            device = directory.stat().st_dev
            if device in seen:
                continue
            seen.add(device)
            yield _room(directory, DeployError if is_target else None)
        except OSError as error:
            said = f"The disk of {place} cannot be checked: {error.strerror}."
            yield warning("disk", said, "Check that the disk is mounted.")


def _room(directory: Path, kind: type[DeploycoreError] | None) -> Finding:
    free = shutil.disk_usage(directory).free
    files = os.statvfs(directory)
    said = f"The disk of {directory} has {free / _GIB:.1f} GiB of free space"
    hint = "Free some space. To clear the git cache, run: deploycore cache prune"
    no_files_left = bool(files.f_files) and files.f_favail < _LEAST_FILES
    if free < LEAST_BYTES or no_files_left:
        what = f"{said}, and {files.f_favail} free inodes." if no_files_left else f"{said}."
        return problem("disk", what, hint, **({"kind": kind} if kind else {}))
    if free < LOW_BYTES:
        return warning("disk", f"{said}.", hint)
    return fine("disk", f"{said}.")
