"""Check a command line against the real commands, without running it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from typer.main import get_command

from deploycore.cli import COMMANDS
from deploycore.cli.dispatch import application_of
from deploycore.cli.remote import REMOTE_COMMANDS
from deploycore.provider.core_fields import all_fields
from deploycore.provider.installed import plugin_reports
from deploycore.provider.registry import load_plugin

_ANSWERED_BEFORE_TYPER = ("--version", "-h", "help", "--server")


def problem_of(words: Sequence[str]) -> str | None:
    """What is wrong with a whole command line, ``deploycore`` itself left out."""
    command, rest = _command(words)
    if command is None or rest[:1] in (["--help"], ["-h"]):
        return problem_of_part(words)
    context = command.context_class(command, **command.context_settings)
    try:
        given, surplus, _ = command.make_parser(context).parse_args(list(rest))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    missing = [each.name for each in command.params if each.required and not given.get(each.name)]
    if missing:
        return f"lacks {', '.join(missing)}"
    if surplus and not context.allow_extra_args:
        return f"does not take {' '.join(surplus)}"
    return _problem_of_fields(given.get("kind"), surplus)


def problem_of_part(words: Sequence[str]) -> str | None:
    """What is wrong with a command that a sentence names, perhaps without its arguments."""
    command, rest = _command(words)
    options = [word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"]
    if command is None:
        named = rest[:1]
        known = not named or named[0] in {*_options(_everything()), *_ANSWERED_BEFORE_TYPER}
        return None if known else f"there is no command {named[0]}"
    takes_more = command.context_settings.get("allow_extra_args")
    unknown = [] if takes_more else [each for each in options if each not in _options(command)]
    return f"{command.name} has no {', '.join(unknown)}" if unknown else None


def _command(words: Sequence[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, ``None`` if none does, and the words after them."""
    place, rest = _everything(), list(words)
    if rest[:1] == ["--server"] and len(rest) > 2 and rest[2] in REMOTE_COMMANDS:
        place, rest = _on_server(rest[2]), rest[2:]
    while hasattr(place, "commands") and rest and rest[0] in place.commands:
        place = place.commands[rest.pop(0)]
    is_top = place is _everything()
    unfinished = hasattr(place, "commands") and (is_top or _names_more(rest))
    return (None if unfinished else place), rest


def _names_more(rest: Sequence[str]) -> bool:
    return bool(rest) and not rest[0].startswith("-")


def _options(command: Any) -> Iterator[str]:
    yield from ("--help", "-h")
    for parameter in command.params:
        if parameter.param_type_name == "option":
            yield from (*parameter.opts, *parameter.secondary_opts)


def _problem_of_fields(kind: str | None, words: Sequence[str]) -> str | None:
    """A provider's own options, where its plugin is installed to tell them."""
    if kind not in {report.kind for report in plugin_reports()}:
        return None
    allowed = {"--stdin"}
    for field in all_fields(load_plugin(kind).config_type):
        option = "--" + field.name.replace("_", "-")
        sources = ("-stdin", "-env", "-file") if field.secret else ("",)
        allowed.update([option] if field.may_be_plain else [])
        allowed.update(option + source for source in sources)
    unknown = [word for word in words if word.startswith("--") and word not in allowed]
    return f"{kind} has no {', '.join(unknown)}" if unknown else None


@cache
def _everything() -> Any:
    return get_command(application_of(COMMANDS))


@cache
def _on_server(command: str) -> Any:
    """The commands of a server that share a module with one of them."""
    return get_command(application_of([command], is_remote=True))
