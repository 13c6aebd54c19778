"""The tables as this version of the code uses them.

A change here needs a migration in ``migrations/versions`` and its number in ``REVISION``;
tests compare the three. Column names are the field names of the records. Listings have a copy of
some statements, which ``python docs/statements.py`` makes anew.
"""

from __future__ import annotations

from typing import get_args

from sqlalchemy import Column, ForeignKey, Index, MetaData, Table, UniqueConstraint

from deploycore.store.account_records import LinkPurpose, Role
from deploycore.store.columns import (
    BigNumber,
    Choice,
    Document,
    Flag,
    Line,
    Number,
    PathText,
    Real,
    Texts,
    UtcDateTime,
    Words,
)
from deploycore.store.records import DeployKeyState, DeploymentKind
from deploycore.store.states import DeploymentState
from deploycore.store.webhook_records import DeliveryOutcome

__all__ = [
    "REVISION",
    "applications",
    "audit",
    "claims",
    "closed_pull_requests",
    "deliveries",
    "deploy_keys",
    "deployments",
    "metadata",
    "polls",
    "previews",
    "provider_tokens",
    "providers",
    "reception",
    "removed_deployments",
    "repositories",
    "sessions",
    "sign_in_failures",
    "sign_in_links",
    "tokens",
    "triggers",
    "users",
    "webhooks",
    "workers",
]

REVISION = "0017"
"""The newest migration: what the version table of an up-to-date database says."""

NAME_LENGTH = 63


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

providers = Table(
    "providers",
    metadata,
    Column("name", Line(NAME_LENGTH), primary_key=True),
    Column("kind", Words, nullable=False),
    Column("settings", Document(str), nullable=False),
    Column("secrets", Document(str), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Of what `reading.CHECKSUMS` says; empty where an older version wrote the row.
    Column("settings_checksum", Line(64)),
    Column("secrets_checksum", Line(64)),
    # Counts changes, so that a process that has read the row can tell whether it still holds.
    Column("generation", Number, nullable=False, server_default="1"),
    Column("changed_at", UtcDateTime),
    # The secrets before the last change, and until when they may still be used.
    Column("former_secrets", Document(str)),
    Column("former_until", UtcDateTime),
    Column("former_checksum", Line(64)),
    # What the host, or the user, said of the end of the credentials, and how many days before it
    # the last warning was given.
    Column("expires_at", UtcDateTime),
    Column("expiry_warned", Number),
)

# Tokens of providers that change by themselves, and which process renews one now. ``lifetime`` is
# in seconds from ``renewed_at`` on, both by the database's clock.
provider_tokens = Table(
    "provider_tokens",
    metadata,
    Column("provider", ForeignKey(providers.c.name, ondelete="CASCADE"), primary_key=True),
    Column("key", Line(NAME_LENGTH), primary_key=True),
    Column("token", Words),
    Column("former", Words),
    Column("generation", Number, nullable=False),
    Column("lifetime", Real),
    Column("renewed_at", UtcDateTime),
    Column("leased_until", UtcDateTime),
    Column("leased_at", UtcDateTime),
    Column("token_checksum", Line(64)),
)

applications = Table(
    "applications",
    metadata,
    Column("name", Line(NAME_LENGTH), primary_key=True),
    Column("provider", ForeignKey(providers.c.name), nullable=False, index=True),
    Column("target", PathText, nullable=False, unique=True),
    # What the target led to when it was written; NULL in rows of versions before 0009.
    Column("resolved_target", PathText, index=True),
    Column("definition", Document(), nullable=False),
    Column("secrets", Document(str), nullable=False),
    Column("revision", Number, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    # The definition's, for queries: looking into JSON fails where that is damaged.
    Column("host", Words),
    Column("definition_checksum", Line(64)),
    Column("secrets_checksum", Line(64)),
)

deployments = Table(
    "deployments",
    metadata,
    Column("id", Number, primary_key=True),
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), nullable=False),
    Column("kind", Choice(16, get_args(DeploymentKind)), nullable=False),
    Column("state", Choice(16, get_args(DeploymentState)), nullable=False),
    Column("ref", Words, nullable=False),
    Column("commit", Words),
    Column("release", Words),
    Column("previous", Words),
    Column("requested_by", Words, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("error_code", Words),
    Column("error", Words),
    Column("author", Words),
    Column("subject", Words),
    Column("committed_at", UtcDateTime),
    Column("files", BigNumber),
    Column("bytes", BigNumber),
    Column("seconds", Document((int, float)), nullable=False),
    Column("cancel_requested", Flag, nullable=False),
    Column("revision", Number),
    Column("unproved", Flag, nullable=False),
    Column("host", Words, nullable=False),
    Column("home", Words, nullable=False),
    Column("previous_commit", Words),
    Column("commit_url", Words),
    Index(None, "application", "id"),
    # For ``decisive_events``, which must not read the whole history of an application.
    Index(None, "application", "release", "kind", "state", "id"),
    Index(None, "application", "commit", "state", "id"),
    Index(None, "application", "previous_commit", "state", "id"),
    # What has ended is nearly all; who asks for the rest must not read it.
    Index(None, "state", "application"),
    sqlite_autoincrement=True,  # the number of a removed deployment must not return
)

# The history of removed applications. It is kept apart, so that nothing that an application does
# can take a deployment of a former one of the same name for its own.
removed_deployments = Table(
    "removed_deployments",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=False),
    Column("application", Line(NAME_LENGTH), nullable=False),
    *(
        Column(each.name, each.type, nullable=each.nullable)
        for each in deployments.c
        if each.name not in ("id", "application")
    ),
    Column("removed_at", UtcDateTime, nullable=False),
    Index(None, "application", "id"),
)

