"""Every place that raises an error is listed with its test, and its message is in plain words."""

from __future__ import annotations

import ast
import re
import shlex
from collections import Counter
from functools import cache
from typing import NamedTuple

import pytest
import typer.main

from deploycore.cli import COMMANDS
from deploycore.cli.dispatch import application_of
from docs.error_places import RECORD, ROOT, error_places, record, texts

HINTS = {
    "followed": "the recorded test does what the hint says, and it helps",
    "checked": "the command, the option or the page that the hint names exists and fits",
    "read": "the hint was read against the code, and not followed",
    "none": "there is no hint where the error is made",
}

BANNED = re.compile(
    r"(?i)\b("
    r"\w+n['’]t|nobody|whoever|everybody|somebody|lest|be it|no such|be had|looked at|"
    r"looks? (at|into|whether)|it seems|in vain|stays (so|like)|if it stays|to be trusted|"
    r"all the same|comes? to (its|an) end|sends on|unforeseen|anew|mend(ed)?|knows no|"
    r"(is|are) not there|let us|took over|foresaw|put right|(that|what) is told|nowhere|"
    r"see whether|none that|is to be stored"
    r")\b"
)
COMMAND = re.compile(r"deploycore ((?:[a-z-]+)(?: [^;,()]+)?)(?!,)")


@pytest.fixture(scope="module")
def commands():
    return typer.main.get_command(application_of(COMMANDS))


def test_each_error_location_is_listed():
    places = {place.key for place in error_places()}
    recorded = record()
    missing = sorted(places - recorded.keys())
    gone = sorted(recorded.keys() - places)
    assert not missing, f"add these to {RECORD.name}, with a test that provokes them: {missing}"
    assert not gone, f"remove these from {RECORD.name}: {gone}"


def test_each_error_location_is_listed_once():
    keys = [line.partition("\t")[0] for line in RECORD.read_text().splitlines()]
    assert [key for key, count in Counter(keys).items() if count > 1] == []


def test_each_recorded_test_exists():
    found = [
        f"{key}: {test}" for key, (test, _) in record().items() if test and not is_a_test(test)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("tests/test_error_places.py::test_each_recorded_test_exists", True),
        (
            "plugins/gitea/tests/test_contract.py::TestGitea::test_an_unknown_owner_is_an_error",
            True,
        ),
        ("tests/credentials/test_keeper.py::TestStoredTokens::test_what_does_not_exist", False),
        ("tests/credentials/test_keeper.py::TestStoredTokens", False),
        ("plugins/gitea/tests/test_contract.py::TestGitea::test_what_does_not_exist", False),
        ("tests/test_error_places.py::is_a_test", False),
        ("tests/test_error_places.py::HINTS", False),
        ("tests/test_error_places.py", False),
        ("tests/test_no_such_file.py::test_x", False),
    ],
)
def test_test_names_are_distinguished_from_other_text(test, expected):
    assert is_a_test(test) is expected


def test_each_hint_is_reviewed():
    places = {place.key: place for place in error_places()}
    for key, (test, hint) in record().items():
        assert hint in HINTS, key
        assert test or hint != "followed", f"{key}: no test follows the hint"
        # A hint that is a variable may be empty.
        if key in places and places[key].hint != "…":
            assert (hint == "none") == (places[key].hint == ""), key


def is_a_test(name):
    """Whether pytest has a test of this name: a function, or a method of a class.

    A class may have inherited it from another one of its file or from the conformance kit.
    """
    path, *scopes = name.split("::")
    tests, classes = _outline(ROOT / path)
    match scopes:
        case [function]:
            return function in tests
        case [owner, method]:
            return any(each.name == owner and _has(classes, each, method) for each in classes)
        case _:
            return False


def _has(classes, owner, method):
    here = [each for each in classes if each.name in owner.bases]
    return (
        method in owner.tests
        or any(_has(classes, each, method) for each in here)
        or (bool(owner.bases) and method in _tests_of_the_kit())
    )


@cache
def _tests_of_the_kit():
    paths = (ROOT / "deploycore" / "testing").rglob("*.py")
    owners = [
        node
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    return {name for owner in owners for name in _tests_in(owner)}


class _Class(NamedTuple):
    name: str
    bases: set[str]
    tests: set[str]


@cache
def _outline(path):
    """The names of a file's test functions, and its classes.

    The tree is not kept: the garbage collector would look at all nodes again and again.
    """
    tree = ast.parse(path.read_text() if path.exists() else "")
    return _tests_in(tree), [
        _Class(
            node.name,
            {ast.unparse(base).rpartition(".")[2] for base in node.bases},
            _tests_in(node),
        )
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    ]


def _tests_in(owner):
    return {
        each.name
        for each in owner.body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    }


def test_messages_use_plain_words():
    found = [
        f"{file}:{line}: {match[0]!r} in {text!r}"
        for file, line, text in texts()
        if (match := BANNED.search(text))
    ]
    assert not found, "\n".join(found)


def test_commands_named_in_hints_exist(commands):
    found = [
        f"{file}:{line}: {problem} in {text!r}"
        for file, line, text in texts()
        for told in COMMAND.findall(text)
        if (problem := _problem(commands, told))
    ]
    assert not found, "\n".join(found)


def _problem(command, told):
    """What is wrong with a command line, as far as can be said without running it."""
    words = shlex.split(re.split(r"\. |\.$|: | or | as ", told)[0].replace("'", "").strip("."))
    if words[0] not in COMMANDS:
        return None  # not a command: "deploycore can", "deploycore stopped"
    while hasattr(command, "commands") and words:
        word = words.pop(0)
        if word not in command.commands:
            return None if word.startswith(("{", "-")) else f"no command {word!r}"
        command = command.commands[word]
    options = {"--help", *(name for each in command.params for name in each.opts)}
    if command.context_settings.get("ignore_unknown_options"):
        return None  # it takes the fields of a provider
    for word in words:
        if word.startswith("--") and word not in options and "{" not in word:
            return f"no option {word!r}"
    if "--help" in words:
        return None
    needed = [each for each in command.params if each.required]
    given = len([word for word in words if not word.startswith("-")])
    return f"lacks {[each.name for each in needed]}" if given < len(needed) else None
