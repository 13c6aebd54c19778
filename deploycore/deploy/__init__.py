"""Deployments: a branch's newest commit becomes the live release of a target directory."""

from deploycore.deploy.engine import (
    DeployListener,
    DeployProgress,
    deploy,
    fetch_hint,
    no_deploy_progress,
)
from deploycore.deploy.releases import Releases

__all__ = [
    "DeployListener",
    "DeployProgress",
    "Releases",
    "deploy",
    "fetch_hint",
    "no_deploy_progress",
]
