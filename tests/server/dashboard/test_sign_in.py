"""Signing in and out: passwords, one-time links, sessions, and attacks."""

from __future__ import annotations

import logging
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import bindparam, create_engine, select, text

from deploycore.errors import StoreError
from deploycore.server.accounts import passwords as module
from deploycore.server.accounts.attempts import Attempts
from deploycore.server.accounts.clients import describe_browser, shorten_address
from deploycore.server.accounts.passwords import Passwords
from deploycore.server.dashboard.addresses import own_page
from deploycore.server.problems import Refusal
from deploycore.store import sign_in_failures as sign_in_failures_module
from deploycore.store.columns import UtcDateTime
from deploycore.store.tables import sign_in_failures
from deploycore.store.token_digests import digest_of
from tests.server.dashboard.conftest import PASSWORD, Browser

pytestmark = pytest.mark.usefixtures("cheap_hashes")


@pytest.fixture
def ada(client, installation):
    """A browser in which nobody is signed in, and a user ``ada`` with a password."""
    hashed = client.application.accounts.passwords.hash(SecretStr(PASSWORD))
    installation.store.users.add("ada", role="admin", password=hashed)
    return Browser(client)


@pytest.fixture
def sign_in(ada):
    """Sends the sign-in form."""

    def send(name="ada", password=PASSWORD, **fields):
        return ada.client.post(
            "/sign-in",
            data={
                "form_token": ada.form_token("/sign-in"),
                "name": name,
                "password": password,
                **fields,
            },
            follow_redirects=False,
        )

    return send


def test_the_first_administrator_is_created_by_a_single_use_link(client, installation):
    accounts, browser = client.application.accounts, Browser(client)
    links = [accounts.new_link().get_secret_value() for _ in range(2)]
    page = f"/sign-in/link/{links[0]}"
    assert "Create the first administrator" in browser.get(page).text
    given = {"link": links[0], "name": "ada", "password": PASSWORD}
    wrong = browser.send("/sign-in/link", page=page, **given, again="another")
    assert (wrong.status_code, "not the same" in wrong.text) == (422, True)
    short = browser.send("/sign-in/link", page=page, **(given | {"password": "x"}), again="x")
    assert (short.status_code, "12 to 1,000 characters" in short.text) == (422, True)
    assert 'value="ada"' in short.text
    malformed = browser.send(
        "/sign-in/link", page=page, **(given | {"name": "a b"}), again=PASSWORD
    )
    assert (malformed.status_code, "not a valid name" in malformed.text) == (422, True)
    done = browser.send("/sign-in/link", page=page, **given, again=PASSWORD)
    assert (done.url.path, "shop" in done.text) == ("/", True)
    assert installation.store.users.get("ada").role == "admin"
    assert accounts.new_link() is None
    for link in links:
        again = browser.get(f"/sign-in/link/{link}")
        assert (again.status_code, "deploycore user link" in again.text) == (403, True)


def test_an_expired_link_is_rejected(client, installation):
    link = client.application.accounts.new_link().get_secret_value()
    engine = create_engine(installation.settings.database_url)
    with engine.begin() as connection:
        moment = bindparam("at", datetime.now(UTC) - timedelta(seconds=1), type_=UtcDateTime())
        query = text("UPDATE sign_in_links SET expires_at = :at").bindparams(moment)
        connection.execute(query)
    engine.dispose()
    assert client.get(f"/sign-in/link/{link}").status_code == 403


@pytest.mark.parametrize("link", ["", "made-up", "x" * 5000, "\0"])
def test_an_unknown_link_signs_nobody_in(client, ada, link):
    accounts = client.application.accounts
    given = {"link": link, "name": "eve", "password": PASSWORD, "again": PASSWORD}
    answer = ada.send("/sign-in/link", page="/sign-in", **given)
    assert (answer.status_code, "deploycore user link NAME" in answer.text) == (403, True)
    assert accounts.new_link() is None


