"""Render templates. Everything in them is escaped, because git hosts and committers can send it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

import deploycore
from deploycore.server.dashboard.forms import FORM_TOKEN

__all__ = ["DONE", "render", "static_files"]

_PACKAGE = "deploycore.server.dashboard"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "Cache-Control": "no-store",
    # With "no-referrer", as elsewhere, browsers would not say which page sends a form.
    "Referrer-Policy": "same-origin",
}

DONE: Mapping[str, str] = {
    "deploy": "The deployment is requested.",
    "cancel": "The deployment is being canceled.",
    "rollback": "The rollback has started.",
    "user-changed": "The user is changed.",
    "user-removed": "The user is removed.",
    "token-removed": "The token is removed.",
    "password-changed": "The password is changed, and you are signed out in all other browsers.",
    "session-ended": "You are signed out in that browser.",
}
"""The messages that a page shows after a form, by the key in its address."""


def render(template: str, context: Mapping[str, Any], *, status: int = 200) -> Response:
    """Return a page.

    Args:
        template: The template's file name.
        context: What the template uses.
    """
    text = _environment().get_template(template).render(context)
    return HTMLResponse(text, status, headers=_HEADERS)


@functools.cache
def static_files() -> Mapping[str, bytes]:
    """Return the style sheet, scripts and images, by name."""
    folder = files(_PACKAGE) / "static"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(when=_when, seconds=_seconds)
    environment.globals.update(
        version=deploycore.__version__, static=_static_address, done=DONE, FORM_TOKEN=FORM_TOKEN
    )
    return environment


def _static_address(name: str) -> str:
    """The address of a static file, which changes with it, so that browsers may keep it."""
    digest = hashlib.sha256(static_files()[name]).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def _when(value: str | datetime | None) -> datetime | None:
    """A time of an operation's response, in UTC."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value).astimezone(UTC)


def _seconds(value: float | None) -> str:
    """A duration for people."""
    if value is None:
        return "–"
    if value < 10:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
