"""``deploycore cache``: inspect and clear the git cache.

It is safe to remove anything from the cache: the next deployment fetches it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploycore.cli.options import AsJson
from deploycore.cli.output import Column, say, show_json, show_json_array, show_table
from deploycore.cli.usage import NounGroup
from deploycore.errors import ConfigurationError
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from deploycore.git import CacheEntry, RepositoryCache

__all__ = [
    "MIB",
    "Mebibytes",
    "Url",
    "register",
    "say_pruned",
    "say_removed",
    "show_entries",
]

commands = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Inspect and clear the git cache.")

Url = Annotated[
    str, typer.Argument(help="URL of the repository, as in cache list.", show_default=False)
]
Mebibytes = Annotated[
    int, typer.Option("--to", min=0, metavar="MIB", help="Maximum size of the cache, in MiB.")
]

MIB = 1024 * 1024


def register(application: typer.Typer) -> None:
    """Add the commands of ``cache``."""
    application.add_typer(commands, name="cache")


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the repositories in the cache, most recently used first."""
    show_entries([*map(_as_dict, _cache().entries())], as_json=as_json)


@commands.command()
def remove(url: Url, as_json: AsJson = False) -> None:
    """Remove one repository from the cache. The next deployment fetches it again."""
    if not _cache().remove(url):
        raise ConfigurationError(
            f"The cache has no repository {url}, or the repository is in use.",
            hint="List the repositories in the cache: deploycore cache list",
        )
    say_removed(url, as_json=as_json)


@commands.command()
def prune(mebibytes: Mebibytes = 0, as_json: AsJson = False) -> None:
    """Remove the least recently used repositories until the cache has at most --to MiB."""
    removed = _cache().prune(mebibytes * MIB)
    say_pruned([*map(_as_dict, removed)], as_json=as_json)


def show_entries(entries: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print repositories in the cache, each as ``--json`` prints it."""
    if as_json:
        show_json_array(entries)
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
                each["url"] or "(unknown)",
                f"{each['bytes'] / MIB:,.1f}",
                str(each["commits"]),
                for_people(datetime.fromisoformat(each["used_at"])),
            ]
            for each in entries
        ),
        empty="The cache is empty. Deployments fill it.",
    )


def say_removed(url: str, *, as_json: bool) -> None:
    """Print that one repository was removed."""
    if as_json:
        show_json({"removed": [url]})
        return
    say(f"{url} is no longer in the cache. The next deployment that needs it fetches it again.")


def say_pruned(removed: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print which repositories were removed."""
    if as_json:
        show_json({"removed": [each["url"] for each in removed]})
        return
    freed = sum(each["bytes"] for each in removed) / MIB
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
