"""Models of requests and responses about providers. No response has a field for a secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from deploycore.credentials.expiry import WARNING_DAYS
from deploycore.secrets import describe_stored
from deploycore.server.views import Given, View
from deploycore.store import ProviderRecord

__all__ = [
    "ChangedProvider",
    "DifferenceView",
    "ProviderAccountView",
    "ProviderChangeGiven",
    "ProviderDetailView",
    "ProviderGiven",
    "ProviderPage",
    "ProviderQuery",
    "ProviderTestGiven",
    "ProviderTestView",
    "ProviderView",
    "RemovedProvider",
    "SignInAnswer",
    "SignInGiven",
    "SignInView",
    "StoredProvider",
]

Credentials = Literal["none", "stored", "signed_in", "expiring", "expired"]
FieldName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Text = Annotated[str, Field(max_length=65_536, pattern=r"^[^\x00]*$")]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=65_536)]
ProviderGivenName = Annotated[str, Field(min_length=1, max_length=63)]


class ProviderView(View):
    """A configured provider. It contains no secrets.

    Attributes:
        name: The name of the provider.
        kind: The kind of the provider, such as ``bitbucket``.
        kind_name: The name of the kind to show to people.
        mode: The way to sign in; empty if the kind has only one.
        mode_label: The name of the way to sign in to show to people; empty if there is only one.
        host: The address of the git host; empty if it is not known.
        settings: The values of the fields that are not secret.
        secrets: The names of the secret fields.
        stored: Where each secret is stored.
        credentials: The state of the credentials, as far as it is known without a request.
        changed_at: When it was last changed; ``None`` if it never was.
        expires_at: When the credentials expire; ``None`` if it is not known.
        former_until: When the previous secrets expire; ``None`` if there are none.
        generation: Number of changes; PATCH can require it.
        applications: Number of applications that use it.
        application_names: The names of the first of these applications.
    """

    name: str
    kind: str
    kind_name: str
    mode: str
    mode_label: str
    host: str
    settings: Mapping[str, str]
    secrets: Sequence[str]
    stored: Mapping[str, str]
    credentials: Credentials
    created_at: datetime
    changed_at: datetime | None
    expires_at: datetime | None
    former_until: datetime | None
    generation: int
    applications: int
    application_names: Sequence[str]

    @classmethod
    def of(
        cls,
        record: ProviderRecord,
        *,
        kind_name: str = "",
        mode: str = "",
        mode_label: str = "",
        host: str = "",
        applications: tuple[int, Sequence[str]] = (0, ()),
        is_signed_in: bool = False,
    ) -> ProviderView:
        """The view of a record."""
        return cls(
            name=record.name,
            kind=record.kind,
            kind_name=kind_name or record.kind,
            mode=mode,
            mode_label=mode_label,
            host=host,
            settings=record.settings,
            secrets=sorted(record.secrets),
            stored={name: describe_stored(each) for name, each in record.secrets.items()},
            credentials=_credentials_of(record, datetime.now(UTC), is_signed_in=is_signed_in),
            created_at=record.created_at,
            changed_at=record.changed_at,
            expires_at=record.expires_at,
            former_until=record.former_until,
            generation=record.generation,
            applications=applications[0],
            application_names=applications[1],
        )


def _credentials_of(record: ProviderRecord, now: datetime, *, is_signed_in: bool) -> Credentials:
    """Return the state of a provider's credentials."""
    left = timedelta.max if record.expires_at is None else record.expires_at - now
    if left <= timedelta(0):
        return "expired"
    if left <= timedelta(days=max(WARNING_DAYS)):
        return "expiring"
    return "signed_in" if is_signed_in else "stored" if record.secrets else "none"


class ProviderPage(View):
    """A page of providers, sorted by name."""

    items: Sequence[ProviderView]
    next: str | None


class ProviderQuery(Given):
    """The page of providers to return.

    Attributes:
        after: Return providers whose names sort after this name.
    """

    after: Annotated[str, Field(max_length=63, pattern=r"^[^\x00]*$")] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 100


class ProviderDetailView(View):
    """A provider, and what it needs.

    Attributes:
        provider: The provider.
        sign_in: How a person signs in; ``None`` if that is not needed.
        must_sign_in: Whether a person must sign in before the provider can be used.
        deploy_keys: Number of deploy keys that were created for the provider and its applications.
        problem: Why it cannot be used; ``None`` if it can.
        hint: The next step for the problem; empty if there is none.
    """

    provider: ProviderView
    sign_in: Literal["browser", "device"] | None
    must_sign_in: bool
    deploy_keys: int
    problem: str | None
    hint: str


