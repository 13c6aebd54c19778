"""Check that a provider's SSH server has a known key and accepts the provider's own key, before the
provider is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploycore.errors import PluginError, ProviderError
from deploycore.models import CloneUrl, RepositoryQuery, SshCredential
from deploycore.provider import Provider
from deploycore.ssh.server import is_ssh

if TYPE_CHECKING:
    from deploycore.git import GitSettings

__all__ = ["verify_ssh"]

_SECONDS = 60.0


def verify_ssh(provider: Provider, settings: GitSettings) -> None:
    """Sign in to the SSH server of a provider that clones over SSH.

    The server is that of the first repository that the credentials can list. If there is none,
    nothing is verified.

    Raises:
        HostKeyRefused: The server's key is neither published by the host nor pinned, or it is
            another one.
        KeyRefused: The server does not accept the provider's key.
        GitError: The server cannot be reached, or is not an SSH server.
    """
    if not provider.uses_ssh:
        return
    try:
        first = next(iter(provider.list_repos(RepositoryQuery(limit=1))), None)
    except (ProviderError, PluginError):
        return  # these credentials may not list repositories
    if first is not None:
        _sign_in(provider.clone_url(first.id), provider.git_settings(settings))


def _sign_in(source: CloneUrl, settings: GitSettings) -> None:
    from deploycore.git.wire.address import refuse_unusable_source
    from deploycore.git.wire.translation import network_failure
    from deploycore.http.wire import Wire, cutting_after
    from deploycore.ssh.library import require_extra
    from deploycore.ssh.server import SshServer

    refuse_unusable_source(source)
    if not is_ssh(source.url) or not isinstance(source.credential, SshCredential):
        return
    require_extra()
    from deploycore.ssh.session import sign_in  # needs the extra

    wire = Wire(settings.connect_timeout)
    failure: OSError
    try:
        with cutting_after(wire, _SECONDS):
            sign_in(
                SshServer.of(source.url), source.credential, wire, silence=settings.read_timeout
            )
        return
    except OSError as error:
        failure = error
    raise network_failure(source, failure)
