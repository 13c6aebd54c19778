"""Sign-in at an OpenID Connect issuer: its response is accepted only if all of it is valid."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from deploycore.errors import ConfigurationError
from deploycore.http.settings import HttpSettings
from deploycore.server.accounts import openid, openid_users
from deploycore.server.accounts.openid import Started
from deploycore.server.accounts.openid_settings import OpenIdSettings
from deploycore.server.accounts.openid_users import role_of, user_of
from tests.server.dashboard.issuer import (
    CLIENT_ID,
    CLIENT_SECRET,
    other_key,
    running_issuer,
    secret_key,
)

ANSWER = "/sign-in/issuer/answer"


@pytest.fixture
def issuer(monkeypatch):
    quick = HttpSettings(retries=0, total_timeout=20, answer_bytes_most=64 * 1024)
    monkeypatch.setattr(openid.Issuer.__init__, "__kwdefaults__", {"limits": quick, "clock": now})
    with running_issuer() as running:
        yield running


now = time.monotonic


@pytest.fixture
def settings(issuer):
    return OpenIdSettings(
        issuer=issuer.url,
        client_id=CLIENT_ID,
        client_secret=SecretStr(CLIENT_SECRET),
        label="Example ID",
        default_role="read",
    )


@pytest.fixture
def people(serving, secret, settings):
    """Makes browsers of a server with the issuer: ``people(roles={"ops": "admin"})``."""

    def make(**changes):
        return Person(serving(openid=dataclasses.replace(settings, **changes)))

    return make


@pytest.fixture
def person(people):
    return people()


class Person:
    """A person with a browser."""

    def __init__(self, client) -> None:
        self.client = client

    def go(self, following="/"):
        """Press the button, and return the issuer's page."""
        page = self.client.get("/sign-in", params={"next": following})
        token = re.search(r'name="form_token" value="([^"]+)"', page.text).group(1)
        answer = self.client.post("/sign-in/issuer", data={"form_token": token, "next": following})
        if "refresh" not in answer.headers:
            return answer
        return answer.headers["refresh"].removeprefix("0; url=")

    def come(self, address):
        """Come back from the issuer."""
        return self.client.get(address, follow_redirects=False)

    def name(self):
        found = self.client.get("/api/v1/account")
        return found.json()["name"] if found.status_code == 200 else None


def test_a_user_signs_in_and_is_added(person, issuer, installation):
    assert "Sign in with Example ID" in person.client.get("/sign-in").text
    page = person.go("/account")
    given = {name: values[0] for name, values in parse_qs(urlsplit(page).query).items()}
    assert given["redirect_uri"] == f"http://testserver{ANSWER}"
    assert given["scope"] == "openid profile email"
    answer = person.come(issuer.allow(page))
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert "deploycore_issuer=" in answer.headers["set-cookie"]
    user = installation.store.users.get("ada")
    assert (user.role, user.issuer, user.subject, user.password) == ("read", issuer.url, "17", None)
    assert person.name() == "ada"
    entries = [(each.actor, each.operation) for each in installation.store.audit.list()]
    assert entries == [("user ada", "sign_in"), ("user ada", "add_user")]
    assert issuer.authorizations[0].startswith("Basic ")


def sign_in(person, issuer, **claims):
    issuer.claims = claims
    return person.come(issuer.allow(person.go()))


def test_users_are_identified_by_subject_and_not_by_name(person, issuer, installation):
    assert sign_in(person, issuer).status_code == 303
    assert sign_in(person, issuer, preferred_username="lovelace").status_code == 303
    assert [each.name for each in installation.store.users.list()] == ["ada"]
    assert sign_in(person, issuer, sub="18").status_code == 303
    assert [each.name for each in installation.store.users.list()] == ["ada", "ada-2"]
    assert person.name() == "ada-2"


def test_a_matching_name_does_not_grant_access_to_another_account(person, issuer, installation):
    installation.store.users.add("ada", role="admin", password="$argon2id$x")
    assert sign_in(person, issuer).status_code == 303
    assert person.name() == "ada-2"
    assert installation.store.users.get("ada-2").role == "read"


def test_the_number_of_users_with_the_same_name_is_limited(
    person, issuer, installation, monkeypatch
):
    monkeypatch.setattr(openid_users, "_SAME_NAMES_MOST", 3)
    for name in ("ada", "ada-2"):
        installation.store.users.add(name, role="read")
    answer = sign_in(person, issuer)
    assert (answer.status_code, "Too many users are named ada." in answer.text) == (409, True)


