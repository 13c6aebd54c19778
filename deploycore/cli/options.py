"""Arguments and options that several commands take, each described once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from deploycore.errors import ConfigurationError

__all__ = [
    "AsJson",
    "Filter",
    "Lease",
    "Limit",
    "PerProvider",
    "ProviderName",
    "RepositoryArgument",
    "parse_duration",
]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,5})([smhdw])")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ProviderName = Annotated[str, typer.Argument(help="The provider's name.", show_default=False)]
RepositoryArgument = Annotated[
    str, typer.Argument(metavar="OWNER/REPOSITORY", help="For example acme/shop, or its URL.")
]
Filter = Annotated[
    str | None, typer.Option("--filter", metavar="TEXT", help="Only names that contain this.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most this many.")]
Lease = Annotated[
    float | None,
    typer.Option(
        "--lease",
        min=3,
        max=3600,
        metavar="SECONDS",
        help="Without a sign of life for so long (30) a worker counts as dead; the same for all.",
    ),
]
PerProvider = Annotated[
    int | None,
    typer.Option(
        "--per-provider",
        min=1,
        max=64,
        help="Maximum number of deployments at once for one provider, or for one git host, if there"
        " are several (default: half of all, or all but one while nothing else waits).",
    ),
]


def parse_duration(text: str, option: str) -> timedelta:
    """Read ``90d``, ``12h``, ``30m`` and the like.

    Raises:
        ConfigurationError: It is not of that form.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(
            f"{text!r} is not a duration.", hint=f"Write {option} 90d, 12h, 30m, or 45s."
        )
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
