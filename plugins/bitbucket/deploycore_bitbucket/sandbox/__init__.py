"""A sandbox of Bitbucket Cloud: a real server on the loopback address, for the demo and for tests.

It has the part of the REST API 2.0 that deploycore uses, and git over smart HTTP. It follows the
rules for each kind of credentials, and can fail on request (``sandbox.faults``). To run it:
``python -m deploycore_bitbucket.sandbox``.
"""

from deploycore.testing import faults
from deploycore.testing.faults import Change, Fault, Faults
from deploycore.testing.pull_requests import PullRequest
from deploycore.testing.repositories import Executable, File, Submodule, Symlink
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import Delivery, DeliveryRules, Hook, ShownStatus
from deploycore_bitbucket.sandbox.rows import Credential, User, Workspace
from deploycore_bitbucket.sandbox.sandbox import Exchange, LoggedRequest, Sandbox

__all__ = [
    "Change",
    "Credential",
    "Delivery",
    "DeliveryRules",
    "Exchange",
    "Executable",
    "Fault",
    "Faults",
    "File",
    "Hook",
    "LoggedRequest",
    "PullRequest",
    "Repository",
    "Sandbox",
    "ShownStatus",
    "Submodule",
    "Symlink",
    "User",
    "Workspace",
    "faults",
]
