"""Warn about steps whose words only a shell would understand, because no shell runs them.

Without a shell, ``echo a && echo b`` is one program with four arguments. A few people mean that,
but most have made a mistake. So this is a warning and not an error.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from deploycore.applications.application import Application
from deploycore.applications.steps import Command

__all__ = ["shell_warnings"]

_OPERATOR = re.compile(r"\||\|\||&|&&|;|;;|\|&|<|<<|<<<|>|>>|>\||&>|&>>|<>|\(|\)|\{|\}|!")
_REDIRECTION = re.compile(r"^(?:[0-9]*(?:>>?|<|>&|<&)|&>>?)[^\s>]+$")
_EXPANSION = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{|\()|`[^`]+`")
_ASSIGNMENT = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*=")
_BUILTIN = re.compile(
    r"\.|alias|cd|case|eval|exec|export|for|function|if|read|set|shift|source|trap|ulimit"
    r"|umask|unset|until|while|\[\[|\(\("
)
_SHELLS = frozenset(["sh", "bash", "dash", "zsh", "ksh", "ash", "fish"])
_TAKES_FILES = re.compile(r"cat|chmod|chown|cp|ls|ln|mkdir|mv|rm|touch")


def shell_warnings(application: Application) -> Iterator[str]:
    """Return a sentence for each step, and for the health check, that seems to be meant for a
    shell."""
    for phase in type(application.steps).model_fields:
        for number, step in enumerate(getattr(application.steps, phase)):
            yield from _warnings(f"steps/{phase}/{number}", step)
    if application.health_check is not None:
        yield from _warnings("health_check", application.health_check)


def _warnings(place: str, command: Command) -> Iterator[str]:
    if command.shell is not None or not command.run:
        return
    program, *arguments = command.run
    reason = _reason(program, arguments)
    if reason:
        yield (
            f"{place}: {reason}, since no shell runs this command. If a shell should run it, write"
            f' {{shell: "…"}} in the file of the application, or {shlex.join(["sh", "-c", "…"])}.'
        )


def _reason(program: str, arguments: list[str]) -> str:
    if program.rpartition("/")[2] in _SHELLS:
        return ""  # the words that follow are for the program
    if _ASSIGNMENT.match(program):
        return f"{program.partition('=')[0]}=… is taken for the name of a program"
    if _BUILTIN.fullmatch(program):
        return f"{program!r} is a command of shells, and taken for the name of a program"
    for word in (program, *arguments):
        if _is_for_shells(program, word):
            return f"{word!r} is passed on as it is"
    return ""


def _is_for_shells(program: str, word: str) -> bool:
    if re.search(r"\s", word):
        return False  # it was in quotes, so it is meant literally
    if _OPERATOR.fullmatch(word) or _REDIRECTION.match(word) or _EXPANSION.search(word):
        return True
    if len(word) > 1 and (word.endswith((";", "&")) or (word[0] == word[-1] and word[0] in "'\"")):
        return True
    if word == "~" or word.startswith("~/"):
        return True
    takes_files = _TAKES_FILES.fullmatch(program) and not word.startswith("-")
    return bool(takes_files and re.search(r"[*?]", word))
