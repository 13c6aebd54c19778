"""Explanations of a git server's errors, for the configured way to sign in."""

from __future__ import annotations

from deploycore.errors import ConfigurationError

from deploycore_git.configuration import AnyConfig, BasicConfig, BearerConfig, SshConfig

__all__ = ["check_credentials", "check_path", "explain_git_refusal", "no_key_over_https"]


def check_path(config: AnyConfig) -> str:
    """Return the next step if a repository is not found."""
    return (
        "Check the repository's path: the url and the path together must be its clone URL. Write"
        " .git at the end of the path if the server needs it. To correct it: deploycore provider"
        f" edit {config.name} --repositories 'OWNER/REPOSITORY …'"
    )


def check_credentials(config: AnyConfig) -> str:
    """Return the next step if the server rejects the credentials."""
    rotate = f"deploycore provider rotate {config.name}"
    if isinstance(config, SshConfig):
        return (
            "Check that the server accepts the public key of the provider's ssh_private_key or,"
            f" with ssh_agent, a key of your SSH agent. To replace ssh_private_key: {rotate}"
        )
    if isinstance(config, BasicConfig):
        return (
            "Check the username and the password, and that the server accepts them for git. To"
            f" replace the password: {rotate}"
        )
    if isinstance(config, BearerConfig):
        return (
            "Check that the token has not expired, and that the server accepts it as a bearer"
            f" token. Many servers accept it only as the password in mode basic. To replace"
            f" it: {rotate}"
        )
    return "The server requires credentials. Add the provider again with mode basic, bearer or ssh."


def explain_git_refusal(config: AnyConfig, status: int | None) -> str | None:
    """Explain what to do if the server rejects a clone; ``None`` if there is no advice."""
    if status in (401, 403):
        return check_credentials(config)
    return check_path(config) if status in (404, 410) else None


def no_key_over_https(config: AnyConfig) -> ConfigurationError:
    """Return the error for an SSH key with an https URL."""
    return ConfigurationError(
        f"Provider {config.name} has an SSH key, but its mode is {config.mode} and its url is"
        f" {config.url}.",
        hint="Add the provider again with mode ssh and an ssh:// url, or without the key.",
    )
