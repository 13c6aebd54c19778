"""Observers with settings and secrets of their own."""

from __future__ import annotations

import os
import sys

import pytest

from deploycore.errors import ConfigurationError
from deploycore.provider.installed import plugin_reports
from deploycore.provider.observer_settings import read_observer_settings
from deploycore.provider.observers import installed_observers
from deploycore.testing.observers import make_deployment

SECRET = "made-up-secret-of-an-observer"
PAGER = """
from pydantic import SecretStr
from deploycore.configuration import ObserverConfig
from deploycore.hookspecs import hookimpl

class PagerConfig(ObserverConfig):
    channel: str
    token: SecretStr
    retries: int = 3

class Pager:
    Config = PagerConfig
    made = []

    def __init__(self, config):
        self.config = config
        self.seen = []
        self.made.append(self)

    @hookimpl
    def deploy_started(self, deployment):
        self.seen.append(deployment.application)
"""
PLAIN = """
from deploycore.hookspecs import hookimpl

class Plain:
    @hookimpl
    def deploy_started(self, deployment):
        pass
"""


@pytest.fixture
def install(install_distribution):
    def one(source=PAGER, target="Pager", name="pager"):
        install_distribution(name, name, source, target=target, group="deploycore.observers")

    return one


@pytest.fixture
def write(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DEPLOYCORE_HOME", str(home))

    def settings(text):
        (home / "settings.yaml").write_text(text)
        return home

    return settings


def again(home):
    """As the next process reads it."""
    installed_observers.cache_clear()
    return home


def right(write):
    """Follow the hint: correct the settings; then the observer is there."""
    home = again(write("observers: {pager: {channel: ops, token: env:PAGER_TOKEN}}"))
    assert "pager" in installed_observers(home).names
    assert problem_of() is None


def problem_of(name="pager"):
    return next(each for each in plugin_reports() if each.kind == name).problem


def test_an_observer_is_created_with_its_settings_and_its_secret(install, write, monkeypatch):
    install()
    monkeypatch.setenv("PAGER_TOKEN", SECRET)
    home = write("observers:\n  Pager:\n    channel: ops\n    token: env:PAGER_TOKEN\n")
    observers = installed_observers(home)
    observers.tell("deploy_started", deployment=make_deployment())
    (made,) = sys.modules["pager"].Pager.made
    assert made.seen == ["shop"]
    assert (made.config.channel, made.config.retries) == ("ops", 3)
    assert made.config.token.get_secret_value() == SECRET
    assert SECRET not in repr(made.config)
    assert problem_of() is None


def test_a_secret_can_be_in_a_file(install, write, tmp_path):
    install()
    (tmp_path / "token").write_text(SECRET + "\n")
    home = write(f"observers: {{pager: {{channel: ops, token: 'file:{tmp_path}/token'}}}}")
    assert installed_observers(home).names == ["pager"]
    assert sys.modules["pager"].Pager.made[0].config.token.get_secret_value() == SECRET


def test_a_secret_in_the_settings_file_is_rejected_and_not_echoed(
    install, write, caplog, monkeypatch
):
    install()
    home = write(f"observers: {{pager: {{channel: ops, token: {SECRET}}}}}")
    assert installed_observers(home).names == []
    assert "token: This is not a reference to a secret" in caplog.text
    assert SECRET not in caplog.text
    problem = problem_of()
    assert "env:NAME" in problem.hint
    assert SECRET not in problem.message + problem.hint
    monkeypatch.setenv("PAGER_TOKEN", SECRET)
    right(write)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", "channel"),
        ("observers: {pager: {channel: ops, token: env:PAGER_TOKEN, chanel: x}}", "chanel"),
        ("observers: {pager: {channel: [1], token: env:PAGER_TOKEN}}", "channel"),
        ("observers: {pager: {channel: ops, token: env:NOT_SET_ANYWHERE}}", "NOT_SET_ANYWHERE"),
    ],
)
def test_an_observer_with_invalid_settings_is_skipped_and_reported(
    install, write, monkeypatch, caplog, settings, expected
):
    install()
    install(PLAIN, "Plain", "plain")
    monkeypatch.setenv("PAGER_TOKEN", SECRET)
    home = write(settings)
    assert installed_observers(home).names == ["plain"]
    assert expected in caplog.text
    assert expected in problem_of().message
    assert problem_of("plain") is None
    assert SECRET not in caplog.text
    if "NOT_SET_ANYWHERE" not in settings:
        assert "edit settings.yaml in the data directory" in problem_of().hint
    right(write)


