"""Terms for GitLab's searches that miss no matching item.

The core removes items that do not match the query, but cannot add items that a search has left out.
So if GitLab's search gives the filter another meaning, a less strict search term is used.
"""

from __future__ import annotations

import re

__all__ = ["branch_search", "can_be_asked_for", "project_search"]

_SHORTEST_WORD = 3


def branch_search(part: str | None) -> str | None:
    """The ``search`` term for branches whose name contains this; ``None`` to use no search.

    ``^``, ``$`` and ``*`` have a special meaning there, and cannot be escaped. Beyond ASCII, GitLab
    compares upper and lower case in another way.

    Source: https://docs.gitlab.com/api/branches/#list-repository-branches
    """
    return _longest(r"[\^$*]|[^ -~]+", part)


def project_search(part: str | None) -> str | None:
    """The ``search`` term for projects whose name contains this; ``None`` to use no search.

    GitLab searches for each word, and for text in quotes. It finds parts of words only if they have
    at least three letters: a shorter text is found only if it is the whole name.

    Source: https://docs.gitlab.com/api/projects/#list-all-projects
    """
    longest = _longest(r'[\s"]|[^ -~]+', part)
    return longest if longest and len(longest) >= _SHORTEST_WORD else None


def can_be_asked_for(branch: str) -> bool:
    """Whether an address can contain the name of a branch; git forbids the names that cannot."""
    return not {".", ".."} & set(branch.split("/"))


def _longest(between: str, text: str | None) -> str | None:
    return max(re.split(between, text or ""), key=len) or None
