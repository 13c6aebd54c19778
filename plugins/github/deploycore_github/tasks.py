"""Tasks on GitHub, with the permissions, scopes and role that each needs.

The permissions have two uses: an app requests a token with exactly these permissions, and errors
name the missing permission, in the words of the page where it is selected.

Sources:
https://docs.github.com/en/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens
https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "ADDING_DEPLOY_KEY",
    "LISTING_DEPLOY_KEYS",
    "LISTING_ORGANIZATIONS",
    "LISTING_PULL_REQUESTS",
    "LISTING_WEBHOOKS",
    "READING",
    "REGISTERING_WEBHOOK",
    "REMOVING_DEPLOY_KEY",
    "REMOVING_WEBHOOK",
    "REPORTING_DEPLOYMENT",
    "REPORTING_STATUS",
    "TASKS",
    "Task",
]


@dataclass(frozen=True)
class Task:
    """A task on a repository.

    Attributes:
        name: Identifies the task.
        what: The text between 'may not' and the name of the repository.
        box: The permission, as the pages of fine-grained tokens and apps call it.
        scope: The smallest scope that is enough for a classic token.
        permissions: The permissions of an installation token, by GitHub's names.
        role: The people who may do it, as text; empty if no role is needed.
    """

    name: str
    what: str
    box: str
    scope: str
    permissions: Mapping[str, str] = field(hash=False)
    role: str = ""


def _narrowed(**permissions: str) -> dict[str, str]:
    return {**permissions, "metadata": "read"}


_ADMINISTRATORS = (
    "Ask one of the administrators of the repository to make the account an administrator, too:"
    " GitHub answers others 'Not Found'."
)
_KEY_ADMINISTRATORS = (
    "Ask one of the administrators of the repository to make the account an administrator, too, or"
    " to add the key: GitHub answers others 'Not Found'."
)
_WRITERS = "Give the account write access to the repository."

READING = Task("reading", "read", "Contents: Read-only", "repo", _narrowed(contents="read"))
"""Most of deploycore only reads."""

LISTING_PULL_REQUESTS = Task(
    "listing-pull-requests",
    "list the pull requests of",
    "Pull requests: Read-only",
    "repo",
    _narrowed(pull_requests="read"),
)
LISTING_ORGANIZATIONS = Task(
    "listing-organizations",
    "list the organizations of",
    "Metadata: Read-only",
    "read:org",
    _narrowed(),
)
LISTING_WEBHOOKS = Task(
    "listing-webhooks",
    "list the webhooks of",
    "Webhooks: Read-only",
    "read:repo_hook",
    _narrowed(repository_hooks="read"),
    _ADMINISTRATORS,
)
REGISTERING_WEBHOOK = Task(
    "registering-webhook",
    "register a webhook for",
    "Webhooks: Read and write",
    "admin:repo_hook",
    _narrowed(repository_hooks="write"),
    _ADMINISTRATORS,
)
REMOVING_WEBHOOK = Task(
    "removing-webhook",
    "remove a webhook from",
    "Webhooks: Read and write",
    "admin:repo_hook",
    _narrowed(repository_hooks="write"),
    _ADMINISTRATORS,
)
LISTING_DEPLOY_KEYS = Task(
    "listing-deploy-keys",
    "list the deploy keys of",
    "Administration: Read-only",
    "repo",
    _narrowed(administration="read"),
    _KEY_ADMINISTRATORS,
)
ADDING_DEPLOY_KEY = Task(
    "adding-deploy-key",
    "add a deploy key to",
    "Administration: Read and write",
    "repo",
    _narrowed(administration="write"),
    _KEY_ADMINISTRATORS,
)
REMOVING_DEPLOY_KEY = Task(
    "removing-deploy-key",
    "remove a deploy key from",
    "Administration: Read and write",
    "repo",
    _narrowed(administration="write"),
    _KEY_ADMINISTRATORS,
)
REPORTING_STATUS = Task(
    "reporting-status",
    "report a status to",
    "Commit statuses: Read and write",
    "repo:status",
    _narrowed(statuses="write"),
    _WRITERS,
)
REPORTING_DEPLOYMENT = Task(
    "reporting-deployment",
    "report a deployment to",
    "Deployments: Read and write",
    "repo_deployment",
    _narrowed(deployments="write"),
    _WRITERS,
)

TASKS = (
    READING,
    LISTING_PULL_REQUESTS,
    LISTING_WEBHOOKS,
    REGISTERING_WEBHOOK,
    REMOVING_WEBHOOK,
    LISTING_DEPLOY_KEYS,
    ADDING_DEPLOY_KEY,
    REMOVING_DEPLOY_KEY,
    REPORTING_STATUS,
    REPORTING_DEPLOYMENT,
)
