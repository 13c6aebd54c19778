"""Providers and the secrets of a database, as statements within a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, delete, func, not_, or_, select, update

from deploycore.errors import ConfigurationError
from deploycore.store.engine import present
from deploycore.store.lookup import named_row
from deploycore.store.provider_records import provider_of
from deploycore.store.reading import checksums, read_record, read_records
from deploycore.store.records import ProviderRecord
from deploycore.store.tables import applications, deploy_keys, providers
from deploycore.store.times import LONGEST_KEPT, holds

__all__ = [
    "applications_of",
    "change",
    "count_change",
    "forget_former_secrets",
    "note_expiry",
    "page",
    "refuse_used",
    "remove",
    "take_expiry_warning",
]


def page(connection: Connection, after: str, limit: int) -> list[ProviderRecord]:
    """Return some providers, by name; see ``Store.page_of_providers``."""
    query = select(providers).where(providers.c.name > after)
    query = query.order_by(providers.c.name).limit(limit)
    return list(read_records(connection, providers, query, provider_of))


def remove(connection: Connection, name: str) -> None:
    """Delete a provider that nothing uses, with its secrets."""
    refuse_used(connection, name, locked=True)
    connection.execute(delete(deploy_keys).where(deploy_keys.c.provider == name))
    connection.execute(delete(providers).where(providers.c.name == name))


def change(
    connection: Connection,
    record: ProviderRecord,
    settings: Mapping[str, str],
    secrets: Mapping[str, str],
    keep_former: timedelta | None,
    expires_at: datetime | None,
) -> ProviderRecord:
    """Replace a provider's settings and secrets; see ``Store.change_provider``."""
    row = named_row(connection, "provider", record.name, locked=True)
    known = read_record(providers, row, provider_of)
    if known.generation != record.generation:
        raise _changed_meanwhile(record.name)
    now = present(connection)
    former, until = known.former_secrets, known.former_until
    if dict(secrets) != dict(known.secrets):  # otherwise the previous secrets stay valid
        former = known.secrets if keep_former else None
        until = now + keep_former if keep_former else None
    values = {
        "name": record.name,
        "kind": known.kind,
        "settings": dict(settings),
        "secrets": dict(secrets),
        "generation": known.generation + 1,
        "changed_at": now,
        "former_secrets": None if former is None else dict(former),
        "former_until": until,
        "expires_at": expires_at,
        "expiry_warned": None,
    }
    values |= checksums(providers, values)
    changed = update(providers).where(providers.c.name == record.name).values(values)
    stored = connection.execute(changed.returning(*providers.c)).mappings().one()
    return read_record(providers, stored, provider_of)


def forget_former_secrets(connection: Connection) -> None:
    """Delete previous secrets that are no longer valid; see ``Store.forget_former_secrets``."""
    c = providers.c
    kept = holds(c.former_until, c.changed_at, present(connection), LONGEST_KEPT)
    over = and_(c.former_until.is_not(None), not_(kept))
    values = {"former_secrets": None, "former_until": None}
    forgotten = update(providers).where(over).values(**values, **checksums(providers, values))
    connection.execute(forgotten)


def count_change(connection: Connection, name: str, generation: int | None) -> None:
    """Count a change that is stored elsewhere, such as the token of a new sign-in, so that
    processes notice it.

    Args:
        generation: The provider's generation when it was read (default: any generation).

    Raises:
        ConfigurationError: The provider does not exist, or was changed since it was read.
    """
    row = named_row(connection, "provider", name, locked=True)
    if generation is not None and row["generation"] != generation:
        raise _changed_meanwhile(name)
    counted = {"generation": providers.c.generation + 1, "changed_at": present(connection)}
    connection.execute(update(providers).where(providers.c.name == name).values(counted))


def _changed_meanwhile(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"The provider {name!r} was changed by another command at the same time.",
        hint=f"Check it, and try again: deploycore provider show {name}",
        provider=name,
    )


def note_expiry(
    connection: Connection, name: str, expires_at: datetime | None, generation: int | None
) -> None:
    """Record when credentials expire; see ``Store.note_expiry``. The warnings start again."""
    noted = update(providers).where(providers.c.name == name)
    noted = noted.where(providers.c.expires_at.is_distinct_from(expires_at))
    if generation is not None:
        noted = noted.where(providers.c.generation == generation)
    connection.execute(noted.values(expires_at=expires_at, expiry_warned=None))


def take_expiry_warning(connection: Connection, name: str, expires_at: datetime, days: int) -> bool:
    """Record that a warning is given; see ``Store.take_expiry_warning``."""
    warned = providers.c.expiry_warned
    taken = (
        update(providers)
        .where(providers.c.name == name, providers.c.expires_at == expires_at)
        .where(or_(warned.is_(None), warned > days))
        .values(expiry_warned=days)
    )
    return connection.execute(taken).rowcount == 1


def refuse_used(connection: Connection, name: str, *, locked: bool = False) -> None:
    """Refuse to remove a provider that does not exist, or that applications use.

    Args:
        locked: Whether to lock the provider, so that no application can use it before it is
            removed.
    """
    named_row(connection, "provider", name, locked=locked)
    using = select(applications.c.name).where(applications.c.provider == name)
    names = connection.scalars(using.order_by(applications.c.name))
    users = [each if isinstance(each, str) else "(unreadable)" for each in names]
    naming = _naming(connection, name)
    if naming and not users:
        raise ConfigurationError(
            f"The provider {name!r} is named in the credentials of: {', '.join(naming)}.",
            hint="Remove it from the credentials of these applications: deploycore app edit"
            f" {naming[0]} --unset credentials",
            applications=naming,
        )
    if users:
        raise ConfigurationError(
            f"The provider {name!r} is used by: {', '.join(users)}.",
            hint="Change the provider of these applications, or remove them: deploycore app"
            f" remove {users[0]}",
            applications=list(users),
        )


def _naming(connection: Connection, name: str) -> list[str]:
    """Return the applications that name a provider in ``credentials``, by name."""
    query = select(applications).order_by(applications.c.name)
    found = read_records(connection, applications, query, lambda row: row["definition"])
    return [each["name"] for each in found if name in each.get("credentials", ())]


def applications_of(
    connection: Connection, names: Sequence[str], most: int
) -> dict[str, tuple[int, list[str]]]:
    """Return the number of applications of each provider, and the first of these by name."""
    c = applications.c
    counts = select(c.provider, func.count()).where(c.provider.in_(names)).group_by(c.provider)
    found: dict[str, tuple[int, list[str]]] = {}
    for provider, count in connection.execute(counts):
        first = select(c.name).where(c.provider == provider).order_by(c.name).limit(most)
        names_of = [each for each in connection.scalars(first) if isinstance(each, str)]
        found[provider] = (count, names_of)
    return found
