"""Operations on the caller's own account: who it is, its sessions and its password."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import SecretStr
from starlette.responses import Response

from deploycore.server.api import PREFIX, Api, Call, answer, identifier
from deploycore.server.callers import Caller
from deploycore.server.checking import checked
from deploycore.server.problems import Refusal
from deploycore.server.rest.operation import Operation
from deploycore.server.views import Given, View
from deploycore.store import Role

__all__ = ["OPERATIONS"]


class AccountView(View):
    """The user or token that sends the request.

    Attributes:
        kind: Whether it is a user or a token.
        name: The name of the user or token.
        has_password: Whether the user has set a password.
        issuer: The OpenID Connect issuer that the user signs in with; ``None`` for others.
    """

    kind: Literal["user", "token"]
    name: str
    role: Role
    has_password: bool
    issuer: str | None


class SessionView(View):
    """A browser in which the user is signed in.

    Attributes:
        id: The id of the session.
        browser: The browser and its system, such as ``Firefox on Linux``.
        address: The network that the user signed in from.
        created_at: When the user signed in.
        seen_at: When the browser was last used.
        expires_at: When the session expires.
        current: Whether the request comes from this browser.
    """

    id: int
    browser: str
    address: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    current: bool


class SessionPage(View):
    """All sessions of the user, newest first.

    Attributes:
        items: The sessions.
    """

    items: Sequence[SessionView]


class PasswordChange(Given):
    """A new password.

    Attributes:
        old: The current password.
        new: The new password; at least 12 characters.
    """

    old: SecretStr
    new: SecretStr


def get_account(api: Api, call: Call) -> Response:
    """Get the user or token that sends the request."""
    caller = _caller(call)
    user = api.installation.store.users.find(caller.name) if caller.kind == "user" else None
    return answer(
        AccountView(
            kind=caller.kind,
            name=caller.name,
            role=caller.role,
            has_password=user is not None and user.password is not None,
            issuer=user.issuer if user else None,
        )
    )


def list_sessions(api: Api, call: Call) -> Response:
    """List the browsers in which the user is signed in. Tokens have none."""
    caller = _caller(call)
    found = api.installation.store.sessions.list(caller.name) if caller.kind == "user" else []
    items = [
        SessionView(
            **{name: getattr(each, name) for name in SessionView.model_fields if name != "current"},
            current=each.id == caller.session,
        )
        for each in found
    ]
    return answer(SessionPage(items=items))


def end_session(api: Api, call: Call) -> Response:
    """Sign the user out in one browser."""
    caller, number = _user(call), identifier(call.path["session"])
    if not api.installation.store.sessions.end(caller.name, number):
        raise Refusal(
            404,
            "not_found",
            f"You have no session {number}.",
            hint=f"List your sessions: GET {PREFIX}/account/sessions",
        )
    return Response(status_code=204)


def end_sessions(api: Api, call: Call) -> Response:
    """Sign the user out everywhere."""
    api.installation.store.sessions.end(_user(call).name)
    return Response(status_code=204)


def change_password(api: Api, call: Call) -> Response:
    """Change the user's password. This signs the user out in all other browsers."""
    caller, wanted = _user(call), checked(PasswordChange, call.body)
    if api.accounts.check_password(caller.name, wanted.old) is None:
        raise Refusal(
            422,
            "authentication_failed",
            "The present password is wrong.",
            hint="Enter it again. If you have none, ask an administrator for a link.",
            details={"field": "old"},
        )
    hashed = api.accounts.passwords.hash(wanted.new)
    api.installation.store.users.set_password(caller.name, hashed, keep=caller.session)
    return Response(status_code=204)


def _caller(call: Call) -> Caller:
    assert call.caller is not None  # noqa: S101  the table asks for a role
    return call.caller


def _user(call: Call) -> Caller:
    caller = _caller(call)
    if caller.kind != "user":
        raise Refusal(
            409,
            "configuration",
            "Tokens have neither sessions nor a password.",
            hint="Sign in to the dashboard, and open your account there.",
        )
    return caller


_ACCOUNT = f"{PREFIX}/account"
_SESSIONS = f"{_ACCOUNT}/sessions"

OPERATIONS = (
    Operation("GET", _ACCOUNT, "read", get_account, {200: AccountView}),
    Operation("GET", _SESSIONS, "read", list_sessions, {200: SessionPage}),
    Operation("DELETE", _SESSIONS, "read", end_sessions, {204: None}, refusals=(409,)),
    Operation(
        "DELETE", f"{_SESSIONS}/{{session}}", "read", end_session, {204: None}, refusals=(409,)
    ),
    Operation(
        "POST",
        f"{_ACCOUNT}/password",
        "read",
        change_password,
        {204: None},
        body=PasswordChange,
        refusals=(409, 429),
    ),
)
