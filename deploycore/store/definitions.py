"""The statements that are sent by name, as SQLAlchemy builds them.

They are imported to generate ``statements`` (``python docs/statements.py``), and to send them to a
database for which there is no generated text. ``named`` runs them. The parameters of conditions
must not have the names of columns, because SQLAlchemy would then write these columns too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Executable,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    true,
    type_coerce,
    update,
)

from deploycore.store.columns import Words
from deploycore.store.decisive import decisive_events
from deploycore.store.states import may_precede
from deploycore.store.tables import (
    applications,
    deploy_keys,
    deployments,
    polls,
    previews,
    provider_tokens,
    providers,
    removed_deployments,
    repositories,
    tokens,
    triggers,
    users,
    webhooks,
)

__all__ = ["CHANGES", "DEFINITIONS", "LAST_TURN", "Change", "definition_for", "history"]

LAST_TURN = (
    select(triggers.c.turn)
    .where(triggers.c.settled_at.is_(None), triggers.c.turn < 2**31 - 1)  # others are damaged
    .order_by(triggers.c.turn.desc())
    .limit(1)
)
"""The query for the last place in the queue."""

_COMPARED = 500  # names before and after an unknown one
_FORGOTTEN_AT_ONCE = 100
_OF_REQUEST = (
    "application",
    "kind",
    "state",
    "ref",
    "requested_by",
    "requested_at",
    "seconds",
    "cancel_requested",
    "unproved",
    "host",
    "home",
)
_OF_TRIGGER = (
    "application",
    "cause",
    "ref",
    "commit",
    "actor",
    "priority",
    "force",
    "delivery",
    "digest",
    "attempts",
    "received_at",
    "not_before",
    "settled_at",
)


class Change(NamedTuple):
    """A statement that changes some columns of its table.

    Attributes:
        statement: The statement, without assignments.
        assignments: The column and the value of each assignment, by the name of its parameter.
    """

    statement: Update
    assignments: Mapping[str, tuple[str, Any]]


def history(
    table: Table,
    *,
    limit: int | BindParameter[int] | None,
    application: ColumnElement[bool] | None = None,
) -> Select[Any]:
    """Return the query for deployments, the newest first.

    Args:
        table: The deployments, or those of removed applications.
        limit: Maximum number of deployments (default: all).
        application: Selects those of one application.
    """
    query = select(table).order_by(table.c.id.desc()).limit(limit)
    return query if application is None else query.where(application)


def _some(name: str) -> BindParameter[Any]:
    return bindparam(name, expanding=True)


def _of_nouns() -> Iterator[tuple[str, Executable]]:
    nouns = {"application": applications, "provider": providers, "token": tokens, "user": users}
    for noun, table in nouns.items():
        name: ColumnElement[str] = table.c.name
        wanted: BindParameter[str] = bindparam("name")
        query = select(table).where(name == wanted)
        yield noun, query
        # FOR NO KEY UPDATE does not block new rows that refer to this one, such as triggers.
        yield f"{noun}, locked", query.with_for_update(key_share=True)
        before = select(name).where(name < wanted).order_by(name.desc())
        yield f"names before {noun}", before.limit(_COMPARED)
        yield (
            f"names after {noun}",
            select(name).where(name > wanted).order_by(name).limit(_COMPARED),
        )


def _of_deployments() -> Iterator[tuple[str, Executable]]:
    c = deployments.c
    is_this, is_its = c.id == bindparam("number"), c.application == bindparam("of")
    given: dict[str, Any] = {name: bindparam(name) for name in _OF_REQUEST}
    yield "add deployment", insert(deployments).values(given).returning(*c)
    former = (c.state == "queued") & is_its & (c.id < bindparam("number"))
    ended = {"state": "superseded", "error_code": "superseded"}
    yield (
        "supersede deployments",
        update(deployments)
        .where(former)
        .values(**ended, finished_at=bindparam("at"), error=bindparam("reason")),
    )
    yield "deployment", select(deployments).where(is_this)
    yield "state of deployment", select(c.state).where(is_this)
    yield "cancellation of deployment", select(c.cancel_requested).where(is_this)
    yield "deployments by number", select(deployments).where(c.id.in_(_some("numbers")))
    unfinished = select(deployments).where(c.state.in_(may_precede("failed")))
    yield "unfinished deployments", unfinished
    yield "unfinished deployments of one", unfinished.where(is_its)
    made = and_(is_its, c.kind == "deploy", c.release.in_(_some("releases")))
    yield "deployments of releases", select(deployments).where(made)
    live = and_(is_its, c.commit == bindparam("hash"), c.state == "healthy")
    yield "live deployment of commit", select(c.id).where(live).order_by(c.id.desc()).limit(1)
    yield "decisive events", decisive_events(c.id.in_(_some("numbers")))
    yield "old deployments", _old()
    yield "remove deployments", delete(deployments).where(c.id.in_(_some("numbers")))
    limit: BindParameter[int] = bindparam("limit")
    for noun, table in (("deployments", deployments), ("removed deployments", removed_deployments)):
        yield noun, history(table, limit=limit)
        of_one = table.c.application == bindparam("of")
        yield f"{noun} of one", history(table, limit=limit, application=of_one)
    is_removed = removed_deployments.c.id == bindparam("number")
    yield "removed deployment", select(removed_deployments).where(is_removed)


def _old() -> Select[Any]:
    """Return the query for the oldest deployments, so that the cost does not grow with the
    history."""
    c, kept = deployments.c, _some("kept")
    return (
        select(c.id, c.finished_at)
        .where(c.application == bindparam("of"))
        .where(func.coalesce(c.release.not_in(kept), true()))
        # The record of the release that a rollback went back from is kept as long as the rollback's
        # record.
        .where((c.kind != "rollback") | func.coalesce(c.previous.not_in(kept), true()))
        .order_by(c.id)
        .limit(_FORGOTTEN_AT_ONCE)
    )


def _of_others() -> Iterator[tuple[str, Executable]]:
    yield "providers", select(providers).order_by(providers.c.name)
    yield "applications", select(applications).order_by(applications.c.name)
    yield (
        "applications by name",
        select(applications).where(applications.c.name.in_(_some("names"))),
    )
    yield "previews", select(previews).order_by(previews.c.name)
    yield "preview", select(previews).where(previews.c.name == bindparam("name"))
    is_its = repositories.c.application == bindparam("of")
    yield "repositories", select(repositories).order_by(repositories.c.application)
    yield "repository", select(repositories).where(is_its)
    yield "remove repository", delete(repositories).where(is_its)
    yield "webhook", select(webhooks).where(webhooks.c.application == bindparam("of"))
    yield "add repository", insert(repositories).values(_given(repositories))
    added = insert(applications).values(_given(applications))
    yield "add application", added.returning(*applications.c)
    yield "remove poll", delete(polls).where(polls.c.application == bindparam("of"))
    first = ("application", "due_at", "set_at", "seconds", "host", "question")
    yield "add poll", insert(polls).values({name: bindparam(name) for name in first})
    c = deploy_keys.c
    parent = select(previews.c.parent).where(previews.c.name == bindparam("name"))
    is_used = and_(
        (c.application == bindparam("name")) | c.application.in_(parent),
        c.provider == bindparam("provider"),
        c.repository == bindparam("repository"),
        c.state == "live",
    )
    yield "deploy key", select(deploy_keys).where(is_used)


def _of_triggers() -> Iterator[tuple[str, Executable]]:
    c = triggers.c
    held = select(applications.c.name).where(applications.c.name == bindparam("name"))
    # Only a removal waits for this, and this waits only for a removal.
    yield "keep application", held.with_for_update(read=True, key_share=True)
    is_same = (c.delivery == bindparam("same_delivery")) | (c.digest == bindparam("same_digest"))
    same = select(c.id, c.settled_at).where(c.application == bindparam("of"), is_same)
    yield "same triggers", same
    yield "remove triggers", delete(triggers).where(c.id.in_(_some("numbers")))
    yield "add trigger", insert(triggers).values(_trigger()).returning(*c)


def _trigger() -> dict[str, Any]:
    """The values of a new trigger: it is the last one in the queue."""
    turn = func.coalesce(LAST_TURN.scalar_subquery(), 0) + 1
    return {name: bindparam(name) for name in _OF_TRIGGER} | {"turn": turn}


def _given(table: Table) -> dict[str, Any]:
    """A parameter for each column, with its name."""
    return {each.name: bindparam(each.name) for each in table.c}


def _of_secrets() -> Iterator[tuple[str, Executable]]:
    given = _given(providers)
    yield "add provider", insert(providers).values(given)
    is_this = providers.c.name == bindparam("of")
    yield "replace provider", update(providers).where(is_this).values(given)
    is_its = provider_tokens.c.provider == bindparam("of")
    yield "remove tokens of provider", delete(provider_tokens).where(is_its)
    limit: BindParameter[int] = bindparam("limit")
    start: BindParameter[int] = bindparam("start")
    for table, secret in (
        (providers, None),
        (provider_tokens, provider_tokens.c.token),
        (webhooks, None),
        (deploy_keys, deploy_keys.c.secret),
        (applications, None),
    ):
        query = select(table).order_by(*table.primary_key)
        query = query if secret is None else query.where(secret.is_not(None))
        yield f"secrets of {table.name}", query.limit(limit).offset(start)


def _of_targets(*, is_postgresql: bool = False) -> Iterator[tuple[str, Executable]]:
    c = applications.c
    targets = select(c.name, c.target, c.resolved_target)
    yield "targets", targets
    yield "targets of applications", targets.where(c.name.in_(_some("names")))
    for noun, column in (("targets", c.target), ("resolved targets", c.resolved_target)):
        place: ColumnElement[str] = type_coerce(column, Words)
        yield f"{noun} at", targets.where(place.in_(_some("places")))
        # Other collations sort '/' differently, or ignore it.
        exact = place.collate("C") if is_postgresql else place
        first, end = bindparam("first", type_=Words), bindparam("end", type_=Words)
        yield f"{noun} within", targets.where((exact >= first) & (exact < end))
    is_preview = c.name.in_(select(previews.c.name))
    newest = select(c.target).where(~is_preview).order_by(c.created_at.desc(), c.name)
    yield "newest target", newest.limit(1)


_GROUPS = (
    *(_of_nouns(), _of_deployments(), _of_others(), _of_secrets(), _of_targets()),
    _of_triggers(),
)
DEFINITIONS: Mapping[str, Executable] = dict(each for group in _GROUPS for each in group)
"""The statements, by name."""


@cache
def _of_postgresql() -> Mapping[str, Executable]:
    # SQLite does not need this condition, because it has only one writer at a time.
    from sqlalchemy.dialects import postgresql  # takes 30 ms, which SQLite need not pay

    added = postgresql.insert(triggers).values(_trigger()).on_conflict_do_nothing()
    own = {**dict(_of_targets(is_postgresql=True)), "add trigger": added.returning(*triggers.c)}
    return {**DEFINITIONS, **own}


def definition_for(dialect: str, name: str) -> Executable:
    """Return a statement for a kind of database."""
    return (_of_postgresql() if dialect == "postgresql" else DEFINITIONS)[name]


def _change_of_deployment() -> Change:
    c = deployments.c
    names = [each.name for each in c if each.name not in ("id", "application", "started_at")]
    assignments: dict[str, tuple[str, Any]] = {name: (name, bindparam(name)) for name in names}
    # Set only once, when the deployment leaves the queue.
    begun = func.coalesce(c.started_at, bindparam("started_at", type_=c.started_at.type))
    assignments["started_at"] = "started_at", begun
    where = and_(c.id == bindparam("number"), c.state.in_(_some("states")))
    return Change(update(deployments).where(where).returning(*c), assignments)


CHANGES: Mapping[str, Change] = {"change deployment": _change_of_deployment()}
"""The statements whose assignments differ, by name."""