def test_only_some_concurrent_sign_ins_wait(person, issuer):
    person.client.application.accounts.issuer._threads._count = 40
    answer = person.go()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "../../etc <b>"}, "etc-b"),
        ({"preferred_username": None, "email": "grace@example.com"}, "grace"),
        ({"preferred_username": "", "name": "Грейс"}, "user"),
        ({"preferred_username": 7}, "user"),
        ({"preferred_username": "x" * 500}, "x" * 50),
    ],
)
def test_a_user_name_is_derived_from_the_claims(person, issuer, claims, name):
    assert sign_in(person, issuer, **claims).status_code == 303
    assert person.name() == name


WRONG = {
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "another-client"},
    "no audience": {"aud": None},
    "several audiences without a party": {"aud": [CLIENT_ID, "another-client"]},
    "another party": {"azp": "another-client"},
    "expired": {"exp": 1_000_000_000},
    "no expiry": {"exp": None},
    "a malformed expiry": {"exp": "tomorrow"},
    "not valid yet": {"nbf": 4_000_000_000},
    "from the future": {"iat": 4_000_000_000},
    "another nonce": {"nonce": "x"},
    "no nonce": {"nonce": None},
    "an empty nonce": {"nonce": ""},
    "no subject": {"sub": None},
    "a subject that is no text": {"sub": ["17"]},
    "an empty subject": {"sub": ""},
    "an endless subject": {"sub": "x" * 300},
}


@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG)
def test_an_invalid_token_signs_nobody_in(person, issuer, installation, claims):
    answer = sign_in(person, issuer, **claims)
    assert (answer.status_code, 'role="alert"' in answer.text) == (403, True)
    assert "deploycore_session" not in answer.headers.get("set-cookie", "")
    assert person.name() is None
    assert installation.store.users.list() == []
    assert installation.store.audit.list()[0].outcome == "authentication_failed"


@pytest.mark.parametrize("how", ["another key", "none", "symmetric", "changed", "no token"])
def test_a_token_not_signed_by_the_issuer_is_rejected(person, issuer, how, monkeypatch):
    if how == "another key":
        issuer.key = other_key()
    elif how == "none":
        issuer.algorithm = "none"
    elif how == "symmetric":
        issuer.algorithm, issuer.key = "HS256", secret_key()
    elif how == "changed":
        signed = issuer.sign
        monkeypatch.setattr(
            issuer, "sign", lambda claims: _mixed(signed(claims), signed(claims | {"sub": "1"}))
        )
    else:
        monkeypatch.setattr(issuer, "sign", lambda claims: None)
    answer = sign_in(person, issuer)
    assert (answer.status_code, person.name()) == (403, None)


def _mixed(one, other):
    """The claims of one token with the signature of another."""
    (header, _, signature), (_, claims, _) = one.split("."), other.split(".")
    return f"{header}.{claims}.{signature}"


def test_keys_of_the_issuer_are_reloaded_at_most_once_a_minute(people, issuer, monkeypatch):
    clock = [now()]
    limits = HttpSettings(retries=0)
    defaults = {"limits": limits, "clock": lambda: clock[0]}
    monkeypatch.setattr(openid.Issuer.__init__, "__kwdefaults__", defaults)
    person = people()
    assert sign_in(person, issuer).status_code == 303
    issuer.key = other_key()
    issuer.keys = [issuer.key]
    assert sign_in(person, issuer).status_code == 403
    assert issuer.asked.count("/keys") == 1
    clock[0] += 61
    assert sign_in(person, issuer).status_code == 303
    assert issuer.asked.count("/keys") == 2
    assert issuer.asked.count("/.well-known/openid-configuration") == 1


def test_a_response_with_another_state_is_rejected(person, issuer):
    address = issuer.allow(person.go())
    for state in ("x", ""):
        changed = re.sub("state=[^&]*", f"state={state}", address)
        assert person.come(changed).status_code == 403
    assert "/token" not in issuer.asked


def test_unauthenticated_responses_cannot_fill_the_audit_log(person, issuer, installation):
    person.client.application.accounts.attempts._clock = lambda: 0.0
    answers = [person.client.get(f"{ANSWER}?code=x&state=y") for _ in range(20)]
    assert [each.status_code for each in answers] == [403] * 5 + [429] * 15
    assert int(answers[-1].headers["retry-after"]) > 0
    assert len(installation.store.audit.list()) == 5


