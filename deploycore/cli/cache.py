"""``deploycore cache``: inspect and clear the git cache.

It is safe to remove anything from the cache: the next deployment fetches it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import Column, say, show_json, show_json_array, show_table
from deploycore.cli.usage import NounGroup
from deploycore.errors import ConfigurationError
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from deploycore.git import CacheEntry, RepositoryCache

__all__ = ["register"]

commands = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Inspect and clear the git cache.")

_MIB = 1024 * 1024


def register(application: typer.Typer) -> None:
    """Add the commands of ``cache``."""
    application.add_typer(commands, name="cache")


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the repositories in the cache, most recently used first."""
    entries = _cache().entries()
    if as_json:
        show_json_array(map(_as_dict, entries))
        return
    show_table(
        [
            Column("REPOSITORY"),
            Column("MIB", drop=3),
            Column("COMMITS", drop=1),
            Column("LAST USED", drop=2),
        ],
        (
            [
                entry.url or "(unknown)",
                f"{entry.bytes / _MIB:,.1f}",
                str(entry.commits),
                for_people(entry.used_at),
            ]
            for entry in entries
        ),
        empty="The cache is empty. Deployments fill it.",
    )


@commands.command()
def remove(
    url: Annotated[
        str, typer.Argument(help="URL of the repository, as in cache list.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Remove one repository from the cache. The next deployment fetches it again."""
    if not _cache().remove(url):
        raise ConfigurationError(
            f"The cache has no repository {url}, or the repository is in use.",
            hint="List the repositories in the cache: deploycore cache list",
        )
    if as_json:
        show_json({"removed": [url]})
        return
    say(f"{url} is no longer in the cache. The next deployment that needs it fetches it again.")


@commands.command()
def prune(
    mebibytes: Annotated[
        int,
        typer.Option("--to", min=0, metavar="MIB", help="Maximum size of the cache, in MiB."),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Remove the least recently used repositories until the cache has at most --to MiB."""
    removed = _cache().prune(mebibytes * _MIB)
    if as_json:
        show_json({"removed": [entry.url for entry in removed]})
        return
    freed = sum(entry.bytes for entry in removed) / _MIB
    say(f"Removed {len(removed)} repositories, {freed:,.1f} MiB.")


def _cache() -> RepositoryCache:
    # Not through Installation, which would open the database.
    from deploycore.git import RepositoryCache
    from deploycore.settings import Settings

    return RepositoryCache(Settings.from_environment().git_cache)


def _as_dict(entry: CacheEntry) -> dict[str, Any]:
    return {
        "url": entry.url,
        "bytes": entry.bytes,
        "commits": entry.commits,
        "used_at": for_machines(entry.used_at),
    }
