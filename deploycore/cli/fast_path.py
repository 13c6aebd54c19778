"""Run plain command lines of a few commands without Typer.

Importing Typer and building a command takes a tenth of the time of a clone. So a command line that
consists of names and of the options below is read here. Any other one goes to Typer: help, a
mistake, a rare option, or ``--option=value``. Both call the same function with the same arguments.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import NamedTuple

from deploycore.cli.remote import module_for_server

__all__ = ["find_fast_path"]


class _Flag(NamedTuple):
    """An option without a value."""

    argument: str


class _Text(NamedTuple):
    """An option with a value.

    Attributes:
        words: The values that are read here; empty for all.
    """

    argument: str
    words: tuple[str, ...] = ()


class _Command(NamedTuple):
    """A command whose plain command lines are read here.

    Attributes:
        module: The module of the function that runs the command.
        function: The function's name.
        options: Its options by their names on the command line.
        positional: Turns the names on the command line into arguments; ``None`` to leave the
            command line to Typer.
    """

    module: str
    function: str
    options: Mapping[str, _Flag | _Text]
    positional: Callable[[list[str]], tuple[object, ...] | None]


def find_fast_path(arguments: Sequence[str]) -> Callable[[], None] | None:
    """Return the call that a plain command line asks for; ``None`` to leave it to Typer.

    Args:
        arguments: The whole command line, without the program's name and ``--server``.
    """
    command = _COMMANDS.get(arguments[0]) if arguments else None
    if command is None or module_for_server(arguments[0], is_explicit=False):
        return None
    names: list[str] = []
    given: dict[str, object] = {}
    rest = iter(arguments[1:])
    for word in rest:
        if word and not word.startswith("-"):
            names.append(word)
            continue
        option = command.options.get(word)
        if option is None or option.argument in given:
            return None
        if isinstance(option, _Flag):
            given[option.argument] = True
            continue
        value = next(rest, "")
        if not value or value.startswith("-") or (option.words and value not in option.words):
            return None
        given[option.argument] = value
    positional = command.positional(names)
    if positional is None:
        return None
    run = getattr(import_module(command.module), command.function)
    return partial(_run, run, positional, given)


def _run(
    function: Callable[..., None], positional: Sequence[object], given: Mapping[str, object]
) -> None:
    from deploycore.text.log_format import format_unhandled_warnings

    format_unhandled_warnings()
    function(*positional, **given)


def _clone_arguments(names: list[str]) -> tuple[object, ...] | None:
    if len(names) == 2:
        return tuple(names)
    if len(names) != 3 or os.path.lexists(names[2]):
        return None
    from pathlib import Path

    return *names[:2], Path(names[2])


def _application_names(names: list[str]) -> tuple[object, ...] | None:
    return (names,) if names else None


def _one_name(names: list[str]) -> tuple[object, ...] | None:
    return (names[0],) if len(names) == 1 else None


_NO_WAIT, _JSON = _Flag("no_wait"), _Flag("as_json")

_COMMANDS = {
    "clone": _Command(
        "deploycore.cli.cloning",
        "clone_repository",
        {
            "--branch": _Text("branch"),
            "-b": _Text("branch"),
            "--submodules": _Flag("submodules"),
            "--links": _Text("links", ("write-as-links", "write-as-files", "refuse")),
            "--json": _JSON,
        },
        _clone_arguments,
    ),
    "deploy": _Command(
        "deploycore.cli.deploying",
        "deploy_applications",
        {
            "--force": _Flag("force"),
            "--hard-link": _Flag("hard_link"),
            "--no-wait": _NO_WAIT,
            "--json": _JSON,
        },
        _application_names,
    ),
    "rollback": _Command(
        "deploycore.cli.deploying",
        "roll_back",
        {"--to": _Text("to"), "--no-wait": _NO_WAIT, "--json": _JSON},
        _one_name,
    ),
}
