from __future__ import annotations

import time

import pytest


@pytest.fixture
def token(sandbox, ada):
    return sandbox.add_api_token(ada)


@pytest.fixture
def names(get, token):
    """The slugs that a list of workspace acme gives."""

    def ask(**params):
        answer = get("/repositories/acme", token, **{"pagelen": 100, **params})
        assert answer.status_code == 200, answer.text
        return [row["slug"] for row in answer.json()["values"]]

    return ask


def all_pages(session, url, headers):
    while url:
        page = session.get(url, headers=headers, timeout=10).json()
        yield page
        url = page.get("next")


def test_a_page_has_ten_items_by_default(sandbox, get, token):
    sandbox.listed_repositories("acme", 25)
    page = get("/repositories/acme", token).json()
    assert len(page["values"]) == 10
    assert (page["size"], page["page"], page["pagelen"]) == (25, 1, 10)


@pytest.mark.parametrize("pagelen", ["0", "101", "-1", "many"])
def test_a_page_length_that_is_not_allowed_is_refused(get, token, pagelen):
    answer = get("/repositories/acme", token, pagelen=pagelen)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Invalid pagelen"


@pytest.mark.parametrize("page", ["0", "one"])
def test_an_invalid_page_number_is_rejected(get, token, page):
    assert get("/repositories/acme", token, page=page).status_code == 400


def test_next_and_previous_are_absolute_and_keep_the_query(sandbox, get, token):
    sandbox.listed_repositories("acme", 3)
    page = get("/repositories/acme", token, pagelen=1, q='name ~ "repository"', page=2).json()
    query = "pagelen=1&q=name+~+%22repository%22&page="
    assert page["next"] == f"{sandbox.api_url}/repositories/acme?{query}3"
    assert page["previous"] == f"{sandbox.api_url}/repositories/acme?{query}1"


def test_links_contain_the_host_that_the_client_used(sandbox, session, token, authorization_for):
    sandbox.listed_repositories("acme", 3)
    headers = {**authorization_for(token), "Host": "bitbucket.test:81"}
    url = f"{sandbox.api_url}/repositories/acme?pagelen=1"
    page = session.get(url, headers=headers, timeout=10).json()
    assert page["next"].startswith("http://bitbucket.test:81/2.0/repositories/acme?")


def test_the_first_and_the_last_page_lack_a_link(sandbox, get, token):
    sandbox.listed_repositories("acme", 4)
    assert "previous" not in get("/repositories/acme", token, pagelen=2).json()
    assert "next" not in get("/repositories/acme", token, pagelen=2, page=2).json()


def test_ten_thousand_repositories_are_created_quickly_and_listed_completely(
    sandbox, session, token, authorization_for
):
    started = time.perf_counter()
    sandbox.listed_repositories("acme", 10_000)
    assert time.perf_counter() - started < 1
    url = f"{sandbox.api_url}/repositories/acme?pagelen=100&fields=next,values.slug"
    pages = list(all_pages(session, url, authorization_for(token)))
    slugs = [row["slug"] for page in pages for row in page["values"]]
    assert len(pages) == 100
    assert slugs == [f"repository-{number:05}" for number in range(1, 10_001)]


def test_an_iterator_only_moves_forward_and_hides_its_size(
    make_populated, session, authorization_for
):
    sandbox = make_populated(pagination="iterator")
    sandbox.listed_repositories("acme", 25)
    url = f"{sandbox.api_url}/repositories/acme?pagelen=10"
    headers = authorization_for(sandbox.add_access_token("acme"))
    pages = list(all_pages(session, url, headers))
    assert [len(page["values"]) for page in pages] == [10, 10, 5]
    assert all(page.keys() <= {"values", "pagelen", "next"} for page in pages)
    assert "page=2" not in pages[0]["next"]
    refused = session.get(url + "&ctx=made-up", headers=headers, timeout=10)
    assert refused.status_code == 400


@pytest.fixture
def four(sandbox):
    sandbox.add_repository("acme", "shop", name="The Shop")
    sandbox.add_repository("acme", "web-shop", name="Web shop", private=False)
    sandbox.add_repository("acme", "api", name="API")
    sandbox.add_repository("acme", "quoted", name='Say "hi" \\ bye')


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ('name ~ "SHOP"', ["shop", "web-shop"]),
        ('name !~ "shop"', ["api", "quoted"]),
        ('slug = "shop"', ["shop"]),
        ('slug != "shop"', ["web-shop", "api", "quoted"]),
        ('full_name = "acme/api"', ["api"]),
        ("is_private = false", ["web-shop"]),
        ("is_private != false", ["shop", "api", "quoted"]),
        ('name ~ "shop" AND is_private = true', ["shop"]),
        ('slug = "api" OR name ~ "shop" AND is_private = true', ["shop", "api"]),
        ('(slug = "api" OR name ~ "shop") AND is_private = true', ["shop", "api"]),
        ('slug = "api" or slug = "shop"', ["shop", "api"]),
        (r'name ~ "\"hi\""', ["quoted"]),
        (r'name ~ "\\"', ["quoted"]),
        ('name~"api"', ["api"]),
    ],
)
def test_q_filters(four, names, q, expected):
    assert names(q=q) == expected


