"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from deploycore.errors import ConfigurationError

__all__ = [
    "ApplicationName",
    "ApplicationOrAll",
    "ApplicationsOrAll",
    "AsJson",
    "ByHand",
    "DeclarationFile",
    "DeployAll",
    "Deployed",
    "DeploymentNumber",
    "DropDamaged",
    "DryRun",
    "EraseSecret",
    "Expires",
    "Filter",
    "Follow",
    "Force",
    "Grace",
    "HistoryLimit",
    "KeepAtHost",
    "KeepOld",
    "KeepWebhook",
    "KindHelp",
    "Lease",
    "Limit",
    "NewProviderName",
    "NewRole",
    "NoVerify",
    "Owner",
    "PerProvider",
    "ProviderKind",
    "ProviderName",
    "PublicUrl",
    "Purge",
    "RepositoryArgument",
    "RevealSecret",
    "Role",
    "RollbackTo",
    "SecretFromStdin",
    "SecretName",
    "ShowChange",
    "SignInSeconds",
    "StoreUnchecked",
    "Tags",
    "TestRepository",
    "TokenName",
    "TokenRole",
    "UnsetField",
    "UserName",
    "UserRole",
    "WebhookName",
    "WithPreviews",
    "parse_duration",
]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,5})([smhdw])")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ProviderName = Annotated[str, typer.Argument(help="Name of the provider.", show_default=False)]
RepositoryArgument = Annotated[
    str,
    typer.Argument(metavar="OWNER/REPOSITORY", help="Repository, such as acme/shop, or its URL."),
]
Filter = Annotated[
    str | None,
    typer.Option("--filter", metavar="TEXT", help="List only names that contain this text."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Maximum number of results (default: all).")
]
Lease = Annotated[
    float | None,
    typer.Option(
        "--lease",
        min=3,
        max=3600,
        metavar="SECONDS",
        help="Seconds without a heartbeat before a worker is considered dead (default: 30). Use one"
        " value for all workers.",
    ),
]
PerProvider = Annotated[
    int | None,
    typer.Option(
        "--per-provider",
        min=1,
        max=64,
        help="Maximum number of deployments at once for one provider or git host, if you use"
        " several (default: half of --threads or --workers, or all but one if nothing else waits).",
    ),
]
ApplicationName = Annotated[
    str, typer.Argument(metavar="APPLICATION", help="Name of the application.")
]
ApplicationOrAll = Annotated[
    str | None,
    typer.Argument(metavar="[APPLICATION]", help="Name of an application (default: all)."),
]
ApplicationsOrAll = Annotated[
    list[str] | None,
    typer.Argument(metavar="[APPLICATION]...", help="Names of applications (default: all)."),
]
DeploymentNumber = Annotated[
    str,
    typer.Argument(
        metavar="DEPLOYMENT",
        help="Number of a deployment, or name of an application for its last deployment.",
    ),
]
HistoryLimit = Annotated[
    int, typer.Option("--limit", min=1, max=1_000_000, help="Maximum number of results.")
]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Print new lines until the deployment ends.")
]
Deployed = Annotated[
    list[str] | None,
    typer.Argument(metavar="APPLICATION...", help="Names of the applications to deploy."),
]
RollbackTo = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="RELEASE",
        help="Release name or commit to roll back to (default: the last different commit that"
        " worked).",
    ),
]
Owner = Annotated[
    str | None,
    typer.Option("--owner", help="Owner of the repositories (default: the configured owner)."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would change, without changing it.")
]
WithPreviews = Annotated[
    bool,
    typer.Option(
        "--with-previews", help="Have a worker remove the directories of its previews too."
    ),
]
KeepWebhook = Annotated[
    bool, typer.Option("--keep-webhook", help="Leave the webhook at the git host.")
]
DropDamaged = Annotated[
    bool, typer.Option("--force", help="Delete damaged records of unfinished deployments too.")
]
DeployAll = Annotated[bool, typer.Option("--all", help="Deploy all applications.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Make a new release even if the newest commit is live."),
]
Tags = Annotated[bool, typer.Option("--tags", help="List the tags instead.")]
DeclarationFile = Annotated[
    Path,
    typer.Argument(
        help="YAML or TOML file, or - for standard input. 'deploycore export' prints one."
    ),
]
Purge = Annotated[
    bool,
    typer.Option(
        "--purge",
        help="Erase the history and logs too. Also works if the application was removed before.",
    ),
]
SecretName = Annotated[str, typer.Argument(help="Name of the variable.", show_default=False)]
SecretFromStdin = Annotated[
    bool, typer.Option("--stdin", help="Read the value from standard input.")
]
EraseSecret = Annotated[bool, typer.Option("--remove", help="Erase the stored value.")]
ProviderKind = Annotated[
    str | None,
    typer.Option("--kind", help="Kind of the provider, as in deploycore plugins.", metavar="KIND"),
]
NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="Store the credentials without checking them.")
]
NewProviderName = Annotated[str | None, typer.Argument(help="Name for the provider.")]
KindHelp = Annotated[
    bool, typer.Option("--help", "-h", help="Show this message, and with --kind the fields.")
]
StoreUnchecked = Annotated[
    bool, typer.Option("--no-verify", help="Store the change without checking it at the git host.")
]
UnsetField = Annotated[
    list[str] | None,
    typer.Option("--unset", metavar="FIELD", help="Remove an optional field. Repeatable."),
]
KeepOld = Annotated[
    str | None,
    typer.Option(
        "--keep-old",
        metavar="DURATION",
        help="Time for which the previous secret can still be used, such as 1h (default: not"
        " at all; maximum: 7d).",
    ),
]
ShowChange = Annotated[
    bool, typer.Option("--dry-run", help="Show what would change, and store nothing.")
]
SignInSeconds = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="Time to sign in (default: 10m).")
]
Role = Literal["read", "deploy", "admin"]
UserName = Annotated[str, typer.Argument(help="Name of the user.", show_default=False)]
UserRole = Annotated[
    Role,
    typer.Option("--role", help="Role of the user. Each role includes the ones before it."),
]
NewRole = Annotated[Role, typer.Argument(help="The new role.", show_default=False)]
TokenName = Annotated[str, typer.Argument(help="Name of the token.", show_default=False)]
TokenRole = Annotated[
    Role,
    typer.Option("--role", help="Role of the token. Each role includes the ones before it."),
]
Expires = Annotated[
    str | None,
    typer.Option(
        "--expires",
        metavar="DURATION",
        help="Time until the token expires, such as 90d or 12h (default: never).",
    ),
]
WebhookName = Annotated[
    str,
    typer.Argument(metavar="APPLICATION", help="Name of the application.", show_default=False),
]
PublicUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="URL at which git hosts reach the server, such as https://deploy.example.com"
        " (default: DEPLOYCORE_PUBLIC_URL).",
    ),
]
RevealSecret = Annotated[
    bool,
    typer.Option(
        "--reveal-secret", help="Print the secret, so that you can set up the webhook by hand."
    ),
]
ByHand = Annotated[
    bool,
    typer.Option(
        "--by-hand",
        help="Only create the secret. Set up the webhook at the git host yourself.",
    ),
]
Grace = Annotated[
    str,
    typer.Option(
        "--grace",
        metavar="DURATION",
        help="Time for which the previous secret stays valid, such as 24h or 30m.",
    ),
]
KeepAtHost = Annotated[
    bool, typer.Option("--keep-at-host", help="Leave the webhook at the git host.")
]
TestRepository = Annotated[
    str | None,
    typer.Option(
        "--repository",
        metavar="OWNER/REPOSITORY",
        help="Repository to test with, if the credentials cannot list repositories.",
    ),
]


def parse_duration(text: str, option: str) -> timedelta:
    """Parse a duration such as ``90d``, ``12h``, ``30m`` or ``45s``.

    Raises:
        ConfigurationError: The text is not a duration.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(
            f"{text!r} is not a duration.",
            hint=f"Use a number and a unit, such as {option} 90d, 12h, 30m or 45s.",
        )
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
