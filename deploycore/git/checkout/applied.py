"""Which attributes of ``.gitattributes`` an export applies. ``changes`` applies them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["NO_ATTRIBUTES", "AppliedAttributes"]


class AppliedAttributes(NamedTuple):
    """Which attributes are applied.

    Attributes:
        archive: ``export-ignore``, ``text`` and ``eol``.
        lfs: ``filter=lfs``.
    """

    archive: bool = False
    lfs: bool = False


NO_ATTRIBUTES = AppliedAttributes()
