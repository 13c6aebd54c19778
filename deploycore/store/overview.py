"""The lists of applications: the current state of each, with those that need attention first.

The cost of a page grows with the number of applications, not with their history: each application's
newest deployment is found in an index. Everything else is read for the page's applications alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Text,
    and_,
    case,
    cast,
    func,
    or_,
    select,
    true,
)

from deploycore.applications.application import Application
from deploycore.store.application_records import application_of, readable_application
from deploycore.store.database import Database, chunks
from deploycore.store.engine import present
from deploycore.store.lookup import named_row
from deploycore.store.queue_records import PollRecord, TriggerRecord
from deploycore.store.reading import as_record, read_records
from deploycore.store.records import DeploymentRecord, PreviewRecord
from deploycore.store.states import may_precede
from deploycore.store.tables import (
    applications,
    deployments,
    polls,
    previews,
    providers,
    triggers,
)
from deploycore.store.values import Damaged

__all__ = ["Attention", "Counts", "Overview", "Place", "Standing", "Standings", "Which"]

Attention = Literal["failed", "stuck", "credentials"]
"""The reasons why an application needs a person: its last deployment failed; a deployment or a
request for one takes too long, or fails again and again; or the provider's credentials have
expired."""

Which = Literal["all", "attention", "running", "healthy", "failed", "never"]
"""Filters for the list of applications."""

STUCK_AFTER = timedelta(hours=1)

_FAILED = ("failed", "rolled_back")
_WITHOUT_EFFECT = ("skipped", "superseded")
"""The states of deployments that had nothing to do, so that the earlier result still applies."""
_UNFINISHED = may_precede("failed")
_IS_FAILED, _IS_RUNNING, _IS_HEALTHY, _KINDS_MOST = 1, 2, 3, 4
_KINDS: Mapping[int, Sequence[str]] = {
    _IS_FAILED: _FAILED,
    _IS_RUNNING: _UNFINISHED,
    _IS_HEALTHY: ("healthy",),
}
"""The number for each state by which a list is filtered; 0 for all other states."""

_DEPLOYMENT = as_record(DeploymentRecord, deployments)
_PREVIEW = as_record(PreviewRecord, previews)
_POLL = as_record(PollRecord, polls)
_TRIGGER = as_record(TriggerRecord, triggers)
_OPEN_READ = 500


@dataclass(frozen=True)
class Place:
    """A position in the list: the last application of the previous page.

    Attributes:
        attention: Whether it needs attention.
        deployment: The id of its newest deployment; 0 if there is none.
        name: Its name.
    """

    attention: bool
    deployment: int
    name: str


@dataclass(frozen=True)
class Counts:
    """How many applications there are.

    Attributes:
        attention: Those that need a person.
        running: Those with a deployment that has not ended.
        never: Those that were never deployed.
    """

    all: int
    attention: int
    running: int
    never: int


@dataclass(frozen=True)
class Standing:
    """The current state of an application.

    Attributes:
        last: Its newest deployment or rollback that had something to do.
        live: The newest one that ended ``healthy``, whose release is live.
        request: The oldest request for a deployment that has not been settled.
        poll: When its git host is polled; ``None`` if it is not.
        preview: The record of the preview, if the application is one.
        credentials_expire_at: When the credentials of its provider expire, if that is known.
        attention: Why it needs a person; ``None`` if it does not.
        place: Its place in the list.
    """

    application: Application
    created_at: datetime
    last: DeploymentRecord | None
    live: DeploymentRecord | None
    request: TriggerRecord | None
    poll: PollRecord | None
    preview: PreviewRecord | None
    credentials_expire_at: datetime | None
    attention: Attention | None
    place: Place


@dataclass(frozen=True)
class Standings:
    """A page of the list.

    Attributes:
        counts: The numbers of all applications that match the search and the provider.
        is_last: Whether there are no more.
    """

    items: Sequence[Standing]
    counts: Counts
    is_last: bool


class Overview:
    """The current states of all applications. ``Store`` has an instance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self,
        *,
        which: Which = "all",
        provider: str | None = None,
        search: str = "",
        after: Place | None = None,
        limit: int,
    ) -> Standings:
        """List applications: those that need attention first, then the last deployed first.

        Args:
            which: Only these.
            provider: Only those of this provider.
            search: Only those whose name or definition has each of these words, in any case.
            after: Only those after this position.
            limit: Maximum number of applications.
        """
        with self._database.reading() as connection:
            now = present(connection)
            listed = _listed(now, search=search, provider=provider)
            query = select(listed)
            if which != "all":
                query = query.where(_is(which, listed))
            if after is not None:
                query = query.where(_is_behind(listed, after))
            query = query.order_by(
                _needs_attention(listed).desc(), listed.c.last.desc(), listed.c.name
            ).limit(limit + 1)
            counts = _counts(listed)
            page = query.subquery("page")
            # One statement, which returns a row with the counts even if there is no application.
            both = select(counts, page).select_from(counts.outerjoin(page, true()))
            rows = connection.execute(both).all()
            found = [row for row in rows if isinstance(row.name, str)]
            items = _standings(connection, found[:limit], now)
            is_last = len(found) <= limit
            return Standings(items, Counts(*map(int, rows[0][:4])), is_last=is_last)

    def get(self, application: str) -> Standing:
        """Get the current state of an application.

        Raises:
            ConfigurationError: The application does not exist.
            StoreError: Its record is damaged.
        """
        with self._database.reading() as connection:
            application_of(named_row(connection, "application", application))
            now = present(connection)
            rows = connection.execute(select(_listed(now, names=[application]))).all()
            return _standings(connection, rows, now)[0]

    def previews(self, parent: str) -> Sequence[Standing]:
        """List the previews of an application, by their pull requests."""
        query = select(previews).where(previews.c.parent == parent, previews.c.removed_at.is_(None))
        with self._database.reading() as connection:
            now = present(connection)
            names = [each.name for each in read_records(connection, previews, query, _PREVIEW)]
            rows = [
                row
                for some in chunks(sorted(names))
                for row in connection.execute(select(_listed(now, names=some)))
            ]
            standings = _standings(connection, rows, now)
        return sorted(standings, key=lambda each: each.preview.number if each.preview else 0)


