"""``deploycore user``: add, list, change and remove users of the dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

import deploycore
from deploycore.cli.confirmation import Yes, confirm_at_terminal
from deploycore.cli.options import AsJson, NewRole, UserName, UserRole
from deploycore.cli.output import Column, say, show_json, show_json_array, show_table
from deploycore.cli.usage import NounGroup
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from deploycore.installation import Installation
    from deploycore.store import UserRecord

__all__ = ["confirm_removal", "register", "say_added", "say_link", "show_users"]


def register(application: typer.Typer) -> None:
    """Add the commands of ``user``."""
    noun = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Manage users of the dashboard.")
    noun.command()(add)
    noun.command("list")(list_)
    noun.command()(role)
    noun.command()(link)
    noun.command()(remove)
    application.add_typer(noun, name="user")


def add(
    name: UserName,
    role: UserRole,
    as_json: AsJson = False,
) -> None:
    """Add a user, and print a one-time link to set the password. It is valid for 24 hours."""
    with deploycore.Installation() as installation:
        record = installation.store.users.add(name, role=role)
        _note(installation, "add_user", name)
        link = _new_link(installation, name)
    say_added(_as_dict(record), link, as_json=as_json)


def list_(as_json: AsJson = False) -> None:
    """List the users with their roles and last sign-in."""
    with deploycore.Installation() as installation:
        records = installation.store.users.list()
    show_users([*map(_as_dict, records)], as_json=as_json)


def role(
    name: UserName,
    role: NewRole,
) -> None:
    """Change a user's role. It applies from the user's next request."""
    with deploycore.Installation() as installation:
        installation.store.users.change(name, role=role)
        _note(installation, "change_user", name)
    say(f"User {name} has the role {role}.")


def link(name: UserName, as_json: AsJson = False) -> None:
    """Print a one-time link that sets a user's password. It is valid for 24 hours.

    When it is used, the user is signed out everywhere else. Earlier links become invalid.
    """
    with deploycore.Installation() as installation:
        made = _new_link(installation, name)
        _note(installation, "create_user_link", name)
    say_link(name, made, as_json=as_json)


def remove(name: UserName, yes: Yes = False) -> None:
    """Remove a user, who is signed out everywhere. The last administrator cannot be removed."""
    with deploycore.Installation() as installation:
        record = installation.store.users.find(name)
        if record is not None:
            confirm_removal(_as_dict(record), yes=yes)
        installation.store.users.remove(name)
        _note(installation, "delete_user", name)
    say(f"User {name} is removed.")


def show_users(users: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print users, each as ``--json`` prints it."""
    if as_json:
        show_json_array(users)
        return
    show_table(
        [
            Column("USER"),
            Column("ROLE"),
            Column("SIGNS IN WITH", drop=2),
            Column("SIGNED IN", drop=1),
        ],
        ([each["name"], each["role"], _way(each), _last(each)] for each in users),
        empty="No users yet. Run 'deploycore serve', and open the link that it prints.",
    )


def say_added(user: Mapping[str, Any], link: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a new user, and the link to set the password."""
    if as_json:
        show_json({**user, **link})
        return
    say(f"User {user['name']} is added, with the role {user['role']}.")
    say_link(user["name"], link, as_json=False)


def say_link(name: str, link: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a one-time link.

    Args:
        name: The user's name.
        link: Its ``link``, and ``link_expires_at`` as an ISO 8601 text.
    """
    if as_json:
        show_json({"name": name, **link})
        return
    address, until = link["link"], for_people(datetime.fromisoformat(link["link_expires_at"]))
    if address.startswith("/"):
        say("To set the password, open this path at the address of the server. Set")
        say(f"DEPLOYCORE_PUBLIC_URL to get the whole link. It works once, until {until}:\n")
    else:
        say(f"To set the password, open this link. It can be used once, until {until}:\n")
    say(address)


def confirm_removal(user: Mapping[str, Any], *, yes: bool) -> None:
    """Ask at the terminal whether to remove a user."""
    name = user["name"]
    lines = [f"The user {name} has the role {user['role']}. Last sign-in: {_last(user)}."]
    confirm_at_terminal(f"Remove the user {name}", lines, yes=yes)


def _new_link(installation: Installation, name: str) -> dict[str, str]:
    secret, record = installation.store.sign_in_links.create(name)
    base = installation.settings.public_url or ""
    address = f"{base}/sign-in/link/{secret.get_secret_value()}"
    return {"link": address, "link_expires_at": for_machines(record.expires_at)}


def _note(installation: Installation, operation: str, name: str) -> None:
    from deploycore.store.audit import COMMAND_LINE, Entry

    installation.store.audit.add(Entry(COMMAND_LINE, operation, "user", name))


def _way(user: Mapping[str, Any]) -> str:
    if user["disabled"]:
        return "disabled"
    return user["issuer"] or ("password" if user["has_password"] else "no password yet")


def _last(user: Mapping[str, Any]) -> str:
    at = user["signed_in_at"]
    return for_people(datetime.fromisoformat(at)) if at else "never"


def _as_dict(record: UserRecord) -> dict[str, Any]:
    times = ("created_at", "changed_at", "signed_in_at")
    found = {name: getattr(record, name) for name in times}
    return {
        "name": record.name,
        "role": record.role,
        "disabled": record.disabled,
        "has_password": record.password is not None,
        "issuer": record.issuer,
        **{name: at and for_machines(at) for name, at in found.items()},
    }