def test_a_link_sets_a_password_and_ends_other_sessions(client, installation, sign_in_as, ada):
    installation.store.sessions.add("ada", digest="d" * 64)
    secret, _ = installation.store.sign_in_links.create("ada")
    link = secret.get_secret_value()
    page = f"/sign-in/link/{link}"
    assert 'value="ada"' in ada.get(page).text
    given = {"link": link, "password": "another-long-password", "again": "another-long-password"}
    # The name is the link's, whatever the form says.
    assert ada.send("/sign-in/link", page=page, **given, name="eve").url.path == "/"
    assert installation.store.users.find("eve") is None
    assert installation.store.sessions.find("d" * 64) is None
    user = installation.store.users.get("ada")
    right = SecretStr("another-long-password")
    assert client.application.accounts.passwords.verify(user.password, right)
    assert ada.get(page).status_code == 403


def test_a_password_signs_in_with_a_new_session(sign_in, ada, installation):
    planted = "planted-by-somebody-else"
    ada.client.cookies.set("deploycore_session", planted)
    answer = sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.cookies["deploycore_session"]
    assert cookie != planted
    given = answer.headers["set-cookie"].lower()
    assert {"httponly", "samesite=lax", "path=/"} <= set(re.split("; *", given))
    assert "secure" not in given
    assert installation.store.sessions.find(digest_of(SecretStr(cookie))).user.name == "ada"


def test_signing_in_again_replaces_the_session(sign_in, installation):
    first, second = (sign_in().cookies["deploycore_session"] for _ in range(2))
    assert first != second
    assert installation.store.sessions.find(digest_of(SecretStr(first))) is None
    assert len(installation.store.sessions.list("ada")) == 1


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada", "wrong-wrong-wrong"),
        ("ada", ""),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("a\0b", PASSWORD),
        ("ада", PASSWORD),
        ("x" * 5000, "y" * 5000),
    ],
)
def test_an_unknown_name_and_a_wrong_password_get_the_same_error(sign_in, name, password):
    answer = sign_in(name, password)
    assert answer.status_code == 422
    assert "The name or the password is wrong." in answer.text
    assert "deploycore user link" in answer.text
    assert not password or password not in answer.text


def test_a_user_who_is_disabled_or_without_a_password_cannot_sign_in(sign_in, installation):
    installation.store.users.add("eve", role="admin")
    assert sign_in("eve", PASSWORD).status_code == 422
    installation.store.users.change("ada", disabled=True)
    assert sign_in().status_code == 422


def test_an_unknown_user_takes_as_long_as_a_known_one(client, monkeypatch):
    verified = []
    hasher = module.new_hasher()

    class Counting:
        def verify(self, stored, text):
            verified.append(stored)
            return hasher.verify(stored, text)

        def hash(self, text):
            return hasher.hash(text)

    accounts = client.application.accounts
    monkeypatch.setattr(accounts.passwords, "_hasher", Counting())
    assert accounts.check_password("nobody", SecretStr(PASSWORD)) is None
    assert len(verified) == 1


def test_a_hash_with_outdated_parameters_is_replaced(sign_in, installation):
    old = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    installation.store.users.set_password("ada", old)
    assert sign_in().status_code == 303
    new = installation.store.users.get("ada").password
    assert (new != old, "t=1" in new) == (True, True)


def test_hashes_use_argon2id_and_at_least_the_rfc_parameters(monkeypatch):
    monkeypatch.undo()
    hasher = module.new_hasher()
    assert (hasher.type.name, hasher.memory_cost >= 65536, hasher.time_cost >= 3) == (
        "ID",
        True,
        True,
    )


def test_at_most_two_hashes_are_computed_at_once(monkeypatch):
    passwords, running, most = Passwords(), [], []
    entered, release = threading.Semaphore(0), threading.Event()

    class Slow:
        def hash(self, text):
            running.append(text)
            most.append(len(running))
            entered.release()
            release.wait(30)
            running.remove(text)
            return text

    monkeypatch.setattr(passwords, "_hasher", Slow())
    threads = [
        threading.Thread(target=passwords.hash, args=[SecretStr(f"{number}" * 12)])
        for number in range(5)
    ]
    for each in threads:
        each.start()
    assert entered.acquire(timeout=30)
    assert entered.acquire(timeout=30)
    assert not entered.acquire(timeout=0.05)
    release.set()
    for each in threads:
        each.join()
    assert max(most) == 2


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/link", "/sign-in/issuer"])
def test_unauthenticated_request_bodies_are_limited(client, path):
    answer = client.post(path, data={"name": "x" * 70_000})
    assert (answer.status_code, "larger than 65,536 bytes" in answer.text) == (413, True)


