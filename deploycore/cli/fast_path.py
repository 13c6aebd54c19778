"""Run plain command lines of a few commands without Typer.

Importing Typer and building a command takes a tenth of the time of a clone. So a command line that
consists of names and of the options below is read here. Any other one goes to Typer: help, a
mistake, a rare option, or ``--option=value``. Both call the same function with the same arguments.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from importlib import import_module

from deploycore.cli.remote import module_for_server

__all__ = ["find_fast_path"]


def find_fast_path(arguments: Sequence[str]) -> Callable[[], None] | None:
    """Return the call for a plain command line; ``None`` if Typer has to read the command line.

    Args:
        arguments: The whole command line, without the program's name and ``--server``.
    """
    name = arguments[0] if arguments else ""
    if name not in _COMMANDS or module_for_server(name, is_explicit=False):
        return None
    module, function, read_names = _COMMANDS[name]
    options = _OPTIONS[name]
    names: list[str] = []
    given: dict[str, object] = {}
    rest = iter(arguments[1:])
    for word in rest:
        if word and not word.startswith("-"):
            names.append(word)
            continue
        if word not in options or options[word] in given:
            return None
        argument = options[word]
        if argument in _WITH_VALUE:
            value = next(rest, "")
            if not value or value.startswith("-") or value not in _WITH_VALUE[argument]:
                return None
            given[argument] = value
        else:
            given[argument] = True
    positional = read_names(names)
    if positional is None:
        return None
    return partial(_run, getattr(import_module(module), function), positional, given)


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


class _AnyText:
    """A container that contains every text."""

    def __contains__(self, text: object) -> bool:
        return True


_WITH_VALUE: Mapping[str, Container[str]] = {
    "branch": _AnyText(),
    "links": ("write-as-links", "write-as-files", "refuse"),
    "to": _AnyText(),
}
"""The parameters that need a value, with the values that are accepted here."""

_OPTIONS = {
    "clone": {
        "--branch": "branch",
        "-b": "branch",
        "--submodules": "submodules",
        "--links": "links",
        "--json": "as_json",
    },
    "deploy": {
        "--force": "force",
        "--hard-link": "hard_link",
        "--no-wait": "no_wait",
        "--json": "as_json",
    },
    "rollback": {"--to": "to", "--no-wait": "no_wait", "--json": "as_json"},
}
"""The options of each command, each with the parameter of the function that it sets."""

_COMMANDS = {
    "clone": ("deploycore.cli.cloning", "clone_repository", _clone_arguments),
    "deploy": ("deploycore.cli.deploying", "deploy_applications", _application_names),
    "rollback": ("deploycore.cli.deploying", "roll_back", _one_name),
}
"""For each command: the module and the name of its function, and the function that converts the
names on the command line to arguments, or to ``None`` if Typer has to read the command line."""
