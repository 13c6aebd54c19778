"""The request for a deployment, and the result of several deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploycore.deploy.events import DeployListener, no_listener
from deploycore.errors import DeploycoreError
from deploycore.records import record
from deploycore.store import DeploymentRecord

if TYPE_CHECKING:
    from deploycore.deployment_records import DeploymentCause
    from deploycore.git import Cancellation, Reuse

__all__ = ["DeployRequest", "Outcome"]


@record
class DeployRequest:
    """How to deploy an application, and who receives its events.

    Attributes:
        requested_by: The person or program that asked for it, for the history.
        cause: Why it is requested, for observers. For a rollback, it is always ``rollback``.
        force: Whether to make a new release of a commit that is already live.
        automatic: Whether it was not requested by a person. Then a commit that a person rolled back
            from is skipped.
        reuse: How unchanged files are reused; ``None`` for what the application's definition says.
        wait: Whether to wait while another deployment of the application runs.
        claimed: Whether the caller holds the application's claim (``Store.claims``). Deployments
            that dead workers of other machines left unfinished are recovered then too, and
            ``listener`` gets their events.
        listener: Called with each event. If several applications are deployed, it is called in
            several threads.
        cancellation: Stops the deployment at the next safe point.
    """

    requested_by: str = ""
    cause: DeploymentCause = ""
    force: bool = False
    automatic: bool = False
    reuse: Reuse | None = None
    wait: bool = True
    claimed: bool = False
    listener: DeployListener = no_listener
    cancellation: Cancellation | None = None


@record
class Outcome:
    """How one of several deployments ended.

    Attributes:
        deployment: Its record; ``None`` if it failed before there was one.
        error: Why it failed; ``None`` if it succeeded.
    """

    application: str
    deployment: DeploymentRecord | None
    error: DeploycoreError | None