def test_a_response_is_valid_only_in_the_browser_that_started_the_sign_in(people, issuer):
    """Otherwise a link could sign its reader in as somebody else."""
    address = issuer.allow(people().go())
    victim = people()
    assert victim.come(address).status_code == 403
    victim.go()
    assert victim.come(address).status_code == 403
    assert victim.name() is None


def test_a_response_is_valid_once(person, issuer, installation):
    page = person.go()
    kept = person.client.cookies["deploycore_issuer"]
    address = issuer.allow(page)
    assert person.come(address).status_code == 303
    assert "deploycore_issuer" not in person.client.cookies
    assert person.come(address).status_code == 403
    # Even with the cookie, and an issuer that takes a code twice.
    person.client.cookies.clear()
    person.client.cookies.set("deploycore_issuer", kept)
    issuer.allow(page)
    again = re.sub("code=[^&]*", "code=code-1", address)
    issuer._codes["code-1"] = issuer._codes.pop(next(reversed(issuer._codes)))
    answer = person.come(again)
    assert (answer.status_code, "used before" in answer.text) == (403, True)


@pytest.mark.parametrize(
    "cookie",
    ["", "x", "00", "5b5d", b"[[],{},1,2]".hex(), b'["a","b"]'.hex(), b"{}".hex(), "5b" * 2000],
)
def test_a_malformed_cookie_signs_nobody_in(person, issuer, cookie):
    assert Started.of_cookie(SecretStr(cookie)) is None
    person.client.cookies.set("deploycore_issuer", cookie)
    assert person.come(f"{ANSWER}?code=x&state=y").status_code == 403


def test_the_redirect_target_is_validated_after_the_sign_in(person, issuer):
    page = person.go()
    started = Started.of_cookie(SecretStr(person.client.cookies["deploycore_issuer"]))
    changed = dataclasses.replace(started, following="//evil.example")
    person.client.cookies.clear()
    person.client.cookies.set("deploycore_issuer", changed.as_cookie().get_secret_value())
    assert person.come(issuer.allow(page)).headers["location"] == "/"


@pytest.mark.parametrize(
    "query", ["error=access_denied", "error=<script>alert(1)</script>", "", "code=", "code=x&iss=y"]
)
def test_a_rejection_by_the_issuer_is_shown_on_the_sign_in_page(person, issuer, query):
    state = parse_qs(urlsplit(person.go()).query)["state"][0]
    answer = person.come(f"{ANSWER}?state={state}&{query}")
    assert (answer.status_code, "<h1>Sign in</h1>" in answer.text) == (403, True)
    assert "<script>alert" not in answer.text
    assert "/token" not in issuer.asked


def test_an_unknown_code_signs_nobody_in(person, issuer):
    state = parse_qs(urlsplit(person.go()).query)["state"][0]
    answer = person.come(f"{ANSWER}?state={state}&code=made-up")
    assert (answer.status_code, "cannot be used now" in answer.text) == (502, True)


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys"])
@pytest.mark.parametrize("how", ["broken", "no JSON", "no object", "endless", "elsewhere"])
def test_an_invalid_response_of_the_issuer_is_reported(person, issuer, installation, path, how):
    if how == "broken":
        issuer.broken.add(path)
    elif how == "elsewhere":
        issuer.redirects[path] = "http://localhost:9/"
    else:
        body = {"no JSON": b"<html>", "no object": b"[]", "endless": b'"' + b"x" * 100_000 + b'"'}
        issuer.bodies[path] = body[how]
    page = person.go()
    answer = page if not isinstance(page, str) else person.come(issuer.allow(page))
    assert answer.status_code in (403, 502)
    assert ("<h1>Sign in</h1>" in answer.text, 'role="alert"' in answer.text) == (True, True)
    assert installation.store.users.list() == []


@pytest.mark.parametrize(
    "keys",
    [
        b"{}",
        b'{"keys": null}',
        b'{"keys": [null]}',
        b'{"keys": [{"kty": []}]}',
        b'{"keys": [{"kty": "EC", "crv": "x", "x": "AA", "y": "AA"}]}',
    ],
)
def test_invalid_keys_of_an_issuer_sign_nobody_in(person, issuer, keys):
    issuer.bodies["/keys"] = keys
    answer = sign_in(person, issuer)
    assert (answer.status_code, "<h1>Sign in</h1>" in answer.text) == (403, True)
    assert person.name() is None


