"""The results about deploy keys: their owners, which key git uses, and what remains at the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from deploycore.errors import DeploycoreError
from deploycore.ssh.making import fingerprint_of
from deploycore.store import DeployKeyRecord

__all__ = ["KeyOutcome", "KeyOwner", "KeyUse", "ListedKey", "RemainingKey"]


@dataclass(frozen=True)
class KeyOwner:
    """The owner of a key: an application or, if it has none, a provider."""

    application: str | None
    provider: str

    @property
    def name(self) -> str:
        """The name of the application or provider."""
        return self.provider if self.application is None else self.application

    @property
    def noun(self) -> str:
        """Whether the owner is an application or a provider."""
        return "provider" if self.application is None else "application"


KeyUse = Literal["waiting", "in use", "not used", "left over"]


@dataclass(frozen=True)
class ListedKey:
    """A key, and whether git uses it.

    Attributes:
        use: ``waiting`` until the host accepts it. ``not used`` if a person has changed the
            provider's key, or the application's provider or repository. ``left over`` if it was
            replaced, and the host may still have it.
    """

    key: DeployKeyRecord
    use: KeyUse


@dataclass(frozen=True)
class RemainingKey:
    """A key that the git host may still have.

    Attributes:
        repository: The repository; empty if a person has added the key.
        page: The page where a person can remove it; empty if it is not known.
        error: Why it could not be removed, if deploycore has tried to remove it.
    """

    key: DeployKeyRecord
    repository: str = ""
    page: str = ""
    error: DeploycoreError | None = None

    def __str__(self) -> str:
        what = f"the deploy key {fingerprint_of(self.key.public_key)}"
        of = self.repository or self.key.repository
        where = f" of {of}" if of else ""
        page = f": {self.page}" if self.page else ""
        return f"{what}{where} (provider {self.key.provider}){page}"


@dataclass(frozen=True)
class KeyOutcome:
    """The result of creating a key.

    Attributes:
        by_hand: Why a person has to add the key at the git host; empty if it is registered.
        pages: The pages where a person can add it.
        remains: The previous keys that the git host may still have.
    """

    key: DeployKeyRecord
    by_hand: str = ""
    pages: tuple[str, ...] = ()
    remains: tuple[RemainingKey, ...] = field(default=())

    @property
    def is_live(self) -> bool:
        """Whether the key is in use."""
        return self.key.state == "live"
