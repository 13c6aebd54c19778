"""``deploycore token``: add, list and remove API tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

import deploycore
from deploycore.cli.confirmation import Yes, confirm_at_terminal
from deploycore.cli.options import AsJson, Expires, TokenName, TokenRole, parse_duration
from deploycore.cli.output import Column, say, show_json, show_json_array, show_table
from deploycore.cli.usage import NounGroup
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from deploycore.installation import Installation
    from deploycore.store import TokenRecord

__all__ = ["confirm_removal", "register", "say_added", "show_tokens"]


def register(application: typer.Typer) -> None:
    """Add the commands of ``token``."""
    noun = typer.Typer(cls=NounGroup, no_args_is_help=True, help="Manage API tokens of the server.")
    noun.command()(add)
    noun.command("list")(list_)
    noun.command()(remove)
    application.add_typer(noun, name="token")


def add(
    name: TokenName,
    role: TokenRole,
    expires: Expires = None,
    as_json: AsJson = False,
) -> None:
    """Create a token and print it. It cannot be printed again: only its digest is stored."""
    from deploycore.store.token_digests import digest_of, new_token

    lifetime = None if expires is None else parse_duration(expires, "--expires")
    token = new_token()
    with deploycore.Installation() as installation:
        record = installation.store.tokens.add(
            name, digest=digest_of(token), role=role, expires_at=_later(lifetime)
        )
        _note(installation, "add_token", name)
    say_added(_as_dict(record), token.get_secret_value(), as_json=as_json)


def list_(as_json: AsJson = False) -> None:
    """List the tokens with their roles, expiry and last use."""
    with deploycore.Installation() as installation:
        records = installation.store.tokens.list()
    show_tokens([*map(_as_dict, records)], as_json=as_json)


def remove(name: TokenName, yes: Yes = False) -> None:
    """Remove a token. A running server rejects it within a second."""
    with deploycore.Installation() as installation:
        for each in installation.store.tokens.list():
            if each.name == name:
                confirm_removal(_as_dict(each), yes=yes)
        installation.store.tokens.remove(name)
        _note(installation, "delete_token", name)
    say(f"Token {name} is removed.")


def show_tokens(tokens: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print tokens, each as ``--json`` prints it."""
    if as_json:
        show_json_array(tokens)
        return
    show_table(
        [
            Column("TOKEN"),
            Column("ROLE"),
            Column("EXPIRES", drop=2),
            Column("USED", drop=1),
        ],
        (
            [
                each["name"],
                each["role"],
                _text(each["expires_at"], "never"),
                _text(each["used_at"], "not yet"),
            ]
            for each in tokens
        ),
        empty="No tokens yet. Create one: deploycore token add --help",
    )


def say_added(token: Mapping[str, Any], secret: str, *, as_json: bool) -> None:
    """Print a new token with its secret."""
    if as_json:
        show_json({**token, "token": secret})
        return
    name, role = token["name"], token["role"]
    say(f"Token {name} is created, with the role {role}. It is not shown again:\n")
    say(secret)


def confirm_removal(token: Mapping[str, Any], *, yes: bool) -> None:
    """Ask at the terminal whether to remove a token."""
    name, used = token["name"], _text(token["used_at"], "never")
    lines = [f"The token {name} has the role {token['role']}. Last use: {used}."]
    confirm_at_terminal(f"Remove the token {name}", lines, yes=yes)


def _note(installation: Installation, operation: str, name: str) -> None:
    from deploycore.store.audit import COMMAND_LINE, Entry

    installation.store.audit.add(Entry(COMMAND_LINE, operation, "token", name))


def _later(lifetime: timedelta | None) -> datetime | None:
    return None if lifetime is None else datetime.now(UTC) + lifetime


def _text(at: str | None, otherwise: str) -> str:
    return for_people(datetime.fromisoformat(at)) if at else otherwise


def _as_dict(record: TokenRecord) -> dict[str, Any]:
    times = ("created_at", "expires_at", "used_at")
    found = {name: getattr(record, name) for name in times}
    plain = {name: at and for_machines(at) for name, at in found.items()}
    return {"name": record.name, "role": record.role, **plain}
