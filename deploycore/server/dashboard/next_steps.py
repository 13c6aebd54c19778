"""Find the page for a command that a hint names, so that the user can do the next step in the
browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from jinja2 import pass_context
from jinja2.runtime import Context

from deploycore.store import Role

__all__ = ["next_steps", "steps_for"]

_COMMAND = re.compile(
    r"\bdeploycore (?P<command>(?:(?:app|provider|token|user|webhook) )?[a-z-]+)"
    r"(?: (?P<name>[A-Za-z0-9][A-Za-z0-9._-]*))?"
)

# The page of each command: its path, the text of the link, and the role that it needs.
_PAGES: Mapping[str, tuple[str, str, Role]] = {
    "app accept-repository": ("/applications/{}", "Application {}", "read"),
    "app create": ("/applications/-/new", "Add an application", "admin"),
    "app edit": ("/applications/{}/settings", "Settings of {}", "admin"),
    "app list": ("/", "Applications", "read"),
    "app remove": ("/applications/{}/remove", "Remove {}", "admin"),
    "app secret": ("/applications/{}/environment", "Environment of {}", "read"),
    "app show": ("/applications/{}", "Application {}", "read"),
    "deploy": ("/applications/{}", "Application {}", "read"),
    "deployments": ("/applications/{}", "Application {}", "read"),
    "doctor": ("/doctor", "Doctor", "admin"),
    "plugins": ("/plugins", "Plugins", "admin"),
    "provider add": ("/providers/-/new", "Add a provider", "admin"),
    "provider authorize": ("/providers/{}/authorize", "Authorize {}", "admin"),
    "provider edit": ("/providers/{}/edit", "Edit {}", "admin"),
    "provider list": ("/providers", "Providers", "read"),
    "provider remove": ("/providers/{}/remove", "Remove {}", "admin"),
    "provider rotate": ("/providers/{}/rotate", "Rotate the secrets of {}", "admin"),
    "provider show": ("/providers/{}", "Provider {}", "read"),
    "provider test": ("/providers/{}", "Provider {}", "read"),
    "releases": ("/applications/{}/releases", "Releases of {}", "read"),
    "rollback": ("/applications/{}/rollback", "Roll back {}", "deploy"),
    "token add": ("/tokens/-/new", "Add a token", "admin"),
    "token list": ("/tokens", "Tokens", "admin"),
    "token remove": ("/tokens/{}/remove", "Remove {}", "admin"),
    "user add": ("/users/-/new", "Add a user", "admin"),
    "user link": ("/users/{}", "User {}", "admin"),
    "user list": ("/users", "Users", "admin"),
    "user remove": ("/users/{}/remove", "Remove {}", "admin"),
    "user role": ("/users/{}", "User {}", "admin"),
    "webhook register": ("/applications/{}/webhook", "Webhook of {}", "read"),
    "webhook remove": ("/applications/{}/webhook", "Webhook of {}", "read"),
    "webhook rotate": ("/applications/{}/webhook", "Webhook of {}", "read"),
    "webhook show": ("/applications/{}/webhook", "Webhook of {}", "read"),
}

# These commands are about a deployment: the one with the given number, or the last one of the given
# application.
_OF_A_DEPLOYMENT = ("cancel", "logs", "show")


def steps_for(hint: str, may: Callable[[Role], bool]) -> dict[str, str]:
    """Return the pages for the commands of a hint: the text of each link by its address.

    Args:
        hint: The hint.
        may: Returns whether the user has a role.
    """
    found = {}
    for each in _COMMAND.finditer(hint):
        name = (each["name"] or "").rstrip(".")
        path, text, role = _page_of(each["command"], name)
        is_known = "{}" not in path or not (not name or name.isupper())
        if path and is_known and may(role):
            found[path.format(quote(name, safe=""))] = text.format(name)
    return found


def _page_of(command: str, name: str) -> tuple[str, str, Role]:
    if command in _OF_A_DEPLOYMENT:
        if name.isdigit():
            return "/deployments/{}", "Deployment {}", "read"
        return _PAGES["app show"]
    return _PAGES.get(command, ("", "", "admin"))


@pass_context
def next_steps(context: Context, hint: str | None) -> dict[str, str]:
    """Return a filter for templates that finds the pages for a hint, for this user."""
    may: Any = context.get("may")
    return steps_for(hint, may) if hint and may else {}
