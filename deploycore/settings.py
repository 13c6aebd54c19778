"""The settings of this machine that come from the environment.

All other configuration is in the database. These settings are needed to find the database and to
read its secrets.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from deploycore.disk.durable import BrokenLink, make_private_directory
from deploycore.errors import ConfigurationError, StoreError
from deploycore.records import record

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["Settings", "home_directory", "is_fernet_key", "parse_public_url"]

HOME = "DEPLOYCORE_HOME"
DATABASE_URL = "DEPLOYCORE_DATABASE_URL"
SECRET_KEY = "DEPLOYCORE_SECRET_KEY"  # noqa: S105  the variable's name
PUBLIC_URL = "DEPLOYCORE_PUBLIC_URL"

SETTINGS_FILE = "settings.yaml"
"""The file of settings in the data directory, which is optional."""

_NEW_KEY = (
    "python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
)


@record
class Settings:
    """The location of the database, and the key of its secrets.

    Attributes:
        home: The data directory; it may not exist yet.
        database_url: The URL of the database, in SQLAlchemy's format. It may contain a password, so
            ``repr`` does not show it.
        secret_key: The key, if the environment contains it.
        secret_key_file: The file of the key, if ``secret_key`` is ``None``; it may not exist yet.
        public_url: The address at which git hosts reach ``deploycore serve``, without a slash at
            its end; ``None`` if it is not set.
    """

    home: Path
    database_url: str = field(repr=False)
    secret_key: SecretStr | None
    secret_key_file: Path
    public_url: str | None = None

    @property
    def git_cache(self) -> Path:
        """The directory of the git cache. It can be deleted at any time."""
        return self.home / "cache" / "git"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read ``DEPLOYCORE_HOME``, ``DEPLOYCORE_DATABASE_URL``, ``DEPLOYCORE_SECRET_KEY`` and
        ``DEPLOYCORE_PUBLIC_URL``.

        By default, everything is in the user's data directory: a SQLite database, and a key that is
        created when the first secret is stored.

        Args:
            environ: The variables (default: those of this process).

        Raises:
            ConfigurationError: A variable is empty or malformed.
        """
        variables = os.environ if environ is None else environ
        for name in (HOME, DATABASE_URL, SECRET_KEY, PUBLIC_URL):
            if not variables.get(name, "unset").strip():
                raise ConfigurationError(
                    f"{name} is set, but empty.", hint=f"Give it a value, or unset {name}."
                )
        home = _home(variables.get(HOME))
        public_url = variables.get(PUBLIC_URL)
        return cls(
            home=home,
            database_url=_database_url(variables.get(DATABASE_URL), home),
            secret_key=_secret_key(variables.get(SECRET_KEY)),
            secret_key_file=home / "secret.key",
            public_url=None if public_url is None else parse_public_url(public_url, PUBLIC_URL),
        )

    def make_home(self) -> None:
        """Create the data directory, accessible only to its owner. An existing one stays as it is.

        Raises:
            StoreError: It cannot be created, or is not a directory.
        """
        try:
            make_private_directory(self.home)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            if isinstance(error, FileExistsError | NotADirectoryError):
                reason = "a file is in its place"
            hint = f"Set {HOME} to a directory that you may write to."
            raise StoreError(
                f"The data directory {self.home} cannot be created: {reason}.",
                hint=error.HINT if isinstance(error, BrokenLink) else hint,
                path=str(self.home),
            ) from error


def home_directory(environ: Mapping[str, str] | None = None) -> Path:
    """Return the data directory from the environment, or the default one. It may not exist.

    Raises:
        ConfigurationError: ``DEPLOYCORE_HOME`` is malformed.
    """
    return _home((os.environ if environ is None else environ).get(HOME))


def is_fernet_key(text: str | bytes) -> bool:
    """Whether a text is a Fernet key: 32 bytes in URL-safe base64 (the Fernet specification)."""
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == 32
    except ValueError:
        return False


def parse_public_url(text: str, where: str) -> str:
    """Return the address at which git hosts reach ``deploycore serve``, without a slash at its end.

    Args:
        where: The source of the address, for messages.

    Raises:
        ConfigurationError: It is not an http or https address, or has a user, a query or a
            fragment. The text is not quoted, because it may contain a password.
    """
    try:
        parts = urlsplit(text.strip())
        is_right = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and not (parts.username or parts.password or parts.query or parts.fragment)
            and text.strip().isprintable()
            and " " not in text.strip()
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        is_right = False
    if not is_right:
        raise ConfigurationError(
            f"{where} is not a valid address of a server.",
            hint="Write, for example, https://deploy.example.com. A path is allowed.",
        )
    return text.strip().rstrip("/")


def _home(value: str | None) -> Path:
    if value is None:
        from platformdirs import user_data_dir

        return Path(user_data_dir("deploycore", appauthor=False))
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigurationError(
            f"{HOME} names the home directory of a user without one: {value}.",
            hint=f"Set {HOME} to an absolute path.",
        ) from error


def _database_url(value: str | None, home: Path) -> str:
    if value is None:
        # Only these two characters have a meaning in the last part of a database URL.
        path = str(home / "deploycore.db").replace("%", "%25").replace("?", "%3F")
        return f"sqlite:///{path}"
    if not re.match(r"[a-z][a-z0-9_]*(\+[a-z0-9_]+)?://", value):
        raise ConfigurationError(
            f"{DATABASE_URL} is not a database URL.",
            hint=f"Set {DATABASE_URL}, for example to sqlite:////var/lib/deploycore.db "
            "or postgresql+psycopg://user:password@host/name.",
        )
    return value


def _secret_key(value: str | None) -> SecretStr | None:
    if value is None:
        return None
    key = value.strip()
    if not is_fernet_key(key):
        raise ConfigurationError(
            f"{SECRET_KEY} is not a Fernet key: 32 bytes in URL-safe base64, 44 characters.",
            hint=f"Copy the whole key, or make a new one for a new installation: {_NEW_KEY}",
        )
    # the import takes long, and most installations have the key in a file
    from pydantic import SecretStr

    return SecretStr(key)
