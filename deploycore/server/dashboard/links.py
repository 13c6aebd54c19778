"""Links between pages of the dashboard, from the links in operations' responses."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

__all__ = ["following", "with_query"]


def with_query(path: str, query: Mapping[str, object]) -> str:
    """Return a path with a query, without the parameters that are ``None`` or empty."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def following(path: str, query: Mapping[str, str], following: str | None, name: str) -> str:
    """Return the link to a list's next page; empty if there is none.

    Args:
        path: The page's path.
        query: The page's query, which the link keeps.
        following: The ``next`` of the operation.
        name: The parameter of its query that has the position.
    """
    if following is None:
        return ""
    place = dict(parse_qsl(urlsplit(following).query)).get(name, "")
    return with_query(path, {**query, name: place, "done": ""})
