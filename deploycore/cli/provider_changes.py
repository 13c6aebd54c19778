"""``deploycore provider edit`` and ``rotate``: change a provider, and replace its secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

import deploycore
from deploycore.cli.checks import naming_option
from deploycore.cli.host_keys import HostKeys, pinning, with_host_keys
from deploycore.cli.options import (
    AsJson,
    KeepOld,
    ProviderName,
    ShowChange,
    StoreUnchecked,
    UnsetField,
    parse_duration,
)
from deploycore.cli.output import Column, say, say_aside, show_json, show_table
from deploycore.cli.usage import UsageError
from deploycore.cli.waiting import telling_of_waits

if TYPE_CHECKING:
    from datetime import timedelta

    from deploycore.cli.fields import GivenFields
    from deploycore.installation.provider_changes import ProviderChange
    from deploycore.models import Account
    from deploycore.provider import Provider

__all__ = [
    "FIELDS",
    "fields_to_remove",
    "new_secrets",
    "no_field",
    "print_change",
    "refuse_unknown",
    "register",
    "warn_of_past_expiry",
]

FIELDS = {"allow_extra_args": True, "ignore_unknown_options": True}


def register(commands: typer.Typer) -> None:
    """Add the commands to the group ``provider``."""
    commands.command(context_settings=FIELDS)(edit)
    commands.command(context_settings=FIELDS)(rotate)


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

    Network fields, which every kind has: --ca-bundle, --client-certificate, --client-key, --proxy,
    --connect-timeout and --read-timeout. Also for every kind: --expires-on, the date on which the
    credentials expire; and --ssh-private-key-file, --ssh-passphrase-file, --ssh-agent and
    --host-key, to clone over SSH.
    """
    from deploycore.cli.fields import GivenFields, read_changed_fields

    def read(config_type: Any, stored: Sequence[str]) -> GivenFields:
        del stored
        given = read_changed_fields(config_type, context.args)
        return GivenFields(with_host_keys(given.settings, host_key), given.secrets)

    if not (context.args or unset or host_key):
        raise no_field(name)
    _change(
        name, read, fields_to_remove(unset), dry_run=dry_run, no_verify=no_verify, as_json=as_json
    )


def rotate(
    context: typer.Context,
    name: ProviderName,
    keep_old: KeepOld = None,
    dry_run: ShowChange = False,
    no_verify: StoreUnchecked = False,
    as_json: AsJson = False,
) -> None:
    """Replace a provider's secret: deploycore provider rotate NAME

    deploycore asks for the new secret at the terminal, or reads it with --FIELD-stdin, --FIELD-env
    NAME or --FIELD-file PATH. It tries the new secret at the git host, and replaces the previous
    one only if the host accepts it. Running deployments, servers and workers continue.
    """

    def read(config_type: Any, stored: Sequence[str]) -> GivenFields:
        return new_secrets(name, config_type, context.args, stored)

    kept = None if keep_old is None else parse_duration(keep_old, "--keep-old")
    _change(name, read, [], kept, dry_run=dry_run, no_verify=no_verify, as_json=as_json)


def no_field(name: str) -> UsageError:
    """Return the error of ``provider edit`` without a field."""
    return UsageError(
        "No field was given.", hint=f"List the fields: deploycore provider show {name}"
    )


def fields_to_remove(unset: Sequence[str] | None) -> list[str]:
    """Return the names of the fields that ``--unset`` removes."""
    return [each.removeprefix("--").replace("-", "_") for each in unset or []]


def new_secrets(
    name: str, config_type: Any, arguments: Sequence[str], stored: Sequence[str]
) -> GivenFields:
    """Read the new secrets of a provider, or ask for the only one.

    Args:
        config_type: The plugin's ``Config``, or a ``FieldSet``.
        arguments: The rest of the command line.
        stored: The secret fields that the provider has.

    Raises:
        UsageError: A field is not a secret.
        ConfigurationError: As ``read_changed_fields`` and ``ask_for_new_secret`` of ``cli.fields``.
    """
    from deploycore.cli.fields import ask_for_new_secret, read_changed_fields

    given = read_changed_fields(config_type, arguments)
    if given.settings:
        options = " ".join(f"--{each.replace('_', '-')} VALUE" for each in given.settings)
        raise UsageError(
            f"{', '.join(given.settings)} is not a secret.",
            hint=f"Change it: deploycore provider edit {name} {options}",
        )
    return given if given.secrets else ask_for_new_secret(config_type, stored)


