"""Arguments and options that several commands take, each described once."""

from __future__ import annotations

from typing import Annotated

import typer

from deploycore.errors import ConfigurationError
from deploycore.models import RepositoryId

__all__ = ["AsJson", "Filter", "Limit", "ProviderName", "RepositoryArgument", "parse_repository"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ProviderName = Annotated[str, typer.Argument(help="The provider's name.", show_default=False)]
RepositoryArgument = Annotated[
    str, typer.Argument(metavar="OWNER/REPOSITORY", help="For example acme/shop.")
]
Filter = Annotated[
    str | None, typer.Option("--filter", metavar="TEXT", help="Only names that contain this.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most this many.")]


def parse_repository(text: str) -> RepositoryId:
    """Read ``OWNER/REPOSITORY``.

    Raises:
        ConfigurationError: It is not of that form.
    """
    try:
        return RepositoryId.parse(text)
    except ValueError:
        problem = f"{text!r} does not name a repository."
    raise ConfigurationError(problem, hint="Write OWNER/REPOSITORY, for example acme/shop.")
