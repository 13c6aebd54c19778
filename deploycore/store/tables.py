"""The tables as this version of the code uses them.

A change here needs a migration in ``migrations/versions`` and its number in ``REVISION``; tests
compare the three. Column names are the field names of the records. Listings have a copy of some
statements, which ``python docs/statements.py`` regenerates.
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
"""The number of the newest migration, which the version table of an up-to-date database has."""

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
    # Checksums, see `reading.CHECKSUMS`; empty if an older version wrote the row.
    Column("settings_checksum", Line(64)),
    Column("secrets_checksum", Line(64)),
    # The number of changes, so that a process that has read the row can check whether it has
    # changed.
    Column("generation", Number, nullable=False, server_default="1"),
    Column("changed_at", UtcDateTime),
    # The secrets before the last change, and until when they are still valid.
    Column("former_secrets", Document(str)),
    Column("former_until", UtcDateTime),
    Column("former_checksum", Line(64)),
    # The expiry of the credentials, according to the host or the user, and the last warning, in
    # days before the expiry.
    Column("expires_at", UtcDateTime),
    Column("expiry_warned", Number),
)

# Tokens of providers that deploycore renews, and the lease of the process that renews one now.
# ``lifetime`` is in seconds from ``renewed_at`` on, both by the database's clock.
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
    # The resolved target when it was written; NULL in rows of versions before 0009.
    Column("resolved_target", PathText, index=True),
    Column("definition", Document(), nullable=False),
    Column("secrets", Document(str), nullable=False),
    Column("revision", Number, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    # The definition's host, for queries: reading it from the JSON fails if that is damaged.
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
    # Nearly all deployments have ended. Queries for the others must not read those.
    Index(None, "state", "application"),
    sqlite_autoincrement=True,  # the number of a removed deployment must not be used again
)

# The history of removed applications. It is separate, so that an application cannot treat a
# deployment of an earlier one with the same name as its own.
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

# Requests to deploy an application, from a webhook, a poll or a person. A request stays until a
# deployment that began after it has ended.
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
    # The identity of a delivery: the host's identifier, and a digest of its body. If a delivery is
    # sent again, it matches the stored one.
    Column("delivery", Words),
    Column("digest", Line(64)),
    Column("received_at", UtcDateTime, nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
    Column("attempts", Number, nullable=False),
    Column("settled_at", UtcDateTime),
    Column("deployment", Number),
    Column("error_code", Words),
    Column("force", Flag, nullable=False),
    # The place in the queue: after all triggers that existed when it was added or last tried.
    Column("turn", Number, nullable=False, server_default="0"),
    Column("tried_at", UtcDateTime),
    UniqueConstraint("application", "delivery", name="uq_triggers_application_delivery"),
    UniqueConstraint("application", "digest", name="uq_triggers_application_digest"),
    Index(None, "application", "id"),
    Index(None, "application", "ref", "id"),
    sqlite_autoincrement=True,
)
# Nearly all triggers are settled. Queries for the others must not read those. There is no index of
# ``settled_at`` for both, because SQLite would use it for every query about open triggers.
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

# Processes that work on triggers, each with a heartbeat.
workers = Table(
    "workers",
    metadata,
    Column("id", Line(36), primary_key=True),
    Column("host", Words, nullable=False),
    Column("process", Number, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)

# The claims: which worker works on which application. There is one at a time in the whole fleet.
claims = Table(
    "claims",
    metadata,
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), primary_key=True),
    Column("worker", Line(36), nullable=False),
    Column("claimed_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("renewed_at", UtcDateTime),
)

# The secrets of an application's webhook: the current one, and for a while the previous one. The
# previous one stays valid without a limit until the host is known to have the current one.
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
    # The provider and repository at whose host it is registered. The application may have changed
    # its repository since.
    Column("provider", Line(NAME_LENGTH)),
    Column("repository", Words),
)

# The last deliveries to each webhook, and their results. Deliveries that were refused, or came too
# fast, have one row for each reason, with their number and the last of them.
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

# SSH keys that deploycore has created. ``application`` is empty for the key of a provider, whose
# private part is among the provider's secrets once it is in use. The private part of a replaced key
# is not stored. ``registered`` has the host's identifier for each repository; it is empty while it
# is not known whether the host has the key.
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

# When the git host is polled for an application, and the result of the last poll. There is a row
# for each application that is polled, so that due polls are found without reading the others.
# ``requested_at`` is set while a check is requested because deliveries may have been missed.
# ``not_before`` is when the host allows the next request, if the host has said so.
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
    # A digest of the request: applications with the same digest share the response.
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

# The repository that an application deploys, by the host's own identifier. The row is valid only
# for ``repository`` and ``former_names`` at ``provider``, not for other repositories that the
# application may change to.
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

# Applications that were created for pull requests. The rows do not refer to an application, because
# they stay until the directory is removed.
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

# Pull requests that have ended. Later events about them must not create their previews again. The
# numbers of another repository of the same application are independent.
closed_pull_requests = Table(
    "closed_pull_requests",
    metadata,
    Column("parent", ForeignKey(applications.c.name, ondelete="CASCADE"), primary_key=True),
    Column("provider", Line(NAME_LENGTH), primary_key=True),
    Column("repository", Words, primary_key=True),
    Column("number", BigNumber, primary_key=True),
    Column("merged", Flag, nullable=False),
)

# Tokens of the server's API: their digests, never the tokens.
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

# People who sign in to the dashboard: with a password, of which the hash is stored, or at an OpenID
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
    sqlite_autoincrement=True,  # ending a session must not end a later one with the same number
)

# Secrets that can be used once: links that sign in, and states of sign-ins at an issuer. ``user``
# is empty for the link of the first administrator.
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

# The audit log. ``kind`` and ``subject`` name what an operation changed. ``outcome`` is "done" or
# the code of the error.
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
