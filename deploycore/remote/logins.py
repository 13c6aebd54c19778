"""The servers that a person is signed in to: a file in the user's configuration directory.

The file contains tokens, so only its owner can read it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from deploycore.errors import ConfigurationError

__all__ = ["Logins"]

_FILE = "servers.json"


class Logins:
    """The tokens of servers.

    Args:
        directory: The directory of the file (default: ``DEPLOYCORE_CONFIG_HOME``, or the user's
            configuration directory).
        environ: Environment variables (default: those of the process).
    """

    def __init__(
        self, directory: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._path = (directory or _configuration_directory(self._environ)) / _FILE

    def token(self, url: str) -> SecretStr:
        """Return the token for a server: that of ``DEPLOYCORE_TOKEN``, or the stored one.

        Raises:
            ConfigurationError: There is none, or the file cannot be read.
        """
        given = self._environ.get("DEPLOYCORE_TOKEN")
        if given:
            return SecretStr(given)
        found = self._read().get(url)
        if found is None:
            raise ConfigurationError(
                f"You are not signed in to {url}.",
                hint=f"Sign in: deploycore login {url}",
                server=url,
            )
        return SecretStr(found)

    def keep(self, url: str, token: SecretStr) -> Path:
        """Store the token for a server, and return the file.

        Raises:
            ConfigurationError: The file cannot be read or written.
        """
        self._write({**self._read(), url: token.get_secret_value()})
        return self._path

    def drop(self, url: str) -> bool:
        """Remove the token for a server. Returns whether there was one.

        Raises:
            ConfigurationError: The file cannot be read or written.
        """
        known = dict(self._read())
        if url not in known:
            return False
        del known[url]
        self._write(known)
        return True

    def _read(self) -> Mapping[str, str]:
        try:
            found = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise self._unusable("read", error) from None
        if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
            raise self._unusable("read", ValueError("it is no list of tokens"))
        return found

    def _write(self, tokens: Mapping[str, str]) -> None:
        """Replace the file as a whole, so that no token is lost if the disk is full."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{_FILE}.")  # 0600
            try:
                with os.fdopen(descriptor, "w") as file:
                    json.dump(tokens, file, indent=1)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self._path)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            raise self._unusable("written", error) from None

    def _unusable(self, done: str, error: Exception) -> ConfigurationError:
        reason = getattr(error, "strerror", None) or str(error)
        return ConfigurationError(
            f"The file of your sign-ins {self._path} cannot be {done}: {reason}.",
            hint="Correct the file's permissions and the free space of its disk, or remove it and"
            " sign in again: deploycore login URL",
        )


def _configuration_directory(environ: Mapping[str, str]) -> Path:
    given = environ.get("DEPLOYCORE_CONFIG_HOME")
    if given:
        return Path(given)
    import platformdirs

    return platformdirs.user_config_path("deploycore")
