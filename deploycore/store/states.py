"""The states of a deployment, and which may follow which.

::

    queued → authenticating → resolving → fetching → building → activating → healthy
                                                                           → rolled_back
    any but the last three → failed | cancelled       queued → superseded
    resolving, fetching → skipped

Each state is recorded before its work begins. So if the process of a deployment has died, the
recorded state shows what may have happened and what cannot have happened.
"""

from __future__ import annotations

from deploycore.deployment_records import FINAL_STATES, DeploymentState

__all__ = ["FINAL_STATES", "DeploymentState", "may_precede"]

_FOLLOWERS: dict[DeploymentState, set[DeploymentState]] = {
    # A rollback has nothing to fetch or build.
    "queued": {"authenticating", "activating", "superseded"},
    "authenticating": {"resolving"},
    "resolving": {"fetching", "skipped"},
    "fetching": {"building", "activating", "skipped"},
    "building": {"activating"},
    "activating": {"healthy", "rolled_back"},
}


def may_precede(state: DeploymentState) -> list[DeploymentState]:
    """Return the states from which a deployment may enter this state."""
    if state in ("failed", "cancelled"):
        return list(_FOLLOWERS)
    return [before for before, after in _FOLLOWERS.items() if state in after]
