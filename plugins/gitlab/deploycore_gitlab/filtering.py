"""Terms for GitLab's searches that miss no matching item.

The core drops what a search lets through beyond the query; what a search leaves out is lost. So
GitLab is asked for less than the filter where its searches mean something else by it.
"""

from __future__ import annotations

import re

__all__ = ["branch_search", "can_be_asked_for", "project_search"]

_SHORTEST_WORD = 3


def branch_search(part: str | None) -> str | None:
    """The ``search`` term for branches whose name contains this; ``None`` to use no search.

    ``^``, ``$`` and ``*`` have a meaning there, and there is no way to quote them; beyond ASCII,
    upper and lower case are not compared in the same way as here.

    Source: https://docs.gitlab.com/api/branches/#list-repository-branches
    """
    return _longest(r"[\^$*]|[^ -~]+", part)


def project_search(part: str | None) -> str | None:
    """The ``search`` term for projects whose name contains this; ``None`` to use no search.

    GitLab looks for each word and for what stands in quotes, and for parts of words from three
    letters on: a shorter text is only found where it is the whole name.

    Source: https://docs.gitlab.com/api/projects/#list-all-projects
    """
    longest = _longest(r'[\s"]|[^ -~]+', part)
    return longest if longest and len(longest) >= _SHORTEST_WORD else None


def can_be_asked_for(branch: str) -> bool:
    """Whether an address can contain the name of a branch; git forbids the names that cannot."""
    return not {".", ".."} & set(branch.split("/"))


def _longest(between: str, text: str | None) -> str | None:
    return max(re.split(between, text or ""), key=len) or None
