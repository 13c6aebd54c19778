"""Pages and the docstrings of hooks are in plain words: no turn of phrase that is read twice."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.pages import PAGES, ROOT, name_of

# Each of these was found in a page, and has a plainer word; see docs/glossary.md for ours.
BANNED = re.compile(
    r"(?i)(?<![\w-])("
    r"lest|be it|whoever|whatever it|nobody|no such|anew|in vain|all the same|to be had|"
    r"(tell|tells|told) of|is told|are told|says? nothing of|makes? of it|came of it|comes? of it|"
    r"(looks?|looked) (after|into)|looked at|"
    r"stands (in|there)|is not there|it is there|let go|"
    r"the former|former (one|release|commit|name)|takes? (up|over)|"
    r"(begins?|began|begun) (anew|with)|(come|comes|came) to (its|their|an) end|to their end|"
    r"brought to|for one\.|as ever|with leave|has leave|gives? leave|need leave|"
    r"time-outs?|misspelt|mistyped|in hand|a hand|sign of life|"
    r"who (asks|connects|deploys|follows|operates|raises|loses)|"
    r"(is|are) refused|refusals?|fake hosts?|"
    r"further tr(y|ies)|each try|put right|set right|goes wrong"
    r")(?![\w-])"
)
# A literal in code marks is the product's own text or another program's.
CODE = re.compile(r"```.*?```|`[^`\n]*`|<!---.*?-->|\]\([^)]*\)", re.DOTALL)
# The map of the code has a vocabulary of its own; benchmarks are for people who work on them.
OTHERS = {"docs/design.md", "docs/invariants.md"}
GUARDED = [
    page
    for page in PAGES
    if name_of(page) not in OTHERS and not name_of(page).startswith("benchmarks/")
]
TEXTS = [
    *GUARDED,
    ROOT / "deploycore/testing/README.md",
    *sorted(ROOT.glob("examples/*/README.md")),
]


def banned_turns(text: str) -> list[str]:
    """Each banned turn with the line that it is in."""
    blanked = CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    return [
        f"line {number}: {match[0]!r} in {line.strip()!r}"
        for number, line in enumerate(blanked.splitlines(), 1)
        for match in BANNED.finditer(line)
    ]


def first_lines_of_docstrings(source: str) -> str:
    """The first line of each docstring of a module, its classes and functions."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    documented = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return "\n".join((ast.get_docstring(node) or "").partition("\n")[0] for node in documented)


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_a_page_has_no_banned_turn_of_phrase(page):
    assert banned_turns(page.read_text()) == []


def test_the_summaries_of_hooks_have_no_banned_turn_of_phrase():
    source = (ROOT / "deploycore/hookspecs.py").read_text()
    summaries = first_lines_of_docstrings(source)
    assert summaries.strip()
    assert banned_turns(summaries) == []


def test_a_banned_turn_is_found_and_a_literal_is_not():
    page = "Whoever asks has no say.\n`the former one`\n\n```text\nnobody\n```\nFine.\n"
    assert [found.partition(":")[0] for found in banned_turns(page)] == ["line 1"]