# Why an application is to be looked at: what a webhook, a poll or a person said. It stays until
# a deployment that began after it has come to an end.
triggers = Table(
    "triggers",
    metadata,
    Column("id", Number, primary_key=True),
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), nullable=False),
    Column("cause", Line(16), nullable=False),
    Column("ref", Words, nullable=False),
    Column("commit", Words),
    Column("actor", Words, nullable=False),
    Column("priority", Number, nullable=False),
    # What tells a delivery from others: the host's identifier, and a digest of its body. Who
    # sends again what was sent before meets the former one.
    Column("delivery", Words),
    Column("digest", Line(64)),
    Column("received_at", UtcDateTime, nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
    Column("attempts", Number, nullable=False),
    Column("settled_at", UtcDateTime),
    Column("deployment", Number),
    Column("error_code", Words),
    Column("force", Flag, nullable=False),
    # Its place in the queue: behind all that was there when it was added, or last tried.
    Column("turn", Number, nullable=False, server_default="0"),
    Column("tried_at", UtcDateTime),
    UniqueConstraint("application", "delivery", name="uq_triggers_application_delivery"),
    UniqueConstraint("application", "digest", name="uq_triggers_application_digest"),
    Index(None, "application", "id"),
    Index(None, "application", "ref", "id"),
    sqlite_autoincrement=True,
)
# Nearly all have been settled; who asks for the others must not read those. There is no index of
# ``settled_at`` for both: SQLite would take it for each question about those that are open.
for _name, _columns in (
    ("queue", (triggers.c.priority.desc(), triggers.c.turn, triggers.c.id)),
    ("turn", (triggers.c.turn,)),
    ("postponed", (triggers.c.not_before,)),
    ("open", (triggers.c.application, triggers.c.id)),
    ("settled", (triggers.c.settled_at,)),
):
    _rows = triggers.c.settled_at.is_(None)
    if _name == "settled":
        _rows = triggers.c.settled_at.is_not(None)
    Index(f"ix_triggers_{_name}", *_columns, sqlite_where=_rows)

