"""Asking a person before something is removed for good."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from deploycore.cli.output import printable
from deploycore.errors import Cancelled, DeploycoreError

__all__ = ["ConfirmationRequired", "Yes", "confirm", "confirm_at_terminal"]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


class ConfirmationRequired(DeploycoreError):
    """Something is to be removed, and nobody has said yes."""

    code = "confirmation_required"
    exit_code = 2


def confirm(what: str, consequences: Sequence[str], *, yes: bool, as_json: bool = False) -> None:
    """Go on only if a person agrees.

    Args:
        what: What is to be done, such as ``Remove the application shop``.
        consequences: What goes and what stays, a line each. They are printed to standard error,
            unless that is for machines.
        yes: Whether the person has agreed on the command line.

    Raises:
        ConfirmationRequired: There is no terminal to ask at.
        Cancelled: The person does not agree.
    """
    if yes:
        return
    can_ask = sys.stdin.isatty() and not as_json
    if not as_json:
        for line in consequences:
            print(printable(line), file=sys.stderr)
    if not can_ask:
        raise ConfirmationRequired(
            f"{what}: this needs your confirmation, and there is no terminal. Nothing was removed.",
            hint="Add --yes to confirm.",
            consequences=list(consequences) if as_json else None,
        )
    if not typer.confirm(printable(f"{what}?"), err=True):
        raise Cancelled("Nothing was removed.")


def confirm_at_terminal(what: str, consequences: Sequence[str], *, yes: bool) -> None:
    """The same for what can be made again; where there is no terminal it goes on."""
    if sys.stdin.isatty():
        confirm(what, consequences, yes=yes)
