"""What deploycore remembers: providers, applications, deployments and what asks for them, in SQL.

The rest of deploycore sees frozen records and one :class:`Store`; tables, migrations, locks
and the database's own errors stay in this package.
"""

from deploycore.store.records import (
    ApplicationRecord,
    ClaimRecord,
    DeploymentKind,
    DeploymentRecord,
    PendingApplication,
    PollRecord,
    PreviewRecord,
    ProviderRecord,
    ReleaseHistory,
    RepositoryRecord,
    Role,
    TokenRecord,
    TriggerCounts,
    TriggerRecord,
    WebhookRecord,
    WorkerRecord,
)
from deploycore.store.states import FINAL_STATES, DeploymentState
from deploycore.store.store import Store

__all__ = [
    "FINAL_STATES",
    "ApplicationRecord",
    "ClaimRecord",
    "DeploymentKind",
    "DeploymentRecord",
    "DeploymentState",
    "PendingApplication",
    "PollRecord",
    "PreviewRecord",
    "ProviderRecord",
    "ReleaseHistory",
    "RepositoryRecord",
    "Role",
    "Store",
    "TokenRecord",
    "TriggerCounts",
    "TriggerRecord",
    "WebhookRecord",
    "WorkerRecord",
]
