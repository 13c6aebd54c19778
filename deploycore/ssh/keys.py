"""The keys that sign in to a server: a private key, or those of an agent."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncssh

from deploycore.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["agent_keys", "read_private_key"]

_AGENT = "SSH_AUTH_SOCK"
_KINDS = ("ssh-ed25519", "ecdsa-sha2-", "ssh-rsa")
_BEGIN = re.compile(r"^-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----", re.MULTILINE)
_MAX_CHARACTERS = 64 * 1024
_MAX_AGENT_KEYS = 16
_MAX_AGENT_SECONDS = 5.0  # for listing the agent's keys; a cancellation cannot end this wait


def read_private_key(key: SecretStr, passphrase: SecretStr | None) -> asyncssh.SSHKey:
    """Read a private key in the OpenSSH or PEM format.

    Raises:
        ConfigurationError: The text is not a private key, or the passphrase is missing or wrong.
    """
    text = key.get_secret_value().replace("\r\n", "\n").strip() + "\n"
    secret = passphrase.get_secret_value() if passphrase else None
    problem = _no_private_key(text)
    try:
        read = None if problem else asyncssh.import_private_key(text, secret or None)
        if read is not None and read.get_algorithm().startswith(_KINDS):
            return read
        problem = problem or "The SSH private key is neither Ed25519, ECDSA nor RSA."
    except asyncssh.KeyEncryptionError:
        problem = "The passphrase does not open the SSH private key."
    except (asyncssh.KeyImportError, ValueError) as error:
        problem = "The SSH private key cannot be read."
        if "assphrase" in str(error):
            problem = "The SSH private key is encrypted, and there is no passphrase."
    # Raised out here, since the exception's frames hold the key.
    raise ConfigurationError(
        problem,
        hint="Set ssh_private_key to the whole private key, in the OpenSSH or PEM format. If the"
        " key is encrypted, set ssh_passphrase to its passphrase.",
    )


def _no_private_key(text: str) -> str:
    """Return the reason why a text is certainly not a usable private key; empty if it may be
    one."""
    if len(text) > _MAX_CHARACTERS:
        return f"The SSH private key has more than {_MAX_CHARACTERS:,} characters."
    if text.startswith(("ssh-", "ecdsa-", "sk-")):
        return "The SSH private key is a public key."
    if text.startswith("PuTTY-"):
        return "The SSH private key is in the format of PuTTY."
    if len(_BEGIN.findall(text)) > 1:
        return "The SSH private key has several keys in one text."
    return ""


@asynccontextmanager
async def agent_keys() -> AsyncIterator[list[Any]]:
    """Open the agent; its keys can sign until the context ends.

    Raises:
        ConfigurationError: There is no agent, it has no key, or it does not answer.
    """
    path, agent, keys = os.environ.get(_AGENT, ""), None, []
    is_silent = False
    try:
        if path:
            agent = await asyncio.wait_for(asyncssh.connect_agent(path), _MAX_AGENT_SECONDS)
            keys = list(await asyncio.wait_for(agent.get_keys(), _MAX_AGENT_SECONDS))
    except TimeoutError:
        is_silent = True
    except (OSError, ValueError):
        pass
    try:
        if is_silent:
            raise _silent_agent()
        if not keys:
            raise _no_agent(path)
        yield keys[:_MAX_AGENT_KEYS]
    finally:
        if agent is not None:
            agent.close()
            await agent.wait_closed()


def _silent_agent() -> ConfigurationError:
    return ConfigurationError(
        f"The SSH agent at {_AGENT} did not list its keys within {_MAX_AGENT_SECONDS:.0f} seconds.",
        hint="Restart the agent, or give the provider an ssh_private_key.",
    )


def _no_agent(path: str) -> ConfigurationError:
    return ConfigurationError(
        f"There is no SSH agent with a key at {_AGENT}."
        if path
        else f"{_AGENT} is not set, so there is no SSH agent.",
        hint="Start an agent and add the key with ssh-add, or give the provider an"
        " ssh_private_key.",
    )
