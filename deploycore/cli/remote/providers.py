"""``provider`` of a server on another machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import typer

from deploycore.cli import provider, provider_authorize, provider_changes
from deploycore.cli.checks import naming_option
from deploycore.cli.confirmation import Yes
from deploycore.cli.host_keys import HostKeys, pinning, with_host_keys
from deploycore.cli.options import (
    AsJson,
    KeepOld,
    KindHelp,
    NewProviderName,
    NoVerify,
    ProviderKind,
    ProviderName,
    ShowChange,
    SignInSeconds,
    StoreUnchecked,
    TestRepository,
    UnsetField,
    parse_duration,
)
from deploycore.cli.output import say, show_json
from deploycore.cli.remote.connection import connected
from deploycore.cli.remote.records import in_utc
from deploycore.cli.usage import NounGroup, UsageError
from deploycore.remote import RemoteServer

__all__ = ["register"]

_ALL = 1_000_000
_PROVIDER = "/providers/{provider}"
_KEPT = ("name", "kind", "settings", "created_at", "changed_at", "generation", "expires_at")
_TIMES = ("created_at", "changed_at", "expires_at")

commands = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Connect git hosts.")


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(commands, name="provider")


@commands.command(
    cls=provider.AddCommand,
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

    Secrets are never accepted as arguments. deploycore asks for a secret at the terminal, or reads
    it from standard input with --FIELD-stdin. With --FIELD-env NAME or --FIELD-file PATH, the
    server reads it from a variable or a file of its machine each time. The provider is stored only
    if the git host accepts the credentials.
    """
    from deploycore.cli.fields import field_help, read_fields
    from deploycore.cli.pasted_address import pasted_address
    from deploycore.cli.remote.provider_fields import read_field_set

    arguments = list(context.args)
    address = pasted_address(name, arguments)
    if show_help or name is None or (kind is None and address is None):
        typer.echo(context.get_help())
        if kind is not None:
            with connected() as server:
                typer.echo(field_help(read_field_set(server, kind)))
        if not show_help:
            raise provider.incomplete(name, kind)
        return
    if name.startswith("-"):
        raise provider.misplaced_name()
    with connected() as server:
        chosen, told = _recognized(server, kind, address)
        given = read_fields(read_field_set(server, chosen), arguments, defaults=told)
        done = _stored(
            lambda fields: server.ask("POST", "/providers", body={"name": name, **fields}),
            given,
            {"kind": chosen, "verify": not no_verify},
            host_key=host_key,
            as_json=as_json,
        )
    if as_json:
        show_json(_as_dict(done["provider"]))
        return
    provider.say_added(name, done["account"], must_sign_in=done["must_sign_in"])


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the configured providers."""
    with connected() as server:
        found = [*map(_as_dict, server.items("/providers", most=_ALL))]
    provider.show_providers(found, as_json=as_json)


@commands.command()
def show(name: ProviderName, as_json: AsJson = False) -> None:
    """Show a provider's configuration. Secrets are not printed."""
    with connected() as server:
        found = server.ask("GET", _PROVIDER, provider=name)["provider"]
    provider.print_provider(_as_dict(found), as_json=as_json)


@commands.command("test")
def check(name: ProviderName, repository: TestRepository = None, as_json: AsJson = False) -> None:
    """Check a provider's credentials and its host's API, from the server's machine."""
    with connected() as server:
        kind = server.ask("GET", _PROVIDER, provider=name)["provider"]["kind"]
        body = {"repository": repository}
        found = server.ask("POST", f"{_PROVIDER}/test", body=body, provider=name)
    account = in_utc(found["account"], ("expires_at",))
    if as_json:
        show_json({"provider": name, "kind": kind, **found, "account": account})
        return
    provider.say_credentials(account, found["milliseconds"])
    provider.say_repositories(found["repositories"], found["hint"], has_more=found["has_more"])


@commands.command(context_settings=provider_changes.FIELDS)
def edit(
    context: typer.Context,
    name: ProviderName,
    unset: UnsetField = None,
    host_key: HostKeys = None,
    dry_run: ShowChange = False,
    no_verify: StoreUnchecked = False,
    as_json: AsJson = False,
) -> None:
    """Change a provider's fields: deploycore provider edit NAME --FIELD VALUE …

    Applications, their history and webhooks stay. The change is stored only if the git host
    accepts the changed provider. For the fields, run: deploycore provider add --kind KIND --help
    """
    from deploycore.cli.fields import read_changed_fields
    from deploycore.cli.remote.provider_fields import read_field_set

    if not (context.args or unset or host_key):
        raise provider_changes.no_field(name)
    removed = provider_changes.fields_to_remove(unset)
    with connected() as server:
        stored = server.ask("GET", _PROVIDER, provider=name)["provider"]
        fields = read_field_set(server, stored["kind"])
        given = read_changed_fields(fields, context.args)
        provider_changes.refuse_unknown(removed, fields)
        secret = [each.name for each in fields.by_name.values() if each.secret]
        done = _stored(
            lambda body: server.ask("PATCH", _PROVIDER, body=body, provider=name),
            given,
            {"verify": not no_verify, "dry_run": dry_run, "generation": stored["generation"]},
            removed=removed,
            secret=secret,
            host_key=host_key,
            pinned=stored["settings"].get("ssh_host_keys", ""),
            as_json=as_json,
        )
    _print_change(name, done, dry_run=dry_run, as_json=as_json)


