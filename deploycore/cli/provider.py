"""``deploycore provider``: add, test, list, show, change and remove connections to git hosts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

import deploycore
from deploycore.cli import provider_authorize, provider_changes
from deploycore.cli.checks import naming_option
from deploycore.cli.confirmation import Yes, confirm_at_terminal
from deploycore.cli.host_keys import HostKeys, pinning, with_host_keys
from deploycore.cli.listing import read_listing
from deploycore.cli.options import (
    AsJson,
    KindHelp,
    NewProviderName,
    NoVerify,
    ProviderKind,
    ProviderName,
    TestRepository,
)
from deploycore.cli.output import (
    Column,
    say,
    say_aside,
    show_json,
    show_json_array,
    show_record,
    show_table,
)
from deploycore.cli.usage import NounGroup, StartedCommand, UsageError
from deploycore.cli.waiting import telling_of_waits
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from deploycore.models import Account
    from deploycore.provider import Provider
    from deploycore.store import ProviderRecord

__all__ = [
    "AddCommand",
    "confirm_removal",
    "incomplete",
    "misplaced_name",
    "print_provider",
    "register",
    "say_added",
    "say_credentials",
    "say_removed",
    "say_repositories",
    "show_providers",
]

_STORE_SECONDS = 30.0

commands = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Connect git hosts.")


def register(application: typer.Typer) -> None:
    """Add the commands of ``provider``."""
    provider_changes.register(commands)
    provider_authorize.register(commands)
    application.add_typer(commands, name="provider")


class AddCommand(StartedCommand):
    """The command ``add``, whose help depends on ``--kind``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line.

        Help without ``--kind`` is printed before Typer parses the options, which would import
        pydantic.
        """
        options = args[: args.index("--")] if "--" in args else args
        has_kind = any(each == "--kind" or each.startswith("--kind=") for each in options)
        if not has_kind and {"--help", "-h"}.intersection(options):
            typer.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)


@commands.command(
    cls=AddCommand,
    add_help_option=False,
    context_settings=provider_changes.FIELDS,
)
def add(
    context: typer.Context,
    name: NewProviderName = None,
    kind: ProviderKind = None,
    host_key: HostKeys = None,
    no_verify: NoVerify = False,
    as_json: AsJson = False,
    show_help: KindHelp = False,
) -> None:
    """Connect a git host: deploycore provider add NAME [URL] [--kind KIND] --FIELD VALUE …

    The fields depend on the kind. To list them, run: deploycore provider add --kind KIND --help

    If you paste the URL of a repository after NAME, deploycore recognizes the kind, the address of
    the server and the owner in it, if an installed plugin knows the URL, and prints them.

    Secrets are never accepted as arguments. deploycore asks for a secret at the terminal, reads it
    from standard input with --FIELD-stdin, or stores a reference to it with --FIELD-env NAME or
    --FIELD-file PATH. The provider is stored only if the git host accepts the credentials.
    """
    from deploycore.cli.fields import field_help, read_fields
    from deploycore.cli.pasted_address import pasted_address, plugin_for
    from deploycore.installation.host_keys import verify_ssh
    from deploycore.provider.registry import load_plugin

    arguments = list(context.args)
    address = pasted_address(name, arguments)
    if show_help or name is None or (kind is None and address is None):
        typer.echo(context.get_help())
        if kind is not None:
            typer.echo(field_help(load_plugin(kind).config_type))
        if not show_help:
            raise incomplete(name, kind)
        return
    if name.startswith("-"):
        raise misplaced_name()
    with telling_of_waits(interruptible=False):
        plugin, told = plugin_for(kind, address)
    given = read_fields(plugin.config_type, arguments, defaults=told)
    accounts: list[Account] = []
    with (
        deploycore.Installation() as installation,
        telling_of_waits(),
        naming_option(
            "" if no_verify else "To store the provider without checking it, add --no-verify."
        ),
    ):

        def verify(opened: Provider) -> None:
            accounts.append(opened.authenticate())
            verify_ssh(opened, installation.git_settings)

        record = pinning(
            lambda settings: installation.add_provider(
                name, plugin.kind, settings, given.secrets, verify=None if no_verify else verify
            ),
            with_host_keys(given.settings, host_key),
            as_json=as_json,
        )
        if as_json:
            show_json(_as_dict(record))
            return
        must_sign_in = not accounts and installation.provider_changes.needs_sign_in(name)
    provider_changes.warn_of_past_expiry(record.expires_at)
    say_added(name, accounts[0].username if accounts else None, must_sign_in=must_sign_in)


def incomplete(name: str | None, kind: str | None) -> UsageError:
    """Return the error of ``provider add`` without a name or a kind."""
    missing = [each for each, value in (("NAME", name), ("--kind", kind)) if value is None]
    return UsageError(
        f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.",
        hint="Run: deploycore provider add NAME --kind KIND, with the fields of that kind.",
    )


def misplaced_name() -> UsageError:
    """Return the error of ``provider add`` with an option before the name."""
    return UsageError(
        "NAME must be the first argument.",
        hint="Run: deploycore provider add NAME --kind KIND, with the fields of that kind.",
    )


def say_added(name: str, account: str | None, *, must_sign_in: bool) -> None:
    """Print a provider that was added.

    Args:
        account: Who is signed in; ``None`` if the credentials were not checked.
        must_sign_in: Whether a person has to sign in before it can be used.
    """
    if must_sign_in:
        say(f"Provider {name} is added. Sign in: deploycore provider authorize {name}")
    elif account is not None:
        say(f"Provider {name} is added: signed in as {account}.")
        say(f"  List its repositories: deploycore repos {name}")
    else:
        say(f"Provider {name} is added. Test it: deploycore provider test {name}")


@commands.command("test")
def check(
    name: ProviderName,
    repository: TestRepository = None,
    as_json: AsJson = False,
) -> None:
    """Test a provider's credentials and API, and count the accessible repositories."""
    from deploycore.installation.provider_test import count_repositories, prove_credentials

    with (
        deploycore.Installation() as installation,
        telling_of_waits(),
        installation.open_provider(name) as provider,
    ):
        wanted = None if repository is None else installation.read_repository(name, repository)
        started = time.monotonic()
        account = prove_credentials(provider, wanted)
        milliseconds = round((time.monotonic() - started) * 1000)
        shown = account.model_dump() | {"expires_at": _for_machines(account.expires_at)}
        if not as_json:
            say_credentials(shown, milliseconds)
        found = count_repositories(provider, wanted)
    if as_json:
        show_json(
            {
                "provider": name,
                "kind": provider.plugin.kind,
                "account": shown,
                "milliseconds": milliseconds,
                "repositories": found.count,
                "has_more": found.has_more,
                "hint": found.hint,
            }
        )
        return
    say_repositories(found.count, found.hint)


