"""Partial responses: the ``fields`` parameter.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#partial-responses
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["select_fields"]

Tree = dict[str, Any]


def select_fields(body: Any, fields: str) -> Any:
    """Keep only the fields that ``fields`` names.

    A list of plain names keeps only these, so ``next`` must be named too. ``-x`` removes a field.
    ``+x`` adds a field to the default, which here already has all fields.
    """
    names = [name for name in fields.split(",") if name]
    dropped = [name[1:] for name in names if name.startswith("-")]
    added = [name[1:] for name in names if name.startswith("+")]
    plain = [name for name in names if name[0] not in "+-"]
    kept = _pick(body, _tree([*plain, *added])) if plain else body
    return _drop(kept, _tree(dropped))


def _tree(names: Iterable[str]) -> Tree:
    """``values.a,values.b`` as ``{"values": {"a": {}, "b": {}}}``; an empty one means all."""
    root: Tree = {}
    # The longest first, so that a name for an object has priority over names of its fields.
    for name in sorted(names, key=lambda name: -name.count(".")):
        *parents, last = name.split(".")
        place = root
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = {}
    return root


def _pick(value: Any, tree: Tree) -> Any:
    if isinstance(value, list):
        return [_pick(item, tree) for item in value]
    if not isinstance(value, dict) or not tree:
        return value
    return {key: _pick(item, tree[key]) for key, item in value.items() if key in tree}


def _drop(value: Any, tree: Tree) -> Any:
    if isinstance(value, list):
        return [_drop(item, tree) for item in value]
    if not isinstance(value, dict):
        return value
    kept = ((key, item) for key, item in value.items() if tree.get(key) != {})
    return {key: _drop(item, tree[key]) if key in tree else item for key, item in kept}
