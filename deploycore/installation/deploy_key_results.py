"""What is said of deploy keys: whose they are, what git uses, and what remains at the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from deploycore.errors import DeploycoreError
from deploycore.ssh.making import fingerprint_of
from deploycore.store import DeployKeyRecord

__all__ = ["KeyOutcome", "KeyOwner", "KeyUse", "ListedKey", "RemainingKey"]


@dataclass(frozen=True)
class KeyOwner:
    """Whose a key is: an application's or, without one, a provider's."""

    application: str | None
    provider: str

    @property
    def name(self) -> str:
        """The name of the application or the provider."""
        return self.provider if self.application is None else self.application

    @property
    def noun(self) -> str:
        """What it is."""
        return "provider" if self.application is None else "application"


KeyUse = Literal["waiting", "in use", "not used", "left over"]


@dataclass(frozen=True)
class ListedKey:
    """A key, and what it is to git.

    Attributes:
        use: ``waiting`` until the host accepts it. ``not used`` if a person has given the provider
            another key, or the application another provider or repository. ``left over`` if it was
            replaced, and the host may still have it.
    """

    key: DeployKeyRecord
    use: KeyUse


@dataclass(frozen=True)
class RemainingKey:
    """A key that the git host may still have.

    Attributes:
        repository: Empty where a person has added the key.
        page: Where a person removes it; empty if that is not known.
        error: Why it could not be removed, if that was tried.
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
    """What became of a new key.

    Attributes:
        by_hand: Why a person has to add the key at the git host; empty if it is registered.
        pages: Where to add it.
        remains: The former keys that the git host may still have.
    """

    key: DeployKeyRecord
    by_hand: str = ""
    pages: tuple[str, ...] = ()
    remains: tuple[RemainingKey, ...] = field(default=())

    @property
    def is_live(self) -> bool:
        """Whether the key is in use."""
        return self.key.state == "live"
