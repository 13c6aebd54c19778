"""The variables of an application's steps, whose secrets are revealed when a step first needs them.

A deployment needs all variables. If one of them cannot be read, the deployment fails before
anything is fetched. A rollback reads variables only for the steps that it runs. If it cannot read a
secret for such a step, it must still be able to replace a bad release. So it leaves out the
variable, and reports that.
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
        missing: The names of variables that could not be read, after an attempt to read them.
    """

    def __init__(self, application: ApplicationRecord, box: SecretBox) -> None:
        self._application = application
        self._box = box
        self._found: dict[str, str | SecretStr] | None = None
        self.missing: tuple[str, ...] = ()

    @property
    def secrets(self) -> list[SecretStr]:
        """The values that are secret, as far as they are revealed."""
        return [each for each in (self._found or {}).values() if isinstance(each, SecretStr)]

    @property
    def referenced(self) -> dict[str, SecretStr]:
        """The values that are neither in the definition nor in the store, after they were
        revealed."""
        given = self._application.definition.environment
        return {
            name: value
            for name, value in (self._found or {}).items()
            if isinstance(value, SecretStr)
            and isinstance(source := given[name], SecretSource)
            and source.secret != _STORED
        }

    def require(self) -> None:
        """Reveal all variables.

        Raises:
            ConfigurationError: A secret is not in the place that the definition names.
            StoreError: The key of the stored secrets cannot be used.
        """
        self._found = {name: self._value(name) for name in self._names()}

    def available(self, note: Callable[[str], None]) -> dict[str, str]:
        """Return all variables that can be read, with their secrets revealed.

        Args:
            note: Called with a sentence on each variable that cannot be read.
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