@pytest.mark.parametrize(
    "q",
    [
        "name",
        'name ~ "open',
        'name ~ "a" AND',
        '(name ~ "a"',
        'name ~ "a")',
        'colour = "red"',
        "name ~ true",
        "name = shop",
        'name > "a"',
        'name ~ "a" name ~ "b"',
        "?",
    ],
)
def test_an_invalid_query_is_rejected(four, get, token, q):
    answer = get("/repositories/acme", token, q=q)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Invalid query")


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("slug", ["api", "quoted", "shop", "web-shop"]),
        ("-slug", ["web-shop", "shop", "quoted", "api"]),
        ("full_name", ["api", "quoted", "shop", "web-shop"]),
    ],
)
def test_sort_orders(four, names, sort, expected):
    assert names(sort=sort) == expected


def test_sort_by_an_unknown_field_is_refused(four, get, token):
    assert get("/repositories/acme", token, sort="colour").status_code == 400


def test_a_list_includes_items_added_after_the_request(sandbox, four, names):
    assert len(names(sort="slug")) == 4
    sandbox.add_repository("acme", "another")
    assert names(sort="slug")[0] == "another"


@pytest.mark.parametrize(
    ("role", "expected"),
    [("member", ["shop"]), ("contributor", []), ("admin", []), ("owner", [])],
)
def test_the_role_parameter_filters_by_permission(sandbox, get, role, expected):
    bob = sandbox.add_user("bob")
    sandbox.add_member("acme", bob)
    sandbox.add_repository("acme", "shop")
    answer = get("/repositories/acme", sandbox.add_api_token(bob), role=role)
    assert [row["slug"] for row in answer.json()["values"]] == expected


def test_an_unknown_role_is_refused(get, token):
    assert get("/repositories/acme", token, role="king").status_code == 400


def test_branches_are_filtered_and_sorted_naturally(sandbox, get, token):
    commit = sandbox.commit("acme", "shop", "main", {"a": b"1"}, "One")
    sandbox.add_branches("acme", "shop", ["branch10", "branch2", "branch1"], at=commit)
    path = "/repositories/acme/shop/refs/branches"

    def branches(**params):
        return [row["name"] for row in get(path, token, **params).json()["values"]]

    assert branches(sort="name", q='name ~ "BRANCH"') == ["branch1", "branch2", "branch10"]
    assert branches(sort="-name") == ["main", "branch10", "branch2", "branch1"]
    assert branches(q='name = "branch2"') == ["branch2"]


def test_many_branches_come_in_pages(sandbox, session, token, authorization_for):
    commit = sandbox.commit("acme", "shop", "main", {"a": b"1"}, "One")
    wanted = [f"topic/{number:03}" for number in range(250)]
    sandbox.add_branches("acme", "shop", wanted, at=commit)
    url = f"{sandbox.api_url}/repositories/acme/shop/refs/branches?pagelen=100"
    pages = list(all_pages(session, url, authorization_for(token)))
    found = [row["name"] for page in pages for row in page["values"]]
    assert found == ["main", *wanted]


def test_selecting_fields_removes_all_others_including_next(sandbox, get, token):
    sandbox.listed_repositories("acme", 11)
    page = get("/repositories/acme", token, fields="values.slug,values.links.html").json()
    assert page.keys() == {"values"}
    assert page["values"][0].keys() == {"slug", "links"}
    assert page["values"][0]["links"].keys() == {"html"}


@pytest.mark.parametrize(
    ("fields", "present", "absent"),
    [
        ("next,size", {"next", "size"}, {"values", "page"}),
        ("-values.links", {"values", "next", "size"}, set()),
        ("+values.parent", {"values", "next", "size", "page", "pagelen"}, set()),
        ("values,-values.links", {"values"}, {"next"}),
    ],
)
def test_fields_can_be_dropped_and_added(sandbox, get, token, fields, present, absent):
    sandbox.listed_repositories("acme", 11)
    page = get("/repositories/acme", token, fields=fields).json()
    assert present <= page.keys()
    assert not absent & page.keys()
    if "-values.links" in fields:
        assert "links" not in page["values"][0]
        assert "slug" in page["values"][0]


def test_fields_below_a_null_leave_the_null(sandbox, get, token):
    sandbox.add_repository("acme", "empty")
    page = get("/repositories/acme", token, fields="values.mainbranch.name").json()
    assert page == {"values": [{"mainbranch": None}]}
