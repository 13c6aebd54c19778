"""Stored secrets: encrypted with the key of this installation, or kept as a reference.

The stored form is one line of text, which starts with its type: ``fernet:`` and a token
(https://github.com/fernet/spec), ``env:`` and the name of an environment variable, or ``file:`` and
an absolute path. The secret itself exists only in memory, as ``SecretStr``.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deploycore.disk.durable import open_regular_file, sync_directory
from deploycore.errors import ConfigurationError, StoreError
from deploycore.settings import SECRET_KEY, Settings, is_fernet_key

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["SecretBox", "describe_stored", "is_sealed", "reveal_reference"]

_RESTORE = "Restore the key that the providers were added with."
_IF_LOST = (
    "If it is lost, remove what is in its place, and replace the secrets that deploycore doctor"
    " lists: deploycore provider rotate NAME --FIELD-file PATH keeps a secret in a file, without a"
    " key. Then remove and register webhooks again."
)
_SEALED = "fernet:"
_VARIABLE = "env:"
_FILE = "file:"
_FORMS = f"{_VARIABLE}NAME or {_FILE}/ABSOLUTE/PATH"
_FILE_BYTES_MOST = 64 * 1024
_KEY_FILE_BYTES_MOST = 1024


def is_sealed(stored: str) -> bool:
    """Whether a stored secret is encrypted, and not a reference."""
    return stored.startswith(_SEALED)


def describe_stored(stored: str) -> str:
    """Return where a secret is, for people, without the secret."""
    if stored.startswith(_VARIABLE):
        return f"environment variable {stored.removeprefix(_VARIABLE)}"
    if stored.startswith(_FILE):
        return f"file {stored.removeprefix(_FILE)}"
    return "stored, encrypted"


def reveal_reference(text: str) -> SecretStr:
    """Return the secret of a user's reference: ``env:NAME`` or ``file:/absolute/path``.

    Raises:
        ConfigurationError: The text is not a reference (it is not quoted), or the variable or file
            is missing, unreadable, empty, or not text.
    """
    reference = _checked_reference(text)
    if reference.startswith(_VARIABLE):
        return _from_variable(reference.removeprefix(_VARIABLE))
    return _from_file(Path(reference.removeprefix(_FILE)))


class SecretBox:
    """Converts secrets to their stored form, and back.

    The key comes from the settings or from its file. The file is created when the first secret is
    encrypted, with mode 0600. It is created completely or not at all, and processes that do this at
    the same time get the same key.

    Args:
        settings: The settings with the key.
        sealed_secrets_exist: Called before a key file is created. If it returns ``True``, the key
            of existing secrets is missing, and no new one is created.
    """

    def __init__(
        self, settings: Settings, *, sealed_secrets_exist: Callable[[], bool] = lambda: False
    ) -> None:
        self._settings = settings
        self._sealed_secrets_exist = sealed_secrets_exist

    def seal(self, value: SecretStr) -> str:
        """Encrypt a secret for the store. The first call creates the key.

        Raises:
            ConfigurationError: The secret is not valid Unicode.
            StoreError: The key is missing, malformed, readable by others, or cannot be created.
        """
        # the import takes 15 ms, and most commands do not need it
        from cryptography.fernet import Fernet

        clear = _encoded(value.get_secret_value(), "The secret")
        key = self._key() or self._new_key()
        return _SEALED + Fernet(key).encrypt(clear).decode("ascii")

    def keep_reference(self, text: str) -> str:
        """Check a reference, and return its stored form. The variable or file is not read.

        Args:
            text: ``env:NAME`` or ``file:/absolute/path``; ``~`` is replaced.

        Raises:
            ConfigurationError: The text is not a reference. It is not quoted, because it may be a
                secret in the wrong place.
        """
        return _checked_reference(text)

    def reveal(self, stored: str) -> SecretStr:
        """Return a stored secret. One trailing line end of a file is removed.

        Raises:
            ConfigurationError: The variable is not set, or the file cannot be read, or the value is
                empty or not text.
            StoreError: The key is missing, malformed, readable by others, or not the one with which
                the secret was encrypted.
        """
        if stored.startswith(_SEALED):
            return self._unsealed(stored.removeprefix(_SEALED))
        if stored.startswith(_VARIABLE):
            return _from_variable(stored.removeprefix(_VARIABLE))
        if stored.startswith(_FILE):
            return _from_file(Path(stored.removeprefix(_FILE)))
        raise StoreError(
            "A stored secret has a format that this version of deploycore does not support.",
            hint="Upgrade deploycore, or replace the secret: deploycore provider rotate NAME",
        )

    def has_key(self) -> bool:
        """Whether the key exists. No key is created.

        Raises:
            StoreError: It is malformed, cannot be read, or is readable by others.
        """
        return self._key() is not None

    def describe(self, stored: str) -> str:
        """Return where a secret is, for people, without the secret."""
        return describe_stored(stored)

    def variable_of(self, stored: str) -> str | None:
        """Return the environment variable that a secret refers to, if it is such a reference."""
        return stored.removeprefix(_VARIABLE) if stored.startswith(_VARIABLE) else None

    def is_elsewhere(self, stored: str) -> bool:
        """Whether a secret is in an environment variable that is not set in this process. It may be
        set for a worker."""
        variable = self.variable_of(stored)
        return variable is not None and not os.environ.get(variable)

    def file_of(self, stored: str) -> Path | None:
        """Return the file that a secret refers to, if it is such a reference."""
        return Path(stored.removeprefix(_FILE)) if stored.startswith(_FILE) else None

    def _unsealed(self, token: str) -> SecretStr:
        from cryptography.fernet import Fernet, InvalidToken

        key = self._key()
        if key is None:
            raise self._key_missing()
        try:
            return _secret(Fernet(key).decrypt(token).decode())
        except InvalidToken:
            pass
        raise StoreError(
            f"A stored secret cannot be decrypted with the key in {self._key_place}: it was"
            " encrypted with another key.",
            hint=f"{_RESTORE} {_IF_LOST}",
        )

    @property
    def _key_place(self) -> str:
        return SECRET_KEY if self._settings.secret_key else str(self._settings.secret_key_file)

    def _key(self) -> bytes | None:
        """Return the key; ``None`` if it should come from a file that does not exist."""
        if self._settings.secret_key:
            key = self._settings.secret_key.get_secret_value().encode(errors="replace")
        else:
            found = _read_key_file(self._settings.secret_key_file)
            if found is None:
                return None
            key = found.strip()
        if not is_fernet_key(key):
            raise StoreError(
                f"The value in {self._key_place} is not a key: a key has 32 bytes in URL-safe "
                "base64, 44 characters.",
                hint=f"{_RESTORE} {_IF_LOST}",
            )
        return key

    def _new_key(self) -> bytes:
        path = self._settings.secret_key_file
        if self._sealed_secrets_exist() and not path.exists():
            raise self._key_missing()
        self._settings.make_home()
        try:
            _create_key_file(path)
        except OSError as error:
            raise StoreError(
                f"The key file {path} cannot be created: {error.strerror or error}.",
                hint="Check the permissions of its directory and the free space on its disk, or set"
                f" {SECRET_KEY} to a key.",
                path=str(path),
            ) from error
        key = self._key()
        if key is None:
            raise self._key_missing()
        return key

    def _key_missing(self) -> StoreError:
        path = self._settings.secret_key_file
        return StoreError(
            f"The key of the stored secrets is missing: {path} does not exist.",
            hint=f"Restore the key file, or set {SECRET_KEY} to the key. {_IF_LOST}",
            path=str(path),
        )


def _read_key_file(path: Path) -> bytes | None:
    try:
        with os.fdopen(open_regular_file(path), "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_KEY_FILE_BYTES_MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(
            f"The key file {path} cannot be read: {error.strerror or error}.",
            hint="Make it a file with the key that only its owner can read, or set"
            f" {SECRET_KEY} to the key.",
            path=str(path),
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise StoreError(
            f"The key file {path} can be read by other users of this machine (mode {mode:04o}).",
            hint=f"Restrict access: chmod 600 {path}",
            path=str(path),
        )
    return content


def _create_key_file(path: Path) -> None:
    """Write the complete key file, or use the one that another process has created first."""
    import tempfile

    from cryptography.fernet import Fernet

    handle, unfinished = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A link never replaces an existing file, unlike a rename. If several processes do this at
        # once, one of them wins.
        with suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        os.unlink(unfinished)
    sync_directory(path.parent)


def _secret(text: str) -> SecretStr:
    from pydantic import SecretStr  # the import takes long, and listings reveal no secret

    return SecretStr(text)


def _checked_reference(text: str) -> str:
    if text.startswith(_VARIABLE):
        name = text.removeprefix(_VARIABLE)
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            return text
    elif text.startswith(_FILE):
        path = os.path.expanduser(text.removeprefix(_FILE))
        if os.path.isabs(path) and path.isprintable():
            return _FILE + path
    raise ConfigurationError("This is not a reference to a secret.", hint=f"Write {_FORMS}.")


def _from_variable(name: str) -> SecretStr:
    value = os.environ.get(name)
    if not value:
        state = "not set" if value is None else "empty"
        raise ConfigurationError(
            f"The environment variable {name}, which should hold a secret, is {state}.",
            hint=f"Set {name} for the process that runs deploycore.",
            variable=name,
        )
    _encoded(value, f"The environment variable {name}")
    return _secret(value)


def _from_file(path: Path) -> SecretStr:
    try:
        with os.fdopen(open_regular_file(path), "rb") as file:
            content = file.read(_FILE_BYTES_MOST + 1)
    except OSError as error:
        raise _unusable_file(path, f"cannot be read: {error.strerror or error}") from error
    if len(content) > _FILE_BYTES_MOST:
        raise _unusable_file(path, f"is larger than {_FILE_BYTES_MOST} bytes")
    text = _decoded(content)
    if text is None:
        raise _unusable_file(path, "is not UTF-8 text")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise _unusable_file(path, "is empty")
    return _secret(text)


def _unusable_file(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"The file {path}, which should hold a secret, {problem}.",
        hint="Write only the secret into the file, and let the user who runs deploycore read it.",
        path=str(path),
    )


def _decoded(content: bytes) -> str | None:
    """Return the text; ``None`` if the bytes are not text. The decoding error would contain the
    secret."""
    with suppress(UnicodeDecodeError):
        return content.decode()
    return None


def _encoded(text: str, subject: str) -> bytes:
    with suppress(UnicodeEncodeError):
        return text.encode()
    # Raise here, because the encoding error contains the text.
    raise ConfigurationError(f"{subject} is not UTF-8 text.", hint="Copy the secret again.")
