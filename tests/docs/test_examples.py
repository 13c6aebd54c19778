"""Every example of the documentation is run, or compared with the original."""

from __future__ import annotations

import configparser
import json
import re
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

from deploycore import read_declaration
from deploycore.provider.entry_points import OBSERVER_GROUP, PROVIDER_GROUP, SANDBOX_GROUP
from deploycore.provider.observer_settings import SETTINGS_FILE, read_observer_settings
from tests.docs.command_lines import problem_of, problem_of_part
from tests.docs.pages import PAGES, commands_of, inline_commands, name_of

GROUPS = {OBSERVER_GROUP, PROVIDER_GROUP, SANDBOX_GROUP}


def check_commands(example: Example) -> None:
    for words in commands_of(example.parsed):
        problem = problem_of(words)
        assert problem is None, f"line {example.line}: deploycore {' '.join(words)}: {problem}"


def check_unit(example: Example) -> None:
    """A unit of systemd, whose command must be one that there is."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string(example.parsed)
    (words,) = commands_of(unit["Service"]["ExecStart"])
    assert problem_of(words) is None


def check_yaml(example: Example) -> None:
    values = yaml.safe_load(example.parsed)
    if "observers" in values:
        check_observer_settings(example)
        return
    check_declaration(example, ".yaml", values)


def check_observer_settings(example: Example) -> None:
    """Settings of observers, whose secrets are references."""
    directory = Path(example.namespace["directory"])
    (directory / SETTINGS_FILE).write_text(example.parsed)
    (settings,) = read_observer_settings(directory).values()
    assert settings.get("token", "env:X").startswith("env:")


def check_toml(example: Example) -> None:
    values = tomllib.loads(example.parsed)
    if "project" not in values:
        check_declaration(example, ".toml", values)
        return
    for group, names in values["project"].get("entry-points", {}).items():
        assert group in GROUPS, f"line {example.line}: there is no group {group}"
        assert all(re.fullmatch(r"\w+(\.\w+)*(:\w+)?", value) for value in names.values())


def check_declaration(example: Example, suffix: str, values: object) -> None:
    assert list(values) == ["applications"]
    file = (Path(example.namespace["directory"]) / "declaration").with_suffix(suffix)
    file.write_text(example.parsed)
    assert read_declaration(file)


def check_diagram(example: Example) -> None:
    """A diagram of packages, each of which must exist."""
    first, *lines = example.parsed.splitlines()
    assert first == "flowchart TD"
    named = {name for line in lines for name in re.split(r"[\s&]+|-->", line) if name}
    assert [name for name in named if find_spec(f"deploycore.{name}") is None] == []


CHECKS = {
    "console": check_commands,
    "ini": check_unit,
    "json": lambda example: json.loads(example.parsed) and None,
    "mermaid": check_diagram,
    "toml": check_toml,
    "yaml": check_yaml,
}
EXAMPLES = Sybil(
    parsers=[
        # The blocks of a page are one module, whose first line may be this import.
        PythonCodeBlockParser(future_imports=["annotations"]),
        *(CodeBlockParser(language, check) for language, check in CHECKS.items()),
    ],
    pattern="*.md",
)


@pytest.mark.usefixtures("prepared_installation")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_examples_of_each_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = ModuleType("example_of_documentation")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where pydantic looks names up
    document = EXAMPLES.parse(page)
    document.namespace = vars(module)
    document.namespace["directory"] = tmp_path
    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_code_block_uses_a_checked_language(page):
    opening = re.findall(r"^ *(?:```|~~~)(.*)$", page.read_text(), re.MULTILINE)[::2]
    languages = {language for language in opening if not language.startswith("{")}
    assert languages <= {"python", "text", *CHECKS}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_named_in_the_text_exist(page):
    problems = [problem_of_part(words) for words in inline_commands(page)]
    assert [problem for problem in problems if problem] == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("deploy shop --nope", "nope"),
        ("deploy shop --hard-links", "hard-links"),
        ("provider rename work", "no command provider|rename"),
        ("undeploy shop", "no command undeploy"),
        ("branches work", "lacks repository"),
        ("branches work acme/shop again", "does not take again"),
        ("provider add work --kind bitbucket --mode api-token --token ATATT", "has no --token"),
    ],
)
def test_an_invalid_command_line_is_detected(line, problem):
    assert re.search(problem, problem_of(line.split()) or "nothing was found")
