"""The whole command line as one Typer application, for ``typer docs/command_line.py utils docs``.

deploycore itself imports only the command that it runs, so there is no such application there.
"""

from deploycore.cli import COMMANDS
from deploycore.cli.dispatch import application_of

__all__ = ["application"]

application = application_of(COMMANDS)
