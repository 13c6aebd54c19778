"""The keys that sign in to a server: a private key, or those of an agent."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncssh

from deploycore.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["agent_keys", "read_private_key"]

_AGENT = "SSH_AUTH_SOCK"
_MAX_AGENT_KEYS = 16


def read_private_key(key: SecretStr, passphrase: SecretStr | None) -> asyncssh.SSHKey:
    """Read a private key in the OpenSSH or PEM format.

    Raises:
        ConfigurationError: The text is not a private key, or the passphrase is missing or wrong.
    """
    text = key.get_secret_value().replace("\r\n", "\n").strip() + "\n"
    secret = passphrase.get_secret_value() if passphrase else None
    problem = ""
    try:
        return asyncssh.import_private_key(text, secret or None)
    except asyncssh.KeyEncryptionError:
        problem = "The passphrase does not open the SSH private key."
    except (asyncssh.KeyImportError, ValueError) as error:
        problem = "The SSH private key cannot be read."
        if "assphrase" in str(error):
            problem = "The SSH private key is encrypted, and there is no passphrase."
    # Raised out here, since the exception's frames hold the key.
    raise ConfigurationError(
        problem,
        hint="Give the whole private key, in the OpenSSH or PEM format, as ssh_private_key, and the"
        " passphrase that it is encrypted with, if it is, as ssh_passphrase.",
    )


@asynccontextmanager
async def agent_keys() -> AsyncIterator[list[Any]]:
    """Open the agent; its keys can sign until the context ends.

    Raises:
        ConfigurationError: There is no agent, or it has no key.
    """
    path, agent, keys = os.environ.get(_AGENT, ""), None, []
    try:
        if path:
            agent = await asyncssh.connect_agent(path)
            keys = list(await agent.get_keys())
    except (OSError, ValueError):
        pass
    try:
        if not keys:
            raise _no_agent(path)
        yield keys[:_MAX_AGENT_KEYS]
    finally:
        if agent is not None:
            agent.close()
            await agent.wait_closed()


def _no_agent(path: str) -> ConfigurationError:
    return ConfigurationError(
        f"There is no SSH agent with a key at {_AGENT}."
        if path
        else f"{_AGENT} is not set, so there is no SSH agent.",
        hint="Start an agent and add the key with ssh-add, or give the provider an"
        " ssh_private_key.",
    )
