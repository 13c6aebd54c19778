"""The variables of an application's steps, revealed when a step first needs them.

A deployment needs all of them, and is refused before anything is fetched if one cannot be read. A
rollback needs none of the steps that it does not run. Where it does run commands, a secret that
cannot be read must not keep a bad release live: its variable is left out, and that is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydantic import SecretStr

from deploycore.applications.application import SecretSource
from deploycore.errors import ConfigurationError, DeploycoreError
from deploycore.secrets import SecretBox
from deploycore.store import ApplicationRecord

__all__ = ["Variables"]

_STORED = "stored"


class Variables:
    """The variables of one application.

    Attributes:
        missing: The names of those that could not be read, once they were asked for.
    """

    def __init__(self, application: ApplicationRecord, box: SecretBox) -> None:
        self._application = application
        self._box = box
        self._found: dict[str, str | SecretStr] | None = None
        self.missing: tuple[str, ...] = ()

    @property
    def secrets(self) -> list[SecretStr]:
        """Those that are secret, as far as they were revealed."""
        return [each for each in (self._found or {}).values() if isinstance(each, SecretStr)]

    @property
    def referenced(self) -> dict[str, SecretStr]:
        """Those whose values are neither in the definition nor stored, once they were revealed."""
        given = self._application.definition.environment
        return {
            name: value
            for name, value in (self._found or {}).items()
            if isinstance(value, SecretStr)
            and isinstance(source := given[name], SecretSource)
            and source.secret != _STORED
        }

    def require(self) -> None:
        """Reveal all of them.

        Raises:
            ConfigurationError: A secret is not where it should be.
            StoreError: The key of stored ones can't be used.
        """
        self._found = {name: self._value(name) for name in self._names()}

    def available(self, note: Callable[[str], None]) -> dict[str, str]:
        """All that can be read, secrets revealed.

        Args:
            note: Is told of each that can't.
        """
        if self._found is None:
            self._found = {}
            for name in self._names():
                try:
                    self._found[name] = self._value(name)
                except DeploycoreError as error:
                    self.missing += (name,)
                    note(f"commands run without the variable {name}: {error.message}")
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in self._found.items()
        }

    def _names(self) -> Iterator[str]:
        return iter(self._application.definition.environment)

    def _value(self, name: str) -> str | SecretStr:
        application = self._application
        value = application.definition.environment[name]
        if not isinstance(value, SecretSource):
            return value
        if value.secret != _STORED:
            return self._box.reveal(self._box.keep_reference(value.secret))
        stored = application.secrets.get(name)
        if not stored:
            raise ConfigurationError(
                f"The variable {name} of {application.name} has no stored value.",
                hint=f"Store it: deploycore app secret {application.name} {name}",
                application=application.name,
            )
        return self._box.reveal(stored)
