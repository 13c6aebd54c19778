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

    Bitbucket does not document how to escape a double quote or a backslash in a string of its query
    language. So they are never sent: the query has the longest part of the text without them. It
    returns all matching items and some others, which the core removes.

    Attributes:
        name: The exact name.
        contains: A part of the name; case is ignored.
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
