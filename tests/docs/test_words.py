"""Pages, help, errors and log lines are in plain words: no turn of phrase that is read twice."""

from __future__ import annotations

import ast
import re

import pytest
import typer.main

from deploycore.cli import COMMANDS, overview
from deploycore.cli.dispatch import application_of
from docs.error_places import texts
from tests.banned_words import BANNED, BANNED_IN_CODE, BANNED_IN_OUTPUT
from tests.docs.pages import PAGES, ROOT, name_of

# A literal in code marks is the product's own text or another program's.
CODE = re.compile(r"```.*?```|`[^`\n]*`|<!---.*?-->|\]\([^)]*\)", re.DOTALL)
COMMENT = re.compile(r"# .*$")
# Benchmarks are for people who work on them.
GUARDED = [page for page in PAGES if not name_of(page).startswith("benchmarks/")]
TEXTS = [
    *GUARDED,
    ROOT / "deploycore/testing/README.md",
    *sorted(ROOT.glob("examples/*/README.md")),
]


def banned_turns(text: str, banned: re.Pattern[str] = BANNED) -> list[str]:
    """Each banned turn with the line that it is in."""
    blanked = CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    return [
        f"line {number}: {match[0]!r} in {line.strip()!r}"
        for number, line in enumerate(blanked.splitlines(), 1)
        for match in banned.finditer(line)
    ]


def help_texts(group=None, before=("deploycore",)):
    """The help of each command and group, and of each of their parameters."""
    for name, command in (
        group or typer.main.get_command(application_of(COMMANDS))
    ).commands.items():
        words = (*before, name)
        yield " ".join(words), command.help or ""
        for param in command.params:
            yield f"{' '.join(words)} {param.name}", getattr(param, "help", None) or ""
        if hasattr(command, "commands"):
            yield from help_texts(command, words)


def turns_in_output(named):
    """The banned turns in texts that have names."""
    return [
        f"{name}: {turn}" for name, text in named for turn in banned_turns(text, BANNED_IN_OUTPUT)
    ]


def first_lines_of_docstrings(source: str) -> str:
    """The first line of each docstring of a module, its classes and functions."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    documented = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return "\n".join((ast.get_docstring(node) or "").partition("\n")[0] for node in documented)


def docstrings_and_comments(source: str) -> str:
    """The lines of a module that are docstrings or comments; all others are blank."""
    shown: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            shown.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return "\n".join(
        line if number in shown else COMMENT.search(line + "# ")[0]
        for number, line in enumerate(source.splitlines(), 1)
    )


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_pages_contain_no_banned_phrase(page):
    assert banned_turns(page.read_text()) == []


def test_hook_summaries_contain_no_banned_phrase():
    source = (ROOT / "deploycore/hookspecs.py").read_text()
    summaries = first_lines_of_docstrings(source)
    assert summaries.strip()
    assert banned_turns(summaries) == []


def test_command_help_contains_no_banned_phrase():
    found = [("deploycore", overview()), *help_texts()]
    assert len(found) > 150
    assert turns_in_output(found) == []


def test_messages_hints_and_log_lines_contain_no_banned_phrase():
    """One test of all rooms: reading the source takes long, and each process would do so."""
    found = [(f"{file}:{line}", text) for file, line, text in texts()]
    assert len(found) > 1000
    assert turns_in_output(found) == []


def test_docstrings_and_comments_contain_no_banned_phrase():
    """One test of all modules, for the same reason. Released migrations do not change."""
    modules = [
        path
        for pattern in ("deploycore/**/*.py", "plugins/*/deploycore_*/**/*.py")
        for path in sorted(ROOT.glob(pattern))
        if "migrations/versions" not in str(path)
    ]
    assert len(modules) > 500
    texts_by_name = {name_of(path): path.read_text() for path in modules}
    found = [
        f"{name}, {turn}"
        for name, text in texts_by_name.items()
        if BANNED_IN_CODE.search(text)  # few modules have to be parsed
        for turn in banned_turns(docstrings_and_comments(text), BANNED_IN_CODE)
    ]
    assert found == []


def test_a_docstring_and_a_comment_are_searched_and_code_is_not():
    source = 'x = "told of"  # told of\n\n\ndef f():\n    """The former one."""\n    y = "lest"\n'
    turns = banned_turns(docstrings_and_comments(source), BANNED_IN_CODE)
    assert [turn.partition(":")[0] for turn in turns] == ["line 1", "line 5"]


@pytest.mark.parametrize(
    "text",
    [
        "At most this many. Again for more.",
        "Without a sign of life for so long a worker counts as dead; the same for all.",
        "Let a git host tell of pushes",
        "Nothing is waited for in vain, lest it be of no use.",
        "The git server knows no such repository.",
        "A plugin that raises has no say.",
    ],
)
def test_each_rewritten_text_would_be_detected_again(text):
    assert turns_in_output([("text", text)])


def test_a_banned_phrase_is_detected_and_a_literal_is_not():
    page = "Whoever asks is heard.\n`the former one`\n\n```text\nnobody\n```\nFine.\n"
    assert [found.partition(":")[0] for found in banned_turns(page)] == ["line 1"]
