"""Deployments: a commit becomes the live release of a target directory, and can be taken back."""

from deploycore.deploy.activation import typed_error
from deploycore.deploy.engine import Engine, Outcome, Release
from deploycore.deploy.events import DeployEvent, DeployListener, no_listener
from deploycore.deploy.identity import confirm_repository, is_same_name
from deploycore.deploy.interruptible import InterruptibleProvider, fetch_hint
from deploycore.deploy.log import LogLine, LogPart, Logs
from deploycore.deploy.releases import Releases

__all__ = [
    "DeployEvent",
    "DeployListener",
    "Engine",
    "InterruptibleProvider",
    "LogLine",
    "LogPart",
    "Logs",
    "Outcome",
    "Release",
    "Releases",
    "confirm_repository",
    "fetch_hint",
    "is_same_name",
    "no_listener",
    "typed_error",
]