def test_password_sign_in_works_while_the_issuer_is_down(people):
    with running_issuer() as gone:
        address = gone.url
    person = people(issuer=address)
    answer = person.go()
    assert (answer.status_code, "sign in with a password" in answer.text) == (502, True)
    assert 'name="password"' in answer.text


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"authorization_endpoint": "http://evil.example/"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
        {"token_endpoint": "http://evil.example/"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": ["x"]},
    ],
)
def test_issuer_addresses_must_be_encrypted_or_local(person, issuer, metadata):
    issuer.metadata = metadata
    page = person.go()
    answer = page if not isinstance(page, str) else person.come(issuer.allow(page))
    assert answer.status_code in (403, 502)
    assert person.name() is None


def test_the_client_secret_is_sent_by_the_method_the_issuer_supports(person, issuer):
    issuer.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert sign_in(person, issuer).status_code == 303
    assert issuer.authorizations == [None]


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["ops", "developers"]}, "admin"),
        ({"groups": ["developers"]}, "deploy"),
        ({"groups": "ops"}, "admin"),
        ({"groups": ["guests"]}, None),
        ({"groups": [["ops"], {"ops": 1}, 7]}, None),
        ({"groups": {"ops": True}}, None),
        ({}, None),
    ],
)
def test_groups_determine_roles(people, issuer, installation, claims, role):
    person = people(roles={"ops": "admin", "developers": "deploy"}, default_role=None)
    answer = sign_in(person, issuer, **claims)
    found = installation.store.users.find("ada")
    assert (found and found.role) == role
    assert answer.status_code == (303 if role else 403)


def test_a_role_is_updated_from_the_groups_at_each_sign_in(people, issuer, installation):
    person = people(roles={"ops": "admin"})
    installation.store.users.add("boss", role="admin")
    sign_in(person, issuer, groups=["ops"])
    assert installation.store.users.get("ada").role == "admin"
    sign_in(person, issuer)
    assert installation.store.users.get("ada").role == "read"
    assert len(installation.store.audit.list(operation="change_user", subject="ada")) == 1


def test_the_last_administrator_keeps_the_role(people, issuer, installation, caplog):
    person = people(roles={"ops": "admin"})
    sign_in(person, issuer, groups=["ops"])
    assert sign_in(person, issuer).status_code == 303
    assert installation.store.users.get("ada").role == "admin"
    assert "ada keeps the role admin" in caplog.text


def test_without_groups_a_manually_assigned_role_is_kept(person, issuer, installation):
    sign_in(person, issuer)
    installation.store.users.change("ada", role="deploy")
    sign_in(person, issuer)
    assert installation.store.users.get("ada").role == "deploy"


@pytest.mark.parametrize("subject", ["ada-1", "another"])
def test_two_concurrent_first_sign_ins_both_succeed(installation, monkeypatch, subject):
    """The other one is stored between the look and the insert: of the same person, or not."""
    settings = OpenIdSettings("https://id.example", "c", default_role="read")
    users = installation.store.users
    claims = {"sub": "ada-1", "preferred_username": "ada"}
    add = users.add

    def after_another(name, **given):
        monkeypatch.setattr(users, "add", add)
        add(name, **given | {"subject": subject})
        return add(name, **given)

    monkeypatch.setattr(users, "add", after_another)
    found = user_of(installation.store, settings, claims)
    is_same = subject == "ada-1"
    assert (found.user.name, found.operation) == (("ada", "") if is_same else ("ada-2", "add_user"))
    assert found.user.subject == "ada-1"
    assert len(users.list()) == 1 + (not is_same)


def test_a_claim_may_be_nested():
    settings = OpenIdSettings("i", "c", role_claim="realm.roles", roles={"ops": "admin"})
    assert role_of(settings, {"realm": {"roles": ["ops"]}}) == "admin"
    assert role_of(settings, {"realm": "ops"}) is None
    assert role_of(settings, {"realm.roles": ["ops"]}) == "admin"


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"email": "ada@example.com", "email_verified": True}, 303),
        ({"email": "ada@example.com"}, 403),
        ({"email": "ada@example.com", "email_verified": "true"}, 403),
        ({"preferred_username": "ada@example.com"}, 403),
        ({"email": ["ada@example.com"], "email_verified": True}, 403),
        ({"sub": "99"}, 303),
        ({}, 403),
    ],
)
def test_sign_in_can_be_limited_to_certain_users(people, issuer, claims, status):
    person = people(users=frozenset({"ada@example.com", "99"}))
    assert sign_in(person, issuer, **claims).status_code == status


def test_a_disabled_user_cannot_sign_in(person, issuer, installation):
    sign_in(person, issuer)
    installation.store.users.change("ada", disabled=True)
    answer = sign_in(person, issuer)
    assert (answer.status_code, "You may not sign in" in answer.text) == (403, True)
    assert len(installation.store.users.list()) == 1


