"""Acme's observer: it sends a message when a deployment ends."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping

from deploycore.errors import DeploycoreError
from deploycore.events import DeploymentRecord
from deploycore.hookspecs import hookimpl

from deploycore_acme.configuration import AcmeConfig

__all__ = ["AcmeObserver"]

logger = logging.getLogger(__name__)

TIMEOUT = 5.0
"""Seconds for a request. After a deployment, deploycore waits ten seconds for all observers."""


class AcmeObserver:
    """Send a message to Acme when a deployment ends.

    Args:
        config: The observer's settings, from ``settings.yaml``.
    """

    Config = AcmeConfig

    def __init__(self, config: AcmeConfig) -> None:
        self._config = config

    # EDIT 2: the hooks of deploycore.hookspecs.ObserverSpec whose events matter
    @hookimpl
    def deploy_finished(self, deployment: DeploymentRecord, error: DeploycoreError | None) -> None:
        """Send a message, if the deployment ended in one of the states."""
        if deployment.state in self._config.states:
            self._send(message(deployment, error))

    def _send(self, content: Mapping[str, object]) -> None:
        # EDIT 4: the request that the service expects
        request = urllib.request.Request(
            self._config.url,
            data=json.dumps(content).encode(),
            headers={
                "Authorization": f"Bearer {self._config.token.get_secret_value()}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                response.read()
        except urllib.error.HTTPError as error:
            logger.warning("Acme rejected a message with status %s", error.code)
            error.close()
        except OSError as error:
            logger.warning("Acme cannot be reached: %s", type(error).__name__)


def message(deployment: DeploymentRecord, error: DeploycoreError | None) -> Mapping[str, object]:
    """Describe how a deployment ended."""
    # EDIT 3: the fields that the service expects
    return {
        "application": deployment.application,
        "state": deployment.state,
        "commit": deployment.commit,
        "commit_url": deployment.commit_url,
        "cause": deployment.cause,
        "requested_by": deployment.requested_by,
        "error": error.message if error else None,
    }
