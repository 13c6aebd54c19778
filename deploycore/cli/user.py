"""``deploycore user``: add, list, change and remove users of the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import deploycore
from deploycore.cli.confirmation import Yes, confirm_at_terminal
from deploycore.cli.options import AsJson
from deploycore.cli.output import Column, say, show_json, show_json_array, show_table
from deploycore.cli.usage import NounGroup
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from datetime import datetime

    from deploycore.installation import Installation
    from deploycore.store import UserRecord

__all__ = ["register"]

Name = Annotated[str, typer.Argument(help="Name of the user.", show_default=False)]
Role = Literal["read", "deploy", "admin"]


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
    name: Name,
    role: Annotated[
        Role,
        typer.Option("--role", help="Role of the user. Each role includes the ones before it."),
    ],
    as_json: AsJson = False,
) -> None:
    """Add a user, and print a one-time link to set the password. It is valid for 24 hours."""
    with deploycore.Installation() as installation:
        record = installation.store.users.add(name, role=role)
        _note(installation, "add_user", name)
        address, expires_at = _new_link(installation, name)
    if as_json:
        show_json({**_as_dict(record), **_link_as_dict(address, expires_at)})
        return
    say(f"User {name} is added, with the role {role}.")
    _say_link(address, expires_at)


def list_(as_json: AsJson = False) -> None:
    """List the users with their roles and last sign-in."""
    with deploycore.Installation() as installation:
        records = installation.store.users.list()
    if as_json:
        show_json_array(map(_as_dict, records))
        return
    show_table(
        [
            Column("USER"),
            Column("ROLE"),
            Column("SIGNS IN WITH", drop=2),
            Column("SIGNED IN", drop=1),
        ],
        ([each.name, each.role, _way(each), _last(each)] for each in records),
        empty="No users yet. Run 'deploycore serve', and open the link that it prints.",
    )


def role(
    name: Name,
    role: Annotated[Role, typer.Argument(help="The new role.", show_default=False)],
) -> None:
    """Change a user's role. It applies from the user's next request."""
    with deploycore.Installation() as installation:
        installation.store.users.change(name, role=role)
        _note(installation, "change_user", name)
    say(f"User {name} has the role {role}.")


def link(name: Name, as_json: AsJson = False) -> None:
    """Print a one-time link that sets a user's password. It is valid for 24 hours.

    When it is used, the user is signed out everywhere else. Earlier links become invalid.
    """
    with deploycore.Installation() as installation:
        address, expires_at = _new_link(installation, name)
        _note(installation, "create_user_link", name)
    if as_json:
        show_json({"name": name, **_link_as_dict(address, expires_at)})
        return
    _say_link(address, expires_at)


def remove(name: Name, yes: Yes = False) -> None:
    """Remove a user, who is signed out everywhere. The last administrator cannot be removed."""
    with deploycore.Installation() as installation:
        record = installation.store.users.find(name)
        if record is not None:
            lines = [f"The user {name} has the role {record.role}. Last sign-in: {_last(record)}."]
            confirm_at_terminal(f"Remove the user {name}", lines, yes=yes)
        installation.store.users.remove(name)
        _note(installation, "delete_user", name)
    say(f"User {name} is removed.")


def _new_link(installation: Installation, name: str) -> tuple[str, datetime]:
    secret, record = installation.store.sign_in_links.create(name)
    base = installation.settings.public_url or ""
    return f"{base}/sign-in/link/{secret.get_secret_value()}", record.expires_at


def _say_link(address: str, expires_at: datetime) -> None:
    until = for_people(expires_at)
    if address.startswith("/"):
        say("To set the password, open this path at the address of the server. Set")
        say(f"DEPLOYCORE_PUBLIC_URL to get the whole link. It works once, until {until}:\n")
    else:
        say(f"To set the password, open this link. It can be used once, until {until}:\n")
    say(address)


def _note(installation: Installation, operation: str, name: str) -> None:
    from deploycore.store.audit import COMMAND_LINE, Entry

    installation.store.audit.add(Entry(COMMAND_LINE, operation, "user", name))


def _way(record: UserRecord) -> str:
    if record.disabled:
        return "disabled"
    if record.issuer:
        return record.issuer
    return "password" if record.password else "no password yet"


def _last(record: UserRecord) -> str:
    return for_people(record.signed_in_at) if record.signed_in_at else "never"


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


def _link_as_dict(address: str, expires_at: datetime) -> dict[str, Any]:
    return {"link": address, "link_expires_at": for_machines(expires_at)}
