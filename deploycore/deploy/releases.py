"""An application's target directory: its releases, and the link to the one that is live.

::

    target/
      releases/20261124T101500Z-1a2b3c4d5e6f/   one directory a deployment, complete or absent
      shared/                                   what all releases have in common
      current -> releases/20261124T…            switched by one rename
      .deploycore.lock                          held while a deployment runs
      .deploycore.step                          there while one of its steps runs

The link is made under another name and renamed over ``current``, since ``rename`` is atomic
(POSIX, rename(2)) and a removed and remade link is not. The lock is the operating system's
``flock``: it ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from deploycore.disk import is_held, sync_directory
from deploycore.errors import ConfigurationError, DeployError, Locked
from deploycore.git import remove_leftovers

__all__ = ["Releases"]

_RELEASES = "releases"
_SHARED = "shared"
_CURRENT = "current"
_LOCK = ".deploycore.lock"
_STEP = ".deploycore.step"
_NEW_LINK = ".current.deploycore-"
_REMOVED = ".removed.deploycore-"
_SHORT_COMMIT = 12


@dataclass(frozen=True)
class Releases:
    """The releases of one application.

    Attributes:
        target: The application's directory, absolute.
    """

    target: Path

    @property
    def directory(self) -> Path:
        """Where the releases are."""
        return self.target / _RELEASES

    @property
    def shared(self) -> Path:
        """Where what they have in common is."""
        return self.target / _SHARED

    @property
    def step_record(self) -> Path:
        """The file that says which step runs; see ``deploycore.deploy.orphans``."""
        return self.target / _STEP

    @property
    def current(self) -> Path | None:
        """The release that is live, or ``None`` before the first deployment.

        Raises:
            ConfigurationError: ``current`` leads to something else than a release.
            DeployError: It can't be read: nobody knows then what is live.
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
                f"{self.target / _CURRENT} leads to {link!r}, which is no release of it.",
                hint=f"Have it lead to {_RELEASES}/NAME, or remove it.",
                target=str(self.target),
            )
        return path

    def is_intact(self, *, has_files: bool) -> bool:
        """Whether the live release is there, and is not empty if it should have files."""
        current = self.current
        if current is None:
            return False
        try:
            with os.scandir(current) as entries:
                return not has_files or any(True for _ in entries)
        except OSError:
            return False

    def exists(self) -> bool:
        """Whether there is such a directory."""
        return self.directory.is_dir()

    def names(self) -> list[str]:
        """The names of the releases that are there, sorted; none where there is no directory.

        Raises:
            DeployError: They can't be listed.
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
        """Make the directories, if this place may be used at all.

        Raises:
            ConfigurationError: The target is a file, or holds files of somebody else, or
                ``current`` there is no link.
            DeployError: It can't be written.
        """
        self.refuse_unusable()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self.unusable(error) from error

    def refuse_unusable(self) -> None:
        """See whether this place may be used; nothing is made.

        Raises:
            ConfigurationError: The target is a file, or holds files of somebody else, or
                ``current`` there is no link, or leads elsewhere.
            DeployError: It can't be read.
        """
        try:
            self._refuse_foreign_target()
        except OSError as error:
            raise self.unusable(error) from error
        _ = self.current  # refused, if it leads elsewhere

    def new(self, commit: str, at: datetime) -> Path:
        """A path for a new release that no release has yet; nothing is created.

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
        """Make a complete release the live one, in one step that a reader can't see half of.

        Raises:
            DeployError: The link can't be written; the former release stays live.
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
        """Make no release the live one, as before the first.

        Raises:
            DeployError: The link can't be removed.
        """
        try:
            (self.target / _CURRENT).unlink(missing_ok=True)
            self._flush()
        except OSError as error:
            raise self.unusable(error) from error

    def discard(self, release: Path) -> None:
        """Remove a release that is not the live one, as far as that can be done.

        It loses its name first: what has a name is complete, also while this is interrupted.
        """
        try:
            if release.parent != self.directory or release == self.current:
                return
        except (ConfigurationError, DeployError):
            return  # it may be the live one
        aside = self.directory / f"{_REMOVED}{secrets.token_hex(8)}"
        with suppress(OSError):
            os.rename(release, aside)
            _remove(aside)

    def prune(self, names: Sequence[str], keep: int, protected: Collection[str]) -> list[str]:
        """Remove the oldest releases, so that so many are left.

        Args:
            names: Those that are there, the oldest first; clocks go back, so names don't tell.
            protected: The names of releases that stay in any case.

        Returns:
            The names of those that are gone.
        """
        surplus = [name for name in names if name not in protected][: max(0, len(names) - keep)]
        for name in surplus:
            self.discard(self.directory / name)
        return surplus

    def clear(self) -> None:
        """Remove what killed processes left, as far as that can be done; for who holds the lock."""
        with suppress(OSError):
            for leftover in self.target.glob(f"{_NEW_LINK}*"):
                leftover.unlink(missing_ok=True)
            for leftover in self.directory.glob(f"{_REMOVED}*"):
                _remove(leftover)
            remove_leftovers(self.directory)

    def remove(self) -> None:
        """Remove the target with all that is in it, for good; nobody may be deploying there.

        It loses its name first, so that nobody takes half of it for a target. A target that is a
        link is removed as such, and what it leads to stays.

        Raises:
            ConfigurationError: It is no target of deploycore's.
            DeployError: It can't be removed.
            Locked: A deployment runs here.
        """
        aside = self.target.with_name(f".{self.target.name}{_REMOVED}")
        try:
            if self.target.is_symlink():
                self.target.unlink()
            elif self.target.exists():
                self._refuse_foreign_target()
                if aside.exists():
                    _remove(aside)
                with self.locked():
                    os.rename(self.target, aside)
            if os.path.lexists(aside):
                _remove(aside)
                sync_directory(aside.parent)
        except OSError as error:
            raise self.unusable(error) from error
        if os.path.lexists(aside):
            raise DeployError(
                f"What was in {self.target} can't be removed: see {aside}.",
                hint="Remove it yourself.",
                target=str(self.target),
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the target for one deployment.

        Raises:
            Locked: Another deployment runs here.
            DeployError: The lock file can't be written.
        """
        lock = FileLock(self.target / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise Locked(
                f"Another deployment is running in {self.target}.",
                hint="Wait until it is done, then deploy again.",
                target=str(self.target),
            ) from error
        except OSError as error:
            raise self.unusable(error) from error
        try:
            yield
        finally:
            lock.release()

    def is_locked(self) -> bool:
        """Whether a deployment runs here; makes no file, unlike ``locked``."""
        return is_held(self.target / _LOCK)

    def unusable(self, error: OSError) -> DeployError:
        """What a failure of the file system here means for a person."""
        return DeployError(
            f"The target {self.target} can't be written: {error.strerror or error}.",
            hint="Look at its permissions and at the space that is left on its disk.",
            target=str(self.target),
        )

    def _refuse_foreign_target(self) -> None:
        problem = ""
        if self.target.is_dir():
            current = self.target / _CURRENT
            if os.path.lexists(current) and not current.is_symlink():
                problem = f"{current} is not a link, so it can't be switched"
            elif not self.directory.is_dir() and self._holds_foreign_files():
                problem = f"{self.target} is not empty, and deploycore did not make what is there"
        elif os.path.lexists(self.target):
            problem = f"{self.target} is not a directory"
        if problem:
            raise ConfigurationError(
                f"The target can't be used: {problem}.",
                hint="Give the application an empty or new directory as its target.",
                target=str(self.target),
            )

    def _flush(self) -> None:
        # The target itself may be a link to where there is room.
        sync_directory(Path(os.path.realpath(self.target)))

    def _holds_foreign_files(self) -> bool:
        # What is shared may be put there before the first deployment.
        return any(each.name not in (_SHARED, _LOCK) for each in self.target.iterdir())


def _remove(directory: Path) -> None:
    """Remove a directory, also where a build made it read-only for its owner."""

    def make_writable(function: object, path: str, error: object) -> None:
        with suppress(OSError):
            os.chmod(os.path.dirname(path), 0o700)
            os.chmod(path, 0o700, follow_symlinks=False)
        with suppress(OSError):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)

    shutil.rmtree(directory, onerror=make_writable)
