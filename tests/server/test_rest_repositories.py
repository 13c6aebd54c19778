"""The repositories that a provider's credentials can read, over REST: pages, caching, and safe
texts."""

from __future__ import annotations

import sys

import pytest
from pydantic import SecretStr

from deploycore.models import Owner, Repository
from deploycore.server import listings
from deploycore.server.hosts import Hosts
from deploycore.server.listings import Listings, Wanted
from deploycore.server.problems import Refusal
from tests.server import acme
from tests.server.many import HOSTILE_NAMES, MANY

REPOSITORIES = "/api/v1/providers/work/repositories"


@pytest.fixture
def many(upgrade, client):
    """A client of a server whose host has 10,000 repositories."""
    upgrade("deploycore_acme", acme.PLUGIN + MANY)
    return client


@pytest.fixture
def asked():
    """What the host was asked so far."""
    return lambda: sys.modules["deploycore_acme"].requests


@pytest.fixture
def get(many, token):
    header = token("admin")

    def send(path, **query):
        answer = many.get(path, params=query or None, headers=header)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return send


def test_a_page_requests_no_more_from_the_host_than_it_needs(get, asked):
    first = get(REPOSITORIES)
    assert [each["repository"] for each in first["items"]][::49] == [
        "acme/repository-00000",
        "acme/repository-00049",
    ]
    assert asked() == [("list_repos", None), ("page", 0)]
    second = get(first["next"])
    assert second["items"][0]["repository"] == "acme/repository-00050"
    assert asked() == [("list_repos", None), ("page", 0), ("page", 100)]
    assert get(REPOSITORIES) == first
    assert len(asked()) == 3


def test_all_of_ten_thousand_repositories_can_be_paged_through(get, asked):
    found, page = [], get(REPOSITORIES, limit=100)
    found += page["items"]
    while page["next"]:
        page = get(page["next"])
        found += page["items"]
    names = [each["repository"] for each in found]
    assert len(names) == len(set(names)) == 10_000 + len(HOSTILE_NAMES) - 1  # one is too long
    assert [each for each in asked() if each[0] == "list_repos"] == [("list_repos", None)]


def test_extending_a_search_queries_the_host_only_once(get, asked):
    for search in ("0999", "09998", "09998"):
        found = get(REPOSITORIES, search=search)
    assert [each["repository"] for each in found["items"]] == ["acme/repository-09998"]
    assert [each for each in asked() if each[0] == "list_repos"] == [("list_repos", "0999")]
    get(REPOSITORIES, search="09998", refresh=True)
    assert asked()[-1] != ("list_repos", "0999")
    assert ("list_repos", "09998") in asked()


@pytest.mark.parametrize(
    "search", ["acme/repository-00007", "ACME/Repository_00007", "repository 00007"]
)
def test_a_repository_search_is_case_insensitive(get, search):
    assert [each["repository"] for each in get(REPOSITORIES, search=search)["items"]] == [
        "acme/repository-00007"
    ]


def test_names_of_a_host_are_data_and_links_are_links(get):
    found = get(REPOSITORIES, search="hostile")["items"]
    assert [each["repository"] for each in found] == [f"evil/{name}" for name in HOSTILE_NAMES[:-1]]
    assert {each["url"] for each in found} == {None}


def test_overlong_values_from_a_host_are_not_cached():
    endless = "x" * 1_000_000
    found = Repository(
        name=endless,
        slug="shop",
        url=f"https://{endless}",
        owner=Owner(username="ada"),
        default_branch=endless,
    )
    item = listings._item(found, has_details=True)
    assert sum(len(str(each)) for each in (item.text, *item.fields)) < 1000


