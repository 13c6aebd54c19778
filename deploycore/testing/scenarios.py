"""What a fake host holds while a check of the kit runs.

Scenarios are few and named, so that a host that was filled by hand can have each of them as well
as one that is filled by a program.
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
"""Names that git allows and that break what is not quoted, or is quoted twice, or takes the
first of a search's hits for what was searched."""

ODD_SLUGS = ("plain", "dots.in.it", "Upper_Case-9")
"""Addresses of repositories that every host allows."""

UNKNOWN_BRANCHES = ("nowhere", "mai", "main/x", "MAIN", "feature", "a&b", "*")
"""What the repository with the odd branches does not have, though a search may find some."""

UNKNOWN_OWNERS = ("no-such-owner", "no/such/owner", "..", "a?b=c#d")
UNKNOWN_SLUG = "no-such-repository"
HIDDEN = RepositoryId(owner="rival", slug="hidden")
"""A private repository of another owner, in every scenario."""


class Access(Enum):
    """What credentials are good for."""

    FULL = "full"
    """Everything that the provider does."""
    LEAST = "least"
    """The least that lists repositories and branches and clones."""
    UNSCOPED = "unscoped"
    """They are right, but may not even list repositories."""
    EXPIRED = "expired"
    """They were right once."""
    WRONG = "wrong"
    """The host has never seen them, though they look like its own."""


@dataclass(frozen=True)
class Wanted:
    """One repository that a scenario asks for.

    Attributes:
        name: For people.
        branches: Besides the default branch; without a commit there are none at all.
        files: What the commit holds that all its branches point to; ``None`` for no commit.
    """

    slug: str
    name: str = ""
    private: bool = True
    default_branch: str = "main"
    branches: tuple[str, ...] = ()
    files: Mapping[str, bytes] | None = field(default_factory=lambda: {"README.md": b"# Read me\n"})


@dataclass(frozen=True)
class Scenario:
    """What a host is to hold, in one owner's hands."""

    name: str
    repositories: tuple[Wanted, ...] = ()


@dataclass(frozen=True)
class Arranged:
    """One repository as it is there now, for the provider to list.

    Attributes:
        name: For people; empty where it does not matter.
        branches: Each one's full commit hash.
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
    """A host can't be brought to hold a scenario, or has no credentials of some kind."""


class ContractHost(Protocol):
    """A running fake host, as the kit's checks need it."""

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""

    @property
    def faults(self) -> Faults:
        """What goes wrong on purpose."""

    @property
    def request_count(self) -> int:
        """How many requests it got so far, without those to sign in (``faults.sign_in_path``)."""

    @property
    def secrets(self) -> Iterable[SecretStr]:
        """All that it made up, to be looked for where none may be."""

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Hold what a scenario asks for, and nothing else in that owner's hands.

        Returns:
            What is there, in the order in which the host lists it.

        Raises:
            NotArranged: It can't.
        """

    def connect(self, mode: str, access: Access) -> SandboxConnection:
        """Credentials of a mode of signing in, and how to configure the provider with them.

        The connection's owner is the one that scenarios are arranged for.

        Raises:
            NotArranged: There are none of this kind.
        """

    def rate_limited(self, seconds: int | None) -> Change:
        """The host's own way to ask for fewer requests.

        Args:
            seconds: How long it asks to wait; ``None`` where it does not say.
        """

    def stop(self) -> None:
        """End; harmless when done already."""


@runtime_checkable
class WebhookHost(Protocol):
    """What a fake host can do besides, for the checks of webhooks and statuses; without it they
    are skipped."""

    @property
    def webhooks(self) -> Webhooks:
        """Those that are registered, and their deliveries."""

    def publish(
        self, owner: str, slug: str, branch: str, files: Mapping[str, bytes], message: str
    ) -> str:
        """Commit files on top of a branch, which is made if need be, and tell webhooks.

        Returns:
            The hash of the new commit.
        """

    def delete_branches(self, owner: str, slug: str, names: Iterable[str]) -> None:
        """Delete branches, and tell webhooks."""

    def add_tag(self, owner: str, slug: str, name: str, *, at: str) -> None:
        """Point a tag to a commit, and tell webhooks."""

    def statuses(self, owner: str, slug: str, commit: str) -> Sequence[ShownStatus]:
        """What is shown about a commit, in deploycore's words."""


@runtime_checkable
class DeploymentsHost(Protocol):
    """What a fake host can do besides, for the checks of ``report_deployment``."""

    def deployments(self, owner: str, slug: str, commit: str) -> Sequence[ShownDeployment]:
        """The deployments of a commit, the oldest first."""


@runtime_checkable
class DeployKeysHost(Protocol):
    """What a fake host can do besides, for the checks of deploy keys."""

    @property
    def deploy_keys(self) -> DeployKeys:
        """Those of its repositories, by ``owner/slug``."""


@runtime_checkable
class PullRequestHost(Protocol):
    """What a fake host can do besides, for the checks of ``list_pull_requests``; each of these
    pull requests has a ``number``."""

    def open_pull_request(
        self, owner: str, slug: str, source_branch: str, target_branch: str
    ) -> Any:
        """Open a pull request from one branch of a repository into another."""

    def close_pull_request(self, row: Any) -> Any:
        """Close one without merging it."""

    def merge_pull_request(self, row: Any) -> Any:
        """Merge one."""
