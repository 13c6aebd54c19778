"""Host keys on the command line: the option ``--host-key``, and the prompt to compare a key."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, TypeVar

import typer

from deploycore.cli.output import say_aside
from deploycore.errors import Cancelled, HostKeyRefused

__all__ = ["HostKeys", "pinning", "with_host_keys"]

HostKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--host-key",
        metavar="FILE|LINE",
        help="Host key of the SSH server, if the plugin does not contain it: a line of a"
        " known_hosts file, or the path of such a file. Repeatable.",
    ),
]

_FIELD = "ssh_host_keys"
_T = TypeVar("_T")


def with_host_keys(settings: Mapping[str, str], host_keys: Sequence[str] | None) -> dict[str, str]:
    """Add the values of ``--host-key`` to a provider's settings.

    Raises:
        ConfigurationError: A value is neither a line of a known_hosts file nor such a file.
    """
    if not host_keys:
        return dict(settings)
    from deploycore.provider.core_fields import read_host_key_option

    known = [settings[_FIELD]] if _FIELD in settings else []
    lines = [read_host_key_option(each) for each in (*known, *host_keys)]
    return {**settings, _FIELD: "\n".join(lines)}


def pinning(
    store: Callable[[Mapping[str, str]], _T],
    settings: Mapping[str, str],
    *,
    stored: str = "",
    as_json: bool,
) -> _T:
    """Store a provider; if the SSH server's key is not known, ask the user to compare it.

    Args:
        store: Verifies and stores the provider with these settings.
        stored: The keys that are already pinned.

    Raises:
        HostKeyRefused: There is no terminal to ask at, or the server has another key than the known
            one, or a revoked one.
        Cancelled: The answer was no.
    """
    try:
        return store(settings)
    except HostKeyRefused as error:
        refusal = error
    line = refusal.details["line"]
    if refusal.details["known"] or refusal.details["revoked"]:
        raise refusal
    if as_json or not sys.stdin.isatty():
        refusal.hint = (
            "Compare the fingerprint with what the host publishes. If it is the same, add"
            f" --host-key {shlex.quote(line)}"
        )
        raise refusal
    details = refusal.details
    say_aside(f"The key of the SSH server {details['host']} is not known:")
    say_aside(f"  {details['algorithm']} {details['fingerprint']}")
    say_aside("Compare this fingerprint with what the host publishes.")
    if not typer.confirm("Is it the same?", err=True):
        raise Cancelled("Nothing was stored.")
    pinned = [each for each in (settings.get(_FIELD, stored), line) if each]
    return store({**settings, _FIELD: "\n".join(pinned)})
