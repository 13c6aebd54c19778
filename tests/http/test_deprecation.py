"""Endpoints that a host reports as deprecated are logged once a day, and shown by ``doctor``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import responses

from deploycore.http import HttpClient
from deploycore.http.deprecation import Deprecations, deprecation_of

URL = "https://api.example.com/v1/user"
JULY = datetime(2023, 7, 1, tzinfo=UTC) - timedelta(seconds=1)
DATE = "Fri, 30 Jun 2023 23:59:59 GMT"
LINK = '<https://docs.example.com/deprecated>; rel="deprecation"; type="text/html"'


def found_in(**headers):
    named = {name.capitalize(): value for name, value in headers.items()}
    return deprecation_of("GET /v1/user on api.example.com", named, URL)


@pytest.mark.parametrize(
    ("value", "since"),
    [
        ("@1688169599", JULY),
        ("@1688169599;x=1", JULY),
        (DATE, JULY),
        ("true", None),
        ("?1", None),
        ("@999999999999", None),
    ],
)
def test_a_deprecation_header_is_read_as_in_the_standard_and_its_drafts(value, since):
    assert found_in(deprecation=value).since == since


LATE = "Fri, 31 Dec 9999 23:59:59 -2300"  # in UTC the year after the last one


@pytest.mark.parametrize(
    "value", ["", "false", "?0", "soon", "@", "@x", "1688169599", "\x00", LATE]
)
def test_invalid_deprecation_headers_are_ignored(value):
    assert found_in(deprecation=value, sunset=value, link=value) is None


def test_the_sunset_date_and_its_documentation_link_are_reported():
    said = found_in(deprecation="@1688169599", sunset="Sun, 30 Jun 2024 23:59:59 GMT", link=LINK)
    assert str(said) == (
        "The host says that GET /v1/user on api.example.com is deprecated since 2023-06-30. It "
        "stops working on 2024-06-30. See https://docs.example.com/deprecated"
    )
    assert found_in(sunset=DATE).sunset == JULY
    assert found_in(link=LINK).link == "https://docs.example.com/deprecated"
    assert found_in(link='</next>; rel="next"') is None
    assert found_in(link='<javascript:alert(1)>; rel="deprecation"') is None


def test_each_endpoint_is_logged_once_a_day_however_often_a_provider_is_opened(caplog):
    now = [datetime(2026, 11, 29, tzinfo=UTC)]
    headers = {"Deprecation": "true"}

    def ask(path, *, subject="provider once-a-day"):
        opened = Deprecations(subject, str, now=lambda: now[0])
        opened.note("GET", f"https://api.example.com/{path}", headers)
        assert len(opened.met) == 1

    for path in ("user", "user", "repos", "user?page=2"):
        ask(path)
    assert [each.args[0] for each in caplog.records] == ["provider once-a-day"] * 2
    ask("user", subject="provider another")
    assert len(caplog.records) == 3
    now[0] += timedelta(hours=23)
    ask("user")
    assert len(caplog.records) == 3
    now[0] += timedelta(hours=2)
    ask("user")
    assert len(caplog.records) == 4


@responses.activate
def test_the_client_detects_a_deprecation_for_any_status(caplog):
    responses.get(URL, json={}, headers={"Deprecation": "@1688169599", "Link": LINK})
    responses.get(f"{URL}/gone", json={}, status=404, headers={"Sunset": DATE})
    with HttpClient("https://api.example.com/v1", subject="provider noticing") as http:
        http.explaining(lambda _: None).get_json("user")
        with pytest.raises(Exception, match="was not found"):
            http.get_json("user/gone")
        first, second = http.deprecations
    assert (first.since, second.sunset) == (JULY, JULY)
    assert "provider noticing: The host says that GET /v1/user on" in caplog.text
