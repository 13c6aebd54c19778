"""The help of every command, in this process: the fast suite loads each command's module."""

from __future__ import annotations

import pytest
from typer.main import get_command

from deploycore.cli import COMMANDS
from deploycore.cli.dispatch import application_of

COMMAND = get_command(application_of(COMMANDS))  # makes all subcommands, which takes a while


def command_lines(group=COMMAND, before=()):
    """The words that name each command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from command_lines(command, (*before, name))
        else:
            yield (*before, name)


@pytest.mark.parametrize("words", list(command_lines()), ids=" ".join)
def test_every_command_has_its_own_help(words, capsys):
    with pytest.raises(SystemExit) as ended:
        COMMAND([*words, "--help"], prog_name="deploycore")
    printed = capsys.readouterr().out
    assert ended.value.code == 0, printed
    assert " ".join(words) in printed