def test_only_a_few_requests_of_a_flood_wait(ada, client):
    client.application.accounts._hashing._count = 20
    answer = client.post(
        "/sign-in",
        data={"form_token": ada.form_token("/sign-in"), "name": "ada", "password": PASSWORD},
    )
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_many_failed_attempts_delay_the_client(sign_in):
    for _ in range(5):
        assert sign_in("ada", "wrong-wrong-wrong").status_code == 422
    answer = sign_in()
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert "Try again in" in answer.text


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def wait_of(attempts, name, address) -> int:
    try:
        attempts.begin(name, address)
    except Refusal as refusal:
        return int(refusal.headers["Retry-After"])
    return 0


@pytest.fixture
def failures(installation):
    return installation.store.sign_in_failures


def test_two_servers_share_the_failure_count_of_an_address(clock, failures):
    servers = [Attempts(failures, clock), Attempts(failures, clock)]
    waits = [wait_of(servers[n % 2], f"user-{n}", "192.0.2.1") for n in range(11)]
    assert waits == [0] * 10 + [1]
    assert wait_of(Attempts(failures, clock), "ada", "192.0.2.1") == 1  # after a restart too
    assert wait_of(servers[0], "ada", "192.0.2.2") == 0


def test_old_failures_are_deleted(clock, failures, installation):
    attempts = Attempts(failures, clock)
    attempts.begin("ada", "192.0.2.1")
    clock.now += 3601
    attempts.begin("ada", "192.0.2.2")
    with installation.store._database.reading() as connection:
        kept = connection.scalars(select(sign_in_failures.c.sender)).all()
    assert kept == ["192.0.2.2"]


def test_the_number_of_stored_addresses_is_bounded(clock, failures, installation, monkeypatch):
    monkeypatch.setattr(sign_in_failures_module, "_ADDRESSES_MOST", 4)
    monkeypatch.setattr(sign_in_failures_module, "_PRUNED_EVERY", 3)
    attempts = Attempts(failures, clock)
    for number in range(12):
        clock.now += 1
        attempts.begin("ada", f"192.0.2.{number}")
    with installation.store._database.reading() as connection:
        kept = set(connection.scalars(select(sign_in_failures.c.sender)))
    assert kept >= {f"192.0.2.{number}" for number in range(8, 12)}
    assert len(kept) <= 4 + 3


def test_delays_increase_and_expire(clock, failures):
    attempts = Attempts(failures, clock)
    waits = []
    for _ in range(16):
        wait = wait_of(attempts, "ada", "192.0.2.1")
        waits.append(wait)
        clock.now += wait
        if wait:
            assert wait_of(attempts, "ada", "192.0.2.1") == 0
    assert waits[:5] == [0] * 5
    assert waits[5:9] == [1, 2, 4, 8]
    assert max(waits) <= 900
    clock.now += 3600
    assert wait_of(attempts, "ada", "192.0.2.1") == 0


def test_attempts_at_once_do_not_get_around_the_limit_of_a_name(clock):
    counted, waits = [], []

    class Failures:
        def add(self, sender, **_):
            counted.append(sender)
            if len(counted) < 20:  # the next attempt comes before this one has ended
                waits.append(wait_of(attempts, "ada", "192.0.2.1"))
            return 0.0

    attempts = Attempts(Failures(), clock)
    attempts.begin("ada", "192.0.2.1")
    assert (len(counted), waits) == (5, [1, 0, 0, 0, 0])


@pytest.mark.parametrize("end", [900.0, StoreError("The database is busy.")])
def test_an_attempt_that_is_not_made_does_not_count_for_its_name(clock, end):
    refused = True

    class Failures:
        def add(self, sender, **_):
            if refused and isinstance(end, Exception):
                raise end
            return end if refused else 0.0

    attempts = Attempts(Failures(), clock)
    for _ in range(10):
        with pytest.raises((Refusal, StoreError)):
            attempts.begin("ada", "192.0.2.1")
    refused = False
    assert [wait_of(attempts, "ada", "192.0.2.1") for _ in range(6)] == [0] * 5 + [1]