def _change(
    name: str,
    read: Callable[[Any, Sequence[str]], GivenFields],
    removed: list[str],
    kept: timedelta | None = None,
    *,
    dry_run: bool,
    no_verify: bool,
    as_json: bool,
) -> None:
    from deploycore.installation.host_keys import verify_ssh
    from deploycore.provider.registry import load_plugin

    accounts: list[Account] = []
    with deploycore.Installation() as installation:
        record = installation.store.get_provider(name)
        with telling_of_waits(interruptible=False):
            plugin = load_plugin(record.kind)
        given = read(plugin.config_type, [*record.secrets])
        refuse_unknown(removed, plugin.config_type)
        gone = dict.fromkeys(removed)
        changes = installation.provider_changes

        def verify(opened: Provider) -> None:
            accounts.append(opened.authenticate())
            verify_ssh(opened, installation.git_settings)

        def store(settings: Mapping[str, str]) -> ProviderChange:
            change = changes.plan(name, {**settings, **gone}, {**given.secrets, **gone})
            if change.differences and not dry_run:
                changes.store(change, verify=None if no_verify else verify, keep_former=kept)
            return change

        hint = "" if no_verify else "To store the change without checking it, add --no-verify."
        with telling_of_waits(), naming_option(hint):
            pinned = record.settings.get("ssh_host_keys", "")
            change = pinning(store, given.settings, stored=pinned, as_json=as_json)
        must_sign_in = change.config.sign_in is not None and not accounts
        if must_sign_in and no_verify:
            must_sign_in = changes.needs_sign_in(name)
    print_change(
        name,
        [vars(each) for each in change.differences],
        account=accounts[0].username if accounts else None,
        dry_run=dry_run,
        as_json=as_json,
    )
    if as_json:
        return
    if "expires_on" in given.settings:
        warn_of_past_expiry(change.core.expires_at)
    if must_sign_in and change.differences and not dry_run:
        say(f"  Sign in: deploycore provider authorize {name}")


def warn_of_past_expiry(expires_at: datetime | None) -> None:
    """Warn if the date that the user gave is in the past: it may be misspelled."""
    if expires_at is not None and expires_at <= datetime.now(UTC):
        say_aside(f"Warning: The credentials expired on {expires_at.date()}, as expires_on says.")


def refuse_unknown(names: Sequence[str], config_type: Any) -> None:
    """Refuse to remove fields that a kind does not have.

    Args:
        config_type: The plugin's ``Config``, or a ``FieldSet``.

    Raises:
        UsageError: There is no such field.
    """
    from deploycore.cli.fields import FieldSet
    from deploycore.text.suggestions import did_you_mean

    known = [*FieldSet.of(config_type).by_name]
    for name in names:
        if name not in known:
            raise UsageError(
                f"This kind of provider has no field {name!r}.",
                hint=did_you_mean(name, known).strip() or f"The fields are: {', '.join(known)}.",
            )


def print_change(
    name: str,
    differences: Sequence[Mapping[str, str | None]],
    *,
    account: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Print a change of a provider.

    Args:
        differences: For each changed field, its name (``field``), and its value ``before`` and
            ``after``.
        account: Who is signed in; ``None`` if the credentials were not checked.
        dry_run: Whether nothing was stored.
    """
    if as_json:
        shown = [{key: each[key] for key in ("field", "before", "after")} for each in differences]
        stored = bool(differences) and not dry_run
        show_json({"name": name, "stored": stored, "account": account, "differences": shown})
        return
    if not differences:
        say(f"Provider {name} has these values already. Nothing is changed.")
        return
    show_table(
        [Column("FIELD"), Column("BEFORE"), Column("AFTER")],
        ([each["field"] or "", each["before"] or "", each["after"] or ""] for each in differences),
        empty="",
    )
    if dry_run:
        say("Nothing is stored. To store the change, omit --dry-run.")
    elif account:
        say(f"Provider {name} is changed: signed in as {account}.")
    else:
        say(f"Provider {name} is changed. Test it: deploycore provider test {name}")