class ProviderGiven(Given):
    """A provider to add.

    Attributes:
        name: The name of the provider, which cannot be changed later.
        kind: The kind of the provider, such as ``bitbucket``.
        settings: The values of the fields that are not secret.
        secrets: The values of secret fields. They are stored encrypted.
        references: Where to read secret fields that are not stored: ``env:NAME`` or
            ``file:/absolute/path``.
        verify: Whether the git host has to accept the credentials before anything is stored.
    """

    name: ProviderGivenName
    kind: Annotated[str, Field(min_length=1, max_length=100)]
    settings: Mapping[FieldName, Text] = {}
    secrets: Mapping[FieldName, Secret] = {}
    references: Mapping[FieldName, Text] = {}
    verify: bool = True


class ProviderChangeGiven(Given):
    """A change of a provider. Fields that are left out do not change; ``None`` removes a field.

    Attributes:
        settings: New values of fields that are not secret.
        secrets: New values of secret fields. They are stored encrypted.
        references: Where to read secret fields that are not stored: ``env:NAME`` or
            ``file:/absolute/path``.
        verify: Whether the git host has to accept the credentials before anything is stored.
        keep_old: Seconds for which the previous secrets stay valid (default: 0).
        dry_run: Whether to return what would change, without storing it.
        generation: The ``generation`` of the provider that you read. If the provider was changed
            since, the request is refused.
    """

    settings: Mapping[FieldName, Text | None] = {}
    secrets: Mapping[FieldName, Secret | None] = {}
    references: Mapping[FieldName, Text] = {}
    verify: bool = True
    keep_old: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] | None = None
    dry_run: bool = False
    generation: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class StoredProvider(View):
    """A provider that was stored.

    Attributes:
        provider: The provider.
        account: The account that the credentials belong to; ``None`` if they were not checked.
        must_sign_in: Whether a person must sign in before the provider can be used.
    """

    provider: ProviderView
    account: str | None
    must_sign_in: bool


class DifferenceView(View):
    """A field that a change affects. For a secret, it has only the place where the secret is
    stored.

    Attributes:
        field: The name of the field.
        before: The previous value; ``None`` if it was not set.
        after: The new value; ``None`` if it is not set.
    """

    field: str
    before: str | None
    after: str | None


class ChangedProvider(StoredProvider):
    """The result of changing a provider.

    Attributes:
        is_stored: Whether the change was stored; a dry run stores nothing.
        differences: The fields that changed, or would change.
    """

    is_stored: bool
    differences: Sequence[DifferenceView]


class RemovedProvider(View):
    """What you have to remove at the git host after a provider was removed.

    Attributes:
        remains: What was not removed, and how to remove it.
    """

    remains: Sequence[str]


class ProviderTestGiven(Given):
    """How to test a provider.

    Attributes:
        repository: A repository to test with, such as ``acme/shop``. It is needed if the
            credentials cannot list repositories.
    """

    repository: Annotated[str, Field(min_length=1, max_length=500)] | None = None


class ProviderAccountView(View):
    """The account that a provider's credentials belong to.

    Attributes:
        username: The name of the account.
        display_name: The name to show to people.
        scopes: The scopes that the host reports.
        expires_at: When the credentials expire; ``None`` if it is not known.
    """

    username: str
    display_name: str | None
    scopes: Sequence[str]
    expires_at: datetime | None


class ProviderTestView(View):
    """The result of testing a provider.

    Attributes:
        account: The account that the credentials belong to.
        milliseconds: Milliseconds until the host accepted the credentials.
        repositories: Number of accessible repositories; ``None`` if they cannot be listed.
        has_more: Whether there are more repositories, which were not counted.
    """

    account: ProviderAccountView
    milliseconds: int
    repositories: int | None
    has_more: bool
    hint: str


class SignInGiven(Given):
    """How a person signs in.

    Attributes:
        redirect_uri: Where the git host sends the browser afterwards (default: an address on the
            person's machine at which nothing answers; the person copies it from the browser).
    """

    redirect_uri: Annotated[str, Field(max_length=1000, pattern=r"^https?://[!-~]+$")] | None = None


class SignInView(View):
    """A sign-in that has begun.

    Attributes:
        id: The id of the sign-in. If ``way`` is ``browser``, it is also the ``state`` of the host's
            response.
        way: ``browser`` (the host sends the browser back) or ``device`` (the person enters a code
            at the address).
        address: The address that the person opens.
        user_code: The code to enter at the address.
        redirect_uri: Where the git host sends the browser afterwards.
        expires_at: When the sign-in expires.
        is_done: Whether the person has signed in, and the token is stored.
        account: The account that has signed in.
        interval: Seconds to wait between two requests that finish a sign-in with a code.
    """

    id: str
    provider: str
    way: Literal["browser", "device"]
    address: str
    user_code: str | None
    redirect_uri: str | None
    expires_at: datetime
    is_done: bool
    account: str | None
    interval: float


class SignInAnswer(Given):
    """The response of the git host.

    Attributes:
        answer: For a browser: the whole address that the host redirected to, its query with a
            question mark, or the code alone. For a device: nothing.
    """

    answer: Annotated[SecretStr, Field(min_length=1, max_length=8000)] | None = None