def say_credentials(account: Mapping[str, Any], milliseconds: int) -> None:
    """Print the account of the credentials, and their scopes.

    Args:
        account: The account; ``expires_at`` is an ISO 8601 text.
        milliseconds: The time until the host accepted the credentials.
    """
    shown = f" ({account['display_name']})" if account["display_name"] else ""
    say(f"Credentials   valid: {account['username']}{shown}")
    say(f"API           works: responded in {milliseconds} ms")
    if account["scopes"]:
        say(f"Scopes        {', '.join(account['scopes'])}")
    if account["expires_at"] is not None:
        say(f"Expiry        {_expiry(account['expires_at'])}")


def say_repositories(count: int | None, hint: str, *, has_more: bool = False) -> None:
    """Print the number of accessible repositories, and the next step."""
    more = " or more" if has_more else ""
    shown = "cannot be listed" if count is None else f"{count}{more} accessible"
    say(f"Repositories  {shown}")
    if hint:
        say(f"  Next: {hint}")


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the configured providers."""
    records = read_listing(lambda listing: listing.providers())
    if records is None:
        with deploycore.Installation() as installation:
            records = installation.store.list_providers()
    show_providers([*map(_as_dict, records)], as_json=as_json)


def show_providers(providers: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print providers, each as ``--json`` prints it."""
    if as_json:
        show_json_array(providers)
        return
    show_table(
        [
            Column("NAME"),
            Column("KIND", drop=2),
            Column("ADDED", drop=1),
            Column("EXPIRES", drop=3),
        ],
        (
            [each["name"], each["kind"], _time(each["created_at"]), _time(each["expires_at"])]
            for each in providers
        ),
        empty="No providers yet. Add one: deploycore provider add --help",
    )


