"""The content of a host while a check of the kit runs.

There are only a few scenarios, and each has a name, so that their content can also be created by
hand on a host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from pydantic import SecretStr

from deploycore.models import RepositoryId
from deploycore.sandbox import SandboxConnection
from deploycore.testing.deploy_keys import DeployKeys
from deploycore.testing.faults import Change, Faults
from deploycore.testing.webhooks import ShownDeployment, ShownStatus, Webhooks

__all__ = [
    "EMPTY",
    "HIDDEN",
    "MANY",
    "ODD",
    "ODD_BRANCHES",
    "ODD_SLUGS",
    "ONE",
    "SCENARIOS",
    "TWO",
    "UNKNOWN_BRANCHES",
    "UNKNOWN_OWNERS",
    "UNKNOWN_SLUG",
    "Access",
    "Arranged",
    "ContractHost",
    "DeployKeysHost",
    "DeploymentsHost",
    "NotArranged",
    "PullRequestHost",
    "Scenario",
    "Wanted",
    "WebhookHost",
]

ODD_BRANCHES = (
    "main",
    "domain",
    "main-line",
    "feature/deep/er",
    "100%",
    "percent%2Fencoded",
    "fix#17",
    "a&b=c+d",
    'say-"hi"',
    "größe/日本語",
)
"""Names that git allows, and that cause errors if they are not quoted, are quoted twice, or are
searched for and the first hit is used."""

ODD_SLUGS = ("plain", "dots.in.it", "Upper_Case-9")
"""Names of repositories that every host allows in addresses."""

UNKNOWN_BRANCHES = ("nowhere", "mai", "main/x", "MAIN", "feature", "a&b", "*")
"""Names that the repository with the odd branches does not have, although a search may find similar
ones."""

UNKNOWN_OWNERS = ("no-such-owner", "no/such/owner", "..", "a?b=c#d")
UNKNOWN_SLUG = "no-such-repository"
HIDDEN = RepositoryId(owner="rival", slug="hidden")
"""A private repository of another owner, in every scenario."""


class Access(Enum):
    """The access that a credential has."""

    FULL = "full"
    """Full access: everything that the provider does."""
    LEAST = "least"
    """The least access with which repositories and branches can be listed and cloned."""
    UNSCOPED = "unscoped"
    """The credentials are valid, but cannot list repositories."""
    EXPIRED = "expired"
    """The credentials were valid, but have expired."""
    WRONG = "wrong"
    """The host does not know the credentials, although they have its form."""


@dataclass(frozen=True)
class Wanted:
    """A repository in a scenario.

    Attributes:
        name: The name to show to people.
        branches: Branches in addition to the default branch. Without a commit, there are none.
        files: The content of the commit that all branches point to; ``None`` for no commit.
    """

    slug: str
    name: str = ""
    private: bool = True
    default_branch: str = "main"
    branches: tuple[str, ...] = ()
    files: Mapping[str, bytes] | None = field(default_factory=lambda: {"README.md": b"# Read me\n"})


@dataclass(frozen=True)
class Scenario:
    """The repositories that a host must have, all of one owner."""

    name: str
    repositories: tuple[Wanted, ...] = ()


@dataclass(frozen=True)
class Arranged:
    """A repository as it exists for the provider to list.

    Attributes:
        name: The name to show to people; empty if it does not matter.
        branches: The full commit hash of each branch.
    """

    owner: str
    slug: str
    name: str
    private: bool
    default_branch: str
    branches: Mapping[str, str]


EMPTY = Scenario("empty")
ONE = Scenario("one", (Wanted("shop", name="The Shop – größer", default_branch="trunk"),))
TWO = Scenario(
    "two",
    (
        Wanted("engine", branches=("develop", "release/2.0")),
        Wanted("notes", private=False, branches=("draft",), files={"notes.txt": b"Buy milk\n"}),
        Wanted("vacant", files=None),
    ),
)
ODD = Scenario(
    "odd",
    (
        Wanted(ODD_SLUGS[0], name="Größe & <Ähnliches>", branches=ODD_BRANCHES[1:]),
        *(Wanted(slug) for slug in ODD_SLUGS[1:]),
    ),
)
MANY = Scenario(
    "many",
    (
        Wanted("branches", branches=tuple(f"topic/{number:03}" for number in range(250))),
        *(Wanted(f"repository-{number:03}", files=None) for number in range(249)),
    ),
)
"""250 repositories, and 251 branches in the first: more than two pages of every host."""

SCENARIOS = (EMPTY, ONE, TWO, ODD, MANY)


class NotArranged(Exception):
    """A host cannot have the content of a scenario, or has no such credentials."""


class ContractHost(Protocol):
    """A running sandbox, as the checks of the kit need it."""

    @property
    def url(self) -> str:
        """The address that it listens on, without a slash at its end."""

    @property
    def faults(self) -> Faults:
        """The faults to inject."""

    @property
    def request_count(self) -> int:
        """The number of requests so far, without those that obtain a token
        (``faults.sign_in_path``)."""

    @property
    def secrets(self) -> Iterable[SecretStr]:
        """All secrets that it has created. Checks search for them where they must not be."""

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Create the repositories of a scenario, and no others of that owner.

        Returns:
            The repositories, in the order in which the host lists them.

        Raises:
            NotArranged: The host cannot have this content.
        """

    def connect(self, mode: str, access: Access) -> SandboxConnection:
        """Create credentials for a way to sign in, and return how to configure the provider with
        them.

        The owner of the connection must be the owner of the scenarios.

        Raises:
            NotArranged: The host has no such credentials.
        """

    def rate_limited(self, seconds: int | None) -> Change:
        """Return the host's response when its rate limit is exceeded.

        Args:
            seconds: How long it asks to wait; ``None`` if it does not say.
        """

    def stop(self) -> None:
        """Stop it. This can be called twice."""


