"""Checks of configured providers: whether each opens, its host is reachable, and its credentials
work. All are checked at once, each with its own time limit, so one that hangs delays no others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Self

from deploycore.configuration import ProviderConfig
from deploycore.credentials.expiry import describe_expiry, due_warning, replacing_command
from deploycore.credentials.keeper import TokenSource
from deploycore.doctor.finding import Finding, fine, problem, warning
from deploycore.errors import DeploycoreError, PluginError
from deploycore.http import HttpSettings
from deploycore.http.reach import reach
from deploycore.provider import Provider
from deploycore.provider.background import BackgroundCall, UnderWay, is_interrupt
from deploycore.provider.core_fields import CoreFields, split_fields
from deploycore.provider.observers import Observers
from deploycore.provider.registry import load_plugin
from deploycore.provider.stored_credentials import StoredCredentials, signs_in
from deploycore.secrets import SecretBox
from deploycore.settings import Settings
from deploycore.store import Store
from deploycore.store.provider_tokens import ProviderTokens
from deploycore.store.records import ProviderRecord
from deploycore.store.token_vault import TokenVault

__all__ = ["look_at_providers"]

PROVIDER_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_MOST_OFFSET = 60.0
_HTTP = HttpSettings(
    connect_timeout=_CONNECT_SECONDS, read_timeout=10.0, total_timeout=15.0, retries=1
)


def look_at_providers(
    settings: Settings, records: Sequence[ProviderRecord], *, offline: bool
) -> Iterator[Finding]:
    """Check all providers at once, and report on each in turn.

    Args:
        offline: Whether to only open them, without contacting their hosts.
    """
    box = SecretBox(settings)
    calls = []
    with _Tokens(settings) as tokens:
        for record in records:
            found: list[Finding] = []
            # Findings from before a hang are reported too.
            action = partial(_look_at, record, box, tokens, found, offline=offline)
            calls.append((record, found, BackgroundCall(action)))
        for record, found, call in calls:
            done = call.wait(call.began + PROVIDER_SECONDS - time.monotonic())
            if done:
                call.result()
            yield from tuple(found)
            if not done:
                yield _silent(record, call.under_way)
                call.leave(lambda result: None)


class _Tokens:
    """The stored tokens of providers that a person has signed in to.

    The database is opened only for these providers, because a renewed token must be stored. Close
    this after use.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._store: Store | None = None

    def __call__(self) -> ProviderTokens:
        with self._lock:
            self._store = self._store or Store(self._settings)
            return self._store.provider_tokens

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            if self._store is not None:
                self._store.close()


def _look_at(
    record: ProviderRecord,
    box: SecretBox,
    tokens: _Tokens,
    found: list[Finding],
    *,
    offline: bool,
) -> None:
    subject = f"provider {record.name}"
    elsewhere = [each for each in record.secrets.values() if box.is_elsewhere(each)]
    if elsewhere:
        names = ", ".join(sorted({box.variable_of(each) or "" for each in elsewhere}))
        said = f"The provider was not checked: its secrets are not set in this shell ({names})."
        hint = "Run doctor where they are set, such as in the environment of the worker's service."
        found.append(warning(subject, said, hint))
        return
    try:
        config, core, provider = _opened(record, box, tokens)
    except DeploycoreError as error:
        found.append(problem(subject, error))
        return
    except BaseException as error:
        if is_interrupt(error):
            raise
        said = f"Its plugin does not accept its configuration: {type(error).__name__}."
        found.append(problem(subject, said, "Report it to the plugin's author.", kind=PluginError))
        return
    with provider:
        if offline:
            found.append(fine(subject, f"{provider.plugin.label} can open it."))
            found += _expiry(config, record.expires_at or core.expires_at)
        else:
            _ask(subject, config, core, provider, found)


def _opened(
    record: ProviderRecord, box: SecretBox, tokens: _Tokens
) -> tuple[ProviderConfig, CoreFields, Provider]:
    secrets = {field: box.reveal(stored) for field, stored in record.secrets.items()}
    plugin = load_plugin(record.kind)
    values = {"name": record.name, **record.settings, **secrets}
    config, core = split_fields(plugin.config_type, values, kind=plugin.kind)
    provider = Provider(
        plugin,
        config,
        core=core,
        http_settings=_HTTP,
        observers=Observers(),
        tokens=TokenSource(storage=TokenVault(record.name, tokens, box), provider=record.name),
        stored=StoredCredentials(
            record.name,
            bool(secrets),
            record.expires_at or core.expires_at,
            is_signed_in=signs_in(config),
        ),
    )
    return config, core, provider


def _ask(
    subject: str,
    config: ProviderConfig,
    core: CoreFields,
    provider: Provider,
    found: list[Finding],
) -> None:
    try:
        seconds = core.connect_timeout or _CONNECT_SECONDS
        seconds = min(seconds, _HTTP.total_timeout)
        reached = reach(config.api_base_url, seconds=seconds, settings=core.http_settings(_HTTP))
    except DeploycoreError as error:
        found.append(problem(subject, error))
        return
    who = f"The proxy {reached.host}" if reached.is_proxy else f"The host {reached.host}"
    how = ", and its certificate is trusted" if reached.is_encrypted else ""
    found.append(fine(subject, f"{who} responded in {reached.milliseconds} ms{how}."))
    started = time.monotonic()
    try:
        account = provider.authenticate()
    except DeploycoreError as error:
        found.append(problem(subject, error))
    else:
        milliseconds = round(1000 * (time.monotonic() - started))
        said = f"The credentials are valid: {account.username}. The API responded in"
        said += f" {milliseconds} ms."
        found.append(fine(subject, said))
        found += _expiry(config, account.expires_at)
    found += [
        warning(
            subject,
            str(each),
            "Upgrade the plugin. If it is up to date, report this to its author.",
        )
        for each in provider.deprecations
    ]
    if provider.clock_offset is not None:
        found.append(_clock(subject, provider.clock_offset))


def _expiry(config: ProviderConfig, expires_at: datetime | None) -> list[Finding]:
    """A warning, if the credentials are about to expire or have expired."""
    now = datetime.now(UTC)
    if expires_at is None or due_warning(expires_at, now) is None:
        return []
    said = f"The credentials {describe_expiry(expires_at, now)}."
    is_signed_in = signs_in(config)
    command = replacing_command(config.name, is_signed_in=is_signed_in)
    first = "Sign in again" if is_signed_in else "Create new ones at the git host, then run"
    hint = f"{first}: {command}"
    return [warning(f"provider {config.name}", said, hint)]


def _clock(subject: str, offset: float) -> Finding:
    if abs(offset) <= _MOST_OFFSET:
        return fine("clock", f"This machine's clock agrees with the host's clock of {subject}.")
    direction = "behind" if offset > 0 else "ahead of"
    return warning(
        "clock",
        f"This machine's clock is {abs(offset):,.0f} s {direction} the host's clock of {subject}."
        " Tokens and certificates can fail because of that.",
        "Synchronize the clock over the network: timedatectl set-ntp true",
    )


def _silent(record: ProviderRecord, under_way: UnderWay | None) -> Finding:
    what = f"{under_way.hook} of {under_way.plugin}" if under_way else "its host"
    return problem(
        f"provider {record.name}",
        f"The provider did not respond within {PROVIDER_SECONDS:g} s: {what}.",
        "Check the network. If the network works, tell the plugin's author.",
        kind=PluginError,
    )
