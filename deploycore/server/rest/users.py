"""Operations on the users of the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from pydantic import Field, SecretStr
from starlette.responses import Response

from deploycore.errors import ConfigurationError
from deploycore.server.api import PREFIX, Api, Call, answer, missing
from deploycore.server.checking import checked
from deploycore.server.problems import refused_by
from deploycore.server.rest.operation import Operation
from deploycore.server.views import Given, View
from deploycore.store import Role, UserRecord

__all__ = ["OPERATIONS"]

Name = Annotated[str, Field(min_length=1, max_length=63)]


class UserView(View):
    """A user of the dashboard, without secrets.

    Attributes:
        name: The name of the user.
        disabled: Whether the user cannot sign in.
        has_password: Whether the user has set a password.
        issuer: The OpenID Connect issuer that the user signs in with; ``None`` for a user with a
            password.
        signed_in_at: When the user last signed in; ``None`` if never.
    """

    name: str
    role: Role
    disabled: bool
    has_password: bool
    issuer: str | None
    created_at: datetime
    changed_at: datetime
    signed_in_at: datetime | None

    @classmethod
    def of(cls, record: UserRecord) -> UserView:
        """The view of a record."""
        return cls(
            name=record.name,
            role=record.role,
            disabled=record.disabled,
            has_password=record.password is not None,
            issuer=record.issuer,
            created_at=record.created_at,
            changed_at=record.changed_at,
            signed_in_at=record.signed_in_at,
        )


class UserPage(View):
    """A page of users, sorted by name."""

    items: Sequence[UserView]
    next: str | None


class LinkView(View):
    """A one-time link that sets a user's password. It is not shown again.

    Attributes:
        path: The path of the link, below the server's address.
        expires_at: When the link expires.
    """

    path: Annotated[str, Field(repr=False)]
    expires_at: datetime


class UserAdded(View):
    """A new user.

    Attributes:
        user: The user.
        link: The link to set the password; ``None`` if the request had one.
    """

    user: UserView
    link: LinkView | None


class UserQuery(Given):
    """The page of users to return.

    Attributes:
        after: Return users whose names sort after this name.
    """

    after: Annotated[str, Field(max_length=63)] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class NewUser(Given):
    """A user to add.

    Attributes:
        name: The name of the user, which cannot be changed later.
        password: The password (default: the user sets it with a one-time link).
    """

    name: Name
    role: Role
    password: SecretStr | None = None


class UserChange(Given):
    """The fields of a user to change.

    Attributes:
        role: The new role.
        disabled: Whether the user can no longer sign in.
    """

    role: Role | None = None
    disabled: bool | None = None


def list_users(api: Api, call: Call) -> Response:
    """List the users of the dashboard, by name."""
    query: UserQuery = call.query
    found = api.installation.store.users.list(after=query.after, limit=query.limit + 1)
    items, following = found[: query.limit], None
    if len(found) > len(items):
        given = {"after": items[-1].name, "limit": query.limit}
        following = f"{PREFIX}/users?{urlencode(given)}"
    return answer(UserPage(items=[UserView.of(each) for each in items], next=following))


def get_user(api: Api, call: Call) -> Response:
    """Get a user."""
    return answer(UserView.of(_user(api, call)))


def add_user(api: Api, call: Call) -> Response:
    """Add a user.

    If the body has no password, the response has a one-time link, with which the user sets one.
    The link expires after 24 hours.
    """
    wanted = checked(NewUser, call.body)
    hashed = api.accounts.passwords.hash(wanted.password) if wanted.password else None
    record = api.installation.store.users.add(wanted.name, role=wanted.role, password=hashed)
    link = None if wanted.password else _new_link(api, record.name)
    location = f"{PREFIX}/users/{record.name}"
    return answer(
        UserAdded(user=UserView.of(record), link=link),
        status=201,
        headers={"Location": location},
    )


def change_user(api: Api, call: Call) -> Response:
    """Change a user's role, or disable or enable the user.

    A disabled user cannot sign in, and is signed out everywhere. The last administrator cannot be
    disabled, and keeps the role.
    """
    name, wanted = _user(api, call).name, checked(UserChange, call.body)
    try:
        record = api.installation.store.users.change(
            name, role=wanted.role, disabled=wanted.disabled
        )
    except ConfigurationError as error:
        raise refused_by(error, status=409) from None
    return answer(UserView.of(record))


def create_user_link(api: Api, call: Call) -> Response:
    """Create a one-time link that sets a user's password.

    The link expires after 24 hours. When it is used, the user is signed out everywhere else.
    Earlier links of the user become invalid.
    """
    name = _user(api, call).name
    try:
        link = _new_link(api, name)
    except ConfigurationError as error:
        raise refused_by(error, status=409) from None
    return answer(link, status=201)


def end_user_sessions(api: Api, call: Call) -> Response:
    """Sign a user out everywhere. The user can sign in again."""
    api.installation.store.sessions.end(_user(api, call).name)
    return Response(status_code=204)


def delete_user(api: Api, call: Call) -> Response:
    """Remove a user, who is signed out everywhere. The last administrator cannot be removed."""
    name = _name(call)
    try:
        api.installation.store.users.remove(name)
    except ConfigurationError as error:
        is_known = api.installation.store.users.find(name) is not None
        raise (refused_by(error, status=409) if is_known else missing(error)) from None
    return Response(status_code=204)


def _name(call: Call) -> str:
    return call.path["user"]


def _user(api: Api, call: Call) -> UserRecord:
    try:
        return api.installation.store.users.get(_name(call))
    except ConfigurationError as error:
        raise missing(error) from None


def _new_link(api: Api, name: str) -> LinkView:
    secret, record = api.installation.store.sign_in_links.create(name)
    path = f"/sign-in/link/{secret.get_secret_value()}"
    return LinkView(path=path, expires_at=record.expires_at)


_USERS = f"{PREFIX}/users"
_USER = f"{_USERS}/{{user}}"

OPERATIONS = (
    Operation("GET", _USERS, "admin", list_users, {200: UserPage}, query=UserQuery),
    Operation("POST", _USERS, "admin", add_user, {201: UserAdded}, body=NewUser),
    Operation("GET", _USER, "admin", get_user, {200: UserView}),
    Operation(
        "PATCH", _USER, "admin", change_user, {200: UserView}, body=UserChange, refusals=(409,)
    ),
    Operation("DELETE", _USER, "admin", delete_user, {204: None}, refusals=(409,)),
    Operation("POST", f"{_USER}/link", "admin", create_user_link, {201: LinkView}, refusals=(409,)),
    Operation("DELETE", f"{_USER}/sessions", "admin", end_user_sessions, {204: None}),
)
