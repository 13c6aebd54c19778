"""Confirmation prompts before something is removed."""

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
    """A removal needs confirmation, and there is no terminal to ask at."""

    code = "confirmation_required"
    exit_code = 2


def confirm(what: str, consequences: Sequence[str], *, yes: bool, as_json: bool = False) -> None:
    """Ask for confirmation at the terminal.

    Args:
        what: The action, such as ``Remove the application shop``.
        consequences: What is removed and what stays, a line each. They are printed to standard
            error, except with ``as_json``.
        yes: Whether ``--yes`` was given; then nothing is asked or printed.
        as_json: Whether the output is JSON; then nothing is asked.

    Raises:
        ConfirmationRequired: There is no terminal to ask at.
        Cancelled: The answer was no.
    """
    if yes:
        return
    can_ask = sys.stdin.isatty() and not as_json
    if not as_json:
        for line in consequences:
            print(printable(line), file=sys.stderr)
    if not can_ask:
        raise ConfirmationRequired(
            f"{what}: this needs confirmation, and there is no terminal. Nothing was removed.",
            hint="Add --yes to confirm.",
            consequences=list(consequences) if as_json else None,
        )
    if not typer.confirm(printable(f"{what}?"), err=True):
        raise Cancelled("Nothing was removed.")


def confirm_at_terminal(what: str, consequences: Sequence[str], *, yes: bool) -> None:
    """Ask for confirmation of an action that can be undone. Without a terminal, continue without
    asking."""
    if sys.stdin.isatty():
        confirm(what, consequences, yes=yes)
