"""``user`` and ``token`` of a server on another machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from deploycore.cli import token as tokens
from deploycore.cli import user as users
from deploycore.cli.confirmation import Yes
from deploycore.cli.options import (
    AsJson,
    Expires,
    NewRole,
    TokenName,
    TokenRole,
    UserName,
    UserRole,
    parse_duration,
)
from deploycore.cli.output import say
from deploycore.cli.remote.connection import connected
from deploycore.cli.remote.records import in_utc
from deploycore.cli.usage import NounGroup
from deploycore.remote import RemoteServer

__all__ = ["register"]

_ALL = 1_000_000
_USER = "/users/{user}"
_USER_TIMES = ("created_at", "changed_at", "signed_in_at")
_TOKEN_TIMES = ("created_at", "expires_at", "used_at")


def register(application: typer.Typer) -> None:
    """Add the commands of ``user`` and ``token``."""
    user = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Manage users of the dashboard.")
    user.command("add")(add_user)
    user.command("list")(list_users)
    user.command("role")(change_role)
    user.command("link")(link_user)
    user.command("remove")(remove_user)
    application.add_typer(user, name="user")
    token = typer.Typer(
        cls=NounGroup, no_args_is_help=True, help="Manage API tokens of the server."
    )
    token.command("add")(add_token)
    token.command("list")(list_tokens)
    token.command("remove")(remove_token)
    application.add_typer(token, name="token")


def add_user(name: UserName, role: UserRole, as_json: AsJson = False) -> None:
    """Add a user, and print a one-time link to set the password. It is valid for 24 hours."""
    with connected() as server:
        made = server.ask("POST", "/users", body={"name": name, "role": role})
        user, link = in_utc(made["user"], _USER_TIMES), _link(server, made["link"])
    users.say_added(user, link, as_json=as_json)


def list_users(as_json: AsJson = False) -> None:
    """List the users with their roles and last sign-in."""
    with connected() as server:
        found = [in_utc(each, _USER_TIMES) for each in server.items("/users", most=_ALL)]
    users.show_users(found, as_json=as_json)


def change_role(name: UserName, role: NewRole) -> None:
    """Change a user's role. It applies from the user's next request."""
    with connected() as server:
        server.ask("PATCH", _USER, body={"role": role}, user=name)
    say(f"User {name} has the role {role}.")


def link_user(name: UserName, as_json: AsJson = False) -> None:
    """Print a one-time link that sets a user's password. It is valid for 24 hours.

    When it is used, the user is signed out everywhere else. Earlier links become invalid.
    """
    with connected() as server:
        made = _link(server, server.ask("POST", f"{_USER}/link", user=name))
    users.say_link(name, made, as_json=as_json)


def remove_user(name: UserName, yes: Yes = False) -> None:
    """Remove a user, who is signed out everywhere. The last administrator cannot be removed."""
    with connected() as server:
        users.confirm_removal(server.ask("GET", _USER, user=name), yes=yes)
        server.ask("DELETE", _USER, user=name)
    say(f"User {name} is removed.")


def add_token(
    name: TokenName, role: TokenRole, expires: Expires = None, as_json: AsJson = False
) -> None:
    """Create a token and print it. It cannot be printed again: only its digest is stored."""
    seconds = None if expires is None else parse_duration(expires, "--expires").total_seconds()
    body = {"name": name, "role": role, "seconds": None if seconds is None else int(seconds)}
    with connected() as server:
        made = server.ask("POST", "/tokens", body=body)
    tokens.say_added(in_utc(made["token"], _TOKEN_TIMES), made["secret"], as_json=as_json)


def list_tokens(as_json: AsJson = False) -> None:
    """List the tokens with their roles, expiry and last use."""
    with connected() as server:
        found = [in_utc(each, _TOKEN_TIMES) for each in server.items("/tokens", most=_ALL)]
    tokens.show_tokens(found, as_json=as_json)


def remove_token(name: TokenName, yes: Yes = False) -> None:
    """Remove a token. A running server rejects it within a second."""
    with connected() as server:
        for each in server.items("/tokens", most=_ALL):
            if each["name"] == name:
                tokens.confirm_removal(each, yes=yes)
        server.ask("DELETE", "/tokens/{token}", token=name)
    say(f"Token {name} is removed.")


def _link(server: RemoteServer, made: Mapping[str, Any]) -> dict[str, str]:
    until = in_utc(made, ("expires_at",))["expires_at"]
    return {"link": f"{server.url}{made['path']}", "link_expires_at": until}
