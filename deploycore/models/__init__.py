"""The models that provider hooks receive and return.

They are frozen pydantic models. Plugins convert their host's responses to these models; the core
accepts nothing else. Secrets are ``SecretStr``, so that they do not appear in a ``repr``, a log
line or JSON.
"""

from __future__ import annotations

from deploycore.lazy import lazy_exports

TYPE_CHECKING = False  # what type checkers take for true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deploycore.models.base import CommitHash, HostId, NonEmpty, is_commit_hash
    from deploycore.models.base import Model as Model
    from deploycore.models.cloning import CloneUrl, GitCredential, SshAddress, SshCredential
    from deploycore.models.listed import (
        Account,
        Branch,
        CloneLink,
        Owner,
        PullRequest,
        PullRequestState,
        Repository,
        Tag,
    )
    from deploycore.models.queries import (
        BranchQuery,
        OwnerQuery,
        PullRequestQuery,
        RepositoryQuery,
        TagQuery,
    )
    from deploycore.models.repository_id import RepositoryId
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "deploycore.models.base": (
                "CommitHash",
                "HostId",
                "Model",
                "NonEmpty",
                "is_commit_hash",
            ),
            "deploycore.models.cloning": (
                "CloneUrl",
                "GitCredential",
                "SshAddress",
                "SshCredential",
            ),
            "deploycore.models.listed": (
                "Account",
                "Branch",
                "CloneLink",
                "Owner",
                "PullRequest",
                "PullRequestState",
                "Repository",
                "Tag",
            ),
            "deploycore.models.queries": (
                "BranchQuery",
                "OwnerQuery",
                "PullRequestQuery",
                "RepositoryQuery",
                "TagQuery",
            ),
            "deploycore.models.repository_id": ("RepositoryId",),
        },
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