def test_a_failure_later_than_now_makes_nobody_wait_for_long(clock, failures):
    attempts = Attempts(failures, clock)
    clock.now = 86_400.0
    for number in range(10):
        wait_of(attempts, f"user-{number}", "192.0.2.1")
    clock.now = 0.0  # the clock was wrong, and is set
    assert wait_of(attempts, "ada", "192.0.2.1") == 0
    assert wait_of(attempts, "ada", "192.0.2.1") == 2


def test_attempts_from_other_addresses_do_not_lock_out_the_owner(clock, failures):
    attempts = Attempts(failures, clock)
    for number in range(200):
        wait_of(attempts, "ada", f"198.51.100.{number}")
    assert wait_of(attempts, "ada", "192.0.2.1") == 0  # wrong, once
    assert 0 < wait_of(attempts, "ada", "192.0.2.1") <= 60
    clock.now += 60
    assert wait_of(attempts, "ada", "192.0.2.1") == 0
    attempts.succeed("ada", "192.0.2.1")
    assert wait_of(attempts, "ada", "192.0.2.1") == 0


def test_a_valid_account_does_not_grant_its_address_unlimited_attempts(clock, failures):
    attempts = Attempts(failures, clock)
    for number in range(20):
        if wait_of(attempts, f"user-{number}", "192.0.2.1"):
            break
        if not wait_of(attempts, "eve", "192.0.2.1"):
            attempts.succeed("eve", "192.0.2.1")
    assert number == 10


def test_an_ipv6_network_counts_as_one_address(clock, failures):
    attempts = Attempts(failures, clock)
    for number in range(10):
        assert wait_of(attempts, f"user-{number}", f"2001:db8::{number + 1:x}") == 0
    assert wait_of(attempts, "ada", "2001:db8::ffff") > 0


def test_the_record_of_attempts_is_bounded(clock, failures, monkeypatch):
    monkeypatch.setattr("deploycore.server.accounts.attempts._KEYS_MOST", 30)
    attempts = Attempts(failures, clock)
    for number in range(100):
        attempts.begin(f"user-{number}", f"192.0.2.{number}")
    assert len(attempts._failures) == 30


@pytest.mark.parametrize(
    "given",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        " //evil.example",
        "/a\\b",
        "/ä",
        "evil.example",
        "",
        "/sign-in",
        "/sign-out",
        "/api/v1/users",
        "/" + "a" * 2000,
    ],
)
def test_a_sign_in_redirects_only_to_pages_of_this_server(given, sign_in, ada):
    assert own_page(given) == "/"
    assert sign_in(next=given).headers["location"] == "/"
    ada.client.cookies.clear()
    page = ada.client.get("/sign-in", params={"next": given}).text
    assert 'name="next" value="/"' in page


@pytest.mark.parametrize("given", ["/applications/shop", "/audit?actor=user%20ada&before=3"])
def test_a_sign_in_redirects_to_the_requested_page(given, sign_in, ada):
    answer = ada.client.get(given, follow_redirects=False)
    if answer.status_code == 303:
        page = ada.client.get(answer.headers["location"])
        assert f'name="next" value="{given.replace("&", "&amp;")}"' in page.text
    assert sign_in(next=given).headers["location"] == given


def test_with_tls_cookies_are_bound_to_the_host(serving, secret, installation):
    client = serving(behind_proxy=True)
    client.headers["X-Forwarded-Proto"] = "https"
    hashed = client.application.accounts.passwords.hash(SecretStr(PASSWORD))
    installation.store.users.add("ada", role="admin", password=hashed)
    page = client.get("/sign-in")
    assert page.headers["set-cookie"].startswith("__Host-deploycore_visit=")
    token = re.search(r'name="form_token" value="([^"]+)"', page.text).group(1)
    visit = page.headers["set-cookie"].partition(";")[0]
    answer = client.post(
        "/sign-in",
        data={"form_token": token, "name": "ada", "password": PASSWORD},
        headers={"Cookie": visit},
        follow_redirects=False,
    )
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-deploycore_session=")
    assert {"Secure", "HttpOnly", "Path=/"} <= set(cookie.split("; "))
    session = cookie.partition(";")[0]
    kept = client.get("/", headers={"Cookie": session}, follow_redirects=False)
    assert kept.status_code == 200
    plain = session.removeprefix("__Host-")
    assert client.get("/", headers={"Cookie": plain}, follow_redirects=False).status_code == 303