# Processes that work on triggers, each with a sign of life.
workers = Table(
    "workers",
    metadata,
    Column("id", Line(36), primary_key=True),
    Column("host", Words, nullable=False),
    Column("process", Number, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)

# Which worker has an application in hand: one at a time in the whole fleet.
claims = Table(
    "claims",
    metadata,
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), primary_key=True),
    Column("worker", Line(36), nullable=False),
    Column("claimed_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("renewed_at", UtcDateTime),
)

# The secrets of an application's webhook: the present one, and the former one for a while; without
# an end to that, until the host is known to have the present one.
webhooks = Table(
    "webhooks",
    metadata,
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), primary_key=True),
    Column("secret", Words, nullable=False),
    Column("former", Words),
    Column("former_until", UtcDateTime),
    Column("hosts_id", Words),
    Column("url", Words),
    Column("created_at", UtcDateTime, nullable=False),
    Column("delivered_at", UtcDateTime),
    Column("secret_checksum", Line(64)),
    # Where the host has it. The application may have been changed to another repository since.
    Column("provider", Line(NAME_LENGTH)),
    Column("repository", Words),
)

# The last deliveries to each webhook, and how they were judged. Those that were refused, or came
# too fast, have one row for each reason, with their number and the last of them.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Number, primary_key=True),
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), nullable=False),
    Column("outcome", Choice(8, get_args(DeliveryOutcome)), nullable=False),
    Column("reason", Words, nullable=False),
    Column("message", Words, nullable=False),
    Column("event", Words, nullable=False),
    Column("ref", Words, nullable=False),
    Column("commit", Words),
    Column("actor", Words, nullable=False),
    Column("sender", Words, nullable=False),
    Column("delivery", Words, nullable=False),
    Column("trigger", Number),
    Column("count", BigNumber, nullable=False),
    Column("first_at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Index(None, "application", "id"),
    sqlite_autoincrement=True,
)

# SSH keys that were made here. ``application`` is empty for the key of a provider, whose private
# part is among the provider's secrets once it is in use; that of a key that was replaced is kept
# nowhere. ``registered`` has the host's identifier for each repository, empty while it is not
# known whether the host has the key.
deploy_keys = Table(
    "deploy_keys",
    metadata,
    Column("id", Number, primary_key=True),
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), index=True),
    Column("provider", Line(NAME_LENGTH), nullable=False, index=True),
    Column("repository", Words),
    Column("state", Choice(8, get_args(DeployKeyState)), nullable=False),
    Column("public_key", Words, nullable=False),
    Column("secret", Words),
    Column("registered", Document(str), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("secret_checksum", Line(64)),
    sqlite_autoincrement=True,
)

# When the git host is asked for news of an application, and what it said the last time. There is a
# row for each application that is polled, so that what is due is found without reading the others.
# ``requested_at`` is set while a check is owed because deliveries may have been missed;
# ``not_before`` is when the host allows the next request, where it said so.
polls = Table(
    "polls",
    metadata,
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), primary_key=True),
    Column("due_at", UtcDateTime, nullable=False),
    Column("seconds", Real, nullable=False),
    Column("commit", Words),
    Column("requested_at", UtcDateTime, index=True),
    Column("not_before", UtcDateTime),
    Column("set_at", UtcDateTime),
    Column("host", Words),
    # A digest of what is asked: applications with the same one share the answer.
    Column("question", Line(64), nullable=False, server_default="", index=True),
    Index(None, "host", "due_at"),
    Index(None, "host", "set_at"),
)

# One row: when a server of this installation was last known to receive deliveries.
reception = Table(
    "reception",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=False),
    Column("seen_at", UtcDateTime),
)

# Which repository of the git host an application deploys, by the host's own identifier. It holds
# for ``repository`` and ``former_names`` at ``provider``, and for nothing else that the
# application may be changed to.
repositories = Table(
    "repositories",
    metadata,
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), primary_key=True),
    Column("provider", Line(NAME_LENGTH), nullable=False),
    Column("repository", Words, nullable=False),
    Column("host_id", Words),
    Column("former_names", Texts, nullable=False),
    Column("renamed_at", UtcDateTime),
    Column("told_name", Words),
    Column("other_host_id", Words),
    Column("ignored_name", Words),
    Column("ignored_at", UtcDateTime),
)

