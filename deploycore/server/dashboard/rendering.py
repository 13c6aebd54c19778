"""Render templates. Everything in them is escaped, because git hosts and committers can send it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

import deploycore
from deploycore.server.callers import may
from deploycore.server.dashboard.addresses import is_web_address
from deploycore.server.dashboard.forms import FORM_TOKEN
from deploycore.server.dashboard.next_steps import next_steps
from deploycore.server.dashboard.words import FILTERS
from deploycore.store import Role

__all__ = ["DONE", "render", "static_files"]

_PACKAGE = "deploycore.server.dashboard"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "Cache-Control": "no-store",
    # With "no-referrer", which all other responses have, browsers would not say which page sends a
    # form.
    "Referrer-Policy": "same-origin",
}

DONE: Mapping[str, str] = {
    "deploy": "The deployment is requested. It appears in the history below.",
    "cancel": "The deployment is being canceled.",
    "rollback": "The rollback has started.",
    "provider-added": "The provider is added. Now add an application that uses it.",
    "provider-changed": "The changes are saved.",
    "provider-unchanged": "The provider already has these values. Nothing was changed.",
    "provider-rotated": "The secret is replaced.",
    "provider-removed": "The provider is removed.",
    "provider-authorized": "The provider is authorized.",
    "created": "The application is created. Deploy it to make its first release.",
    "settings": "The settings are saved. They apply from the next deployment.",
    "variable": "The variable is saved. It applies from the next deployment.",
    "variable_removed": "The variable is removed.",
    "webhook": "The webhook is set up. Push a commit to try it.",
    "webhook_rotated": "The webhook has a new secret.",
    "webhook_removed": "The webhook is removed.",
    "key-created": "The key is created, and git uses it.",
    "key-replaced": "The key is replaced, and git uses the new one.",
    "keys-removed": "The keys are removed, here and at the git host.",
    "repository_accepted": "The next deployment uses the new repository.",
    "application_removed": "The application is removed.",
    "user-changed": "The changes are saved.",
    "user-signed-out": "The user is signed out everywhere.",
    "user-removed": "The user is removed.",
    "token-removed": "The token is removed.",
    "password-changed": "The password is changed, and you are signed out in all other browsers.",
    "session-ended": "You are signed out in that browser.",
}
"""The messages that a page shows after a form, by the key in its address."""


_NAVIGATION: tuple[tuple[str, str, Role], ...] = (
    ("/", "Applications", "read"),
    ("/providers", "Providers", "read"),
    ("/activity", "Activity", "read"),
    ("/plugins", "Plugins", "admin"),
    ("/doctor", "Doctor", "admin"),
    ("/tokens", "Tokens", "admin"),
    ("/users", "Users", "admin"),
    ("/audit", "Audit log", "admin"),
)
_OF_THE_FIRST = ("/applications", "/deployments")


def render(template: str, context: Mapping[str, Any], *, status: int = 200) -> Response:
    """Return a page.

    Args:
        template: The template's file name.
        context: What the template uses.
    """
    visitor = context.get("visitor")
    role: Role | None = visitor.caller.role if visitor else None
    given = {"may": lambda wanted: role is not None and may(role, wanted), **context}
    text = _environment().get_template(template).render(given)
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
    environment.filters.update(FILTERS, next_steps=next_steps)
    environment.tests.update(web_address=is_web_address)
    environment.globals.update(
        version=deploycore.__version__,
        static=_static_address,
        navigation=_navigation,
        is_here=_is_here,
        FORM_TOKEN=FORM_TOKEN,
    )
    return environment


def _static_address(name: str) -> str:
    """Return the address of a static file. It changes with the file's content, so that browsers may
    cache the file."""
    digest = hashlib.sha256(static_files()[name]).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def _navigation(role: Role) -> list[tuple[str, str]]:
    """Return the path and name of each subject that a role may see."""
    return [(path, name) for path, name, wanted in _NAVIGATION if may(role, wanted)]


def _is_here(here: str, path: str) -> bool:
    """Whether a page belongs to a subject of the navigation."""
    if path == "/":
        return here == "/" or here.startswith(_OF_THE_FIRST)
    return here == path or here.startswith(f"{path}/")
