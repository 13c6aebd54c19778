"""The cookies of the dashboard, and the form tokens that belong to them.

A form token is a digest of the cookie. A page of another site cannot read either, so it cannot send
a form that has both.
"""

from __future__ import annotations

import hashlib

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

__all__ = [
    "ISSUER",
    "SESSION",
    "VISIT",
    "drop_cookie",
    "form_token_of",
    "is_by_a_person",
    "name_of",
    "read_cookie",
    "set_cookie",
]

SESSION = "deploycore_session"
VISIT = "deploycore_visit"
"""The cookie of a browser in which nobody is signed in yet."""

ISSUER = "deploycore_issuer"
"""A sign-in that has begun at an issuer; the browser keeps it until the user comes back."""

_BACKGROUND_HEADER = "x-deploycore-background"
_BACKGROUND_COOKIE = "deploycore_background"
_STREAM = "text/event-stream"
_LENGTH_MOST = 4096


def name_of(cookie: str, request: Request) -> str:
    """Return the name of a cookie for a request.

    With TLS, the name has a prefix with which browsers accept the cookie only from this host, and
    only over TLS.
    """
    return f"__Host-{cookie}" if _is_secure(request) else cookie


def read_cookie(request: Request, cookie: str) -> SecretStr | None:
    """Return the value of a cookie; ``None`` if the request has none."""
    given = request.cookies.get(name_of(cookie, request), "")
    return SecretStr(given) if 0 < len(given) <= _LENGTH_MOST else None


def set_cookie(
    response: Response,
    request: Request,
    cookie: str,
    value: SecretStr,
    *,
    seconds: int | None = None,
) -> None:
    """Set a cookie that scripts cannot read, and that other sites' forms do not send.

    Args:
        seconds: Its lifetime (default: until the browser is closed).
    """
    response.set_cookie(
        name_of(cookie, request),
        value.get_secret_value(),
        max_age=seconds,
        path="/",
        httponly=True,
        secure=_is_secure(request),
        samesite="lax",
    )


def drop_cookie(response: Response, request: Request, cookie: str) -> None:
    """Make the browser delete a cookie."""
    response.delete_cookie(
        name_of(cookie, request),
        path="/",
        httponly=True,
        secure=_is_secure(request),
        samesite="lax",
    )


def is_by_a_person(request: Request) -> bool:
    """Whether a person has caused a request, and not a page that updates itself.

    The scripts of pages mark their own requests with a header. If they load a page again, they mark
    that with a cookie for a few seconds. A client that leaves out these marks can only extend its
    own session, up to the same end as any other.
    """
    return not (
        _BACKGROUND_HEADER in request.headers
        or _BACKGROUND_COOKIE in request.cookies
        or _STREAM in request.headers.get("accept", "")
    )


def form_token_of(cookie: SecretStr) -> SecretStr:
    """Return the form token that belongs to a cookie."""
    text = f"form {cookie.get_secret_value()}"
    return SecretStr(hashlib.sha256(text.encode("utf-8", "replace")).hexdigest())


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
