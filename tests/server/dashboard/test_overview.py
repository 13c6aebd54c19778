"""The first page and the activity page: applications that need attention, with any number of
applications."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import insert

from deploycore.store import DeliveryRecord
from deploycore.store.tables import deployments
from tests.server.dashboard.hostile_pages import HOSTILE, faults_of

ONE_PAGE = 150_000


def cards_of(page) -> list[str]:
    return [each.partition('"')[0] for each in page.text.split('data-card="')[1:]]


def test_an_installation_without_providers_shows_the_next_step(browser, installation):
    installation.store.remove_application("shop")
    page = browser.get("/").text
    assert 'href="/applications/-/new"' in page
    installation.store.remove_provider("work")
    page = browser.get("/").text
    assert 'href="/providers/-/new"' in page
    assert faults_of(page) == []


def test_a_card_shows_the_live_release_and_problems(browser, deployed):
    deployed(number=1)
    deployed("failed", number=2)
    page = browser.get("/").text
    for text in ("shop", "Failed", "The step failed.", "Change 1", "1" * 10, "Grace", "ada (push)"):
        assert text in page
    assert "Change 2" not in page
    assert "Needs attention" in page
    assert faults_of(page) == []


def test_the_list_is_filtered_searched_and_paged_without_javascript(browser, create, deployed):
    for number in range(35):
        create(f"app-{number}")
    deployed("failed", application="app-7")
    first = browser.get("/")
    assert cards_of(first)[0] == "app-7"
    assert len(cards_of(first)) == 30
    [older] = [each for each in first.text.split('href="') if each.startswith("/?after=")]
    second = browser.get(older.partition('"')[0].replace("&amp;", "&"))
    assert len(cards_of(second)) == 6
    assert not {*cards_of(first)} & {*cards_of(second)}
    assert cards_of(browser.get("/?search=app-11")) == ["app-11"]
    assert cards_of(browser.get("/?which=attention")) == ["app-7"]
    assert "No application matches" in browser.get("/?search=nothing").text
    for query in ("after=x", "which=x", f"search={'x' * 300}"):
        assert browser.get(f"/?{query}").status_code in (200, 422)


def test_a_single_card_can_be_loaded(browser, deployed):
    deployed("building")
    page = browser.get("/applications/shop/card").text
    assert 'id="card-shop"' in page
    assert "Building" in page
    assert browser.get("/applications/nothing/card").status_code == 404


def test_text_from_committers_and_hosts_is_escaped(browser, deployed, installation):
    for text in HOSTILE:
        values = {"subject": text, "author": text, "ref": text, "requested_by": text}
        deployed("healthy", **values)
        deployed("failed", error=text, **values)
        installation.store.triggers.add("shop", cause="push", ref=text, actor=text)
        for path in ("/", "/applications/shop/card"):
            assert faults_of(browser.get(path).text) == []
    assert faults_of(browser.get("/activity").text) == []


def test_pages_stay_small(browser, create, deployed, installation):
    for number in range(30):
        create(f"app-{number}")
    long = "<" * 2000
    for number in range(30):
        deployed("failed", application=f"app-{number}", subject=long, author=long, error=long)
    store = installation.store
    with store._database.writing() as connection:
        row = dict(connection.execute(deployments.select()).mappings().first())
        rows = [{**row, "id": 1000 + each, "requested_by": long} for each in range(100)]
        connection.execute(insert(deployments), rows)
    for path in ("/", "/activity", "/applications/app-0"):
        assert len(browser.get(path).content) < ONE_PAGE


def test_the_activity_has_requests_and_deployments(browser, deployed, installation):
    installation.store.triggers.add("shop", cause="push", ref="main", actor="linus")
    number = deployed("failed")
    page = browser.get("/activity").text
    for text in ("Push by linus", "Waiting", f"/deployments/{number}", "The step failed."):
        assert text in page
    assert faults_of(page) == []
    assert "/deployments/" in browser.get("/activity?application=shop").text
    assert browser.get("/activity?application=nothing").status_code == 404


def test_the_activity_has_deliveries_and_is_filtered(browser, deployed, installation):
    number = deployed("healthy")
    texts = dict.fromkeys(("message", "sender", "delivery"), "") | {"reason": "bad_signature"}
    at = datetime.now(UTC)
    given = texts | {"event": "push", "ref": "main", "actor": "<b>ada</b>", "commit": None}
    given |= {"trigger": None, "received_at": at, "first_at": at, "count": 3}
    installation.store.deliveries.add([DeliveryRecord("shop", "refused", **given)])
    page = browser.get("/activity").text
    for text in ("the last of 3 deliveries", "Refused", "The signature is missing or wrong."):
        assert text in page
    assert "&lt;b&gt;ada" in page
    assert f"/deployments/{number}" in page
    filtered = browser.get("/activity?kind=delivery&application=shop").text
    assert ("the last of 3" in filtered, f"/deployments/{number}" in filtered) == (True, False)
    assert "the last of 3" not in browser.get("/activity?kind=request").text
    assert faults_of(filtered) == []


def test_the_activity_is_paged(browser, deployed):
    numbers = [deployed() for _ in range(55)]
    first = browser.get("/activity").text
    address = next(e for e in first.split('href="') if e.startswith("/activity?before="))
    second = browser.get(address.partition('"')[0].replace("&amp;", "&")).text
    assert f'/deployments/{numbers[0]}"' not in first
    assert f'/deployments/{numbers[0]}"' in second
    assert "data-live" not in second


def test_readers_see_no_button_to_add_applications(acting_as, installation):
    browser = acting_as("read")
    page = browser.get("/").text
    assert "/applications/-/new" not in page
    assert "/users" not in page
    installation.store.remove_application("shop")
    assert "Ask an administrator" in browser.get("/").text