def test_an_observer_without_a_config_is_created_without_arguments(install, write):
    install(PLAIN, "Plain", "plain")
    assert installed_observers(write("observers: {plain: }")).names == ["plain"]


def test_settings_for_an_observer_without_settings_are_reported(install, write, caplog):
    install(PLAIN, "Plain", "plain")
    assert installed_observers(write("observers: {plain: {path: /x}}")).names == []
    problem = problem_of("plain")
    assert "has no settings" in problem.message
    assert "Remove observers/plain from settings.yaml in the data directory" in problem.hint
    assert installed_observers(again(write(""))).names == ["plain"]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("odd: Odd = None", "schema for <class 'pager.Odd'>"),
        ("odd: str = Field('a', pattern='(')", 'Field "odd": regex parse error'),
    ],
)
def test_a_field_that_pydantic_does_not_support_is_reported(
    install, upgrade, write, monkeypatch, field, reason
):
    odd = PAGER.replace(
        "class PagerConfig(", "from pydantic import Field\nclass Odd: pass\n\nclass PagerConfig("
    )
    install(odd.replace("    token:", f"    {field}\n    token:"), "Pager")
    monkeypatch.setenv("PAGER_TOKEN", SECRET)
    assert installed_observers(write("observers: {pager: {token: 'env:PAGER_TOKEN'}}")).names == []
    assert "The Config of the observer 'pager' cannot be used" in problem_of().message
    assert reason in problem_of().message
    assert "Upgrade the plugin" in problem_of().hint
    upgrade("pager", PAGER)
    right(write)


def test_a_config_of_another_type_is_rejected(install, upgrade, write, monkeypatch):
    install(PAGER.replace("PagerConfig(ObserverConfig)", "PagerConfig"), "Pager")
    assert installed_observers(write("")).names == []
    assert "not a subclass of ObserverConfig" in problem_of().message
    assert "Upgrade the plugin" in problem_of().hint
    upgrade("pager", PAGER)
    monkeypatch.setenv("PAGER_TOKEN", SECRET)
    right(write)


@pytest.mark.parametrize("error", ["OSError", "SystemExit", "asyncio.CancelledError"])
def test_an_observer_with_a_failing_constructor_is_skipped(
    install, write, monkeypatch, caplog, error
):
    failing = PAGER.replace(
        "self.config = config",
        "self.config = config; import asyncio\n"
        f"        if config.channel == 'typo': raise {error}(config.token.get_secret_value())",
    )
    install(failing)
    monkeypatch.setenv("PAGER_TOKEN", SECRET)
    home = write("observers: {pager: {channel: typo, token: env:PAGER_TOKEN}}")
    assert installed_observers(home).names == []
    assert f"cannot be created: {error.rpartition('.')[2]}" in caplog.text
    assert SECRET not in caplog.text
    assert "Next: Check its settings in settings.yaml of the data directory" in caplog.text
    right(write)


def test_settings_of_an_observer_that_is_not_installed_are_logged(install, write, caplog):
    installed_observers(write("observers: {nobody-has-this: {path: /x}}"))
    assert "observer nobody-has-this has settings, but is not installed" in caplog.text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("observers: [", "not valid YAML at line 1"),
        ("providers: {}", "'observers' at the top level"),
        ("- observers", "'observers' at the top level"),
        ("observers: [pager]", "observers must be a mapping"),
        ("observers: {1: {}}", "observers must be a mapping"),
        ("observers: {pager: 3}", "observers/pager must be a mapping"),
        ("#" * (1024 * 1024 + 1), "larger than"),
        ("\x00", "not valid YAML"),
    ],
)
def test_an_invalid_settings_file_is_an_error_with_the_reason(write, content, problem):
    home = write(content)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        read_observer_settings(home)
    assert caught.value.details["path"] == str(home / "settings.yaml")
    assert "observers: {NAME: {FIELD: VALUE}}" in caught.value.hint
    write("observers: {pager: {channel: ops}}")
    assert read_observer_settings(home) == {"pager": {"channel": "ops"}}


def test_an_invalid_settings_file_does_not_affect_observers_without_settings(
    install, write, caplog
):
    install()
    install(PLAIN, "Plain", "plain")
    assert installed_observers(write("observers: [")).names == ["plain"]
    assert "observers have no settings" in caplog.text
    assert "not valid YAML" in problem_of().message


def test_a_settings_file_that_is_not_regular_is_not_waited_for(write):
    home = write("")
    (home / "settings.yaml").unlink()
    assert read_observer_settings(home) == {}
    os.mkfifo(home / "settings.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        read_observer_settings(home)
    assert "or remove it" in caught.value.hint
    (home / "settings.yaml").unlink()
    assert read_observer_settings(home) == {}
