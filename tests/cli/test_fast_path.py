"""Plain command lines run without Typer, and mean the same as with it."""

from __future__ import annotations

import importlib
import inspect
import logging

import pytest

from deploycore.cli import fast_path
from deploycore.cli.dispatch import application_of
from deploycore.cli.remote import SERVER_VARIABLE
from deploycore.text.log_format import LogFormatter

PLAIN = [
    "clone host acme/shop",
    "clone host acme/shop new",
    "clone host acme/shop new --branch main",
    "clone -b main host acme/shop --submodules --json",
    "clone host acme/shop --links write-as-files",
    "clone host acme/shop --links refuse",
    "clone host acme/shop new --links write-as-links",
    "deploy site",
    "deploy site shop --force",
    "deploy --hard-link site --no-wait --json",
    "rollback site",
    "rollback site --to 20260101-120000-abc",
    "rollback --no-wait --json site",
]
FOR_TYPER = [
    "",
    "clone",
    "clone --help",
    "clone host",
    "clone host acme/shop new more",
    "clone host acme/shop .",
    "clone host acme/shop --branch",
    "clone host acme/shop --branch --json",
    "clone host acme/shop --branch=main",
    "clone host acme/shop --branch a --branch b",
    "clone host acme/shop -bmain",
    "clone host acme/shop --links wrong",
    "clone host acme/shop --limit files=1",
    "clone host acme/shop --timeout 5",
    "clone host -- acme/shop",
    "clone host acme/shop -",
    "deploy",
    "deploy --all",
    "deploy site --parallel 2",
    "deploy site --if-changed",
    "deploy site --nonsense",
    "rollback",
    "rollback site other",
    "repos host",
    "nonsense",
]

WITH_TYPER = {
    "deploycore.cli.cloning": "deploycore.cli.clone",
    "deploycore.cli.deploying": "deploycore.cli.deploy",
}


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """The arguments that the commands' functions are called with, by their names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(SERVER_VARIABLE, raising=False)
    found = []
    for module_name, function, _ in fast_path._COMMANDS.values():
        module = importlib.import_module(module_name)
        signature = inspect.signature(getattr(module, function))

        def record(*arguments, signature=signature, **options):
            bound = signature.bind(*arguments, **options)
            bound.apply_defaults()
            found.append({name: value or None for name, value in bound.arguments.items()})

        monkeypatch.setattr(module, function, record)
        # The module of the command line may have imported the function by its name.
        with_typer = importlib.import_module(WITH_TYPER[module_name])
        monkeypatch.setattr(with_typer, function, record, raising=False)
    return found


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_command_line_means_the_same_as_with_typer(line, calls):
    run = fast_path.find_fast_path(line.split())
    assert run is not None
    run()
    with pytest.raises(SystemExit) as ended:
        application_of(line.split()[:1])(args=line.split(), prog_name="deploycore")
    assert not ended.value.code
    (plain, with_typer) = calls
    assert plain == with_typer


@pytest.mark.parametrize("line", FOR_TYPER)
def test_other_command_lines_are_left_to_typer(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fast_path.find_fast_path(line.split()) is None


def test_an_empty_argument_is_left_to_typer():
    assert fast_path.find_fast_path(["clone", "host", "acme/shop", ""]) is None
    assert fast_path.find_fast_path(["clone", "host", "acme/shop", "--branch", ""]) is None


def test_a_command_for_a_server_is_left_to_typer(monkeypatch):
    monkeypatch.setenv(SERVER_VARIABLE, "https://deploy.example.com")
    assert fast_path.find_fast_path(["deploy", "site"]) is None
    assert fast_path.find_fast_path(["clone", "host", "acme/shop"]) is not None


def test_every_option_of_the_fast_path_is_one_of_the_command():
    import typer.main

    for name, read_here in fast_path._OPTIONS.items():
        known = typer.main.get_command(application_of([name])).commands[name].params
        options = {option for param in known for option in param.opts}
        assert set(read_here) <= options


def test_a_plain_command_line_formats_warnings(calls, monkeypatch):
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging, "lastResort", handler)
    fast_path.find_fast_path(["rollback", "site"])()
    assert isinstance(handler.formatter, LogFormatter)