def test_a_server_without_an_issuer_shows_no_button(client):
    page = client.get("/sign-in")
    assert "/sign-in/issuer" not in page.text
    token = re.search(r'name="form_token" value="([^"]+)"', page.text).group(1)
    assert client.post("/sign-in/issuer", data={"form_token": token}).status_code == 404
    assert client.get(ANSWER).url.path == "/sign-in"


def test_the_redirect_page_contains_a_link_to_the_issuer(person, issuer):
    page = person.client.get("/sign-in")
    token = re.search(r'name="form_token" value="([^"]+)"', page.text).group(1)
    answer = person.client.post("/sign-in/issuer", data={"form_token": token})
    link = unescape(re.search(r'href="([^"]*authorize[^"]*)"', answer.text).group(1))
    assert answer.headers["refresh"] == f"0; url={link}"
    assert person.client.post("/sign-in/issuer", data={}).status_code == 403


def test_sign_in_secrets_are_never_logged(person, issuer, caplog, installation):
    caplog.set_level(logging.DEBUG)
    page = person.go()
    kept = Started.of_cookie(SecretStr(person.client.cookies["deploycore_issuer"]))
    person.come(issuer.allow(page))
    issuer.broken.add("/token")
    sign_in(person, issuer)
    # HTTP clients of the tests log the addresses that they ask for.
    ours = "\n".join(
        each.getMessage() for each in caplog.records if each.name.startswith("deploycore")
    )
    for each in (CLIENT_SECRET, kept.verifier.get_secret_value(), kept.nonce, kept.state):
        assert each not in ours
    assert kept.verifier.get_secret_value() not in repr(kept)


ENVIRONMENT = {
    "DEPLOYCORE_OIDC_ISSUER": "https://id.example.com",
    "DEPLOYCORE_OIDC_CLIENT_ID": "deploycore",
    "DEPLOYCORE_OIDC_DEFAULT_ROLE": "read",
}


def test_settings_come_from_the_environment(tmp_path, monkeypatch):
    assert OpenIdSettings.from_environment({}) is None
    (tmp_path / "secret").write_text(f"{CLIENT_SECRET}\n")
    found = OpenIdSettings.from_environment(
        {
            **ENVIRONMENT,
            "DEPLOYCORE_OIDC_CLIENT_SECRET": f"file:{tmp_path / 'secret'}",
            "DEPLOYCORE_OIDC_ROLES": "ops=admin, a=b=deploy",
            "DEPLOYCORE_OIDC_SCOPES": "email groups",
            "DEPLOYCORE_OIDC_ALLOWED_USERS": "ada@example.com, 17",
        }
    )
    assert found.client_secret.get_secret_value() == CLIENT_SECRET
    assert found.roles == {"ops": "admin", "a=b": "deploy"}
    assert (found.default_role, found.label) == ("read", "id.example.com")
    assert found.scopes == "openid email groups"
    assert found.users == {"ada@example.com", "17"}
    assert CLIENT_SECRET not in repr(found)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ISSUER": "http://id.example.com"}, "not a valid https address"),
        ({"ISSUER": "https://user:hunter2@id.example.com"}, "not a valid https address"),
        ({"ISSUER": ""}, "is set, but empty"),
        ({"ISSUER": None}, "needs DEPLOYCORE_OIDC_ISSUER"),
        ({"CLIENT_ID": None}, "needs DEPLOYCORE_OIDC_CLIENT_ID"),
        ({"DEFAULT_ROLE": None}, "which roles"),
        ({"DEFAULT_ROLE": "root"}, "is not a role"),
        ({"ROLES": "ops"}, "is malformed"),
        ({"ROLES": "ops=root"}, "is malformed"),
        ({"CLIENT_SECRET": "hunter2"}, "not a reference"),
        ({"CLIENT_SECRET": "env:NOT_SET_ANYWHERE"}, "is not set"),
        ({"ROLE": "x"}, "DEPLOYCORE_OIDC_ROLE is not a setting"),
    ],
)
def test_invalid_settings_are_reported_without_their_secrets(changes, why):
    changed = {f"DEPLOYCORE_OIDC_{name}": value for name, value in changes.items()}
    given = {name: text for name, text in (ENVIRONMENT | changed).items() if text is not None}
    with pytest.raises(ConfigurationError, match=why) as caught:
        OpenIdSettings.from_environment(given)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint
