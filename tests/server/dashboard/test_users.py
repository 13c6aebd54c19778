"""The pages of users, tokens and the user's own account."""

from __future__ import annotations

import re

import pytest
from pydantic import SecretStr

from deploycore.store.token_digests import digest_of
from tests.server.dashboard.conftest import PASSWORD

pytestmark = pytest.mark.usefixtures("cheap_hashes")
NEW = "another-long-password"


@pytest.fixture
def own(browser, installation):
    """The browser of a user with a password, who is signed in elsewhere too."""
    hashed = browser.client.application.accounts.passwords.hash(SecretStr(PASSWORD))
    store = installation.store
    here = store.sessions.list("admin")[0].id
    store.users.set_password("admin", hashed, keep=here)
    store.sessions.add("admin", digest="e" * 64, browser="Firefox on Linux", address="192.0.2.x")
    return browser


def test_a_user_is_added_with_a_link_that_signs_in(browser, serving):
    assert "Add a user" in browser.get("/users").text
    page = browser.send("/users/-/new", page="/users/-/new", name="ada", role="deploy")
    address = re.search(r"<code>(http://testserver/sign-in/link/[^<]+)</code>", page.text).group(1)
    other = serving()
    token = re.search(r'name="form_token" value="([^"]+)"', other.get(address).text).group(1)
    given = {"form_token": token, "link": address.rpartition("/")[2]}
    answer = other.post("/sign-in/link", data={**given, "password": NEW, "again": NEW})
    assert (answer.url.path, answer.status_code) == ("/", 200)
    assert "deploy" in other.get("/account").text
    assert "password" in browser.get("/users").text


def test_a_user_is_added_with_a_password(browser, installation):
    page = browser.send("/users/-/new", name="ada", role="read", password=PASSWORD)
    assert (page.status_code, "ada is added" in page.text) == (200, True)
    assert PASSWORD not in page.text
    assert installation.store.users.get("ada").password is not None


@pytest.mark.parametrize(
    ("fields", "why", "field"),
    [
        ({"name": "a b"}, "not a valid name", "name"),
        ({"name": "admin"}, "is taken", "name"),
        ({"name": "ada", "password": "short"}, "12 to 1,000 characters", "password"),
        ({"name": "ada", "role": "root"}, "role", ""),
        ({}, "name", ""),
    ],
)
def test_an_invalid_user_is_reported_at_its_field_and_input_is_preserved(
    browser, fields, why, field
):
    page = browser.send("/users/-/new", **({"role": "deploy"} | fields))
    assert (page.status_code, why in page.text) == (422, True)
    if fields.get("name"):
        assert f'value="{fields["name"]}"' in page.text
    if fields.get("role", "deploy") == "deploy":
        assert '<option value="deploy" selected>' in page.text
    if field:
        [tag] = re.findall(rf'<input id="{field}"[^>]*>', page.text)
        assert 'aria-invalid="true"' in tag
        assert "form-error" in tag
    assert "short" not in page.text or "password" not in fields


def test_a_user_is_changed_and_removed(browser, installation):
    installation.store.users.add("ada", role="read")
    page = browser.send("/users/ada", role="deploy")
    assert (page.url.path, "The changes are saved." in page.text) == ("/users/ada", True)
    assert "Enable the user" in browser.send("/users/ada", disabled="yes").text
    assert installation.store.users.get("ada").disabled
    assert "Disable the user" in browser.send("/users/ada", disabled="no").text
    assert "/sign-in/link/" in browser.send("/users/ada/link").text
    assert "Remove ada?" in browser.get("/users/ada/remove").text
    page = browser.send("/users/ada/remove")
    assert (page.url.path, "The user is removed." in page.text) == ("/users", True)
    assert browser.get("/users/ada").status_code == 404


def test_another_users_sessions_are_ended(browser, installation, serving, sign_in_as):
    theirs = sign_in_as(serving(), "bob", "deploy")
    page = browser.send("/users/bob/sessions/end", page="/users/bob")
    assert "The user is signed out everywhere." in page.text
    assert installation.store.sessions.list("bob") == []
    assert theirs.get("/", follow_redirects=False).status_code == 303
    [entry] = installation.store.audit.list(operation="end_user_sessions")
    assert (entry.actor, entry.kind, entry.subject) == ("user admin", "user", "bob")
    assert browser.send("/users/nobody/sessions/end").status_code == 404


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/users/admin/remove", {}),
        ("/users/admin", {"role": "read"}),
        ("/users/admin", {"disabled": "yes"}),
    ],
)
def test_the_last_administrator_cannot_be_removed(browser, installation, path, fields):
    page = browser.send(path, **fields)
    assert (page.status_code, "last administrator" in page.text) == (409, True)
    assert installation.store.users.get("admin").role == "admin"


def test_a_page_of_users_links_to_the_next_page(browser, installation):
    for number in range(60):
        installation.store.users.add(f"user-{number:02}", role="read")
    first = browser.get("/users").text
    following = re.search(r'href="(/users\?after=[^"]+)"', first).group(1)
    second = browser.get(following).text
    assert ("user-48" in first, "user-49" in first) == (True, False)
    assert ("user-48" in second, "user-59" in second, "First users" in second) == (
        False,
        True,
        True,
    )


