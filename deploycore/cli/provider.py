"""``deploycore provider``: add, test, list, show, change and remove connections to git hosts."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

import deploycore
from deploycore.cli import provider_authorize, provider_changes
from deploycore.cli.checks import naming_option
from deploycore.cli.confirmation import Yes, confirm_at_terminal
from deploycore.cli.host_keys import HostKeys, pinning, with_host_keys
from deploycore.cli.listing import read_listing
from deploycore.cli.options import AsJson, ProviderName
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

__all__ = ["register"]

_STORE_SECONDS = 30.0

commands = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Connect git hosts.")

Kind = Annotated[
    str | None,
    typer.Option("--kind", help="Kind of the provider, as in deploycore plugins.", metavar="KIND"),
]
NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="Store the credentials without checking them.")
]
Help = Annotated[
    bool, typer.Option("--help", "-h", help="Show this message, and with --kind the fields.")
]


def register(application: typer.Typer) -> None:
    """Add the commands of ``provider``."""
    provider_changes.register(commands)
    provider_authorize.register(commands)
    application.add_typer(commands, name="provider")


class _AddCommand(StartedCommand):
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
    cls=_AddCommand,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def add(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Name for the provider.")] = None,
    kind: Kind = None,
    host_key: HostKeys = None,
    no_verify: NoVerify = False,
    as_json: AsJson = False,
    show_help: Help = False,
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
            missing = [each for each, value in (("NAME", name), ("--kind", kind)) if value is None]
            raise UsageError(
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.",
                hint="Run: deploycore provider add NAME --kind KIND, with the fields of that kind.",
            )
        return
    if name.startswith("-"):
        raise UsageError(
            "NAME must be the first argument.",
            hint="Run: deploycore provider add NAME --kind KIND, with the fields of that kind.",
        )
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
    if must_sign_in:
        say(f"Provider {name} is added. Sign in: deploycore provider authorize {name}")
    elif accounts:
        say(f"Provider {name} is added: signed in as {accounts[0].username}.")
        say(f"  List its repositories: deploycore repos {name}")
    else:
        say(f"Provider {name} is added. Test it: deploycore provider test {name}")


@commands.command("test")
def check(
    name: ProviderName,
    repository: Annotated[
        str | None,
        typer.Option(
            "--repository",
            metavar="OWNER/REPOSITORY",
            help="Repository to test with, if the credentials cannot list repositories.",
        ),
    ] = None,
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
        if not as_json:
            shown = f" ({account.display_name})" if account.display_name else ""
            say(f"Credentials   valid: {account.username}{shown}")
            say(f"API           works: responded in {milliseconds} ms")
            if account.scopes:
                say(f"Scopes        {', '.join(account.scopes)}")
            if account.expires_at is not None:
                say(f"Expiry        {_expiry(account.expires_at)}")
        found = count_repositories(provider, wanted)
    if as_json:
        show_json(
            {
                "provider": name,
                "kind": provider.plugin.kind,
                "account": account.model_dump() | {"expires_at": _for_machines(account.expires_at)},
                "milliseconds": milliseconds,
                "repositories": found.count,
                "hint": found.hint,
            }
        )
        return
    shown = "cannot be listed" if found.count is None else f"{found.count} accessible"
    say(f"Repositories  {shown}")
    if found.hint:
        say(f"  Next: {found.hint}")


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the configured providers."""
    records = read_listing(lambda listing: listing.providers())
    if records is None:
        with deploycore.Installation() as installation:
            records = installation.store.list_providers()
    if as_json:
        show_json_array(map(_as_dict, records))
        return
    show_table(
        [
            Column("NAME"),
            Column("KIND", drop=2),
            Column("ADDED", drop=1),
            Column("EXPIRES", drop=3),
        ],
        (
            [
                record.name,
                record.kind,
                for_people(record.created_at),
                "" if record.expires_at is None else for_people(record.expires_at),
            ]
            for record in records
        ),
        empty="No providers yet. Add one: deploycore provider add --help",
    )


@commands.command()
def show(name: ProviderName, as_json: AsJson = False) -> None:
    """Show a provider's configuration. Secrets are not printed."""
    with deploycore.Installation() as installation:
        record = installation.store.get_provider(name)
        shown = _as_dict(record)
    if as_json:
        show_json(shown)
        return
    rows = {"name": name, "kind": record.kind} | shown["settings"] | shown["secrets"]
    if record.expires_at is not None:
        rows["expiry"] = _expiry(record.expires_at)
    show_record((Column(key), str(value)) for key, value in rows.items())


@commands.command()
def remove(name: ProviderName, yes: Yes = False) -> None:
    """Remove a provider that no application uses, and its stored secrets."""
    with deploycore.Installation() as installation:
        installation.store.refuse_provider_removal(name)
        secrets = ", ".join(sorted(installation.store.get_provider(name).secrets)) or "none"
        lines = [f"This removes the provider {name} and its stored secrets: {secrets}."]
        keys = installation.store.deploy_keys.at(name)
        if keys:
            lines.append("Deploy keys are removed at its git host, as far as it allows that.")
        confirm_at_terminal(f"Remove the provider {name}", lines, yes=yes)
        # Found out before the host is asked: a provider that stays keeps its keys.
        installation.store.check_writing(patience=_STORE_SECONDS)
        ask = installation.deploy_keys.remove_at_host_in_time
        remains = [each for key in keys for each in ask(key)]
        installation.store.remove_provider(name)
    say(f"Provider {name} is removed.")
    for each in remains:
        say_aside(
            f"Not removed; remove it yourself: {each}{f'. {each.error}' if each.error else ''}"
        )


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


def _expiry(expires_at: datetime) -> str:
    from deploycore.credentials.expiry import describe_expiry

    return f"the credentials {describe_expiry(expires_at, datetime.now(UTC))}"