def _listed(
    now: datetime,
    *,
    names: Sequence[str] | None = None,
    search: str = "",
    provider: str | None = None,
) -> CTE:
    """Select applications with their newest deployment, and the reason for attention."""
    # The row is read for its state anyway, so both come from one read; see `_KINDS`.
    kinds = case(*((deployments.c.state.in_(each), kind) for kind, each in _KINDS.items()), else_=0)
    newest = (
        select(cast(deployments.c.id, BigInteger) * _KINDS_MOST + kinds)
        .where(
            deployments.c.application == applications.c.name,
            deployments.c.state.not_in(_WITHOUT_EFFECT),
        )
        .order_by(deployments.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    some = select(applications.c.name, applications.c.provider, newest.label("newest"))
    if names is not None:
        some = some.where(applications.c.name.in_(names))
    if provider is not None:
        some = some.where(applications.c.provider == provider)
    for word in dict.fromkeys(search.split()):
        some = some.where(
            or_(
                applications.c.name.icontains(word, autoescape=True),
                cast(applications.c.definition, Text).icontains(word, autoescape=True),
            )
        )
    # Materialized, so that a database searches the newest deployments once, not for each use.
    inner = some.cte("some").prefix_with("MATERIALIZED")
    newest_or_none = func.coalesce(inner.c.newest, 0)
    found = select(
        inner.c.name,
        inner.c.provider,
        (newest_or_none // _KINDS_MOST).label("last"),
        (newest_or_none % _KINDS_MOST).label("kind"),
    ).cte("found")
    reasons = _attention(now, found)
    return (
        select(
            found.c.name,
            found.c.last,
            found.c.kind,
            case(*((each, reason) for reason, each in reasons.items()), else_="").label("reason"),
        )
        .cte("listed")
        .prefix_with("MATERIALIZED")
    )


def _counts(listed: CTE) -> CTE:
    return select(
        func.count().label("every"),
        func.count().filter(listed.c.reason != "").label("attention"),
        func.count().filter(_is("running", listed)).label("running"),
        func.count().filter(_is("never", listed)).label("never"),
    ).cte("counts")


def _needs_attention(listed: CTE) -> ColumnElement[int]:
    return case((listed.c.reason != "", 1), else_=0)


def _attention(now: datetime, found: CTE) -> dict[Attention, ColumnElement[bool]]:
    """The reasons for attention, the most important first."""
    long_ago = now - STUCK_AFTER
    requests = select(triggers.c.application).where(
        triggers.c.settled_at.is_(None),
        or_(triggers.c.attempts > 0, triggers.c.received_at < long_ago),
    )
    slow = select(deployments.c.id).where(
        deployments.c.state.in_(_UNFINISHED), deployments.c.requested_at < long_ago
    )
    expired = select(providers.c.name).where(providers.c.expires_at < now)
    return {
        "failed": found.c.kind == _IS_FAILED,
        "stuck": or_(found.c.name.in_(requests), found.c.last.in_(slow)),
        "credentials": found.c.provider.in_(expired),
    }


def _is(which: Which, listed: CTE) -> ColumnElement[bool]:
    conditions: Mapping[str, ColumnElement[bool]] = {
        "attention": listed.c.reason != "",
        "running": listed.c.kind == _IS_RUNNING,
        "healthy": listed.c.kind == _IS_HEALTHY,
        "failed": listed.c.kind == _IS_FAILED,
        "never": listed.c.last == 0,
    }
    return conditions[which]


def _is_behind(listed: CTE, place: Place) -> ColumnElement[bool]:
    attention, last = int(place.attention), place.deployment
    return or_(
        _needs_attention(listed) < attention,
        and_(
            _needs_attention(listed) == attention,
            or_(
                listed.c.last < last,
                and_(listed.c.last == last, listed.c.name > place.name),
            ),
        ),
    )


def _standings(connection: Connection, rows: Sequence[Row[Any]], now: datetime) -> list[Standing]:
    """Read everything else about some applications, in a fixed number of statements."""
    if not rows:
        return []
    names = [row.name for row in rows]
    query = select(applications).where(applications.c.name.in_(names))
    known = {
        each.name: each
        for each in read_records(connection, applications, query, readable_application)
    }
    made = _deployments(connection, rows, names)
    requests = _requests(connection, names)
    polled = {
        each.application: each
        for each in read_records(
            connection, polls, select(polls).where(polls.c.application.in_(names)), _POLL
        )
    }
    their = {
        each.name: each
        for each in read_records(
            connection, previews, select(previews).where(previews.c.name.in_(names)), _PREVIEW
        )
    }
    expiries = _expiries(connection)
    live = {each.application: each for each in made.values() if each.state == "healthy"}
    found = []
    for row in rows:
        record = known.get(row.name)
        if record is None:
            continue
        found.append(
            Standing(
                record.definition,
                record.created_at,
                made.get(row.last),
                live.get(row.name),
                requests.get(row.name),
                polled.get(row.name),
                their.get(row.name),
                expiries.get(record.definition.provider),
                row.reason or None,
                Place(bool(row.reason), row.last, row.name),
            )
        )
    return found


def _deployments(
    connection: Connection, rows: Sequence[Row[Any]], names: Sequence[str]
) -> dict[int, DeploymentRecord]:
    """Return the newest deployment and the newest healthy one of each application."""
    found = _by_id(connection, [row.last for row in rows if row.last])
    # For nearly all applications, the newest deployment is healthy. Only for the others, the
    # history is read.
    good = {each.application for each in found.values() if each.state == "healthy"}
    others = [name for name in names if name not in good]
    healthy = (
        select(func.max(deployments.c.id))
        .where(deployments.c.application == applications.c.name, deployments.c.state == "healthy")
        .scalar_subquery()
    )
    ids = connection.scalars(select(healthy).where(applications.c.name.in_(others)))
    return found | _by_id(connection, [each for each in ids if isinstance(each, int)])


def _by_id(connection: Connection, ids: Sequence[int]) -> dict[int, DeploymentRecord]:
    query = select(deployments).where(deployments.c.id.in_(ids))
    records = read_records(connection, deployments, query, _DEPLOYMENT)
    return {each.id: each for each in records}


def _requests(connection: Connection, names: Sequence[str]) -> dict[str, TriggerRecord]:
    """Return the oldest unsettled request of each application. If there are very many requests,
    some are left out."""
    first = (
        select(func.min(triggers.c.id))
        .where(triggers.c.settled_at.is_(None), triggers.c.application.in_(names))
        .group_by(triggers.c.application)
    )
    query = select(triggers).where(triggers.c.id.in_(first)).limit(_OPEN_READ)
    records = read_records(connection, triggers, query, _TRIGGER)
    return {each.application: each for each in records}


def _expiries(connection: Connection) -> dict[str, datetime]:
    query = select(providers.c.name, providers.c.expires_at)
    return {
        name: at
        for name, at in connection.execute(query.where(providers.c.expires_at.is_not(None)))
        if isinstance(name, str) and not isinstance(at, Damaged)
    }
