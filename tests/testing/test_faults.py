"""Faults apply to the right requests, the right number of times."""

from __future__ import annotations

import json

import pytest
import requests

from deploycore.testing.faults import (
    Fault,
    Faults,
    answer,
    connection_cut,
    connection_reset,
    echoing,
    empty_page,
    endless_pages,
    html,
    later,
    looping_next,
    malformed_json,
    next_elsewhere,
    rate_limited,
    redirect,
    truncated_json,
    wrong_types,
)
from deploycore.testing.host import LoopbackHost
from deploycore.testing.messages import Refusal, Request, json_answer
from deploycore.testing.paging import JsonCursor, JsonLink, LinkHeader, Pages

ORIGIN = "http://127.0.0.1:1"
BOTH = pytest.mark.parametrize(
    "links",
    [LinkHeader(), JsonLink()],
    ids=["header", "field"],
)


def request(target="/a", method="GET"):
    return Request(method, target, {"host": "127.0.0.1:1"})


def statuses(fault, *requests):
    """Which statuses requests get while a fault is in force; 200 without it."""
    faults = Faults()
    faults.add(fault)
    return [faults.apply(each, json_answer({})).status for each in requests]


@pytest.mark.parametrize(("signing_in", "expected"), [(False, [200, 503]), (True, [503, 200])])
def test_sign_in_requests_are_only_affected_by_their_own_faults(signing_in, expected):
    faults = Faults()
    faults.sign_in_path = "*/tokens"
    faults.add(Fault(answer(503), signing_in=signing_in))
    sent = (request("/api/tokens", "POST"), request("/api/user"))
    assert [faults.apply(each, json_answer({})).status for each in sent] == expected


def test_sign_in_requests_are_not_counted():
    with LoopbackHost(routes={"GET /{name}": lambda _, name: json_answer({})}) as host:
        host.faults.sign_in_path = "/tokens"
        for name in ("tokens", "user", "tokens"):
            requests.get(f"{host.url}/{name}", timeout=30)
        assert (host.request_count, len(host.requests)) == (1, 3)


@pytest.mark.parametrize(
    ("url", "cursor"),
    [
        ("http://127.0.0.1:1/a?cursor=c%3D2&limit=3", "c=2"),
        ("http://127.0.0.1:1/a?limit=3", "1"),
        ("http://[", "http://["),
        ("next page please", "next page please"),
        (None, None),
    ],
)
def test_the_cursor_is_the_link_parameter_of_a_page(url, cursor):
    page = json_answer({"items": [1], "next_cursor": "stale"})
    linked = JsonCursor(values="items").linked(page, url)
    assert linked.json().get("next_cursor") == cursor
    assert JsonCursor(values="items").items(linked) == [1]


def test_a_fault_affects_matching_requests():
    fault = Fault(answer(503), path="/api/*", method="GET", query="page=*")
    hit = request("/api/x?page=2")
    spared = request("/x?page=2"), request("/api/x"), request("/api/x?page=2", "POST")
    assert statuses(fault, hit, *spared) == [503, 200, 200, 200]


def test_a_fault_affects_the_given_number_of_requests():
    assert statuses(Fault(answer(503), times=2), *[request()] * 4) == [503, 503, 200, 200]


def test_only_matching_requests_are_counted():
    fault = Fault(answer(503), path="/a", times=1)
    assert statuses(fault, request("/b"), request("/a"), request("/a")) == [200, 503, 200]


def test_a_delayed_fault_skips_the_first_requests():
    assert statuses(Fault(later(answer(503), after=2)), *[request()] * 4) == [200, 200, 503, 503]


def test_a_delayed_one_time_fault_counts_the_requests_it_skips():
    fault = Fault(later(answer(503), after=1), times=2)
    assert statuses(fault, *[request()] * 4) == [200, 503, 200, 200]


def test_faults_are_applied_in_the_order_added_until_cleared():
    faults = Faults()
    faults.add(Fault(answer(500)))
    faults.add(Fault(answer(503)))
    changed = faults.apply(request(), json_answer({}))
    assert (changed.status, changed.exemption) == (503, "injected fault: answer 503")
    faults.clear()
    assert faults.apply(request(), json_answer({})).status == 200


def changed(change, given=None, target="/a"):
    """What becomes of an answer."""
    return change.apply(request(target), given or json_answer({"name": "ada", "size": 12}))