def test_details_are_listed_if_they_are_requested(get):
    [plain] = get(REPOSITORIES, search="repository-00007")["items"]
    [found] = get(REPOSITORIES, search="repository-00007", details=True)["items"]
    details = found["details"]
    assert (plain["details"], details["slug"]) == (None, "repository-00007")
    assert details["owner"] == {"username": "acme", "display_name": None}
    assert {name: found[name] for name in plain} == {**plain, "details": details}
    assert details.keys() == {*Repository.model_fields}


def test_branches_tags_and_owners_are_listed(get):
    query = {"repository": "acme/shop"}
    page = get("/api/v1/providers/work/branches", **query, limit=2)
    assert page["items"][0] == {"name": "main", "commit": "1" * 40}
    assert "repository=acme%2Fshop" in page["next"]
    assert get(page["next"])["items"][0]["name"] == HOSTILE_NAMES[1]
    found = get("/api/v1/providers/work/branches", **query, search="feature/49")
    assert len(found["items"]) == 11
    assert get("/api/v1/providers/work/tags", **query)["items"][0]["name"] == "v1"
    owners = get("/api/v1/providers/work/owners")
    assert owners["items"][0] == {"owner": "acme", "name": "Acme"}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/providers/nobody/repositories", 404, "not_found"),
        ("/api/v1/providers/work/branches", 422, "configuration"),
        ("/api/v1/providers/work/branches?repository=x", 422, "configuration"),
        ("/api/v1/providers/work/tags?repository=a/b", 422, "configuration"),  # no such hook
        ("/api/v1/providers/work/repositories?limit=101", 422, "configuration"),
    ],
)
def test_unsupported_listings_are_rejected(client, token, path, status, code):
    answer = client.get(path, headers=token("admin"))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["hint"]


@pytest.mark.parametrize("kind", ["owners", "repositories", "branches", "tags"])
def test_only_administrators_can_list_the_repositories_of_a_provider(client, token, kind):
    path = f"/api/v1/providers/work/{kind}?repository=acme/shop"
    for header in [token(role) for role in ("read", "deploy")]:
        assert client.get(path, headers=header).status_code == 403
    assert client.get(path).status_code == 401


@pytest.fixture
def memory(upgrade, installation):
    """Listings of the host with 10,000 repositories, and a clock for them."""
    upgrade("deploycore_acme", acme.PLUGIN + MANY)
    made = Listings(installation.open_provider, Hosts(), clock=lambda: memory_clock[0])
    memory_clock[0] = 0.0
    yield made
    made.close()


memory_clock = [0.0]


def test_a_cached_listing_expires_and_is_dropped_with_new_credentials(memory, installation, asked):
    def read():
        memory.page(installation.store.get_provider("work"), Wanted("repositories"), limit=1)
        return len([each for each in asked() if each[0] == "list_repos"])

    assert (read(), read()) == (1, 1)
    memory_clock[0] = 301.0
    assert read() == 2
    changes = installation.provider_changes
    changes.store(changes.plan("work", {}, {"token": SecretStr("hunter2-of-another")}))
    assert read() == 3


def test_the_listing_cache_is_bounded(memory, installation, monkeypatch):
    record = installation.store.get_provider("work")
    for number in range(listings._LISTINGS_MOST + 20):
        memory.page(record, Wanted("branches", f"acme/{number}"), limit=1)
    assert len(memory._known) <= listings._LISTINGS_MOST
    monkeypatch.setattr(listings, "_ITEMS_MOST", 150)
    page = memory.page(record, Wanted("repositories"), after=100, limit=100)
    assert (len(page.items), page.following, page.is_cut) == (50, None, True)
    monkeypatch.setattr(listings, "_ALL_ITEMS_MOST", 100)
    memory.page(record, Wanted("owners"))
    assert sum(len(each.items) for each in memory._known.values()) <= 100


