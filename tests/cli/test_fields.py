"""Provider fields on the command line: secrets are accepted in every way except as arguments."""

from __future__ import annotations

import getpass
import io
import os
import sys
from typing import Annotated, Literal

import pytest
from pydantic import Field, SecretStr

from deploycore.cli.fields import field_help, read_fields, read_secret
from deploycore.cli.usage import UsageError
from deploycore.configuration import ProviderConfig
from deploycore.errors import ConfigurationError
from deploycore.installation import SecretReference

SECRET = "hunter2-very-secret"


class Base(ProviderConfig):
    site: str = Field(default="https://a.example", description="where it is")

    @property
    def api_base_url(self) -> str:
        return self.site

    @property
    def api_auth(self) -> None:
        return None


class Password(Base):
    mode: Literal["password"]
    user_name: str
    pass_word: SecretStr = Field(description="the password")


class Token(Base):
    mode: Literal["token"]
    token: SecretStr


Config = Annotated[Password | Token, Field(discriminator="mode")]


@pytest.fixture
def stdin(monkeypatch):
    """Put text on standard input, at a terminal or not."""

    def put(text: str, *, terminal: bool = False) -> None:
        stream = io.StringIO(text)
        stream.isatty = lambda: terminal
        monkeypatch.setattr(sys, "stdin", stream)

    put("")
    return put


@pytest.mark.parametrize("arguments", [["--site", "b", "--mode=token"], ["--mode", "token"]])
def test_settings_are_read_in_both_spellings(stdin, arguments):
    given = read_fields(Config, [*arguments, "--token-env", "TOKEN"])
    assert given.settings["mode"] == "token"
    assert given.secrets == {"token": SecretReference("env:TOKEN")}


def test_a_secret_is_read_from_standard_input(stdin):
    stdin(f"{SECRET}\nnext line\n")
    given = read_fields(Config, ["--mode", "token", "--token-stdin"])
    assert given.secrets["token"] == SecretStr(SECRET)
    assert SECRET not in repr(given)


@pytest.mark.parametrize("end", ["-----END PRIVATE KEY-----\n", ""])
def test_a_pem_key_is_read_completely_from_standard_input(stdin, end):
    key = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n{SECRET}\n{end}"
    stdin(f"{key}next line\n" if end else key)
    given = read_fields(Config, ["--mode", "token", "--token-stdin"])
    assert given.secrets["token"] == SecretStr(key.rstrip("\n"))


def test_a_file_is_stored_as_an_absolute_reference(stdin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = read_fields(Config, ["--mode", "token", "--token-file", "token.txt"])
    assert given.secrets["token"] == SecretReference(f"file:{tmp_path}/token.txt")


@pytest.mark.timeout(300)
def test_a_temporary_file_is_rejected_with_an_alternative(stdin, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reading, writing = os.pipe()
    for path in (tmp_path / "pipe", tmp_path, f"/dev/fd/{reading}"):
        with pytest.raises(ConfigurationError, match="is not a regular file") as caught:
            read_fields(Config, ["--mode", "token", "--token-file", str(path)])
        assert "--token-stdin" in caught.value.hint
    stdin(SECRET)
    given = read_fields(Config, ["--mode", "token", "--token-stdin"])
    assert given.secrets["token"] == SecretStr(SECRET)
    os.close(reading)
    os.close(writing)


def test_missing_values_are_prompted_for_at_a_terminal(stdin, monkeypatch):
    stdin("password\nada\n", terminal=True)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: SECRET)
    given = read_fields(Config, [])
    assert given.settings == {"mode": "password", "user_name": "ada"}
    assert given.secrets["pass_word"] == SecretStr(SECRET)


def test_a_prompt_is_explained(stdin, monkeypatch, capsys):
    class Described(Base):
        owner: str = Field(description="whose repositories, as in acme.example/<owner>")
        token: SecretStr = Field(description="access token, made at acme.example/settings/tokens")

    stdin("ada\n", terminal=True)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: SECRET)
    read_fields(Described, [])
    said = capsys.readouterr().err
    assert "owner: whose repositories, as in acme.example/<owner>" in said
    assert "token: access token, made at acme.example/settings/tokens" in said