@pytest.mark.parametrize(
    ("change", "status", "header"),
    [
        (answer(418), 418, {}),
        (redirect("http://elsewhere", 307), 307, {"Location": "http://elsewhere"}),
        (rate_limited(), 429, {}),
        (rate_limited(retry_after=7), 429, {"Retry-After": "7"}),
        (html(), 200, {"Content-Type": "text/html"}),
    ],
    ids=["status", "redirect", "limit", "limit-with-end", "html"],
)
def test_a_response_can_be_replaced(change, status, header):
    found = changed(change)
    assert found.status == status
    assert header.items() <= found.headers.items()


def test_a_rate_limit_without_an_end_has_no_retry_header():
    assert "Retry-After" not in changed(rate_limited()).headers


@pytest.mark.parametrize("change", [malformed_json(), truncated_json()], ids=["bad", "half"])
def test_broken_json_cannot_be_decoded(change):
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(changed(change).body)


def test_wrong_types_are_valid_json_with_swapped_strings_and_numbers():
    assert changed(wrong_types()).json() == {"name": 3, "size": "12"}


def test_an_echo_returns_the_request():
    said = changed(echoing(404), target="/a?b=c")
    assert said.status == 404
    assert "GET /a?b=c {'host': '127.0.0.1:1'}" in said.json()["message"]


def page(links, items, url=None):
    """A page of a listing."""
    return links.linked(json_answer(links.page(items)), url)


def link_of(links, found):
    """The link to the next page."""
    return found.json().get("next") if isinstance(links, JsonLink) else found.headers.get("Link")


@BOTH
def test_an_empty_page_keeps_its_link(links):
    found = changed(empty_page(links), page(links, [1, 2], f"{ORIGIN}/a?page=2"))
    assert links.items(found) == []
    assert "page=2" in link_of(links, found)


@BOTH
def test_a_loop_links_to_the_page_itself(links):
    found = changed(looping_next(links), page(links, [1, 2]), "/a?page=3")
    assert f"{ORIGIN}/a?page=3" in link_of(links, found)
    assert links.items(found) == [1, 2]


@BOTH
def test_a_link_to_another_host_keeps_the_path(links):
    found = changed(next_elsewhere(links, "http://evil"), page(links, [1]))
    assert "http://evil/a?page=2" in link_of(links, found)


@BOTH
def test_endless_pages_have_a_new_link_each_time_and_the_last_items(links):
    change = endless_pages(links)
    first = changed(change, page(links, [1, 2]), "/a?page=1")
    second = changed(change, page(links, []), "/a?page=2")
    assert [links.items(found) for found in (first, second)] == [[1, 2], [1, 2]]
    assert "page=2" in link_of(links, first)
    assert "page=3" in link_of(links, second)


@BOTH
def test_a_response_that_is_not_a_page_is_not_changed(links):
    refusal = json_answer({"message": "no"}, 404)
    for change in (empty_page(links), looping_next(links), endless_pages(links)):
        assert changed(change, refusal) == refusal


@pytest.mark.parametrize(
    "change", [connection_cut(after=3), connection_reset()], ids=["cut", "reset"]
)
def test_a_broken_connection_is_a_client_error(change):
    with LoopbackHost(routes={"GET /a": lambda request: json_answer([1, 2, 3])}) as host:
        host.faults.add(Fault(change, times=1))
        with pytest.raises(requests.RequestException):
            requests.get(f"{host.url}/a", timeout=10)
        assert requests.get(f"{host.url}/a", timeout=10).json() == [1, 2, 3]


@BOTH
def test_pages_are_split_and_linked_until_the_last(links):
    pages = Pages(links, size_default=2, size_most=3)
    rows = list(range(5))
    first = pages.answer(request("/a?q=x"), rows, str)
    assert links.items(first) == ["0", "1"]
    assert f"{ORIGIN}/a?q=x&page=2" in link_of(links, first)
    last = pages.answer(request("/a?page=3"), rows, str)
    assert links.items(last) == ["4"]
    assert link_of(links, last) is None


@BOTH
def test_the_page_size_is_limited_by_the_host(links):
    found = Pages(links, size_most=3).answer(request("/a?per_page=100"), range(9), str)
    assert len(links.items(found)) == 3


@BOTH
def test_a_page_past_the_last_is_empty(links):
    found = Pages(links).answer(request("/a?page=9"), range(5), str)
    assert links.items(found) == []
    assert link_of(links, found) is None


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "per_page=0", "page=²"])
def test_an_invalid_number_is_rejected(query):
    with pytest.raises(Refusal) as caught:
        Pages(LinkHeader()).answer(request(f"/a?{query}"), range(5), str)
    assert caught.value.answer.status == 400