def test_one_request_at_a_time_reads_a_listing(memory, installation, monkeypatch):
    record = installation.store.get_provider("work")
    memory.page(record, Wanted("repositories"), limit=1)
    monkeypatch.setattr(listings, "_HANGS_SECONDS", 0.0)
    (listing,) = memory._known.values()
    with listing.lock, pytest.raises(Refusal) as caught:
        memory.page(record, Wanted("repositories"), limit=1)
    assert (caught.value.status, caught.value.code) == (503, "busy")
    assert memory.page(record, Wanted("repositories"), limit=1).items


def test_a_request_that_waited_for_a_dropped_listing_reads_a_new_one(
    memory, installation, monkeypatch
):
    record = installation.store.get_provider("work")
    memory.page(record, Wanted("repositories"), limit=1)
    find = memory._listing

    def find_and_forget(key):
        found = find(key)
        monkeypatch.setattr(memory, "_listing", find)
        memory._forget(key)  # as another request does that refreshes it
        return found

    monkeypatch.setattr(memory, "_listing", find_and_forget)
    page = memory.page(record, Wanted("repositories"), limit=3)
    assert [each[0] for each in page.items] == [f"acme/repository-0000{n}" for n in range(3)]


def test_a_listing_is_not_closed_while_a_request_reads_it(memory, installation, monkeypatch):
    record = installation.store.get_provider("work")
    read, held = listings._item, []

    def item(found, **more):
        held.extend(memory._known.values())
        for key in tuple(memory._known):
            memory._forget(key)
        assert held[0].provider is not None
        return read(found)

    monkeypatch.setattr(listings, "_item", item)
    assert len(memory.page(record, Wanted("repositories"), limit=2).items) == 2
    assert held[0].provider is None


def test_a_failed_listing_is_not_cached(upgrade, client, token, monkeypatch):
    failing = """
def fail(self, query):
    note()
    yield Repository(name="a", slug="a", url="https://a", owner=Owner(username="ada"))

AcmeProvider.list_repos = hookimpl(fail)
"""
    upgrade("deploycore_acme", acme.PLUGIN + failing)
    header = token("admin")
    monkeypatch.setenv("ACME_FAILS", "1")
    assert client.get(REPOSITORIES, headers=header).json()["code"] == "provider_unavailable"
    monkeypatch.delenv("ACME_FAILS")
    assert len(client.get(REPOSITORIES, headers=header).json()["items"]) == 1


def test_a_request_to_a_hanging_host_times_out(upgrade, until_the_end, client, token, monkeypatch):
    hanging = f"""
def hang(self, query):
    {until_the_end}
    yield from ()

AcmeProvider.list_repos = hookimpl(hang)
"""
    upgrade("deploycore_acme", acme.PLUGIN + hanging)
    monkeypatch.setattr(listings, "_HANGS_SECONDS", 0.2)
    header = token("admin")
    answer = client.get(REPOSITORIES, headers=header)
    assert (answer.status_code, answer.json()["code"]) == (504, "timed_out")
    assert client.get("/api/v1/applications", headers=header).status_code == 200


def test_requests_to_hosts_do_not_use_all_threads(monkeypatch):
    monkeypatch.setattr("deploycore.server.hosts._BUSY_SECONDS", 0.0)
    hosts = Hosts()
    with pytest.raises(Refusal) as caught:
        nested(hosts, 9)
    assert (caught.value.status, caught.value.code) == (503, "busy")
    assert hosts.ask(lambda: 1) == 1


def test_the_number_of_requests_waiting_for_hosts_is_limited(monkeypatch):
    monkeypatch.setattr("deploycore.server.hosts._BUSY_SECONDS", 3600.0)
    monkeypatch.setattr("deploycore.server.hosts._WAITING_MOST", 0)
    hosts = Hosts()
    with pytest.raises(Refusal) as caught:  # at once, not after an hour
        nested(hosts, 9)
    assert (caught.value.status, caught.value.code) == (503, "busy")
    assert hosts.ask(lambda: 1) == 1


def nested(hosts, depth):
    return hosts.ask(lambda: nested(hosts, depth - 1)) if depth else None
