"""A request to Bitbucket, and the scopes that it requires.

Errors use this to say what failed, and which scopes the user has to select.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deploycore import plugin_parts
from deploycore.models import RepositoryId
from deploycore_bitbucket.configuration import AnyConfig, Mode

__all__ = ["Action", "Question", "Task", "boxes", "repository_scope"]

# The name of each scope in the form where a user selects it. Responses use the old style of scope
# names also for API tokens.
_API_TOKEN_SCOPES = {
    "account": "read:user:bitbucket",
    "repository": "read:repository:bitbucket",
    "repository:write": "write:repository:bitbucket",
    "repository:admin": "admin:repository:bitbucket",
    "team": "read:workspace:bitbucket",
    "webhook": "read:webhook:bitbucket",
    "pullrequest": "read:pullrequest:bitbucket",
}
_PERMISSION_BOXES = {
    "account": "Account: Read",
    "repository": "Repositories: Read",
    "repository:write": "Repositories: Write",
    "repository:admin": "Repositories: Admin",
    "team": "Workspace membership: Read",
    "webhook": "Webhooks: Read and write",
    "pullrequest": "Pull requests: Read",
}

Action = plugin_parts.Action | Literal["list pull requests", "list workspaces"]


@dataclass(frozen=True)
class Task:
    """How errors describe an operation that does more than read repositories.

    Attributes:
        what: The operation, as in "The credentials may not register a webhook for".
        new: All scopes that an API token needs for it.
        old: All scopes that other credentials need for it.
        role: A sentence about who can do it.
    """

    what: str
    new: tuple[str, ...]
    old: tuple[str, ...]
    role: str


_ADMINISTRATOR = (
    "Ask one of the administrators of the repository to make the account an administrator, too:"
    " only they can manage webhooks."
)
_KEY_ADMINISTRATOR = (
    "Ask one of the administrators of the repository to make the account an administrator, too, or"
    " to add the key."
)
_ACCESS = "Give the account or token access to the repository."

# https://developer.atlassian.com/cloud/bitbucket/rest/api-group-webhooks/: creating one also
# requires the scopes of its events.
_TASKS: dict[Action, Task] = {
    "list webhooks": Task(
        "list the webhooks of", ("read:webhook:bitbucket",), ("webhook",), _ADMINISTRATOR
    ),
    "register webhook": Task(
        "register a webhook for",
        (
            "read:webhook:bitbucket",
            "write:webhook:bitbucket",
            "read:repository:bitbucket",
            "read:pullrequest:bitbucket",
        ),
        ("webhook", "repository", "pullrequest"),
        _ADMINISTRATOR,
    ),
    "remove webhook": Task(
        "remove a webhook from", ("delete:webhook:bitbucket",), ("webhook",), _ADMINISTRATOR
    ),
    "list deploy keys": Task(
        "list the deploy keys of",
        ("admin:repository:bitbucket",),
        ("repository", "repository:admin"),
        _KEY_ADMINISTRATOR,
    ),
    "add deploy key": Task(
        "add a deploy key to",
        ("admin:repository:bitbucket", "write:ssh-key:bitbucket"),
        ("repository", "repository:admin"),
        _KEY_ADMINISTRATOR,
    ),
    "remove deploy key": Task(
        "remove a deploy key from",
        ("admin:repository:bitbucket", "delete:ssh-key:bitbucket"),
        ("repository", "repository:admin"),
        _KEY_ADMINISTRATOR,
    ),
    "report status": Task(
        "report a build status to",
        ("read:repository:bitbucket",),
        ("repository",),
        _ACCESS,
    ),
    "list pull requests": Task(
        "list the pull requests of",
        ("read:pullrequest:bitbucket",),
        ("pullrequest",),
        _ACCESS,
    ),
    "list workspaces": Task(
        "list the workspaces of",
        ("read:workspace:bitbucket",),
        ("account",),
        "Use the credentials of a person: others cannot list workspaces.",
    ),
}


@dataclass(frozen=True)
class Question:
    """A request to Bitbucket, and the kind of its credentials.

    Attributes:
        config: The configuration, with the kind of the credentials.
        workspace: The workspace; ``None`` if the request was about the user.
        repository: The repository; ``None`` if the request was about a whole workspace.
        action: The operation.
        commit: The commit, if the request was about one.
    """

    config: AnyConfig
    workspace: str | None = None
    repository: RepositoryId | None = None
    action: Action = "read"
    commit: str | None = None

    @property
    def task(self) -> Task | None:
        return _TASKS.get(self.action)

    @property
    def subject(self) -> str:
        if self.repository is not None:
            return f"the repository {self.repository}"
        if self.workspace is not None:
            return f"the workspace {self.workspace!r}"
        return "the user"

    @property
    def details(self) -> dict[str, str | None]:
        return {
            "mode": self.config.mode,
            "workspace": self.workspace,
            "repository": None if self.repository is None else str(self.repository),
        } | ({} if self.commit is None else {"commit": self.commit})


def boxes(question: Question, scopes: Sequence[str]) -> str:
    """The scopes to select: the missing ones, and all others that the operation needs."""
    mode, task = question.config.mode, question.task
    known = _API_TOKEN_SCOPES if mode == "api-token" else _PERMISSION_BOXES
    needed = () if task is None else task.new if mode == "api-token" else task.old
    names = [known.get(scope, scope) for scope in (*scopes, *needed)]
    return ", ".join(dict.fromkeys(names))


def repository_scope(mode: Mode) -> str:
    """Return the name of the scope to read repositories, as a user selects it."""
    known = _API_TOKEN_SCOPES if mode == "api-token" else _PERMISSION_BOXES
    return known["repository"]
