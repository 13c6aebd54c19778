"""Check the fields of a provider from a client, and verify the provider at the git host before it
is stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import SecretStr

from deploycore.configuration import ConfigField
from deploycore.errors import Cancelled, ConfigurationError, HostKeyRefused
from deploycore.installation import SecretReference
from deploycore.installation.host_keys import verify_ssh
from deploycore.provider import Provider
from deploycore.provider.core_fields import all_fields
from deploycore.server.api import Api
from deploycore.server.problems import Refusal, refused_by
from deploycore.server.rest.provider_records import limited
from deploycore.store import ProviderRecord

__all__ = [
    "Proof",
    "explaining_host_keys",
    "refuse_other_generation",
    "refusing_conflicts",
    "secrets_of",
]

T = TypeVar("T")


def secrets_of(
    config_type: Any,
    settings: Mapping[str, str | None],
    secrets: Mapping[str, SecretStr | None],
    references: Mapping[str, str],
) -> dict[str, SecretStr | SecretReference | None]:
    """Return secret fields with their values or references.

    Args:
        config_type: The plugin's ``Config``.
        settings: The fields that are given as not secret.

    Raises:
        ConfigurationError: A secret is given as a setting, which would be stored as plain text, or
            a field is given twice, or a reference is given for a field that is not secret.
    """
    known = {each.name: each for each in all_fields(config_type)}
    problems = [*_misplaced(known, settings, secrets, references)]
    if problems:
        raise ConfigurationError(
            f"The fields are not valid: {'; '.join(problems)}.",
            hint="Give the values of secret fields in secrets, or references to them in references."
            " Give other fields in settings.",
            fields=problems,
        )
    return {**secrets, **{name: SecretReference(text) for name, text in references.items()}}


def _misplaced(
    known: Mapping[str, ConfigField],
    settings: Mapping[str, str | None],
    secrets: Mapping[str, SecretStr | None],
    references: Mapping[str, str],
) -> Iterator[str]:
    for name, value in settings.items():
        field = known.get(name)
        if field is None or not field.secret or value is None:
            continue
        if not field.may_be_plain or "@" in value:
            yield f"{name}: is a secret"
    for name in dict.fromkeys([*secrets, *references]):
        field = known.get(name)
        if field is not None and not field.secret:
            yield f"{name}: is not a secret"
        elif (name in secrets) + (name in references) + (settings.get(name) is not None) > 1:
            yield f"{name}: is given twice"


class Proof:
    """Verifies an opened provider at its git host within a time limit, or prevents that it is
    stored.

    Attributes:
        account: The account that is signed in; ``None`` if the provider was not verified.
    """

    def __init__(self, api: Api) -> None:
        self.account: str | None = None
        self._api = api
        self._is_over = threading.Event()

    def verify(self, opened: Provider) -> None:
        """Verify a provider. This is the argument ``verify`` of calls that store a provider."""
        provider = limited(opened)
        account = provider.authenticate()
        verify_ssh(provider, self._api.installation.git_settings)
        if self._is_over.is_set():  # the client has been told that it is not stored
            raise Cancelled("The git host answered too late. Nothing is stored.")
        self.account = account.username

    def store(self, action: Callable[[], T]) -> T:
        """Run an action that first calls ``verify``, which sends requests to the git host, and then
        stores something.

        Raises:
            Refusal: The host did not answer in time (504), or too many requests ask hosts (503).
        """
        try:
            return self._api.hosts.ask(action)
        except Refusal:
            self._is_over.set()
            raise


@contextmanager
def explaining_host_keys() -> Iterator[None]:
    """Describe in an error how to trust an unknown key of an SSH server."""
    try:
        yield
    except HostKeyRefused as error:
        if not (error.details.get("known") or error.details.get("revoked")):
            error.hint = (
                "Compare the fingerprint with what the host publishes. If it is the same, add the"
                " line in details to the field ssh_host_keys."
            )
        raise


def refuse_other_generation(record: ProviderRecord, wanted: int | None) -> None:
    """Refuse a change if the provider was changed since the client has read it.

    Raises:
        Refusal: The provider was changed (409).
    """
    if wanted not in (None, record.generation):
        raise Refusal(
            409,
            "conflict",
            f"The provider {record.name} was changed in the meantime.",
            hint="Load it again, and repeat your change.",
            details={"provider": record.name},
        )


@contextmanager
def refusing_conflicts(api: Api, record: ProviderRecord) -> Iterator[None]:
    """Respond 409 if storing a change fails because another one was stored at the same time."""
    try:
        yield
    except ConfigurationError as error:
        if api.installation.store.get_provider(record.name).generation == record.generation:
            raise
        raise refused_by(error, status=409) from None
