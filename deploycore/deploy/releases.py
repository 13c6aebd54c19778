"""An application's target directory: its releases, and the link to the live one.

::

    target/
      releases/20261124T101500Z-1a2b3c4d5e6f/   one directory a deployment, complete or absent
      shared/                                   what all releases have in common
      current -> releases/20261124T…            switched by one rename
      .deploycore.lock                          held while a deployment runs
      .deploycore.step                          exists while a step runs

The link is created under another name and renamed to ``current``, since ``rename`` is atomic
(POSIX, rename(2)), but removing and creating a link is not. The lock is an ``flock`` of the
operating system, which is released when its process ends in any way. Only the owner can open the
lock's file, because anyone who can open it can hold the lock.

``target``, ``releases`` and ``shared`` may each be a link that the operator created.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from deploycore.disk.durable import (
    BrokenLink,
    closed_in_forks,
    is_held,
    lock_file,
    make_directory,
    real_path,
    sync_directory,
)
from deploycore.disk.removal import Remains, measure_tree, remove_tree
from deploycore.errors import ConfigurationError, DeployError, Locked
from deploycore.git import find_leftovers, remove_leftovers
from deploycore.records import record

__all__ = ["Releases", "is_release_name"]

_RELEASES = "releases"
_SHARED = "shared"
_CURRENT = "current"
_LOCK = ".deploycore.lock"
_STEP = ".deploycore.step"
_INPUTS = ".deploycore.inputs"
_NEW_LINK = ".current.deploycore-"
_REMOVED = ".removed.deploycore-"
_OWN = ".deploycore-"  # in hidden names
_TOKEN = 6  # bytes; staging places have another number, see ``deploycore.git``
_SHORT_COMMIT = 12
_NAME = re.compile(rf"\d{{8}}T\d{{6}}Z-[0-9a-f]{{{_SHORT_COMMIT}}}(-\d+)?")


@record
class Releases:
    """The releases of one application.

    Attributes:
        target: The application's directory, absolute.
    """

    target: Path

    @property
    def directory(self) -> Path:
        """The directory with the releases."""
        return self.target / _RELEASES

    @property
    def shared(self) -> Path:
        """The directory that all releases share."""
        return self.target / _SHARED

    @property
    def lock(self) -> Path:
        """The lock file; it contains the name of the application that deploys here."""
        return self.target / _LOCK

    @property
    def step_record(self) -> Path:
        """The file that records the running step; see ``deploycore.deploy.orphans``."""
        return self.target / _STEP

    @property
    def inputs(self) -> Path:
        """The file with digests of the values that releases were made with; see
        ``deploy.inputs``."""
        return self.target / _INPUTS

    @property
    def current(self) -> Path | None:
        """Return the live release; ``None`` before the first deployment.

        Raises:
            ConfigurationError: ``current`` points to something that is not a release.
            DeployError: ``current`` cannot be read, so it is unknown which release is live.
        """
        try:
            link = os.readlink(self.target / _CURRENT)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.unusable(error) from error
        path = Path(os.path.normpath(self.target / link))
        if path.parent != self.directory:
            raise ConfigurationError(
                f"{self.target / _CURRENT} leads to {link!r}, which is not one of its releases.",
                hint=f"Point it to {_RELEASES}/NAME, or remove it.",
                target=str(self.target),
            )
        return path

    def is_intact(self, *, has_files: bool) -> bool:
        """Whether the live release exists, and is not empty if it should have files."""
        current = self.current
        if current is None:
            return False
        try:
            with os.scandir(current) as entries:
                return not has_files or any(True for _ in entries)
        except OSError:
            return False

    def exists(self) -> bool:
        """Whether the directory of the releases exists.

        Raises:
            DeployError: The directory cannot be examined.
        """
        return self.holds(self.directory)

    def holds(self, release: Path) -> bool:
        """Whether a release's directory exists.

        Raises:
            DeployError: The directory cannot be examined.
        """
        try:
            return stat.S_ISDIR(os.stat(release).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self.unusable(error) from error

    def names(self) -> list[str]:
        """List the names of the releases on disk, sorted; none if there is no directory.

        Raises:
            DeployError: The directory cannot be listed.
        """
        try:
            with os.scandir(self.directory) as entries:
                found = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self.unusable(error) from error
        return sorted(name for name in found if not name.startswith("."))

    def prepare(self) -> None:
        """Create the directories, if the target may be used.

        Raises:
            ConfigurationError: The target is a file, has files that deploycore did not create,
                or its ``current`` is not a link.
            DeployError: The target cannot be written.
        """
        self.refuse_unusable()
        try:
            make_directory(self.directory)
        except OSError as error:
            raise self.unusable(error) from error

    def refuse_unusable(self) -> None:
        """Check whether the target may be used; nothing is created.

        Raises:
            ConfigurationError: The target is a file, has files that deploycore did not create,
                or its ``current`` is not a link to a release.
            DeployError: The target cannot be read.
        """
        try:
            self.refuse_foreign_target()
        except OSError as error:
            raise self.unusable(error) from error
        _ = self.current  # raises if it points elsewhere

    def new(self, commit: str, at: datetime) -> Path:
        """Choose an unused path for a new release; nothing is created.

        Args:
            commit: The full commit hash.
            at: When the deployment began, in UTC.
        """
        name = f"{at:%Y%m%dT%H%M%SZ}-{commit[:_SHORT_COMMIT]}"
        path, number = self.directory / name, 1
        while os.path.lexists(path):
            number += 1
            path = self.directory / f"{name}-{number}"
        return path

    def activate(self, release: Path) -> None:
        """Make a complete release the live one, atomically.

        Raises:
            DeployError: The link cannot be written; the previous release stays live.
        """
        link = self.target / f"{_NEW_LINK}{secrets.token_hex(8)}"
        try:
            os.symlink(os.path.join(_RELEASES, release.name), link)
            os.replace(link, self.target / _CURRENT)
            self._flush()
        except OSError as error:
            with suppress(OSError):
                link.unlink(missing_ok=True)
            raise self.unusable(error) from error

    def deactivate(self) -> None:
        """Remove the link ``current``: no release is live, as before the first deployment.

        Raises:
            DeployError: The link cannot be removed.
        """
        try:
            (self.target / _CURRENT).unlink(missing_ok=True)
            self._flush()
        except OSError as error:
            raise self.unusable(error) from error

    def discard(self, release: Path) -> Remains | None:
        """Remove a release that is not the live one, as far as that is possible.

        It is renamed first, so that a release under its own name is always complete, even if the
        removal is interrupted.

        Returns:
            What is left of it; ``None`` if nothing is left. If the path is still the release's own,
            nothing was removed.
        """
        try:
            if release.parent != self.directory or release == self.current:
                return _kept(release, "It is live, or it is not a release of this application")
        except (ConfigurationError, DeployError) as error:
            return _kept(release, error.message)  # it may be the live one
        aside = self.directory / f"{_REMOVED}{secrets.token_hex(_TOKEN)}"
        try:
            os.rename(release, aside)
        except FileNotFoundError:
            return None
        except OSError as error:
            return _kept(release, error.strerror or type(error).__name__)
        return remove_tree(aside)

    def clear(self) -> list[Remains]:
        """Remove what killed processes left, and what could not be removed before.

        The caller holds the lock.

        Returns:
            What still could not be removed.
        """
        for link in _matching(self.target, _NEW_LINK):
            with suppress(OSError):
                link.unlink()
        found = [remove_tree(path) for path in _matching(self.directory, _REMOVED)]
        left = {each.path: each for each in found if each is not None}
        # By path: names that earlier versions gave to what they set aside look like those of
        # staging directories.
        remove_leftovers(self.directory, refused=lambda each: left.update({each.path: each}))
        return list(left.values())

    def leftovers(self) -> list[Remains]:
        """List what could not be removed from the releases, with its size; nothing is changed.

        While a deployment runs, this may list what it is about to remove.
        """
        found = {*_matching(self.directory, _REMOVED), *find_leftovers(self.directory)}
        return [each for each in map(measure_tree, sorted(found)) if each is not None]

    def leftovers_beside(self) -> list[Remains]:
        """List what ``remove`` could not remove of the target, with its size."""
        found = map(measure_tree, _matching(self.target.parent, self._aside))
        return [each for each in found if each is not None]

    def strangers(self, known: Collection[str]) -> list[str]:
        """List entries among the releases that deploycore did not create, sorted.

        Args:
            known: The names of releases that the store knows.

        Raises:
            DeployError: The directory cannot be listed.
        """
        try:
            found = os.listdir(self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self.unusable(error) from error
        return sorted(
            name
            for name in found
            if name not in known and not (name.startswith(".") and _OWN in name)
        )

    def remove(self) -> None:
        """Remove the target with everything in it. No deployment may be running there.

        It is renamed first, so that a target that is removed in part is not mistaken for a
        whole one. If the target is a link, only the link is removed.

        Raises:
            ConfigurationError: deploycore did not create this directory.
            DeployError: The target could not be removed, or only in part. The rest is beside it
                under a hidden name, and calling this again removes it.
            Locked: A deployment runs here.
        """
        parent = self.target.parent
        asides = {*_matching(parent, self._aside)}
        try:
            if self.target.is_symlink():
                self.target.unlink()
            elif self.target.exists():
                self.refuse_foreign_target()
                aside = parent / f"{self._aside}{secrets.token_hex(_TOKEN)}"
                with self.locked():
                    os.rename(self.target, aside)
                asides.add(aside)
            # Try to remove every entry before the first failure is reported.
            for left in filter(None, [remove_tree(each) for each in sorted(asides)]):
                raise DeployError(
                    f"The files in {self.target} could not be removed: {left}.",
                    hint=f"Remove {left.path}, or correct its permissions: deploycore tries again.",
                    target=str(self.target),
                )
            if asides:
                sync_directory(parent)
        except OSError as error:
            raise self.unusable(error) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the target's lock for one deployment.

        Raises:
            Locked: Another deployment runs here.
            DeployError: The lock file cannot be written.
        """
        try:
            held = lock_file(self.lock)
        except BlockingIOError as error:
            raise Locked(
                f"Another deployment is running in {self.target}.",
                hint="Wait until it ends, then deploy again.",
                target=str(self.target),
            ) from error
        except OSError as error:
            raise self.unusable(error) from error
        with closed_in_forks(held):
            yield

    def is_locked(self) -> bool:
        """Whether a deployment runs here. Unlike ``locked``, this creates no file."""
        return is_held(self.lock)

    def unusable(self, error: OSError) -> DeployError:
        """Describe a failure of the file system in the target."""
        return DeployError(
            f"The target {self.target} cannot be written: {error.strerror or error}.",
            hint=error.HINT
            if isinstance(error, BrokenLink)
            else "Check its permissions and the free space on its disk.",
            target=str(self.target),
        )

    def refuse_foreign_target(self) -> None:
        """Refuse a target with files that deploycore did not create.

        Raises:
            ConfigurationError: The target has such files, or is not a directory.
            OSError: The target cannot be read.
        """
        problem = ""
        real_path(self.directory)
        if self.target.is_dir():
            current = self.target / _CURRENT
            if os.path.lexists(current) and not current.is_symlink():
                problem = f"{current} is not a link, so it cannot be switched"
            elif not self.directory.is_dir() and self._holds_foreign_files():
                problem = f"{self.target} is not empty, and deploycore did not make its content"
        elif os.path.lexists(self.target):
            problem = f"{self.target} is not a directory"
        if problem:
            raise ConfigurationError(
                f"The target cannot be used: {problem}.",
                hint="Give the application an empty or new directory as its target.",
                target=str(self.target),
            )

    @property
    def _aside(self) -> str:
        """The prefix of the names that the target gets when it is removed."""
        return f".{self.target.name}{_REMOVED}"

    def _flush(self) -> None:
        # The target may be a link to a directory on another disk.
        sync_directory(Path(os.path.realpath(self.target)))

    def _holds_foreign_files(self) -> bool:
        # Shared files may be put there before the first deployment.
        return any(each.name not in (_SHARED, _LOCK, _INPUTS) for each in self.target.iterdir())


def is_release_name(name: str) -> bool:
    """Whether a name has the form that ``Releases.new`` gives."""
    return _NAME.fullmatch(name) is not None


def _kept(release: Path, reason: str) -> Remains:
    """Describe a release that was not removed."""
    return replace(measure_tree(release) or Remains(release), first=release, reason=reason)


def _matching(directory: Path, prefix: str) -> list[Path]:
    """List the entries of a directory whose names have a prefix; none if it cannot be read."""
    try:
        return sorted(directory / name for name in os.listdir(directory) if name.startswith(prefix))
    except OSError:
        return []