def test_a_token_is_added_shown_once_and_removed(browser, installation):
    assert "No tokens yet" in browser.get("/tokens").text
    page = browser.send("/tokens/-/new", name="ci", role="deploy", days="30")
    secret = re.search(r"<code>(dct_[^<]+)</code>", page.text).group(1)
    [record] = installation.store.tokens.list()
    assert record.digest == digest_of(SecretStr(secret))
    assert secret not in browser.get("/tokens").text
    assert "Remove the token ci?" in browser.get("/tokens/ci/remove").text
    assert "The token is removed." in browser.send("/tokens/ci/remove").text
    assert installation.store.tokens.list() == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"name": "c i"}, "not a valid name"), ({"name": "ci", "days": "-1"}, "days")],
)
def test_an_invalid_token_is_rejected_and_input_is_preserved(browser, fields, why):
    page = browser.send("/tokens/-/new", role="read", **fields)
    assert (page.status_code, why in page.text) == (422, True)
    assert f'value="{fields["name"]}"' in page.text


def test_users_change_their_own_password_with_the_current_one(own, installation):
    page = own.send("/account/password", page="/account", old=PASSWORD, new=NEW, again=NEW)
    assert "The password is changed" in page.text
    assert len(installation.store.sessions.list("admin")) == 1
    [entry] = installation.store.audit.list(operation="change_password")
    assert (entry.kind, entry.subject, entry.outcome) == ("user", "admin", "done")
    passwords = own.client.application.accounts.passwords
    assert passwords.verify(installation.store.users.get("admin").password, SecretStr(NEW))


@pytest.mark.parametrize(
    ("old", "new", "again", "why", "field"),
    [
        ("wrong-wrong-wrong", NEW, NEW, "The present password is wrong.", "old"),
        (PASSWORD, NEW, "x", "not the same", "again"),
        (PASSWORD, "short", "short", "12 to 1,000 characters", "new"),
    ],
)
def test_a_password_is_not_changed_if_a_field_is_invalid(
    own, installation, old, new, again, why, field
):
    before = installation.store.users.get("admin").password
    page = own.send("/account/password", old=old, new=new, again=again)
    assert (page.status_code, why in page.text) == (422, True)
    [tag] = re.findall(rf'<input id="{field}"[^>]*>', page.text)
    assert 'aria-invalid="true"' in tag
    assert installation.store.users.get("admin").password == before
    assert len(installation.store.sessions.list("admin")) == 2
    assert PASSWORD not in page.text


def test_repeated_wrong_current_passwords_are_delayed(own):
    given = {"old": "wrong-wrong-wrong", "new": NEW, "again": NEW}
    for _ in range(5):
        assert own.send("/account/password", **given).status_code == 422
    answer = own.send("/account/password", **given)
    assert (answer.status_code, "retry-after" in answer.headers) == (429, True)


def test_users_can_list_and_end_their_own_sessions(own, installation):
    page = own.get("/account").text
    assert ("Firefox on Linux" in page, "192.0.2.x" in page, "this browser" in page) == (
        True,
        True,
        True,
    )
    other = installation.store.sessions.find("e" * 64).session.id
    page = own.send(f"/account/sessions/{other}/end")
    assert "You are signed out in that browser." in page.text
    assert installation.store.sessions.find("e" * 64) is None
    assert own.send(f"/account/sessions/{other}/end").status_code == 404


def test_users_cannot_end_sessions_of_other_users(own, installation):
    installation.store.users.add("eve", role="read")
    installation.store.sessions.add("eve", digest="f" * 64)
    theirs = installation.store.sessions.find("f" * 64).session.id
    assert own.send(f"/account/sessions/{theirs}/end").status_code == 404
    assert installation.store.sessions.find("f" * 64) is not None


def test_a_user_signs_out_everywhere(own, installation):
    page = own.send("/account/sessions/end")
    assert page.url.path == "/sign-in"
    assert installation.store.sessions.list("admin") == []


def test_a_new_role_applies_to_the_next_request(browser, installation, sign_in_as, serving):
    other = sign_in_as(serving(), "bob", "admin")
    assert other.get("/users").status_code == 200
    installation.store.users.change("bob", role="deploy")
    page = other.get("/users")
    assert (page.status_code, "but admin is required" in page.text) == (403, True)
    installation.store.users.change("bob", disabled=True)
    assert other.get("/", follow_redirects=False).status_code == 303


def test_a_user_without_a_password_sees_no_password_form(browser):
    assert "Current password" not in browser.get("/account").text


def test_a_link_uses_the_public_address(serving, secret, installation, monkeypatch, sign_in_as):
    client = serving()
    monkeypatch.setattr(client.application.accounts, "public_url", "https://deploy.example.com")
    installation.store.users.add("ada", role="read")
    page = sign_in_as(client, "admin", "admin").send("/users/ada/link")
    assert "https://deploy.example.com/sign-in/link/" in page.text
