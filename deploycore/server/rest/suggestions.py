"""Suggest a name and a directory for a new application."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import Field
from starlette.responses import Response

from deploycore.server.api import PREFIX, Api, Call, answer
from deploycore.server.rest.operation import Operation
from deploycore.server.views import Given, View
from deploycore.store import Store

__all__ = ["OPERATIONS"]

_NAME_LENGTH = 63
_NUMBERS = range(2, 10)
_SYSTEM = Path("/srv")
_OWN = "apps"

_Text = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]


class SuggestionQuery(Given):
    """What is known about the new application.

    Attributes:
        repository: The repository, such as ``acme/shop``.
        ref: The branch or tag. It becomes part of the name if the repository's name is taken.
        name: The name, if it is chosen already.
    """

    repository: _Text = ""
    ref: _Text = ""
    name: _Text = ""


class SuggestionView(View):
    """A suggested name and directory.

    Attributes:
        name: A name that no application has; empty if none can be made from the repository.
        directory: The directory that the application's directory should be in: that of the server's
            option ``--targets``, else the one that holds the directory of the newest application,
            else ``/srv`` if the server may write there, else ``apps`` in the home directory of the
            server's user.
        target: ``directory`` and the name; empty without a name.
    """

    name: str
    directory: str
    target: str


def suggest_application(api: Api, call: Call) -> Response:
    """Suggest a name and a directory for a new application. Nothing is created or reserved."""
    query: SuggestionQuery = call.query
    name = query.name or _free_name(api.installation.store, query.repository, query.ref)
    directory = _directory(api)
    target = str(directory / name) if name and "/" not in name else ""
    return answer(SuggestionView(name=name, directory=str(directory), target=target))


def _free_name(store: Store, repository: str, ref: str) -> str:
    """A name from that of the repository, and of the ref if the first one is taken."""
    slug = _slug(repository.rpartition("/")[2].removesuffix(".git"))
    if not slug:
        return ""
    with_ref = _slug(f"{slug}-{ref}") if ref else slug
    candidates = [slug, with_ref]
    candidates += [f"{slug[: _NAME_LENGTH - 2]}-{number}" for number in _NUMBERS]
    taken = store.find_applications(set(candidates))
    return next((each for each in candidates if each not in taken), "")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:_NAME_LENGTH].rstrip("-._")


def _directory(api: Api) -> Path:
    if api.targets is not None:
        return api.targets
    newest = api.installation.store.find_newest_target()
    if newest is not None:
        return newest.parent
    if os.access(_SYSTEM, os.W_OK | os.X_OK):
        return _SYSTEM
    try:
        return Path.home() / _OWN
    except RuntimeError:  # a user without a home directory
        return _SYSTEM


OPERATIONS = (
    Operation(
        "GET",
        f"{PREFIX}/suggestions/application",
        "admin",  # who may create one
        suggest_application,
        {200: SuggestionView},
        query=SuggestionQuery,
    ),
)
