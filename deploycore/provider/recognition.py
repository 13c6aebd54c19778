"""Find the kind of provider that the address of a repository belongs to. The installed plugins
decide.

A plugin's provider class may have the class method ``recognize_url``. It is called with an address
without user information, and returns the fields of ``Config`` that the address contains, or
``None`` if the address does not belong to its host. A plugin for any git server has the class
method ``accept_url`` instead, which is called for addresses that no plugin recognizes. The class
method ``repository_of_url`` returns the repository of an address, if the host's paths are not
``owner/repository``. No request is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit, urlunsplit

from deploycore.errors import ConfigurationError, PluginError
from deploycore.models import RepositoryId
from deploycore.provider.entry_points import PROVIDER_GROUP, entry_points_by_name
from deploycore.provider.registry import Plugin, examine_each, imported

__all__ = [
    "Recognition",
    "acceptances",
    "clean_address",
    "fields_by",
    "is_address",
    "recognitions",
    "repository_by",
]

T = TypeVar("T")

SCHEMES = ("https", "http", "ssh")
_TOKEN_LENGTH = 24
"""A user name of at least this length is considered a token, because some hosts accept a token as
the user name."""

_SCP_LIKE = re.compile(r"(?:[\w.-]+@)?(?P<host>[\w.-]+):(?P<path>[^/:][^:]*)")


@dataclass(frozen=True)
class Recognition:
    """A kind whose plugin recognizes an address.

    Attributes:
        fields: The fields of its configuration that the address contains.
    """

    kind: str
    fields: Mapping[str, str]


def is_address(text: str) -> bool:
    """Whether a text looks like an address that browsers or ``git clone`` accept."""
    return "://" in text or ("@" in text and _SCP_LIKE.fullmatch(text) is not None)


def clean_address(text: str) -> str:
    """Return an address without user information, query and fragment; ``git@host:path`` as an ssh
    URL.

    Raises:
        ConfigurationError: The text is not the address of a repository, or it contains a password.
    """
    text = text.strip()
    scp = None if "://" in text else _SCP_LIKE.fullmatch(text)
    try:
        parts = urlsplit(f"ssh://{scp['host']}/{scp['path']}" if scp else text)
        host, port, has_secret = parts.hostname, parts.port, _has_secret(parts)
    except ValueError:
        host, port, has_secret = None, None, False
    if has_secret:
        raise ConfigurationError(
            "The address has a password or token in it, which other users and the shell's history"
            " can see.",
            hint="Give the address without it. deploycore asks for the secret. Consider replacing"
            " the secret at the git host.",
        )
    # If there is a backslash or a line break, programs do not agree on the host.
    is_odd = "\\" in text or not text.isprintable()
    if is_odd or not host or parts.scheme not in SCHEMES:
        raise ConfigurationError(
            "The address is not that of a repository.",
            hint="Use the address of the repository's page or the one to clone it, such as"
            " https://git.example.com/acme/shop.git",
        )
    shown = f"[{host}]" if ":" in host else host
    place = shown if port is None else f"{shown}:{port}"
    return urlunsplit((parts.scheme, place, parts.path, "", ""))


def _has_secret(parts: SplitResult) -> bool:
    is_token = parts.scheme in ("https", "http") and len(parts.username or "") >= _TOKEN_LENGTH
    return parts.password is not None or is_token


def recognitions(address: str) -> tuple[Recognition, ...]:
    """Return the kinds whose plugins recognize an address.

    A plugin that cannot be imported, or whose method fails, recognizes nothing.

    Args:
        address: An address from :func:`clean_address`.
    """
    return _those_that("recognize_url", address)


def acceptances(address: str) -> tuple[Recognition, ...]:
    """The kinds whose plugins can use any git server, with the fields that an address tells them.

    Args:
        address: As :func:`clean_address` gives it. No plugin recognizes it.
    """
    return _those_that("accept_url", address)


def _those_that(method: str, address: str) -> tuple[Recognition, ...]:
    installed = entry_points_by_name(PROVIDER_GROUP)
    only = {kind: points[0] for kind, points in installed.items() if len(points) == 1}
    examinations = [(point, partial(_asked, point, method, address)) for point in only.values()]
    outcomes = zip(only, examine_each(examinations), strict=True)
    return tuple(
        Recognition(kind, outcome)
        for kind, outcome in outcomes
        if outcome is not None and not isinstance(outcome, PluginError)
    )


def fields_by(plugin: Plugin, address: str) -> Mapping[str, str] | None:
    """Return the fields that a plugin finds in an address; ``None`` if it belongs to another host.

    Raises:
        PluginError: Its method fails, or returns something else.
    """

    for method in ("recognize_url", "accept_url"):
        found = _told(plugin, method, partial(_fields, plugin.provider_class, method, address))
        if found is not None:
            return found
    return None


def repository_by(plugin: Plugin, url: str) -> RepositoryId | None:
    """Return the repository that a plugin finds in an address; ``None`` if deploycore should read
    it.

    Args:
        url: An address of the provider's host, without user information, port, query and fragment.

    Raises:
        PluginError: Its method fails, or returns something else.
    """
    read = getattr(plugin.provider_class, "repository_of_url", None)
    if read is None:
        return None

    def checked() -> RepositoryId | None:
        found = read(url)
        if found is None or isinstance(found, RepositoryId):
            return found
        raise TypeError("it does not return a RepositoryId")

    return _told(plugin, "repository_of_url", checked)


def _told(plugin: Plugin, method: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    raise PluginError(
        f"{method} of the plugin {plugin.label} failed: {reason}",
        hint="Omit the address, and give its parts. Tell the plugin's author.",
        plugin=plugin.label,
    )


def _asked(point: EntryPoint, method: str, address: str) -> Mapping[str, str] | None:
    return _fields(imported(point), method, address)


def _fields(provider_class: Any, method: str, address: str) -> Mapping[str, str] | None:
    read = getattr(provider_class, method, None)
    found = None if read is None else read(address)
    if found is None:
        return None
    if not isinstance(found, Mapping) or not all(
        isinstance(each, str) for pair in found.items() for each in pair
    ):
        raise TypeError("it does not return texts by the names of fields")
    return dict(found)
