"""The models that provider hooks receive and return.

They are frozen pydantic models. Plugins convert their host's responses to these models; the core
accepts nothing else. Secrets are ``SecretStr``, so that they do not appear in a ``repr``, a log
line or JSON.
"""

from __future__ import annotations

from deploycore.models.base import (
    CommitHash,
    HostId,
    NonEmpty,
    is_commit_hash,
)
from deploycore.models.base import Model as Model
from deploycore.models.cloning import (
    CloneUrl,
    GitCredential,
    SshAddress,
    SshCredential,
)
from deploycore.models.listed import (
    Account,
    Branch,
    CloneLink,
    Owner,
    PullRequest,
    PullRequestState,
    Repository,
    RepositoryId,
    Tag,
)
from deploycore.models.queries import (
    BranchQuery,
    OwnerQuery,
    PullRequestQuery,
    RepositoryQuery,
    TagQuery,
)

__all__ = [
    "Account",
    "Branch",
    "BranchQuery",
    "CloneLink",
    "CloneUrl",
    "CommitHash",
    "GitCredential",
    "HostId",
    "NonEmpty",
    "Owner",
    "OwnerQuery",
    "PullRequest",
    "PullRequestQuery",
    "PullRequestState",
    "Repository",
    "RepositoryId",
    "RepositoryQuery",
    "SshAddress",
    "SshCredential",
    "Tag",
    "TagQuery",
    "is_commit_hash",
]
