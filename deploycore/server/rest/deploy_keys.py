"""Operations on deploy keys: the SSH keys of applications and providers.

A private key is made on this machine, and no response has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.responses import Response

from deploycore.errors import ConfigurationError
from deploycore.installation.deploy_key_results import (
    KeyOutcome,
    KeyOwner,
    KeyUse,
    ListedKey,
    RemainingKey,
)
from deploycore.server.api import PREFIX, Api, Call, answer, missing
from deploycore.server.checking import checked
from deploycore.server.problems import refused_by
from deploycore.server.rest.operation import Operation
from deploycore.server.rest.provider_records import provider_record
from deploycore.server.views import Given, View
from deploycore.ssh.making import KeyType, fingerprint_of
from deploycore.store import DeployKeyRecord

__all__ = ["OPERATIONS"]

_OF_APPLICATION = f"{PREFIX}/applications/{{application}}/deploy-keys"
_OF_PROVIDER = f"{PREFIX}/providers/{{provider}}/deploy-keys"
_HOST_FAILS = (502, 504)

Run = Callable[[Api, Call], Response]


class DeployKeyView(View):
    """A deploy key, without its private key, which never leaves the server.

    Attributes:
        name: The name of the application or provider that the key belongs to.
        of: Whether it belongs to an application or to a provider.
        state: Whether the git host has accepted it (``live``), has not yet (``new``), or it was
            replaced (``former``).
        fingerprint: The fingerprint of the public key.
        public_key: The public key, as the git host takes it.
        repository: The repository of the application; ``None`` for the key of a provider.
        registered: The repositories that it is registered for, with its id at the git host. The id
            is empty until the git host has answered.
    """

    name: str
    of: Literal["application", "provider"]
    state: str
    fingerprint: str
    public_key: str
    provider: str
    repository: str | None
    registered: Mapping[str, str]
    created_at: datetime

    @classmethod
    def of_record(cls, record: DeployKeyRecord) -> DeployKeyView:
        """The view of a record."""
        return cls(**_fields(record))


class ListedDeployKeyView(DeployKeyView):
    """A deploy key, and whether git uses it.

    Attributes:
        use: Whether git uses it. A key is ``waiting`` until the git host accepts it, and ``left
            over`` after it was replaced, until the git host has removed it.
    """

    use: KeyUse

    @classmethod
    def of_listed(cls, listed: ListedKey) -> ListedDeployKeyView:
        """The view of a key in a list."""
        return cls(**_fields(listed.key), use=listed.use)


class DeployKeyPage(View):
    """All deploy keys, including those that were replaced and may still be at the git host.

    Attributes:
        items: The keys.
    """

    items: Sequence[ListedDeployKeyView]


class RemainingKeyView(View):
    """A deploy key that the git host may still have.

    Attributes:
        text: The key, and where it is.
        error: Why it could not be removed; ``None`` if that was not tried.
    """

    text: str
    error: str | None

    @classmethod
    def of(cls, remaining: RemainingKey) -> RemainingKeyView:
        """The view of a key that remains."""
        return cls(text=str(remaining), error=str(remaining.error) if remaining.error else None)


class DeployKeyResult(View):
    """The result of creating or replacing a deploy key.

    Attributes:
        key: The new key. Git uses it if its state is ``live``.
        by_hand: Why you have to add the public key at the git host yourself; ``None`` if you do not
            have to. Send the request again after that.
        pages: The pages of the git host where you add it.
        remains: The previous keys that the git host may still have.
    """

    key: DeployKeyView
    by_hand: str | None
    pages: Sequence[str]
    remains: Sequence[RemainingKeyView]

    @classmethod
    def of(cls, outcome: KeyOutcome) -> DeployKeyResult:
        """The view of an outcome."""
        return cls(
            key=DeployKeyView.of_record(outcome.key),
            by_hand=outcome.by_hand or None,
            pages=outcome.pages,
            remains=[RemainingKeyView.of(each) for each in outcome.remains],
        )


class DeployKeysRemoved(View):
    """The result of removing deploy keys.

    Attributes:
        remains: What you have to remove at the git host yourself.
    """

    remains: Sequence[str]


class DeployKeyGiven(Given):
    """The deploy key to make.

    Attributes:
        type: The type of the key (default: ``ed25519``). Use ``rsa`` for a host that requires it.
    """

    type: KeyType | None = None


class ProviderKeyGiven(DeployKeyGiven):
    """The deploy key to make for a provider.

    Attributes:
        repositories: The repositories to register the key for, as ``owner/slug`` (default: the
            repositories of the provider's applications).
    """

    repositories: Annotated[
        Sequence[Annotated[str, Field(min_length=1, max_length=1024)]], Field(max_length=1000)
    ] = ()


class DeployKeyRemovalQuery(Given):
    """The deploy keys to remove.

    Attributes:
        left_over: Whether to remove only keys that git no longer uses.
        keep_at_host: Whether to keep the keys at the git host.
    """

    left_over: bool = False
    keep_at_host: bool = False


def list_deploy_keys(api: Api, call: Call) -> Response:
    """List the deploy keys of all applications and providers."""
    return _listed(api, None)


def list_application_keys(api: Api, call: Call) -> Response:
    """List the deploy keys of an application."""
    return _listed(api, _application(api, call))


def list_provider_keys(api: Api, call: Call) -> Response:
    """List the deploy keys of a provider, without those of its applications."""
    return _listed(api, _provider(api, call))


def create_application_key(api: Api, call: Call) -> Response:
    """Make a deploy key for an application, and register it at the git host.

    Git then uses the key to read the application's repository. If the provider's credentials cannot
    register it, "by_hand" has the reason: add the public key at the git host, and send the request
    again. If the request fails, send it again.
    """
    return _created(api, _application(api, call), checked(DeployKeyGiven, call.body))


def create_provider_key(api: Api, call: Call) -> Response:
    """Make an SSH key for a provider, and register it at the git host.

    Git then uses the key to read all repositories of the provider. If the provider's credentials
    cannot register it, "by_hand" has the reason: add the public key at the git host, and send the
    request again. If the request fails, send it again.
    """
    return _created(api, _provider(api, call), checked(ProviderKeyGiven, call.body))


def rotate_application_key(api: Api, call: Call) -> Response:
    """Replace the deploy key of an application.

    Git uses the previous key until the new one can read the repository. If the request fails, send
    it again.
    """
    return _rotated(api, _application(api, call), checked(DeployKeyGiven, call.body))


def rotate_provider_key(api: Api, call: Call) -> Response:
    """Replace the SSH key of a provider.

    Git uses the previous key until the new one can read the repositories. If the request fails,
    send it again.
    """
    return _rotated(api, _provider(api, call), checked(ProviderKeyGiven, call.body))


def remove_application_keys(api: Api, call: Call) -> Response:
    """Remove the deploy keys of an application, here and at the git host.

    If the git host does not remove a key, it is kept here too. Git then uses the provider's other
    credentials.
    """
    return _removed(api, _application(api, call), call.query)


def remove_provider_keys(api: Api, call: Call) -> Response:
    """Remove the SSH keys of a provider, here and at the git host.

    If the git host does not remove a key, it is kept here too. Git then uses the provider's other
    credentials.
    """
    return _removed(api, _provider(api, call), call.query)


def _application(api: Api, call: Call) -> KeyOwner:
    record = api.application(call.path["application"])
    return KeyOwner(record.name, record.definition.provider)


def _provider(api: Api, call: Call) -> KeyOwner:
    return KeyOwner(None, provider_record(api, call.path["provider"]).name)


def _listed(api: Api, owner: KeyOwner | None) -> Response:
    found = api.installation.deploy_keys.listed(owner)
    return answer(DeployKeyPage(items=[ListedDeployKeyView.of_listed(each) for each in found]))


def _created(api: Api, owner: KeyOwner, given: DeployKeyGiven) -> Response:
    create = api.installation.deploy_keys.create
    try:
        done = api.hosts.ask(lambda: create(owner, kind=given.type, repositories=_named(given)))
    except ConfigurationError as error:
        if "name" not in error.details:
            raise
        raise refused_by(error, status=409) from None
    return _answered(api, done)


def _rotated(api: Api, owner: KeyOwner, given: DeployKeyGiven) -> Response:
    rotate = api.installation.deploy_keys.rotate
    with _refusing_missing():
        done = api.hosts.ask(lambda: rotate(owner, kind=given.type, repositories=_named(given)))
    return _answered(api, done)


def _removed(api: Api, owner: KeyOwner, query: DeployKeyRemovalQuery) -> Response:
    remove = api.installation.deploy_keys.remove
    at_host = not query.keep_at_host
    with _refusing_missing():
        remains = api.hosts.ask(lambda: remove(owner, left_over=query.left_over, at_host=at_host))
    api.directory.invalidate()
    return answer(DeployKeysRemoved(remains=[str(each) for each in remains]))


def _answered(api: Api, done: KeyOutcome) -> Response:
    api.directory.invalidate()
    return answer(DeployKeyResult.of(done))


def _named(given: DeployKeyGiven) -> Sequence[str]:
    return given.repositories if isinstance(given, ProviderKeyGiven) else ()


@contextmanager
def _refusing_missing() -> Iterator[None]:
    """Respond 404 if there is no key."""
    try:
        yield
    except ConfigurationError as error:
        if "name" not in error.details:
            raise
        raise missing(error) from None


def _fields(record: DeployKeyRecord) -> dict[str, Any]:
    return {
        "name": record.owner,
        "of": "provider" if record.application is None else "application",
        "state": record.state,
        "fingerprint": fingerprint_of(record.public_key),
        "public_key": record.public_key,
        "provider": record.provider,
        "repository": record.repository,
        "registered": dict(record.registered),
        "created_at": record.created_at,
    }


def _operations(path: str, given: type[DeployKeyGiven], *run: Run) -> tuple[Operation, ...]:
    """The operations on the keys of one owner: list, create, rotate and remove."""
    list_, create, rotate, remove = run
    result = {200: DeployKeyResult}
    failures = (409, *_HOST_FAILS)
    return (
        Operation("GET", path, "read", list_, {200: DeployKeyPage}),
        Operation("POST", path, "admin", create, result, body=given, refusals=failures),
        Operation(
            "DELETE",
            path,
            "admin",
            remove,
            {200: DeployKeysRemoved},
            query=DeployKeyRemovalQuery,
            refusals=_HOST_FAILS,
        ),
        Operation(
            "POST",
            f"{path}/rotate",
            "admin",
            rotate,
            result,
            body=given,
            refusals=_HOST_FAILS,
        ),
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", f"{PREFIX}/deploy-keys", "read", list_deploy_keys, {200: DeployKeyPage}),
    *_operations(
        _OF_APPLICATION,
        DeployKeyGiven,
        list_application_keys,
        create_application_key,
        rotate_application_key,
        remove_application_keys,
    ),
    *_operations(
        _OF_PROVIDER,
        ProviderKeyGiven,
        list_provider_keys,
        create_provider_key,
        rotate_provider_key,
        remove_provider_keys,
    ),
)
