"""Checks of the patterns in an application's definition, before it is stored.

They are not part of the definition's own validation, so that definitions from earlier versions can
still be read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deploycore.errors import ConfigurationError

if TYPE_CHECKING:
    from deploycore.applications.application import Application

__all__ = ["refuse_unusable_patterns"]

_ABSOLUTE = re.compile(r"/(?!/)|~/")


def refuse_unusable_patterns(application: Application) -> None:
    """Refuse patterns that git cannot read or that can match nothing, and unusable targets.

    Raises:
        ConfigurationError: A pattern of ``watch``, or the target of previews, is unusable.
    """
    from deploycore.git import refuse_malformed_patterns

    try:
        refuse_malformed_patterns(application.watch)
        _refuse_preview_target(application)
    except ConfigurationError as error:
        error.message = f"The application {application.name!r} is not valid: {error.message}"
        error.args = (error.message,)
        raise


def _refuse_preview_target(application: Application) -> None:
    auto = application.auto_deploy
    target = auto.previews.target if auto and auto.previews else "/"
    if not _ABSOLUTE.match(target) or ".." in target.split("/") or not target.isprintable():
        raise ConfigurationError(
            "auto_deploy/previews/target: should be an absolute path without '..'.",
            hint="Write it as, for example, /srv/previews/{application}-{number}.",
        )
