"""Sources of submodules with a credential that is not the outermost repository's.

This package does not know where such credentials come from. The caller passes a function that
returns the credential for a URL, if there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from deploycore.git.credentials import RenewCredential
from deploycore.models import CloneUrl

__all__ = ["FindSource", "GrantedSource", "no_source"]


class GrantedSource(NamedTuple):
    """What a submodule is fetched from.

    Attributes:
        source: The URL and its credential, which is sent to that URL's origin only.
        renew: Returns another credential when the server rejects that one, or when it expires.
    """

    source: CloneUrl
    renew: RenewCredential | None = None


FindSource = Callable[[str], GrantedSource | None]
"""Takes an ``https``, ``http`` or ``ssh`` URL without user information from ``.gitmodules``;
returns ``None`` if there is no credential for it."""


def no_source(url: str) -> None:
    """Grant no credential to any submodule."""
