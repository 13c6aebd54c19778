"""What deploycore remembers: providers, applications and deployments, in an SQL database.

The rest of deploycore sees frozen records and one :class:`Store`; tables, migrations, locks
and the database's own errors stay in this package.
"""

from deploycore.store.records import (
    ApplicationRecord,
    DeploymentKind,
    DeploymentRecord,
    ProviderRecord,
    Role,
    TokenRecord,
    TriggerCounts,
    TriggerRecord,
    WebhookRecord,
)
from deploycore.store.states import FINAL_STATES, DeploymentState
from deploycore.store.store import Store

__all__ = [
    "FINAL_STATES",
    "ApplicationRecord",
    "DeploymentKind",
    "DeploymentRecord",
    "DeploymentState",
    "ProviderRecord",
    "Role",
    "Store",
    "TokenRecord",
    "TriggerCounts",
    "TriggerRecord",
    "WebhookRecord",
]
