"""The database: providers, applications, deployments, triggers, and everything else that is stored.

Other packages see frozen records and one :class:`Store`. Tables, migrations, locks and the errors
of the database stay in this package.
"""

from __future__ import annotations

from deploycore.lazy import lazy_exports

TYPE_CHECKING = False  # type checkers treat this as true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deploycore.store.account_records import (
        AuditRecord,
        Role,
        SessionRecord,
        TokenRecord,
        UserRecord,
    )
    from deploycore.store.listed_records import PreviewRecord, ProviderRecord
    from deploycore.store.queue_records import (
        ClaimRecord,
        PendingApplication,
        PollRecord,
        TriggerCounts,
        TriggerRecord,
        WorkerRecord,
    )
    from deploycore.store.records import (
        ApplicationRecord,
        DeployKeyRecord,
        DeploymentKind,
        DeploymentRecord,
        ReleaseHistory,
        RepositoryRecord,
    )
    from deploycore.store.states import FINAL_STATES, DeploymentState
    from deploycore.store.store import Store
    from deploycore.store.webhook_records import DeliveryOutcome, DeliveryRecord, WebhookRecord
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "deploycore.store.account_records": (
                "AuditRecord",
                "Role",
                "SessionRecord",
                "TokenRecord",
                "UserRecord",
            ),
            "deploycore.store.listed_records": ("PreviewRecord", "ProviderRecord"),
            "deploycore.store.queue_records": (
                "ClaimRecord",
                "PendingApplication",
                "PollRecord",
                "TriggerCounts",
                "TriggerRecord",
                "WorkerRecord",
            ),
            "deploycore.store.webhook_records": (
                "DeliveryOutcome",
                "DeliveryRecord",
                "WebhookRecord",
            ),
            "deploycore.store.records": (
                "ApplicationRecord",
                "DeployKeyRecord",
                "DeploymentKind",
                "DeploymentRecord",
                "ReleaseHistory",
                "RepositoryRecord",
            ),
            "deploycore.store.states": ("FINAL_STATES", "DeploymentState"),
            "deploycore.store.store": ("Store",),
        },
    )

__all__ = [
    "FINAL_STATES",
    "ApplicationRecord",
    "AuditRecord",
    "ClaimRecord",
    "DeliveryOutcome",
    "DeliveryRecord",
    "DeployKeyRecord",
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
    "SessionRecord",
    "Store",
    "TokenRecord",
    "TriggerCounts",
    "TriggerRecord",
    "UserRecord",
    "WebhookRecord",
    "WorkerRecord",
]
