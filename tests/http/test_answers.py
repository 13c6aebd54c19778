"""The meaning of responses: statuses, retries, rate limits, and bodies that are not JSON."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    UnexpectedAnswer,
)
from deploycore.http import quoted, retry_after, retry_at
from deploycore.redaction import MASK

BASE = "https://api.host.example/v1"


@pytest.fixture
def host():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def test_json_is_decoded_and_paths_are_joined_below_the_base(client, host):
    host.get(f"{BASE}/user", json={"login": "ada"})
    for path in ("user", "/user"):
        assert client(BASE).get_json(path) == {"login": "ada"}


def test_parameters_are_added_to_the_query(client, host):
    host.get(f"{BASE}/a", json=[])
    client(BASE).get_json("a?b=1", params={"fields": "+x y"})
    assert host.calls[0].request.url.endswith("/v1/a?b=1&fields=%2Bx%20y")


@pytest.mark.parametrize("path", ["../admin", "a/../../b", "a/%2e%2e/b", "./a"])
def test_a_path_cannot_leave_the_api(client, path, host):
    with pytest.raises(ConfigurationError, match="leads outside the API"):
        client(BASE).get_json(path)
    host.get(f"{BASE}/repos/acme/shop", json={})
    assert client(BASE).get_json("repos/acme/shop") == {}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ProviderError),
        (401, AuthenticationFailed),
        (403, PermissionDenied),
        (404, NotFound),
        (410, NotFound),
        (422, ProviderError),
        (429, RateLimited),
        (500, ProviderUnavailable),
        (503, ProviderUnavailable),
    ],
)
def test_each_status_maps_to_an_error(client, host, status, error):
    host.get(f"{BASE}/user", body="why", status=status)
    with pytest.raises(error, match=r"GET /v1/user on api\.host\.example") as caught:
        client(BASE).get_json("user")
    assert type(caught.value) is error
    assert caught.value.details["status"] == status
    assert caught.value.hint
    host.replace("GET", f"{BASE}/user", json={"login": "ada"})  # as the hint has it
    assert client(BASE).get_json("user") == {"login": "ada"}


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_idempotent_requests_are_retried_with_growing_jitter(client, host, waited, status, method):
    for _ in range(3):
        host.add(method, f"{BASE}/x", status=status)
    host.add(method, f"{BASE}/x", json={"ok": True})
    assert client(BASE).send_json(method, "x") == {"ok": True}
    assert waited == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_non_idempotent_requests_are_not_retried(client, host, waited, method):
    host.add(method, f"{BASE}/x", status=503)
    with pytest.raises(ProviderUnavailable):
        client(BASE).send_json(method, "x", body={"a": 1})
    assert (len(host.calls), waited) == (1, [])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 501])
def test_other_statuses_are_not_retried(client, host, waited, status):
    host.get(f"{BASE}/x", status=status)
    with pytest.raises(ProviderError):
        client(BASE).get_json("x")
    assert (len(host.calls), waited) == (1, [])


def test_retries_are_limited_and_the_jitter_is_bounded(client, host, waited):
    host.get(f"{BASE}/x", status=503)
    with pytest.raises(ProviderUnavailable):
        client(BASE, retries=8, backoff_most=4.0, total_timeout=1000.0).get_json("x")
    assert waited == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0]


def test_a_retry_after_header_is_respected(client, host, waited):
    host.get(f"{BASE}/x", status=429, headers={"Retry-After": "7"})
    host.get(f"{BASE}/x", json=1)
    assert client(BASE).get_json("x") == 1
    assert waited == [7.0]


@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (503, ProviderUnavailable)])
def test_a_retry_after_that_is_too_long_is_reported_at_once(client, host, waited, status, error):
    host.get(f"{BASE}/x", status=status, headers={"Retry-After": "3600"})
    before = datetime.now(UTC)
    with pytest.raises(error) as caught:
        client(BASE).get_json("x")
    assert (len(host.calls), waited) == (1, [])
    if status == 429:
        expected = before + timedelta(hours=1)
        assert abs(caught.value.retry_at - expected) < timedelta(minutes=1)
    host.replace("GET", f"{BASE}/x", json=[])
    assert client(BASE).get_json("x") == []


@pytest.mark.parametrize("status", [403, 429])
def test_a_rate_limit_read_by_the_provider_is_waited_for(client, host, waited, status):
    host.get(f"{BASE}/x", status=status, headers={"X-Limit-Ends-In": "7"})
    host.get(f"{BASE}/x", json=1)

    def explain(answer):
        ends = timedelta(seconds=int(answer.headers["X-Limit-Ends-In"]))
        return RateLimited("slower", retry_at=datetime.now(UTC) + ends)

    assert client(BASE).explaining(explain).get_json("x") == 1
    assert waited == [pytest.approx(7.0, abs=1.0)]


@pytest.mark.parametrize("status", [403, 429])
def test_a_rate_limit_that_ends_too_late_is_not_retried(client, host, waited, status):
    host.get(f"{BASE}/x", status=status)
    ends = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(RateLimited) as caught:
        client(BASE).explaining(lambda _: RateLimited("slower", retry_at=ends)).get_json("x")
    assert caught.value.retry_at == ends
    assert (len(host.calls), waited) == (1, [])


def test_waiting_does_not_exceed_the_total_timeout(client, host, waited):
    host.get(f"{BASE}/x", status=429, headers={"Retry-After": "30"})
    with pytest.raises(RateLimited):
        client(BASE, total_timeout=20.0).get_json("x")
    assert waited == []


def test_the_provider_explains_the_final_response_first(client, host):
    host.get(f"{BASE}/x?token=1", status=503, json={"why": "hunter2-very-secret"})
    seen = []

    def explain(answer):
        seen.append(answer)
        return NotFound("explained")

    with pytest.raises(NotFound, match="explained"):
        client(BASE, retries=2).explaining(explain).get_json("x?token=1")
    (answer,) = seen
    assert (answer.status, answer.method, answer.path) == (503, "GET", "/v1/x")
    assert answer.json == {"why": "hunter2-very-secret"}
    assert "hunter2" not in answer.text


def test_without_a_provider_explanation_the_default_error_is_raised(client, host):
    host.get(f"{BASE}/x", status=404)
    with pytest.raises(NotFound, match="cannot read it"):
        client(BASE).explaining(lambda answer: None).get_json("x")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>login</html>", "text/html"),
        (b'{"values": [1, 2', "application/json"),
        (b"", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"\xff\xfe", "application/json"),
    ],
    ids=["html", "truncated", "empty", "nested", "bytes"],
)
def test_invalid_json_is_unexpected_and_not_retried(client, host, body, kind):
    host.get(f"{BASE}/x", body=body, content_type=kind)
    with pytest.raises(UnexpectedAnswer, match=f"not valid JSON \\({kind}"):
        client(BASE).get_json("x")
    assert len(host.calls) == 1
    host.get("https://api.right.example/x", json=[])
    assert client("https://api.right.example").get_json("x") == []


def test_a_response_without_content_is_none(client, host):
    host.delete(f"{BASE}/x", status=204)
    assert client(BASE).send_json("DELETE", "x") is None


@pytest.mark.parametrize(
    "base", ["http://api.host.example", "http://10.0.0.1", "http://localhost.example"]
)
def test_credentials_are_not_sent_unencrypted(client, base):
    with pytest.raises(ConfigurationError, match="unencrypted"):
        client(base)


@pytest.mark.parametrize(
    "base", ["", "host.example", "ftp://host.example", "https://", "https://a:b@host.example"]
)
def test_an_invalid_address_is_rejected(client, base):
    with pytest.raises(ConfigurationError, match="The API address") as caught:
        client(base)
    assert "a:b" not in str(caught.value)
    assert client("https://host.example")


def test_logs_contain_the_path_but_no_query(client, host, caplog, secret):
    caplog.set_level(logging.DEBUG)
    host.get(f"{BASE}/x", json=1)
    client(BASE).get_json("x", params={"q": "private"})
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("deploycore")]
    assert len(ours) == 1
    assert ours[0].startswith("GET /v1/x: 200, ")
    assert secret not in caplog.text


def test_a_secret_in_the_path_is_masked_in_logs(client, host, caplog, secret):
    caplog.set_level(logging.DEBUG)
    host.get(f"{BASE}/tokens/{secret}", json=1)
    client(BASE).get_json(f"tokens/{secret}")
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("deploycore")]
    assert ours[0].startswith(f"GET /v1/tokens/{MASK}: 200, ")
    assert secret not in "".join(ours)


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("soon", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry_after({"Retry-After": value}, NOW) == seconds


@given(st.text())
def test_retry_after_accepts_any_text(value):
    seconds = retry_after({"Retry-After": value}, NOW)
    assert seconds is None or seconds >= 0


NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "reset", "expected"),
    [
        ({"Retry-After": "60"}, "", NOON + timedelta(seconds=60)),
        ({"Retry-After": "60", "X-Reset": "0"}, "X-Reset", NOON + timedelta(seconds=60)),
        ({"X-Reset": str(int(NOON.timestamp()))}, "X-Reset", NOON),
        ({"X-Reset": str(int(NOON.timestamp()))}, "", None),
        ({"X-Reset": "9" * 30}, "X-Reset", None),
        ({"X-Reset": "soon"}, "X-Reset", None),
        ({}, "X-Reset", None),
    ],
)
def test_the_retry_time_is_read_from_either_header(headers, reset, expected):
    assert retry_at(headers, NOON, reset=reset) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Not allowed", " (Not allowed)"),
        ("", ""),
        ("x" * 300, f" ({'x' * 300})"),
        ("x" * 301, ""),
        ("<html>", ""),
        ("two\nlines", ""),
    ],
)
def test_a_message_of_the_host_is_quoted_completely_or_not_at_all(message, expected):
    assert quoted(message) == expected
