"""Lists of applications: what needs attention first, a page at a time, whatever their number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event, insert, update

from deploycore.errors import ConfigurationError
from deploycore.store.overview import Place
from deploycore.store.tables import applications, deployments, providers, triggers

COMMIT = "1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b"
LONG_AGO = datetime.now(UTC) - timedelta(hours=2)


@pytest.fixture
def shop(store, provider, application):
    """A store with five applications of the provider ``acme``."""
    store.add_provider(provider())
    names = ("shop", "blog", "docs", "wiki", "mail")
    store.put_applications([application(name, repository=f"team/{name}-src") for name in names])
    return store


@pytest.fixture
def deployed(shop):
    """Records a deployment: ``deployed("shop", "failed")``."""

    def make(application: str, state: str = "healthy", **values):
        asked = shop.deployments.request(application, ref="main", requested_by="ada")
        given = {"state": state, "commit": COMMIT, "finished_at": datetime.now(UTC)}
        with shop._database.writing() as connection:
            is_this = deployments.c.id == asked.id
            connection.execute(update(deployments).where(is_this).values(given | values))
        return asked.id

    return make


def names(standings) -> list[str]:
    return [each.application.name for each in standings]


def test_applications_that_need_attention_come_first_then_the_latest(shop, deployed):
    for name, state in (("shop", "failed"), ("blog", "healthy"), ("docs", "rolled_back")):
        deployed(name, state)
    deployed("wiki")
    found = shop.overview.list(limit=10)
    assert names(found.items) == ["docs", "shop", "wiki", "blog", "mail"]
    assert [each.attention for each in found.items] == ["failed", "failed", None, None, None]
    assert (found.counts.all, found.counts.attention, found.counts.never) == (5, 2, 1)
    assert found.is_last


def test_the_live_release_is_shown_next_to_a_later_failure(shop, deployed):
    good = deployed("shop")
    bad = deployed("shop", "failed", error_code="step_failed", error="It failed.")
    [found] = shop.overview.list(search="shop", limit=1).items
    assert (found.live.id, found.last.id, found.last.error) == (good, bad, "It failed.")
    assert shop.overview.get("shop") == found


def test_a_later_success_clears_the_attention_flag(shop, deployed):
    deployed("shop", "failed")
    deployed("shop")
    assert shop.overview.get("shop").attention is None


@pytest.mark.parametrize("state", ["skipped", "superseded"])
def test_a_skipped_deployment_does_not_change_the_state(shop, deployed, state):
    bad = deployed("shop", "failed", error_code="step_failed", error="It failed.")
    deployed("shop", state)
    [found] = shop.overview.list(search="shop", limit=1).items
    assert (found.last.id, found.attention) == (bad, "failed")


@pytest.mark.parametrize(
    "values", [{"attempts": 1}, {"received_at": LONG_AGO}], ids=["fails again", "waits for long"]
)
def test_a_stuck_request_needs_attention(shop, values):
    asked = shop.triggers.add("blog", cause="push")
    assert shop.overview.get("blog").attention is None
    with shop._database.writing() as connection:
        connection.execute(update(triggers).values(values))
    found = shop.overview.get("blog")
    assert (found.attention, found.request.id) == ("stuck", asked.id)


def test_a_stuck_deployment_needs_attention(shop, deployed):
    deployed("blog", "building", finished_at=None)
    assert shop.overview.get("blog").attention is None
    with shop._database.writing() as connection:
        connection.execute(update(deployments).values(requested_at=LONG_AGO))
    assert shop.overview.get("blog").attention == "stuck"


def test_expired_credentials_need_attention(shop):
    with shop._database.writing() as connection:
        connection.execute(update(providers).values(expires_at=LONG_AGO))
    found = shop.overview.list(which="attention", limit=10)
    assert {each.attention for each in found.items} == {"credentials"}
    assert len(found.items) == 5


def test_lists_are_filtered_and_searched(shop, deployed):
    deployed("shop", "building", finished_at=None)
    deployed("blog", "failed")
    deployed("docs")

    def find(**query):
        return names(shop.overview.list(limit=10, **query).items)

    assert find(which="running") == ["shop"]
    assert find(which="failed") == ["blog"]
    assert find(which="healthy") == ["docs"]
    assert find(which="never") == ["mail", "wiki"]
    assert find(search="IKI-SRC") == ["wiki"]
    assert find(search="team wiki") == ["wiki"]
    assert find(search="%") == find(search="team_wiki") == []
    assert find(provider="none") == []


def test_pages_have_no_gaps_or_duplicates(shop, deployed):
    for name, state in (("shop", "failed"), ("blog", "healthy"), ("docs", "failed")):
        deployed(name, state)
    found, after = [], None
    for _ in range(5):
        page = shop.overview.list(limit=1, after=after)
        found += names(page.items)
        assert page.is_last == (len(found) == 5)
        after = page.items[-1].place
    assert found == ["docs", "shop", "blog", "mail", "wiki"]
    beyond = shop.overview.list(limit=1, after=Place(False, 0, "zzz"))
    assert (beyond.items, beyond.counts.all) == ([], 5)


def test_previews_are_listed_with_their_pull_requests(shop, application, tmp_path):
    parent = shop.get_application("shop").definition
    for number in (12, 3):
        shop.begin_preview(
            application(f"shop-pr-{number}"),
            parent=parent,
            number=number,
            within=tmp_path,
            limit=5,
            opens=True,
        )
    assert [each.preview.number for each in shop.overview.previews("shop")] == [3, 12]
    assert shop.overview.previews("blog") == []


def test_an_unknown_application_is_an_error(shop):
    with pytest.raises(ConfigurationError, match="shopp"):
        shop.overview.get("shopp")


def test_a_damaged_application_does_not_hide_the_others(shop):
    with shop._database.writing() as connection:
        is_this = applications.c.name == "blog"
        connection.execute(update(applications).where(is_this).values(definition_checksum="0" * 64))
    assert "blog" not in names(shop.overview.list(limit=10).items)
    assert len(shop.overview.list(limit=10).items) == 4


def test_the_number_of_statements_is_independent_of_the_number_of_rows(shop, application, deployed):
    def sent() -> int:
        statements = []
        event.listen(Engine, "before_cursor_execute", listen := lambda *a: statements.append(a[2]))
        try:
            shop.overview.list(limit=30)
        finally:
            event.remove(Engine, "before_cursor_execute", listen)
        return len(statements)

    deployed("shop", "failed")
    few = sent()
    shop.put_applications([application(f"app-{number}") for number in range(40)])
    with shop._database.writing() as connection:
        row = dict(connection.execute(deployments.select()).mappings().first())
        rows = [
            {**row, "id": 100 + number, "application": f"app-{number % 40}"}
            for number in range(400)
        ]
        connection.execute(insert(deployments), rows)
    assert sent() <= few <= 12


def test_the_latest_deployments_are_found_by_an_index(shop):
    """SQLite tells; a scan of the history would read all of it for each page."""
    if not shop._database.has_one_writer:
        pytest.skip("the plan is SQLite's")
    statements = []
    event.listen(Engine, "before_cursor_execute", listen := lambda *a: statements.append(a[2:4]))
    try:
        shop.overview.list(limit=30)
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    [(text, values)] = [each for each in statements if "MATERIALIZED" in each[0]]
    with shop._database.reading() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all()
    steps = [row[3] for row in plan]
    assert any("ix_deployments_application_id (application=?)" in each for each in steps)
    assert not [each for each in steps if each.startswith("SCAN deployments")]
