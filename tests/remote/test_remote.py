"""The storage of servers' tokens, and the errors of servers."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from deploycore.errors import ConfigurationError, Locked, PermissionDenied
from deploycore.remote import Logins
from deploycore.remote.server import error_of

URL = "https://deploy.example.com"


@pytest.fixture
def logins(tmp_path):
    return Logins(tmp_path / "config", {})


def test_a_stored_token_is_found_and_removed(logins):
    with pytest.raises(ConfigurationError, match="not signed in") as caught:
        logins.token(URL)
    assert caught.value.hint == f"Sign in: deploycore login {URL}"
    logins.keep(URL, SecretStr("dct_one"))
    path = logins.keep("https://other.example", SecretStr("dct_other"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert logins.token(URL).get_secret_value() == "dct_one"
    assert logins.drop(URL)
    assert not logins.drop(URL)
    assert logins.token("https://other.example").get_secret_value() == "dct_other"


def test_environment_variables_take_precedence(tmp_path):
    logins = Logins(tmp_path, {"DEPLOYCORE_TOKEN": "dct_given"})
    assert logins.token(URL).get_secret_value() == "dct_given"


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"https://x": 1}', b"\xff"])
def test_a_damaged_file_is_reported_and_kept(logins, tmp_path, content):
    logins.keep(URL, SecretStr("dct_one"))
    path = tmp_path / "config" / "servers.json"
    path.write_bytes(content)
    for use in (lambda: logins.token(URL), lambda: logins.keep(URL, SecretStr("dct_two"))):
        with pytest.raises(ConfigurationError, match="cannot be read") as caught:
            use()
        assert "deploycore login" in caught.value.hint
    assert path.read_bytes() == content


def test_an_unwritable_file_leaves_nothing_behind(logins, tmp_path, monkeypatch):
    logins.keep(URL, SecretStr("dct_one"))

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(ConfigurationError, match="No space left"):
        logins.keep(URL, SecretStr("dct_two"))
    assert [each.name for each in (tmp_path / "config").iterdir()] == ["servers.json"]
    assert logins.token(URL).get_secret_value() == "dct_one"


def test_a_remote_error_has_the_same_type_as_a_local_one():
    assert type(error_of("locked", "Another runs.", hint="Wait.")) is Locked
    denied = error_of("permission_denied", "The token ci has the role read.", hint="Ask.")
    assert (type(denied), denied.exit_code) == (PermissionDenied, 4)
    assert error_of("of a newer server", "What?").exit_code == 1
