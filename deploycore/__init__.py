"""deploycore: from a git host to files on a machine, through provider plugins.

The names that users import are here. Each is loaded when it is first used, so ``import deploycore``
costs nothing. Plugin authors import from the modules that name their subjects:
``deploycore.hookspecs``, ``.models``, ``.configuration``, ``.http`` and ``.errors``.
"""

from __future__ import annotations

from deploycore import moved
from deploycore.lazy import lazy_exports
from deploycore.version import __version__

TYPE_CHECKING = False  # type checkers treat this as true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deploycore.applications.application import Application as Application
    from deploycore.applications.files import read_declaration as read_declaration
    from deploycore.applications.files import render_declaration as render_declaration
    from deploycore.deploy import DeployEvent as DeployEvent
    from deploycore.errors import DeploycoreError as DeploycoreError
    from deploycore.git import Cancellation as Cancellation
    from deploycore.installation import Installation as Installation
    from deploycore.installation import SecretReference as SecretReference
    from deploycore.models import BranchQuery as BranchQuery
    from deploycore.models import RepositoryId as RepositoryId
    from deploycore.models import RepositoryQuery as RepositoryQuery
    from deploycore.provider import Provider as Provider
    from deploycore.provider import open_provider as open_provider
    from deploycore.settings import Settings as Settings
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "deploycore.applications.application": ("Application",),
            "deploycore.models": ("BranchQuery", "RepositoryId", "RepositoryQuery"),
            "deploycore.git": ("Cancellation",),
            "deploycore.deploy": ("DeployEvent",),
            "deploycore.errors": ("DeploycoreError",),
            "deploycore.installation.installation": ("Installation", "SecretReference"),
            "deploycore.provider.handle": ("Provider",),
            "deploycore.provider.opening": ("open_provider",),
            "deploycore.settings": ("Settings",),
            "deploycore.applications.files": ("read_declaration", "render_declaration"),
        },
    )

moved.install()

__all__ = [
    "Application",
    "BranchQuery",
    "Cancellation",
    "DeployEvent",
    "DeploycoreError",
    "Installation",
    "Provider",
    "RepositoryId",
    "RepositoryQuery",
    "SecretReference",
    "Settings",
    "__version__",
    "open_provider",
    "read_declaration",
    "render_declaration",
]