def test_all_missing_values_are_reported_at_once(stdin):
    with pytest.raises(ConfigurationError, match="fields user_name and pass_word are missing"):
        read_fields(Config, ["--mode", "password"])
    with pytest.raises(ConfigurationError) as caught:
        read_fields(Config, [])
    assert "With --mode password also --user-name VALUE; --pass-word-stdin" in caught.value.hint
    stdin(SECRET)
    given = read_fields(Config, ["--mode", "password", "--user-name", "a", "--pass-word-stdin"])
    assert given.secrets["pass_word"] == SecretStr(SECRET)


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        ([], r"mode is missing \(password, token\)", "--mode VALUE"),
        (["--mode", "token"], "token is missing", "--token-stdin"),
        (["--mode", "token", "--token", SECRET], "--token would put a secret on", "--token-stdin"),
        (["--mode", "token", f"--token={SECRET}"], "--token would put a secret", "--token-stdin"),
        (["--mode", "token", "--token"], "--token would put a secret", "--token-stdin"),
        (
            ["--mode", "token", "--token-stdin", SECRET],
            "not preceded by an option",
            "-stdin takes no",
        ),
        (["--mode", "token", f"--token-stdin={SECRET}"], "takes no value", "--token-stdin < FILE"),
        (["--mode", "token", "--token-stdin"], "Standard input has no", "--token-stdin < FILE"),
        (
            ["--mode", "token", "--token-file", ""],
            "The value of --token-file is empty",
            "path of a file",
        ),
        (["--mode"], "--mode needs a value", "--mode VALUE"),
        (["--mode", "token", "--mode", "token"], "--mode is given more than once", "once: --mode"),
        (["--nope", SECRET], "has no field --nope", "--mode"),
        ([SECRET], "is not preceded by an option", "--FIELD VALUE"),
    ],
)
def test_invalid_options_are_reported_without_the_secret(stdin, arguments, said, hint):
    with pytest.raises((ConfigurationError, UsageError), match=said) as caught:
        read_fields(Config, arguments)
    assert SECRET not in str(caught.value) + caught.value.hint
    assert hint in caught.value.hint
    stdin(f"{SECRET}\n")  # as each of these hints says
    given = read_fields(Config, ["--mode", "token", "--token-stdin"])
    assert given.secrets["token"] == SecretStr(SECRET)


def test_help_lists_the_options_and_mode_of_each_field():
    text = field_help(Config)
    assert "--mode VALUE\n      one of password, token" in text
    assert "--pass-word-stdin | --pass-word-env NAME | --pass-word-file PATH" in text
    assert "the password; with --mode password" in text
    assert "--site VALUE\n      where it is; optional" in text


def test_a_value_that_cannot_be_prompted_for_names_its_option(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("typed\n"))
    with pytest.raises(ConfigurationError, match="cannot ask for the value of TOKEN") as caught:
        read_secret("TOKEN", from_stdin=False)
    assert "--stdin" in caught.value.hint
    assert read_secret("TOKEN", from_stdin=True).get_secret_value() == "typed"


def test_a_prompted_value_must_not_be_empty(stdin, monkeypatch):
    stdin("", terminal=True)
    typed = iter(["", SECRET])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    with pytest.raises(ConfigurationError, match="The value of TOKEN is empty") as caught:
        read_secret("TOKEN", from_stdin=False)
    assert "type the value" in caught.value.hint
    assert read_secret("TOKEN", from_stdin=False).get_secret_value() == SECRET


def test_a_default_is_used_when_no_option_sets_the_field(stdin):
    stdin(f"{SECRET}\n")
    told = {"site": "https://b.example", "unknown": "x", "token": "not a secret's place"}
    given = read_fields(Config, ["--mode", "token", "--token-stdin"], defaults=told)
    assert given.settings == {"mode": "token", "site": "https://b.example"}
    options = ["--mode", "token", "--token-env", "X", "--site", "https://c.example"]
    assert read_fields(Config, options, defaults=told).settings["site"] == "https://c.example"


def test_a_default_of_another_authentication_mode_is_ignored():
    told = {"user_name": "ada"}
    given = read_fields(Config, ["--mode", "token", "--token-env", "X"], defaults=told)
    assert given.settings == {"mode": "token"}
    given = read_fields(Config, ["--mode", "password", "--pass-word-env", "X"], defaults=told)
    assert given.settings == {"mode": "password", "user_name": "ada"}
