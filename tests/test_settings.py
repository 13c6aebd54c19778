"""Settings from the environment: accepted and rejected values."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from deploycore.errors import ConfigurationError, StoreError
from deploycore.settings import Settings, is_fernet_key

KEY = "x" * 42 + "4="


def test_by_default_everything_is_in_the_data_directory_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = Settings.from_environment({})
    assert settings.home.name == "deploycore"
    assert settings.secret_key is None
    assert settings.secret_key_file == settings.home / "secret.key"
    assert make_url(settings.database_url).database == str(settings.home / "deploycore.db")


def test_the_process_environment_is_read_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("DEPLOYCORE_HOME", str(tmp_path))
    assert Settings.from_environment().home == tmp_path


@pytest.mark.parametrize("name", ["plain", "with space", "100%25", "what?", "größe#1"])
def test_the_database_is_in_the_data_directory_whatever_its_name(tmp_path, name):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / name)})
    assert make_url(settings.database_url).database == str(tmp_path / name / "deploycore.db")


def test_a_relative_data_directory_is_made_absolute_and_a_tilde_is_expanded(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert Settings.from_environment({"DEPLOYCORE_HOME": "kept"}).home == tmp_path / "kept"
    assert Settings.from_environment({"DEPLOYCORE_HOME": "~/kept"}).home == tmp_path / "me/kept"


def test_the_key_and_the_database_url_are_used_unchanged():
    settings = Settings.from_environment(
        {"DEPLOYCORE_SECRET_KEY": KEY + "\n", "DEPLOYCORE_DATABASE_URL": "sqlite:////x/y.db"}
    )
    assert settings.secret_key.get_secret_value() == KEY
    assert settings.database_url == "sqlite:////x/y.db"


def test_the_repr_contains_neither_the_key_nor_the_password_of_the_url():
    url = "postgresql://deployer:pass-of-the-database@host/name"
    settings = Settings.from_environment(
        {"DEPLOYCORE_SECRET_KEY": KEY, "DEPLOYCORE_DATABASE_URL": url}
    )
    assert "pass-of-the-database" not in repr(settings)
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    "name", ["DEPLOYCORE_HOME", "DEPLOYCORE_DATABASE_URL", "DEPLOYCORE_SECRET_KEY"]
)
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_rejected(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} is set, but empty"):
        Settings.from_environment({name: value})
    assert Settings.from_environment({})  # as if it were unset


@pytest.mark.parametrize(
    "key", ["s3cr3t-but-short", "x" * 44, "x" * 43 + "\N{SNOWMAN}", "!" * 43 + "=", KEY + "AAAA"]
)
def test_an_invalid_key_is_rejected_and_not_echoed(key):
    with pytest.raises(ConfigurationError, match="not a Fernet key") as caught:
        Settings.from_environment({"DEPLOYCORE_SECRET_KEY": key})
    assert key not in str(caught.value) + caught.value.hint
    command = caught.value.hint.partition(": ")[2]
    made = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
    assert Settings.from_environment({"DEPLOYCORE_SECRET_KEY": made}).secret_key


def test_an_invalid_database_url_is_rejected_and_not_echoed():
    with pytest.raises(ConfigurationError, match="not a database URL") as caught:
        Settings.from_environment({"DEPLOYCORE_DATABASE_URL": "deployer:s3cr3t@host/name"})
    assert "s3cr3t" not in str(caught.value) + caught.value.hint
    for url in re.findall(r"\S+://\S+[^\s.]", caught.value.hint):
        assert Settings.from_environment({"DEPLOYCORE_DATABASE_URL": url}).database_url == url


def test_the_home_directory_of_an_unknown_user_is_rejected():
    with pytest.raises(ConfigurationError, match="a user without one"):
        Settings.from_environment({"DEPLOYCORE_HOME": "~nobody-of-this-name/x"})
    assert Settings.from_environment({"DEPLOYCORE_HOME": "/srv/x"}).home == Path("/srv/x")


def test_the_data_directory_is_only_accessible_to_its_owner(tmp_path):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "a" / "home")})
    settings.make_home()
    settings.make_home()
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700


@pytest.mark.parametrize("below", ["", "home"])
def test_a_file_in_place_of_the_data_directory_is_named(tmp_path, below):
    (tmp_path / "file").write_text("")
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "file" / below)})
    with pytest.raises(StoreError, match="a file is in its place") as caught:
        settings.make_home()
    assert str(tmp_path / "file") in caught.value.message
    assert "DEPLOYCORE_HOME" in caught.value.hint
    elsewhere = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "home")})
    elsewhere.make_home()
    assert elsewhere.home.is_dir()


def test_the_command_in_the_hint_creates_a_valid_key():
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({"DEPLOYCORE_SECRET_KEY": "no"})
    program = caught.value.hint.partition("-c '")[2].rstrip("'")
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert is_fernet_key(made.stdout.strip())
