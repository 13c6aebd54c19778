"""Filters by name, in Bitbucket's query language.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#filtering
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["NameFilter"]

_UNSPEAKABLE = re.compile(r'["\\\x00-\x1f\x7f]')


@dataclass(frozen=True)
class NameFilter:
    """A filter by name.

    Bitbucket does not document how a string of its query language holds a double quote or a
    backslash. So none is ever sent: the query has the longest part without them, which lets
    through everything that is wanted, and the core drops the rest.

    Attributes:
        name: Exactly this one.
        contains: Those that contain this, in any case of letters.
    """

    name: str | None = None
    contains: str | None = None

    @property
    def q(self) -> str | None:
        """The ``q`` parameter; ``None`` if it is not needed."""
        if self.name is not None and not _UNSPEAKABLE.search(self.name):
            return f'name = "{self.name}"'
        part = max(_UNSPEAKABLE.split(self.name or self.contains or ""), key=len)
        return f'name ~ "{part}"' if part else None

    @property
    def is_all_in_q(self) -> bool:
        """Whether Bitbucket's response to ``q`` contains only matching items."""
        if self.name is not None and self.contains is not None:
            return False
        return not _UNSPEAKABLE.search(self.name or self.contains or "")
