from __future__ import annotations

import time

import pytest
import requests
from deploycore_bitbucket.sandbox import Fault, faults

from deploycore.testing.paging import JsonLink


@pytest.fixture
def page(sandbox, get):
    """Asks for the first page of a list of 25 repositories."""
    sandbox.listed_repositories("acme", 25)
    token = sandbox.add_access_token("acme")

    def ask(**params):
        return get("/repositories/acme", token, **params)

    return ask


def test_a_status_replaces_the_response_the_given_number_of_times(sandbox, page):
    sandbox.faults.add(Fault(faults.answer(503, "busy", headers={"Retry-After": "1"}), times=2))
    answers = [page() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert (answers[0].text, answers[0].headers["Retry-After"]) == ("busy", "1")


def test_a_fault_only_affects_matching_requests(sandbox, page):
    fault = faults.answer(500)
    sandbox.faults.add(Fault(fault, path="*/git-upload-pack"))
    sandbox.faults.add(Fault(fault, path="/2.0/*", method="POST"))
    sandbox.faults.add(Fault(fault, query="*page=2*"))
    assert page().status_code == 200
    assert page(page=2).status_code == 500


def test_faults_can_be_cleared(sandbox, page):
    sandbox.faults.add(Fault(faults.answer(500)))
    sandbox.faults.clear()
    assert page().status_code == 200


def test_faults_add_up(sandbox, page):
    sandbox.faults.add(Fault(faults.latency(0.05)))
    sandbox.faults.add(Fault(faults.answer(500)))
    started = time.perf_counter()
    assert page().status_code == 500
    assert time.perf_counter() - started >= 0.05


def test_every_answer_can_be_slow(make_populated, session):
    sandbox = make_populated(latency=0.05)
    started = time.perf_counter()
    session.get(f"{sandbox.api_url}/repositories/acme", timeout=10)
    assert time.perf_counter() - started >= 0.05


def test_a_slow_response_does_not_delay_shutdown(make_populated):
    sandbox = make_populated(latency=60)
    with requests.Session() as session, pytest.raises(requests.Timeout):
        session.get(f"{sandbox.api_url}/user", timeout=0.05)
    started = time.perf_counter()
    sandbox.stop()
    assert time.perf_counter() - started < 5


def test_a_cut_connection_sends_the_given_number_of_bytes(sandbox, session, page):
    whole = page().content
    sandbox.faults.add(Fault(faults.connection_cut(after=7)))
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="7 bytes read"):
        page()
    sandbox.faults.clear()
    assert page().content == whole


def test_a_reset_connection_sends_nothing(sandbox, page):
    sandbox.faults.add(Fault(faults.connection_reset(), times=1))
    with pytest.raises(requests.ConnectionError, match=r"reset by peer|Connection aborted"):
        page()
    assert page().status_code == 200


@pytest.mark.parametrize("change", [faults.malformed_json(), faults.truncated_json()])
def test_json_can_be_made_unreadable(sandbox, page, change):
    sandbox.faults.add(Fault(change))
    answer = page()
    assert answer.status_code == 200
    assert "json" in answer.headers["Content-Type"]
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_html_can_replace_json(sandbox, page):
    sandbox.faults.add(Fault(faults.html()))
    answer = page()
    assert answer.status_code == 200
    assert answer.text.startswith("<!DOCTYPE html>")


def test_wrong_types_are_valid_json(sandbox, page):
    sandbox.faults.add(Fault(faults.wrong_types()))
    body = page().json()
    assert body["size"] == "25"
    assert isinstance(body["values"][0]["name"], int)


def test_endless_pages_go_on_with_values_and_new_links(sandbox, page):
    sandbox.faults.add(Fault(faults.endless_pages(JsonLink())))
    answers = [page(page=number).json() for number in range(1, 8)]
    assert all(answer["values"] for answer in answers)
    assert len({answer["next"] for answer in answers}) == 7


def test_a_looping_next_link_leads_to_the_same_page(sandbox, session, page):
    sandbox.faults.add(Fault(faults.looping_next(JsonLink())))
    answer = page(page=2)
    assert answer.json()["next"] == answer.url


def test_the_next_link_can_lead_to_another_host(sandbox, page):
    sandbox.faults.add(Fault(faults.next_elsewhere(JsonLink(), "http://127.0.0.2:9")))
    assert page().json()["next"].startswith("http://127.0.0.2:9/2.0/repositories/acme?")


def test_a_fault_of_lists_does_not_change_errors(sandbox, get):
    sandbox.faults.add(Fault(faults.endless_pages(JsonLink())))
    answer = get("/user")
    assert answer.status_code == 401


@pytest.mark.parametrize("retry_after", [None, 30])
def test_an_exceeded_rate_limit_is_a_plain_429(make_populated, session, retry_after):
    sandbox = make_populated(rate_budget=2, retry_after=retry_after)
    url = f"{sandbox.api_url}/repositories/acme"
    answers = [session.get(url, timeout=10) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].text == "Rate limit for this resource has been exceeded"
    assert answers[2].headers["Content-Type"].startswith("text/plain")
    assert answers[2].headers.get("Retry-After") == (str(retry_after) if retry_after else None)


def test_git_requests_do_not_count_toward_the_rate_limit(make_populated, session):
    sandbox = make_populated(rate_budget=1)
    for _ in range(3):
        session.get(f"{sandbox.git_url}/acme/shop.git/info/refs", timeout=10)
    assert session.get(f"{sandbox.api_url}/repositories/acme", timeout=10).status_code == 200
