"""Deployments: a commit becomes the live release of a target directory, and can be taken back."""

from __future__ import annotations

from deploycore.lazy import lazy_exports

TYPE_CHECKING = False  # type checkers treat this as true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deploycore.deploy.activation import typed_error
    from deploycore.deploy.engine import Engine
    from deploycore.deploy.events import DeployEvent, DeployListener, no_listener
    from deploycore.deploy.identity import confirm_repository, is_same_name
    from deploycore.deploy.interruptible import InterruptibleProvider, fetch_hint
    from deploycore.deploy.log import LogLine, LogPart, Logs
    from deploycore.deploy.release_list import Release
    from deploycore.deploy.releases import Releases
    from deploycore.deploy.requests import DeployRequest, Outcome
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "deploycore.deploy.activation": ("typed_error",),
            "deploycore.deploy.engine": ("Engine",),
            "deploycore.deploy.events": ("DeployEvent", "DeployListener", "no_listener"),
            "deploycore.deploy.identity": ("confirm_repository", "is_same_name"),
            "deploycore.deploy.interruptible": ("InterruptibleProvider", "fetch_hint"),
            "deploycore.deploy.log": ("LogLine", "LogPart", "Logs"),
            "deploycore.deploy.release_list": ("Release",),
            "deploycore.deploy.releases": ("Releases",),
            "deploycore.deploy.requests": ("DeployRequest", "Outcome"),
        },
    )

__all__ = [
    "DeployEvent",
    "DeployListener",
    "DeployRequest",
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