@commands.command(context_settings=provider_changes.FIELDS)
def rotate(
    context: typer.Context,
    name: ProviderName,
    keep_old: KeepOld = None,
    dry_run: ShowChange = False,
    no_verify: StoreUnchecked = False,
    as_json: AsJson = False,
) -> None:
    """Replace a provider's secret: deploycore provider rotate NAME

    deploycore asks for the new secret at the terminal, or reads it with --FIELD-stdin. The server
    tries it at the git host, and replaces the previous one only if the host accepts it. Running
    deployments continue.
    """
    from deploycore.cli.remote.provider_fields import read_field_set

    kept = None
    if keep_old is not None:
        kept = int(parse_duration(keep_old, "--keep-old").total_seconds())
    with connected() as server:
        stored = server.ask("GET", _PROVIDER, provider=name)["provider"]
        fields = read_field_set(server, stored["kind"])
        given = provider_changes.new_secrets(name, fields, context.args, stored["secrets"])
        done = _stored(
            lambda body: server.ask("PATCH", _PROVIDER, body=body, provider=name),
            given,
            {"verify": not no_verify, "dry_run": dry_run, "keep_old": kept},
            as_json=as_json,
        )
    _print_change(name, done, dry_run=dry_run, as_json=as_json)


@commands.command()
def authorize(name: ProviderName, timeout: SignInSeconds = "10m", as_json: AsJson = False) -> None:
    """Sign in to a git host with OAuth: deploycore provider authorize NAME

    deploycore prints an address to open in a browser on any machine. Paste the last address that
    the browser shows. If the host uses the device flow, enter the code that is printed instead.
    The new token replaces the previous one only if the host accepts it.
    """
    until = time.monotonic() + parse_duration(timeout, "--timeout").total_seconds()
    with connected() as server:
        begun = server.ask("POST", f"{_PROVIDER}/sign-ins", body={}, provider=name)
        path = f"{_PROVIDER}/sign-ins/{{sign_in}}/finish"
        body = {}
        if begun["way"] == "device":
            provider_authorize.say_code(begun["address"], begun["user_code"])
        else:
            ask = provider_authorize.ask_for_answer
            body = {"answer": ask(begun["address"], begun["redirect_uri"]).strip()}
        while True:
            done = server.ask("POST", path, body=body, provider=name, sign_in=begun["id"])
            if done["is_done"]:
                break
            if time.monotonic() > until:
                raise provider_authorize.too_late("")
            time.sleep(max(done["interval"], 0.2))
    provider_authorize.say_authorized(name, done["account"], as_json=as_json)


@commands.command()
def remove(name: ProviderName, yes: Yes = False) -> None:
    """Remove a provider that no application uses, and its stored secrets."""
    with connected() as server:
        found = server.ask("GET", _PROVIDER, provider=name)
        secrets, has_keys = found["provider"]["secrets"], found["deploy_keys"] > 0
        provider.confirm_removal(name, secrets, has_keys=has_keys, yes=yes)
        done = server.ask("DELETE", _PROVIDER, provider=name)
    provider.say_removed(name, done["remains"])


def _recognized(
    server: RemoteServer, kind: str | None, address: str | None
) -> tuple[str, Mapping[str, str]]:
    """Return the kind of a new provider, and the fields that its address tells.

    Raises:
        UsageError: No plugin of the server, or more than one, recognizes the address.
    """
    from deploycore.cli import pasted_address as pasted
    from deploycore.provider.registry import normalise_kind

    if address is None:
        return kind or "", {}
    kinds = server.ask("POST", "/provider-kinds/recognize", body={"url": address})["kinds"]
    found: dict[str, Mapping[str, str]] = {each["kind"]: each["fields"] for each in kinds}
    if kind is not None:
        wanted = normalise_kind(kind)
        if wanted not in found:
            server.ask("GET", "/provider-kinds/{kind}", kind=wanted)  # it may not be installed
            raise pasted.of_another_kind(address, wanted)
        pasted.say_fields(found[wanted])
        return wanted, found[wanted]
    if len(found) > 1:
        raise pasted.ambiguous(address, found)
    if not found:
        raise UsageError(
            f"No plugin of the server recognizes the URL {address}.",
            hint="Omit the URL, and give the fields: deploycore provider add --kind KIND --help",
        )
    ((recognized, fields),) = found.items()
    pasted.say_recognized(recognized, fields)
    return recognized, fields


def _stored(
    send: Callable[[dict[str, Any]], Any],
    given: Any,
    more: Mapping[str, Any],
    *,
    as_json: bool,
    removed: list[str] | None = None,
    secret: list[str] | None = None,
    host_key: list[str] | None = None,
    pinned: str = "",
) -> Any:
    """Send the fields of a provider to the server; ask about the key of its SSH server."""
    from deploycore.cli.fields import GivenFields
    from deploycore.cli.remote.provider_fields import given_body

    def store(settings: Mapping[str, str]) -> Any:
        fields = given_body(
            GivenFields(settings, given.secrets), removed or (), secret=secret or ()
        )
        return send({**fields, **more})

    option = "To store it without checking it, add --no-verify." if more["verify"] else ""
    with naming_option(option):
        settings = with_host_keys(given.settings, host_key)
        return pinning(store, settings, stored=pinned, as_json=as_json)


def _print_change(name: str, done: Mapping[str, Any], *, dry_run: bool, as_json: bool) -> None:
    differences, account = done["differences"], done["account"]
    provider_changes.print_change(
        name, differences, account=account, dry_run=dry_run, as_json=as_json
    )
    if done["must_sign_in"] and done["is_stored"] and not as_json:
        say(f"  Sign in: deploycore provider authorize {name}")


def _as_dict(view: Mapping[str, Any]) -> dict[str, Any]:
    """A provider as commands print it on the server's machine."""
    kept = in_utc({name: view[name] for name in _KEPT}, _TIMES)
    return {**kept, "secrets": view["stored"]}
