"""Operations on API tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self
from urllib.parse import urlencode

from pydantic import Field, model_validator
from starlette.responses import Response

from deploycore.errors import ConfigurationError
from deploycore.server.api import PREFIX, Api, Call, answer, missing
from deploycore.server.checking import checked
from deploycore.server.rest.operation import Operation
from deploycore.server.views import Given, View
from deploycore.store import Role, TokenRecord
from deploycore.store.token_digests import digest_of, new_token

__all__ = ["OPERATIONS"]


class TokenView(View):
    """A token, without its secret.

    Attributes:
        name: The name of the token.
        used_at: When the token was last used; ``None`` if never.
    """

    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None

    @classmethod
    def of(cls, record: TokenRecord) -> TokenView:
        """The view of a record."""
        return cls.model_validate(record)


class TokenPage(View):
    """A page of tokens, sorted by name."""

    items: Sequence[TokenView]
    next: str | None


class TokenAdded(View):
    """A new token. Its secret is not shown again.

    Attributes:
        token: The token.
        secret: The secret, to send as ``Authorization: Bearer``.
    """

    token: TokenView
    secret: Annotated[str, Field(repr=False)]


class TokenQuery(Given):
    """The page of tokens to return.

    Attributes:
        after: Return tokens whose names sort after this name.
    """

    after: Annotated[str, Field(max_length=63)] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class NewToken(Given):
    """A token to add.

    Attributes:
        name: The name of the token, which cannot be changed later.
        days: Days until the token expires (default: it does not expire).
        seconds: Seconds until the token expires, instead of ``days``.
    """

    name: Annotated[str, Field(min_length=1, max_length=63)]
    role: Role
    days: Annotated[int, Field(ge=1, le=3650)] | None = None
    seconds: Annotated[int, Field(ge=1, le=3650 * 86_400)] | None = None

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.days is not None and self.seconds is not None:
            raise ValueError("should have days or seconds, not both")
        return self

    @property
    def lifetime(self) -> timedelta | None:
        """Return the time until the token expires; ``None`` if it does not expire."""
        if self.days is None and self.seconds is None:
            return None
        return timedelta(days=self.days or 0, seconds=self.seconds or 0)


def list_tokens(api: Api, call: Call) -> Response:
    """List the API tokens, sorted by name."""
    query: TokenQuery = call.query
    found = api.installation.store.tokens.list(after=query.after, limit=query.limit + 1)
    items, following = found[: query.limit], None
    if len(found) > len(items):
        given = {"after": items[-1].name, "limit": query.limit}
        following = f"{PREFIX}/tokens?{urlencode(given)}"
    return answer(TokenPage(items=[TokenView.of(each) for each in items], next=following))


def add_token(api: Api, call: Call) -> Response:
    """Add a token. Only this response contains its secret: the server stores a digest."""
    wanted, secret = checked(NewToken, call.body), new_token()
    lifetime = wanted.lifetime
    record = api.installation.store.tokens.add(
        wanted.name,
        digest=digest_of(secret),
        role=wanted.role,
        expires_at=None if lifetime is None else datetime.now(UTC) + lifetime,
    )
    added = TokenAdded(token=TokenView.of(record), secret=secret.get_secret_value())
    return answer(added, status=201)


def delete_token(api: Api, call: Call) -> Response:
    """Remove a token. The server rejects it within a second."""
    try:
        api.installation.store.tokens.remove(call.path["token"])
    except ConfigurationError as error:
        raise missing(error) from None
    return Response(status_code=204)


_TOKENS = f"{PREFIX}/tokens"

OPERATIONS = (
    Operation("GET", _TOKENS, "admin", list_tokens, {200: TokenPage}, query=TokenQuery),
    Operation("POST", _TOKENS, "admin", add_token, {201: TokenAdded}, body=NewToken),
    Operation("DELETE", f"{_TOKENS}/{{token}}", "admin", delete_token, {204: None}),
)