@commands.command()
def show(name: ProviderName, as_json: AsJson = False) -> None:
    """Show a provider's configuration. Secrets are not printed."""
    with deploycore.Installation() as installation:
        shown = _as_dict(installation.store.get_provider(name))
    print_provider(shown, as_json=as_json)


def print_provider(provider: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a provider as ``provider show`` does."""
    if as_json:
        show_json(provider)
        return
    rows = {"name": provider["name"], "kind": provider["kind"]}
    rows |= provider["settings"] | provider["secrets"]
    if provider["expires_at"] is not None:
        rows["expiry"] = _expiry(provider["expires_at"])
    show_record((Column(key), str(value)) for key, value in rows.items())


@commands.command()
def remove(name: ProviderName, yes: Yes = False) -> None:
    """Remove a provider that no application uses, and its stored secrets."""
    with deploycore.Installation() as installation:
        installation.store.refuse_provider_removal(name)
        keys = installation.store.deploy_keys.at(name)
        secrets = installation.store.get_provider(name).secrets
        confirm_removal(name, secrets, has_keys=bool(keys), yes=yes)
        # Check this before the request to the git host: a provider that stays keeps its keys.
        installation.store.check_writing(patience=_STORE_SECONDS)
        ask = installation.deploy_keys.remove_at_host_in_time
        remains = [each for key in keys for each in ask(key)]
        installation.store.remove_provider(name)
    say_removed(name, (f"{each}{f'. {each.error}' if each.error else ''}" for each in remains))


def confirm_removal(name: str, secrets: Iterable[str], *, has_keys: bool, yes: bool) -> None:
    """Ask at the terminal whether to remove a provider.

    Args:
        secrets: The names of its secret fields.
        has_keys: Whether there are deploy keys at its git host.
    """
    stored = ", ".join(sorted(secrets)) or "none"
    lines = [f"This removes the provider {name} and its stored secrets: {stored}."]
    if has_keys:
        lines.append("Deploy keys are removed at its git host, as far as it allows that.")
    confirm_at_terminal(f"Remove the provider {name}", lines, yes=yes)


def say_removed(name: str, remains: Iterable[str]) -> None:
    """Print that a provider is removed, and what remains at its git host."""
    say(f"Provider {name} is removed.")
    for each in remains:
        say_aside(f"Not removed; remove it yourself: {each}")


def _as_dict(record: ProviderRecord) -> dict[str, Any]:
    from deploycore.secrets import describe_stored

    return {
        "name": record.name,
        "kind": record.kind,
        "settings": dict(record.settings),
        "secrets": {field: describe_stored(stored) for field, stored in record.secrets.items()},
        "created_at": for_machines(record.created_at),
        "changed_at": _for_machines(record.changed_at),
        "generation": record.generation,
        "expires_at": _for_machines(record.expires_at),
    }


def _for_machines(at: datetime | None) -> str | None:
    return None if at is None else for_machines(at)


def _time(at: str | None) -> str:
    return "" if at is None else for_people(datetime.fromisoformat(at))


def _expiry(expires_at: str) -> str:
    from deploycore.credentials.expiry import describe_expiry

    at = datetime.fromisoformat(expires_at)
    return f"the credentials {describe_expiry(at, datetime.now(UTC))}"
