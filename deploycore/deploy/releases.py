"""An application's target directory: its releases, and the link to the one that is live.

::

    target/
      releases/20261124T101500Z-1a2b3c4d5e6f/   one directory a deployment, complete or absent
      current -> releases/20261124T…            switched by one rename
      .deploycore.lock                          held while a deployment runs

The link is made under another name and renamed over ``current``, since ``rename`` is atomic
(POSIX, rename(2)) and a removed and remade link is not. The lock is the operating system's
``flock``: it ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from deploycore.disk import sync_directory
from deploycore.errors import ConfigurationError, DeployError, Locked

__all__ = ["Releases"]

_RELEASES = "releases"
_CURRENT = "current"
_LOCK = ".deploycore.lock"
_NEW_LINK = ".current.deploycore-"
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
    def current(self) -> Path | None:
        """The release that is live, or ``None`` before the first deployment."""
        try:
            return self.target / os.readlink(self.target / _CURRENT)
        except OSError:
            return None

    def prepare(self) -> None:
        """Make the directories, if this place may be used at all.

        Raises:
            ConfigurationError: The target is a file, or holds files of somebody else, or
                ``current`` there is no link.
            DeployError: It can't be written.
        """
        self._refuse_foreign_target()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

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
            sync_directory(self.target)
        except OSError as error:
            with suppress(OSError):
                link.unlink(missing_ok=True)
            raise self._unusable(error) from error

    def discard(self, release: Path) -> None:
        """Remove a release that did not become the live one, as far as that can be done."""
        if release.parent == self.directory and release != self.current:
            shutil.rmtree(release, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the target for one deployment, and clear what a killed one left of its link.

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
            raise self._unusable(error) from error
        try:
            for leftover in self.target.glob(f"{_NEW_LINK}*"):
                leftover.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def _refuse_foreign_target(self) -> None:
        problem = ""
        if self.target.is_dir():
            current = self.target / _CURRENT
            if os.path.lexists(current) and not current.is_symlink():
                problem = f"{current} is not a link, so it can't be switched"
            elif any(self.target.iterdir()) and not self.directory.is_dir():
                problem = f"{self.target} is not empty, and deploycore did not make what is there"
        elif os.path.lexists(self.target):
            problem = f"{self.target} is not a directory"
        if problem:
            raise ConfigurationError(
                f"The target can't be used: {problem}.",
                hint="Give the application an empty or new directory as its target.",
                target=str(self.target),
            )

    def _unusable(self, error: OSError) -> DeployError:
        return DeployError(
            f"The target {self.target} can't be written: {error.strerror or error}.",
            hint="Look at its permissions and at the space that is left on its disk.",
            target=str(self.target),
        )
