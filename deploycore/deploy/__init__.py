"""Deployments: a commit becomes the live release of a target directory, and can be taken back."""

from deploycore.deploy.engine import Engine, Outcome, Release
from deploycore.deploy.events import DeployEvent, DeployListener, no_listener
from deploycore.deploy.log import LogLine, LogPart, Logs
from deploycore.deploy.releases import Releases
from deploycore.deploy.run import fetch_hint

__all__ = [
    "DeployEvent",
    "DeployListener",
    "Engine",
    "LogLine",
    "LogPart",
    "Logs",
    "Outcome",
    "Release",
    "Releases",
    "fetch_hint",
    "no_listener",
]
