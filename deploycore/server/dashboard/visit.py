"""One request for a page: who sends it, its form, and methods to run operations and to respond."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deploycore.server.accounts import Accounts, Visitor
from deploycore.server.api import PREFIX
from deploycore.server.dashboard.forms import Form
from deploycore.server.dashboard.rendering import DONE, render
from deploycore.server.rest.service import Rest

__all__ = ["Visit", "quoted"]


class Visit:
    """One request for a page.

    Attributes:
        request: The request.
        visitor: Who is signed in; ``None`` on pages for everybody.
        form: The fields of the form that was sent; empty for GET.
        accounts: Signs users in and out.
        form_token: The token that forms of this page must contain.
    """

    def __init__(
        self,
        request: Request,
        rest: Rest,
        visitor: Visitor | None,
        form: Form,
        *,
        accounts: Accounts,
        form_token: SecretStr,
    ) -> None:
        self.request = request
        self.visitor = visitor
        self.form = form
        self.accounts = accounts
        self.form_token = form_token
        self._rest = rest

    @property
    def path(self) -> Mapping[str, str]:
        """Return the parameters of the path."""
        return self.request.path_params

    @property
    def query(self) -> Mapping[str, str]:
        """Return the parameters of the query."""
        return self.request.query_params

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        **parameters: str,
    ) -> Any:
        """Run an operation of the REST API as the user who is signed in.

        Args:
            method: The operation's method.
            path: The operation's path as in its table, without the prefix of all of them.
            query: The query's parameters. Those that are ``None`` or empty are left out.
            body: The body.
            parameters: The values of the path's parameters.

        Returns:
            The JSON of the response; ``None`` if it has no content.

        Raises:
            Refusal: As over HTTP.
        """
        assert self.visitor is not None  # noqa: S101  pages for everybody ask nothing
        return await self._rest.call(
            self.visitor.caller,
            method,
            PREFIX + path,
            parameters=parameters,
            query=query,
            body=body,
        )

    def render(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """Return a page.

        Args:
            template: The template's file name.
            context: What the template uses, besides ``visitor``, ``here`` (the path),
                ``form`` and ``message`` (what the form before did).
        """
        given = {
            "visitor": self.visitor,
            "here": self.request.url.path,
            "form": self.form,
            "message": DONE.get(self.query.get("done", ""), ""),
            "form_token": self.form_token.get_secret_value(),
        }
        return render(template, given | context, status=status)

    def go(self, path: str, *, done: str = "", **query: Any) -> Response:
        """Return a redirect to a page of this server, after a form was sent.

        Args:
            path: The page's path, with its parameters quoted by ``quoted``.
            done: A key of ``rendering.DONE``, whose message the page shows.
        """
        given = {"done": done, **query} if done else query
        return RedirectResponse(f"{path}?{urlencode(given)}" if given else path, status_code=303)


def quoted(part: object) -> str:
    """Return a value as one part of a path."""
    return quote(str(part), safe="")
