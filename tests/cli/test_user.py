"""``deploycore user``: users of the dashboard, from the machine."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from deploycore import Installation, Settings
from deploycore.cli import token, user
from deploycore.errors import ConfigurationError
from deploycore.store.token_digests import digest_of


@pytest.fixture
def store(home, monkeypatch):
    """The store of the installation that the commands use."""
    monkeypatch.setenv("DEPLOYCORE_HOME", str(home))
    monkeypatch.delenv("DEPLOYCORE_PUBLIC_URL", raising=False)
    with Installation(Settings.from_environment()) as installation:
        yield installation.store


def secret_of(address: str) -> SecretStr:
    return SecretStr(address.rpartition("/")[2].strip())


def test_a_user_is_added_with_a_link_to_set_the_password(store, capsys):
    user.add("ada", role="deploy")
    said = capsys.readouterr().out
    assert "User ada is added, with the role deploy." in said
    path = said.splitlines()[-1]
    assert path.startswith("/sign-in/link/")
    assert store.sign_in_links.find(digest_of(secret_of(path))).user == "ada"
    assert store.users.get("ada").password is None


def test_a_locked_out_owner_gets_a_link_with_the_whole_address(store, capsys, monkeypatch):
    monkeypatch.setenv("DEPLOYCORE_PUBLIC_URL", "https://deploy.example.com/")
    store.users.add("ada", role="admin", password="$argon2id$forgotten")
    user.link("ada")
    address = capsys.readouterr().out.splitlines()[-1]
    assert address.startswith("https://deploy.example.com/sign-in/link/")
    assert store.sign_in_links.use_reset(digest_of(secret_of(address)), "$new") == "ada"
    user.link("ada", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert store.sign_in_links.find(digest_of(secret_of(found["link"]))) is not None
    assert {"name", "link", "link_expires_at"} == set(found)


def test_users_are_listed_without_their_credentials(store, capsys):
    user.list_()
    assert "No users yet" in capsys.readouterr().out
    store.users.add("ada", role="admin", password="$argon2id$hash")
    store.users.add("bob", role="read", issuer="https://id.example", subject="17")
    store.users.change("bob", disabled=True)
    user.list_()
    said = capsys.readouterr().out
    assert ("ada" in said, "password" in said, "disabled" in said) == (True, True, True)
    user.list_(as_json=True)
    said = capsys.readouterr().out
    assert [each["name"] for each in json.loads(said)] == ["ada", "bob"]
    assert "$argon2id$hash" not in said


def test_a_role_is_changed_and_a_user_removed(store, capsys):
    store.users.add("ada", role="admin")
    store.users.add("bob", role="read")
    user.role("bob", role="admin")
    assert store.users.get("bob").role == "admin"
    user.remove("ada", yes=True)
    assert "User ada is removed." in capsys.readouterr().out
    with pytest.raises(ConfigurationError, match="last administrator") as caught:
        user.remove("bob", yes=True)
    assert "deploycore user role NAME admin" in caught.value.hint
    with pytest.raises(ConfigurationError, match="no user 'bib'") as caught:
        user.remove("bib", yes=True)
    assert "bob" in caught.value.hint
    assert "deploycore user list" in caught.value.hint


def test_local_user_changes_are_in_the_audit_log(store, capsys):
    user.add("ada", role="admin")
    user.add("bob", role="read")
    user.role("bob", role="admin")
    user.link("bob")
    user.remove("bob", yes=True)
    entries = [(each.actor, each.operation, each.subject) for each in store.audit.list()]
    assert entries == [
        ("command line", operation, name)
        for operation, name in (
            ("delete_user", "bob"),
            ("create_user_link", "bob"),
            ("change_user", "bob"),
            ("add_user", "bob"),
            ("add_user", "ada"),
        )
    ]
    secret = secret_of(capsys.readouterr().out.splitlines()[-2])
    assert len(secret.get_secret_value()) > 40
    assert secret.get_secret_value() not in repr(store.audit.list())


def test_token_commands_are_in_the_audit_log(store, capsys):
    token.add("ci", role="read")
    token.remove("ci", yes=True)
    entries = [(each.actor, each.operation, each.subject) for each in store.audit.list()]
    assert entries == [("command line", "delete_token", "ci"), ("command line", "add_token", "ci")]