@runtime_checkable
class WebhookHost(Protocol):
    """A sandbox that also sends webhooks and shows statuses. Without it, the checks for these are
    skipped."""

    @property
    def webhooks(self) -> Webhooks:
        """The registered webhooks, and their deliveries."""

    def publish(
        self, owner: str, slug: str, branch: str, files: Mapping[str, bytes], message: str
    ) -> str:
        """Commit files to a branch, which is created if it does not exist, and send the event to
        webhooks.

        Returns:
            The hash of the new commit.
        """

    def delete_branches(self, owner: str, slug: str, names: Iterable[str]) -> None:
        """Delete branches, and send the events to webhooks."""

    def add_tag(self, owner: str, slug: str, name: str, *, at: str) -> None:
        """Create a tag for a commit, and send the event to webhooks."""

    def statuses(self, owner: str, slug: str, commit: str) -> Sequence[ShownStatus]:
        """Return the statuses of a commit, in deploycore's words."""


@runtime_checkable
class DeploymentsHost(Protocol):
    """A sandbox that also has deployments, for the checks of ``report_deployment``."""

    def deployments(self, owner: str, slug: str, commit: str) -> Sequence[ShownDeployment]:
        """The deployments of a commit, the oldest first."""


@runtime_checkable
class DeployKeysHost(Protocol):
    """A sandbox that also has deploy keys, for the checks of deploy keys."""

    @property
    def deploy_keys(self) -> DeployKeys:
        """The deploy keys of its repositories, by ``owner/slug``."""


@runtime_checkable
class PullRequestHost(Protocol):
    """A sandbox that also has pull requests, for the checks of ``list_pull_requests``.

    Each of these pull requests has a ``number``.
    """

    def open_pull_request(
        self, owner: str, slug: str, source_branch: str, target_branch: str
    ) -> Any:
        """Open a pull request from one branch of a repository into another."""

    def close_pull_request(self, row: Any) -> Any:
        """Close a pull request without merging it."""

    def merge_pull_request(self, row: Any) -> Any:
        """Merge a pull request."""
