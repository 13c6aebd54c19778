"""Errors of the command line, with a message and a hint like all other errors.

Typer reports only the first missing argument. Here the error names all of them, and the hint
suggests an option that is similar to a misspelled one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from deploycore.cli.usage_error import UsageError
from deploycore.text.suggestions import did_you_mean

__all__ = ["CommandGroup", "NounGroup", "StartedCommand", "UsageError"]

_UsageError: Any = typer.BadParameter.__mro__[1]  # Typer exports only its subclasses


_EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", re.DOTALL)


class _HelpIsOff:
    """A command whose option ``--help`` has a default: off.

    Typer gives it no default, and imports pydantic to convert the missing value. That would take
    half of the time of printing a command's help.
    """

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option ``--help``, with a default."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.default = False
        return option


class StartedCommand(_HelpIsOff, TyperCommand):
    """A command that starts fast.

    It does not import pydantic to parse strings and flags, nor logging to print its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command's arguments and options."""
        for param in self.params:
            # Private to Typer. Without it everything works as well, only later.
            if getattr(param, "_runtime_param", param) is None:
                param._runtime_param = _ReadyValue()  # type: ignore[attr-defined]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        from deploycore.text.log_format import format_unhandled_warnings

        format_unhandled_warnings()
        return super().invoke(ctx)


class _ReadyValue:
    """Returns values that already have their parameter's type; Typer converts all others."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a value, converted to the type of its parameter."""
        kind, info = param.type_descriptor.annotation, param.type_descriptor.parameter_info
        is_list = param.multiple or param.nargs != 1
        is_default = type(value) in (int, float, str) and value == param.default
        is_word = is_default and value in get_args(kind)
        is_fixed = type(value) is kind and (kind is str or is_default)
        is_path = kind is Path and not info.exists and not info.resolve_path
        if value == "" and not is_default and Path in (kind, *get_args(kind)):
            # The variable would name the current directory, and it is usually an unset shell
            # variable.
            raise UsageError(
                f"The value of {_shown(param)} is empty.",
                hint="Give a path; . names the current directory.",
            )
        if info.parser is not None:
            pass
        elif is_list:
            if kind == list[str] and (value is None or _are_texts(value)):
                return () if value is None else list(value)
        elif value is None or is_fixed or is_word:
            return value
        elif is_path and type(value) is str and _is_missing(value):
            return Path(value)
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _is_missing(path: str) -> bool:
    """Return whether a value is missing. Typer checks all other values."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        pass
    return False


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(type(each) is str for each in value)


class NounGroup(_HelpIsOff, TyperGroup):
    """The commands of one noun, such as ``provider``."""


class CommandGroup(NounGroup):
    """All commands. Errors of the command line become ``UsageError``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the command."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            _raise_translated(error, given)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        given = [*ctx._protected_args, *ctx.args]
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            _raise_translated(error, given)


def _raise_translated(error: Any, given: Sequence[str]) -> NoReturn:
    """Raise Typer's error as ``UsageError``, unless Typer shows the help instead.

    Args:
        error: Typer's error.
        given: The command line, from the command's name on.
    """
    kind, context = type(error).__name__, error.ctx
    if kind == "NoArgsIsHelpError":
        raise error
    path = context.command_path if context is not None else "deploycore"
    hint = f"List its arguments and options: {path} --help"
    if kind == "NoSuchOption":
        known = _options(context.command) if context is not None else []
        message = f"The command {path} has no option {error.option_name}."
        hint = did_you_mean(error.option_name.lstrip("-"), known, shown="--{}") + hint
        if error.option_name == "--server" and "server" not in known:
            hint = f"Put --server before the command: deploycore --server URL{path[10:]}"
    elif kind == "MissingParameter" and context is not None:
        message = f"The command {path} needs {_listed(_missing(context, given))}."
    elif context is not None and (extra := _EXTRA.match(error.format_message())):
        message = f"The command {path} takes no further argument {extra[1]!r}."
    elif value := _explain_invalid(error.__cause__):
        message = f"The value of {_shown(error.param)} is invalid: {value}."
        wrong, *choices = re.findall("'([^']*)'", value) or [""]
        hint = did_you_mean(wrong, choices) + hint
    else:
        message = error.format_message()
    raise UsageError(message, hint=hint) from None


def _explain_invalid(cause: BaseException | None) -> str:
    """Return why pydantic rejected a value; empty if the error has another cause."""
    from pydantic import ValidationError

    from deploycore.text.validation import describe_problems

    return describe_problems(cause, Any, None) if isinstance(cause, ValidationError) else ""


def _options(command: Any) -> list[str]:
    names = [name for param in command.params for name in (*param.opts, *param.secondary_opts)]
    return [name.removeprefix("--") for name in names if name.startswith("--")]


def _missing(context: Any, given: Sequence[str]) -> Iterator[str]:
    """Return the names of all required arguments and options that were not given."""
    depth = 0
    above = context
    while above.parent is not None:
        depth, above = depth + 1, above.parent
    # Resilient parsing, as for completion, does not stop at a missing argument.
    parsed = context.command.make_context(
        context.info_name, list(given[depth:]), parent=context.parent, resilient_parsing=True
    )
    for param in context.command.params:
        if param.required and parsed.params.get(param.name) in (None, (), []):
            yield _shown(param)


def _shown(param: Any) -> str:
    if param.param_type_name == "option":
        return str(max(param.opts, key=len))
    return str(param.metavar or param.name.upper())


def _listed(names: Iterator[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