# Applications that were made for pull requests. They refer to no application, since they stay
# until the directory is gone too.
previews = Table(
    "previews",
    metadata,
    Column("name", Line(NAME_LENGTH), primary_key=True),
    Column("parent", Line(NAME_LENGTH), nullable=False, index=True),
    Column("number", BigNumber, nullable=False),
    Column("target", PathText, nullable=False),
    Column("within", PathText, nullable=False),
    Column("host", Words),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("removed_at", UtcDateTime),
)
_is_live, _has_ended = previews.c.ended_at.is_(None), previews.c.ended_at.is_not(None)
Index("ix_previews_live", previews.c.parent, sqlite_where=_is_live)
Index("ix_previews_ended", previews.c.name, sqlite_where=_has_ended)

# Pull requests that have come to their end: what is told of them later must not bring them back.
# Another repository of the same application counts its own anew.
closed_pull_requests = Table(
    "closed_pull_requests",
    metadata,
    Column("parent", ForeignKey(applications.c.name, ondelete="CASCADE"), primary_key=True),
    Column("provider", Line(NAME_LENGTH), primary_key=True),
    Column("repository", Words, primary_key=True),
    Column("number", BigNumber, primary_key=True),
    Column("merged", Flag, nullable=False),
)

# Who may use the server's API: digests of tokens, never the tokens.
tokens = Table(
    "tokens",
    metadata,
    Column("name", Line(NAME_LENGTH), primary_key=True),
    Column("digest", Line(64), nullable=False, unique=True),
    Column("role", Choice(16, get_args(Role)), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("used_at", UtcDateTime),
)

# People who sign in to the dashboard: with a password, of which there is a hash, or at an OpenID
# Connect issuer, which names each of them by a subject.
users = Table(
    "users",
    metadata,
    Column("name", Line(NAME_LENGTH), primary_key=True),
    Column("role", Choice(16, get_args(Role)), nullable=False),
    Column("password", Words),
    Column("issuer", Words),
    Column("subject", Words),
    Column("disabled", Flag, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("signed_in_at", UtcDateTime),
    Column("identity_checksum", Line(64)),
    UniqueConstraint("issuer", "subject", name="uq_users_issuer"),
)

# Browsers that are signed in: digests of their cookies, never the cookies.
sessions = Table(
    "sessions",
    metadata,
    Column("id", Number, primary_key=True),
    Column("digest", Line(64), nullable=False, unique=True),
    Column("user", ForeignKey(users.c.name, ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    Column("browser", Words, nullable=False),
    Column("address", Words, nullable=False),
    sqlite_autoincrement=True,  # who ends a session must not end a later one
)

# What can be used once: links that sign in, and states of sign-ins at an issuer. ``user`` is empty
# for the link of the first administrator.
sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("digest", Line(64), primary_key=True),
    Column("purpose", Choice(16, get_args(LinkPurpose)), nullable=False),
    Column("user", ForeignKey(users.c.name, ondelete="CASCADE"), index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    Column("used_at", UtcDateTime),
)

# Failed attempts to sign in, by the network address that they came from; see
# ``server.senders.sender_of``. Rows are deleted after an hour.
sign_in_failures = Table(
    "sign_in_failures",
    metadata,
    Column("sender", Line(64), primary_key=True),
    Column("count", Number, nullable=False),
    Column("at", UtcDateTime, nullable=False, index=True),
)

# Who did what. ``kind`` and ``subject`` say what it was done to, ``outcome`` is "done" or the code
# of the error.
audit = Table(
    "audit",
    metadata,
    Column("id", Number, primary_key=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("actor", Words, nullable=False),
    Column("operation", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("outcome", Words, nullable=False),
    Column("request", Words, nullable=False),
    Column("address", Words, nullable=False),
    Index(None, "actor", "id"),
    Index(None, "operation", "id"),
    Index(None, "subject", "id"),
    sqlite_autoincrement=True,
)
