"""Makes the tree of pages, which the theme shows beside each of them, from titles alone.

For each page, Sphinx copies the entries of all headings and names of all pages, and then drops all
but the titles: this took a tenth of a build.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from docutils.nodes import bullet_list, list_item
from sphinx.addnodes import toctree
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

__all__ = ["setup"]


def setup(app: Sphinx) -> None:
    """Give the theme, whose priority is 500, a function that lists titles."""
    app.connect("html-page-context", _list_titles, priority=400)


def _list_titles(app: Sphinx, _page: str, _template: str, context: dict[str, Any], _: Any) -> None:
    list_entries = context["toctree"]

    def list_titles(**options: Any) -> str:
        if not options.get("titles_only"):
            return cast(str, list_entries(**options))
        entries = app.env.tocs
        app.env.tocs = _titles(app.env)
        try:
            return cast(str, list_entries(**options))
        finally:
            app.env.tocs = entries

    context["toctree"] = list_titles


@cache  # pages are written when all are read
def _titles(env: BuildEnvironment) -> dict[str, bullet_list]:
    """The entry of each page, without the headings and names on it."""
    return {page: _title(entries) for page, entries in env.tocs.items()}


def _title(entries: bullet_list) -> bullet_list:
    copied = entries.deepcopy()
    for entry in copied.children:
        if isinstance(entry, list_item) and len(entry) > 1:  # its title, and what is below it
            entry[1:] = [bullet_list("", *below)] if (below := [*entry.findall(toctree)]) else []
    return copied
