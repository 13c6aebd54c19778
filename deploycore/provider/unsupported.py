"""The next step for a user if a plugin, or one of its modes, does not support a hook."""

from __future__ import annotations

from deploycore.provider.registry import Plugin

__all__ = ["instead_of"]

_UPGRADE_OR_POLL = "Upgrade the plugin, or use polling, which works with every plugin."
_BY_HAND_OR_POLL = (
    "Use polling, or set the webhook up in the git host's web pages: deploycore webhook register"
    " NAME --by-hand --reveal-secret"
)
_OTHER_MODE = (
    "Add a provider in a mode that uses the host's API. See the modes: deploycore provider add"
    " --kind {kind} --help"
)
_INSTEAD = {
    "ssh_clone_url": "Upgrade the plugin, or clone over HTTPS: deploycore provider edit NAME"
    " --unset ssh-private-key",
}


def instead_of(hook: str, plugin: Plugin) -> str:
    """Return the hint of the error."""
    if plugin.mode and "webhook" in hook:
        return _BY_HAND_OR_POLL
    if plugin.mode:
        return _OTHER_MODE.format(kind=plugin.kind)
    if found := _INSTEAD.get(hook):
        return found
    return _UPGRADE_OR_POLL if "webhook" in hook else "Upgrade the plugin."