@pytest.mark.parametrize("trusted", [False, True])
def test_the_forwarded_scheme_is_trusted_only_behind_a_proxy(serving, secret, trusted):
    client = serving(behind_proxy=trusted)
    headers = {"X-Forwarded-Proto": "http, https"}
    cookie = client.get("/sign-in", headers=headers).headers["set-cookie"]
    assert cookie.startswith("__Host-") == trusted


def test_signing_out_ends_the_session_on_every_server(browser, installation):
    cookie = SecretStr(browser.client.cookies["deploycore_session"])
    answer = browser.send("/sign-out")
    assert answer.url.path == "/sign-in"
    assert installation.store.sessions.find(digest_of(cookie)) is None
    browser.client.cookies.set("deploycore_session", cookie.get_secret_value())
    assert browser.get("/", follow_redirects=False).status_code == 303


def test_a_session_survives_a_restart_and_is_valid_on_every_server(browser, serving):
    cookie = browser.client.cookies["deploycore_session"]
    other = serving()
    other.cookies.set("deploycore_session", cookie)
    assert other.get("/", follow_redirects=False).status_code == 200


def test_followers_of_an_ended_session_are_disconnected_within_a_second(
    browser, installation, monkeypatch
):
    accounts = browser.client.application.accounts
    monkeypatch.setattr("deploycore.server.accounts.accounts._HELD_SECONDS", 0)
    cookie = SecretStr(browser.client.cookies["deploycore_session"])
    found = installation.store.sessions.find(digest_of(cookie))

    class Held:
        session = found.session.digest

    assert accounts.still_holds(Held)
    installation.store.sessions.end("admin")
    assert not accounts.still_holds(Held)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver.evil.example"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
    ],
)
def test_forms_from_other_sites_are_rejected_even_with_the_token(browser, ada, headers):
    for path, page in (("/sign-out", "/"), ("/sign-in", "/")):
        token = browser.form_token(page)
        answer = browser.client.post(path, data={"form_token": token}, headers=headers)
        assert (answer.status_code, "another site" in answer.text) == (403, True)


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://testserver"}, {"Sec-Fetch-Site": "same-origin"}, {}]
)
def test_forms_from_this_site_are_accepted(browser, headers):
    token = browser.form_token()
    answer = browser.client.post("/sign-out", data={"form_token": token}, headers=headers)
    assert answer.status_code == 200


def test_a_sign_in_form_of_another_browser_is_refused(ada, serving):
    """Otherwise a page could sign its visitor in as somebody else, who then sees what is done."""
    token = ada.form_token("/sign-in")
    other = serving()
    given = {"form_token": token, "name": "ada", "password": PASSWORD}
    assert other.post("/sign-in", data=given).status_code == 403
    other.get("/sign-in")
    assert other.post("/sign-in", data=given).status_code == 403
    assert other.post("/sign-in", data=given | {"form_token": ""}).status_code == 403


def test_no_log_page_or_record_contains_passwords_or_cookies(
    sign_in, ada, installation, caplog, browser
):
    caplog.set_level(logging.DEBUG)
    ada.client.cookies.clear()
    sign_in("ada", "wrong-and-secret-password")
    sign_in("typed-password-as-name", "x")
    cookie = sign_in().cookies["deploycore_session"]
    pages = "".join(ada.get(path).text for path in ("/", "/account", "/audit", "/users"))
    entries = repr(installation.store.audit.list(limit=200))
    for secret in (PASSWORD, "wrong-and-secret-password", "typed-password-as-name", cookie):
        assert secret not in caplog.text
        assert secret not in pages
        assert secret not in entries
    hashed = installation.store.users.get("ada").password
    assert hashed not in pages + caplog.text


def test_a_session_description_does_not_identify_a_person():
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    edge = "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0"
    assert describe_browser(firefox) == "Firefox on Linux"
    assert describe_browser(edge) == "Edge on Windows"
    assert describe_browser("<script>") == "Another browser"
    assert shorten_address("192.0.2.77") == "192.0.2.x"
    assert shorten_address("2001:db8:1:2::3") == "2001:db8:1::/48"
    assert shorten_address("testclient") == ""
