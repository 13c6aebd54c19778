"""The help of every command, in this process: the fast suite loads each command's module."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from deploycore.cli import COMMANDS
from deploycore.cli.dispatch import application_of


def command_lines(group=None, before=()):
    """The words that name each command."""
    for name, command in (group or get_command(application_of(COMMANDS))).commands.items():
        if hasattr(command, "commands"):
            yield from command_lines(command, (*before, name))
        else:
            yield (*before, name)


@pytest.mark.parametrize("words", list(command_lines()), ids=" ".join)
def test_every_command_has_help_of_its_own(words):
    done = CliRunner().invoke(application_of(COMMANDS), [*words, "--help"])
    assert done.exit_code == 0, done.output
    assert " ".join(words) in done.output
