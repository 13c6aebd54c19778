"""Recorded answers: they are kept without secrets, and the kit passes with them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import requests
from pydantic import SecretStr

from deploycore.testing.faults import Fault, answer
from deploycore.testing.host import LoopbackHost
from deploycore.testing.messages import json_answer
from deploycore.testing.recorded import RecordedHost
from deploycore.testing.recording import Recorder
from deploycore.testing.sandbox import Credential
from deploycore.testing.scenarios import EMPTY, ONE, SCENARIOS, Access, NotArranged
from tests.testing.kit import environment, install_template, is_optional, run_kit

RECORD = """
import sys
from pathlib import Path

from deploycore_acme.sandbox import AcmeSandbox
from deploycore.testing.recording import record, record_refusal
from deploycore.testing.scenarios import SCENARIOS, Access

directory = Path(sys.argv[1])
with AcmeSandbox() as acme:
    for scenario in SCENARIOS:
        acme.arrange(scenario)
        settings = acme.connect("token", Access.FULL).settings
        record("acme", settings, scenario, directory, owner=acme.OWNER)
    for access in (Access.WRONG, Access.EXPIRED, Access.UNSCOPED):
        settings = acme.connect("token", access).settings
        record_refusal("acme", settings, access, directory)
    print(acme.url)
    print(*(secret.get_secret_value() for secret in acme.secrets))
"""

CONTRACT = """
from pathlib import Path

from deploycore.testing.recorded import RecordedHost
from deploycore_acme.contract import AcmeContract
from deploycore_acme.sandbox import AcmeSandbox


class AcmeRecorded(RecordedHost, AcmeSandbox):
    DIRECTORY = Path({directory!r})


class TestAcme(AcmeContract):
    sandbox = AcmeRecorded
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Where all scenarios were recorded from the template's sandbox; its address and secrets."""
    at = tmp_path_factory.mktemp("recorded")
    site = install_template(at)
    script = at / "record.py"
    script.write_text(RECORD)
    done = subprocess.run(
        [sys.executable, str(script), str(at / "files")],
        env=environment(site),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    url, secrets = done.stdout.splitlines()
    return at, site, url, secrets.split()


@pytest.mark.timeout(600)
def test_the_whole_kit_passes_with_recorded_answers(recorded, tmp_path):
    at, site, _, _ = recorded
    outcomes = run_kit(tmp_path, site, module=CONTRACT.format(directory=str(at / "files")))
    wrong = {
        name: run.text
        for name, runs in outcomes.items()
        for run in runs
        if run.result != "passed" and not is_optional(name, run)
    }
    assert wrong == {}


def test_each_scenario_has_a_file_without_any_secret(recorded):
    at, _, _, secrets = recorded
    files = {path.stem: path.read_text() for path in (at / "files").iterdir()}
    assert set(files) == {scenario.name for scenario in SCENARIOS} | {"refusals"}
    assert len(secrets) == len(SCENARIOS) + 3
    for text in files.values():
        assert not any(secret in text for secret in secrets)
        assert "authorization" not in text.lower()


def test_a_recording_says_where_it_is_from_and_what_was_there(recorded):
    at, _, url, _ = recorded
    found = json.loads((at / "files" / "one.json").read_text())
    assert found["recorded_from"] == [url]
    assert found["owner"] == "ada"
    (shop,) = found["repositories"]
    assert shop["name"] == "The Shop – größer"
    assert shop["default_branch"] == "trunk"
    assert len(shop["branches"]["trunk"]) == 40
    assert ("GET", "/api/v1/user", 200) in [
        (each["method"], each["target"], each["status"]) for each in found["exchanges"]
    ]


class Played(RecordedHost):
    """Recorded answers of a host that has no sandbox."""

    def settings(self, credential):
        return {"url": self.url, "token": credential.secret}


@pytest.fixture
def play(tmp_path):
    """Makes a host that plays these files."""
    hosts = []

    def make(**files):
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(
                content if isinstance(content, str) else json.dumps(content)
            )
        made = type("Made", (Played,), {"DIRECTORY": tmp_path})().start()
        hosts.append(made)
        return made

    yield make
    for host in hosts:
        host.stop()


HASH = "4f1d" * 10
RECORDED = {
    "recorded_from": ["https://acme.example", "https://api.acme.example"],
    "owner": "ada",
    "repositories": [
        {"slug": "shop", "private": True, "default_branch": "main", "branches": {"main": HASH}}
    ],
    "exchanges": [
        {
            "method": "GET",
            "target": "/shop?b=2&a=1",
            "status": 200,
            "headers": {
                "Content-Type": "application/json",
                "Link": '<https://api.acme.example/shop?page=2>; rel="next"',
            },
            "body": {"commit": HASH, "page": "https://acme.example/ada/shop", "name": "größe"},
        }
    ],
}


@pytest.fixture
def ask(signed):
    """Asks a host as somebody with these rights."""

    def asked(host, path, access=Access.FULL):
        return signed(f"{host.url}{path}", host.add_credential("token", access))

    return asked


@pytest.fixture
def signed():
    def get(url, credential):
        secret = credential.secret.get_secret_value()
        return requests.get(url, headers={"Authorization": f"Bearer {secret}"}, timeout=10)

    return get


def test_origins_and_hashes_are_those_of_the_playing_host(play, ask):
    host = play(one=RECORDED)
    (shop,) = host.arrange(ONE)
    found = ask(host, "/shop?a=1&b=2")
    assert found.headers["Link"] == f'<{host.url}/shop?page=2>; rel="next"'
    assert found.json() == {
        "commit": shop.branches["main"],
        "page": f"{host.url}/ada/shop",
        "name": "größe",
    }
    assert shop.branches["main"] != HASH


def test_what_was_not_recorded_is_said_with_the_file_to_record(play, ask):
    host = play(one=RECORDED)
    host.arrange(ONE)
    found = ask(host, "/shop?page=7")
    assert found.status_code == 501
    assert "GET /shop?page=7 is not among the exchanges of" in found.text
    assert "one.json" in found.text


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, r"there is no file .*one\.json: record it"),
        ({"one": "{"}, r"one\.json is not a recording"),
        ({"one": {"owner": "ada"}}, "recorded_from: it is missing"),
        ({"one": {**RECORDED, "owner": "grace"}}, "set OWNER = 'grace'"),
    ],
)
def test_a_scenario_that_can_not_be_played_is_not_arranged(play, files, said):
    with pytest.raises(NotArranged, match=said):
        play(**files).arrange(ONE)


