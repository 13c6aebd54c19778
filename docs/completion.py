"""Writes what Tab offers for each command's parameters: ``python docs/completion.py``.

The commands are too slow to import at each Tab, so their parameters are in
``deploycore/cli/completion_table.py``. A test compares that with what this makes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.main import get_command

from deploycore.cli import COMMANDS, completion_table
from deploycore.cli.dispatch import application_of

__all__ = ["main", "parameters"]

_SOURCES = {
    "application": "applications",
    "applications": "applications",
    "names": "applications",
    "deployment": "deployments",
    "provider": "providers",
    "repository": "repositories",
    "branch": "branches",
    "ref": "branches",
    "to": "releases",
    "kind": "kinds",
    # What "name" means depends on the command.
    "app name": "applications",
    "deployments name": "applications",
    "provider name": "providers",
    "releases name": "applications",
    "token name": "tokens",
    "webhook name": "webhooks",
    # Exceptions: a name that is to be new, and what only some things can have.
    "app create name": "",
    "cancel deployment": "unfinished",
    "demo kind": "sandboxes",
    "provider add name": "",
    "sandbox kind": "sandboxes",
    "token add name": "",
    "webhook register name": "applications",
}
"""What a parameter's value may be, by its name alone, or behind its command's words."""

_HEAD = '''"""What the parameters of each command take: made by ``python docs/completion.py``."""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for true; importing typing would cost 10 ms
if TYPE_CHECKING:
    Source = str | tuple[str, ...] | None
    """What a value may be: the name of a source in ``completion``, or one of these words; empty
    if anything, such as a file; ``None`` for an option without a value."""

__all__ = ["PARAMETERS"]

PARAMETERS: dict[str, tuple[tuple[str, ...], dict[str, Source]]] = '''


def parameters() -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    """The arguments and options of each command; ``...`` says that the last argument repeats."""
    return dict(_of(get_command(application_of(COMMANDS)), ()))


def main() -> None:
    """Write the table."""
    text = f"{_HEAD}{parameters()!r}\n"
    command = [sys.executable, "-m", "ruff", "format", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)  # noqa: S603
    Path(completion_table.__file__).write_text(done.stdout)


def _of(group: Any, before: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        words = (*before, name)
        if hasattr(command, "commands"):
            yield from _of(command, words)
        else:
            yield " ".join(words), _taken(words, command.params)


def _taken(words: tuple[str, ...], params: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    arguments: list[Any] = []
    options: dict[str, Any] = {}
    for each in params:
        source = _source(words, each)
        if each.param_type_name == "argument":
            arguments += [source, "..."] if each.nargs == -1 else [source]
        elif not each.hidden:
            flag = getattr(each, "is_flag", False)
            for option in (*each.opts, *each.secondary_opts):
                options[option] = None if flag else source
    return tuple(arguments), options | {"--help": None}


def _source(words: tuple[str, ...], parameter: Any) -> Any:
    kind = parameter.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return get_args(kind)
    for count in range(len(words), -1, -1):
        found = _SOURCES.get(" ".join((*words[:count], parameter.name)))
        if found is not None:
            return found
    return ""


if __name__ == "__main__":
    main()
