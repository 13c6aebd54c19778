"""What a provider's configuration must tell the core, whatever the host."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from deploycore.http import HttpAuth

__all__ = ["ProviderConfig", "ProviderName"]

ProviderName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description="your name for it")
]


class ProviderConfig(BaseModel):
    """The base of every provider's ``Config``.

    Subclass it with the fields that the host needs; type every secret ``SecretStr``. The
    core builds forms and command-line options from the fields: ``description`` becomes the
    help text, ``Literal`` a choice, ``SecretStr`` a hidden prompt. Where a host has several
    ways to sign in, ``Config`` may be a discriminated union of subclasses.

    Attributes:
        name: The user's name for this configured provider.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: ProviderName

    @property
    @abstractmethod
    def api_base_url(self) -> str:
        """The absolute URL that the plugin's paths are relative to, such as ``https://api.example.com/2.0``."""
        raise NotImplementedError

    @property
    @abstractmethod
    def api_auth(self) -> HttpAuth | None:
        """How API requests are authorised; ``None`` for anonymous access."""
        raise NotImplementedError
