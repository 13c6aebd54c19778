"""What to do about a git server's refusals, for the configured way to sign in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    NotFound,
    PermissionDenied,
)
from deploycore.models import RepositoryId

from deploycore_git.configuration import AnyConfig, BasicConfig, BearerConfig, SshConfig

__all__ = ["explain_git_refusal", "explained", "no_key_over_https", "unknown_owner"]


@contextmanager
def explained(config: AnyConfig, repository: RepositoryId) -> Iterator[None]:
    """Say about which repository and which values of the configuration an error is."""
    try:
        yield
    except NotFound as error:
        error.message = (
            f"Repository {repository} was not found at {config.url}, or these credentials cannot"
            f" read it. {error.message}"
        )
        error.hint = check_path(config)
        error.add_context(repository=str(repository))
        raise
    except (AuthenticationFailed, PermissionDenied) as error:
        error.hint = check_credentials(config)
        error.add_context(repository=str(repository))
        raise


def check_path(config: AnyConfig) -> str:
    """What to do if a repository is not found."""
    return (
        "Check the repository's path: the url and the path together are its clone URL, and .git at"
        " its end is part of the path if the server needs it. To correct it: deploycore provider"
        f" edit {config.name} --repositories 'OWNER/REPOSITORY …'"
    )


def check_credentials(config: AnyConfig) -> str:
    """What to do if the server rejects the credentials."""
    rotate = f"deploycore provider rotate {config.name}"
    if isinstance(config, SshConfig):
        return (
            "Check that the server has authorized the public key of the provider's"
            " ssh_private_key, or a key of your SSH agent with ssh_agent. To replace"
            f" ssh_private_key: {rotate}"
        )
    if isinstance(config, BasicConfig):
        return (
            "Check the username and the password, and that the server accepts them for git. To"
            f" replace the password: {rotate}"
        )
    if isinstance(config, BearerConfig):
        return (
            "Check that the token has not expired, and that the server takes it as a bearer token;"
            f" many servers take it as the password in mode basic. To replace it: {rotate}"
        )
    return "The server requires credentials. Add the provider again with mode basic, bearer or ssh."


def explain_git_refusal(config: AnyConfig, status: int | None) -> str | None:
    """Explain what to do if the server rejects a clone; ``None`` if there is no advice."""
    if status in (401, 403):
        return check_credentials(config)
    return check_path(config) if status in (404, 410) else None


def unknown_owner(config: AnyConfig, owner: str) -> NotFound:
    """Return the error for an owner without configured repositories."""
    return NotFound(
        f"Provider {config.name} has no repository of {owner!r}: a git server without an API cannot"
        " list repositories, so the provider has only those of its field repositories.",
        hint=f"Add its repositories: deploycore provider edit {config.name} --repositories"
        f" '{config.repositories} …'",
        owner=owner,
    )


def no_key_over_https(config: AnyConfig) -> ConfigurationError:
    """Return the error for an SSH key with an https URL."""
    return ConfigurationError(
        f"Provider {config.name} has an SSH key, but its mode is {config.mode} and its url is"
        f" {config.url}.",
        hint="Add the provider again with mode ssh and an ssh:// url, or without the key.",
    )