def test_refused_credentials_get_the_recorded_refusal(play, ask):
    refusals = {
        "recorded_from": ["https://acme.example"],
        "expired": {
            "status": 401,
            "headers": {"Content-Type": "text/plain"},
            "body": "see https://acme.example/tokens",
        },
    }
    host = play(one=RECORDED, refusals=refusals)
    host.arrange(ONE)
    found = ask(host, "/shop?a=1&b=2", Access.EXPIRED)
    assert (found.status_code, found.text) == (401, f"see {host.url}/tokens")
    with pytest.raises(NotArranged, match="nothing under 'unscoped'"):
        host.connect("token", Access.UNSCOPED)


def test_credentials_of_which_no_refusal_was_recorded_are_not_arranged(play):
    with pytest.raises(NotArranged, match=r"no file .*refusals\.json"):
        play(empty={**RECORDED, "repositories": []}).connect("token", Access.WRONG)


def test_a_played_host_takes_faults(play, ask):
    host = play(one=RECORDED)
    host.arrange(ONE)
    host.faults.add(Fault(answer(418)))
    assert ask(host, "/shop?a=1&b=2").status_code == 418


def test_a_scenario_takes_the_place_of_the_one_before(play, ask):
    empty = {**RECORDED, "repositories": [], "exchanges": []}
    host = play(one=RECORDED, empty=empty)
    host.arrange(ONE)
    assert host.arrange(EMPTY) == ()
    assert ask(host, "/shop?a=1&b=2").status_code == 501


def test_a_recorder_hands_on_the_token_whatever_netrc_says(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password made-up-other-2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    routes = {"GET /echo": lambda request: json_answer({"sent": dict(request.headers)})}
    with (
        LoopbackHost(routes=routes) as host,
        Recorder(host.url, ()) as recorder,
        requests.Session() as client,
    ):
        client.trust_env = False
        headers = {"Authorization": "Bearer made-up-token-1"}
        answered = client.get(f"{recorder.url}/echo", headers=headers, timeout=10)
    assert answered.json()["sent"]["authorization"] == "Bearer made-up-token-1"


def test_a_recorder_keeps_no_secret_in_whatever_form_it_comes_back(signed):
    routes = {
        "GET /echo": lambda request: json_answer(
            {"sent": dict(request.headers), "origin": request.origin}
        )
    }
    with LoopbackHost(routes=routes) as host, Recorder(host.url, ()) as recorder:
        made_up = SecretStr("made-up-token-1")
        credential = Credential("token", Access.FULL, "ada", made_up, frozenset())
        answered = signed(f"{recorder.url}/echo", credential)
        assert answered.json()["origin"] == recorder.url
        (kept,) = recorder.exchanges
        assert kept.body["origin"] == host.url
    assert "made-up-token-1" not in kept.model_dump_json()
    assert kept.body["sent"]["authorization"] == "********"
