"""Use a deploycore server on another machine, through its REST API."""

from deploycore.remote.logins import Logins
from deploycore.remote.server import RemoteServer

__all__ = ["Logins", "RemoteServer"]
