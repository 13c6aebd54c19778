"""Every place that raises an error is on record with how it was provoked, and speaks plainly."""

from __future__ import annotations

import ast
import re
import shlex

import pytest
import typer.main

from deploycore.cli import COMMANDS
from deploycore.cli.dispatch import application_of
from docs.error_places import RECORD, ROOT, error_places, record, texts

HINTS = {
    "followed": "the hint was followed, in a test or by hand, and helped",
    "checked": "the command that the hint names exists and takes what it says",
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


def test_each_place_is_on_record():
    places = {place.key for place in error_places()}
    recorded = record()
    missing = sorted(places - recorded.keys())
    gone = sorted(recorded.keys() - places)
    assert not missing, f"add these to {RECORD.name}, with a test that provokes them: {missing}"
    assert not gone, f"remove these from {RECORD.name}: {gone}"


def test_each_recorded_test_exists_and_each_hint_is_judged():
    for key, (test, hint) in record().items():
        assert hint in HINTS, key
        if test:
            path, _, name = test.partition("::")
            tree = ast.parse((ROOT / path).read_text())
            names = {getattr(node, "name", "") for node in ast.walk(tree)}
            # A class may have inherited the test, from the conformance kit.
            assert name.partition("::")[0] in names, f"{key}: {test}"


def test_sentences_are_in_plain_words():
    found = [
        f"{file}:{line}: {match[0]!r} in {text!r}"
        for file, line, text in texts()
        if (match := BANNED.search(text))
    ]
    assert not found, "\n".join(found)


def test_commands_that_hints_name_exist(commands):
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
