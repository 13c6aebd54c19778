"""Variables over REST: secrets are written, and never read."""

from __future__ import annotations

import pytest

PATH = "/api/v1/applications/shop/environment"
SECRET = "hunter2-of-the-environment"


@pytest.fixture
def admin(token):
    return token("admin")


@pytest.fixture
def put(client, admin):
    header = admin
    return lambda name, **body: client.put(f"{PATH}/{name}", json=body, headers=header)


@pytest.fixture
def listed(client, token):
    header = token("read")

    def read():
        answer = client.get(PATH, headers=header)
        assert SECRET not in answer.text
        return {each["name"]: each for each in answer.json()["items"]}

    return read


def test_variables_of_each_kind_are_set_changed_and_removed(
    client, admin, put, listed, installation
):
    assert put("MODE", value="slow").status_code == 201
    assert put("MODE", value="quick").status_code == 200
    assert put("KEY", source="file:/run/key").status_code == 201
    answer = put("TOKEN", secret=SECRET)
    assert (answer.status_code, SECRET in answer.text) == (201, False)
    found = listed()
    assert (found["MODE"]["value"], found["MODE"]["secret"]) == ("quick", None)
    assert (found["KEY"]["secret"], found["KEY"]["is_set"]) == ("file:/run/key", None)
    assert (found["TOKEN"]["secret"], found["TOKEN"]["is_set"]) == ("stored", True)
    record = installation.store.get_application("shop")
    assert installation.secrets.reveal(record.secrets["TOKEN"]).get_secret_value() == SECRET
    assert client.delete(f"{PATH}/TOKEN", headers=admin).status_code == 204
    assert client.delete(f"{PATH}/TOKEN", headers=admin).status_code == 404
    assert sorted(listed()) == ["KEY", "MODE"]
    assert installation.store.get_application("shop").secrets == {}


def test_a_secret_that_becomes_a_plain_value_is_erased(put, listed, installation):
    put("TOKEN", secret=SECRET)
    put("TOKEN", value="public")
    assert listed()["TOKEN"]["value"] == "public"
    assert installation.store.get_application("shop").secrets == {}


def test_stored_and_declared_variables_are_distinguished(listed, installation, create):
    from pydantic import SecretStr

    installation.keep_application_secret("shop", "LEFT", SecretStr(SECRET))
    record = installation.store.get_application("shop").definition
    source = {"NEEDED": {"secret": "stored"}}
    from deploycore.applications.application import parse_application

    installation.apply([parse_application({**record.as_dict(), "environment": source})])
    found = listed()
    assert (found["LEFT"]["declared"], found["LEFT"]["is_set"]) == (False, True)
    assert (found["NEEDED"]["declared"], found["NEEDED"]["is_set"]) == (True, False)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("TOKEN", {}),
        ("TOKEN", {"secret": SECRET, "value": SECRET}),
        ("TOKEN", {"secret": ""}),
        ("TOKEN", {"source": SECRET}),
        ("TOKEN", {"source": "stored"}),
        ("TOKEN", {"secret": [SECRET]}),
        ("TOKEN", {SECRET: SECRET[:5]}),
        ("1TOKEN", {"secret": SECRET}),
        ("TOKEN", {"value": f"{SECRET}\0"}),
    ],
)
def test_an_invalid_variable_is_rejected_without_showing_its_value(put, installation, name, body):
    answer = put(name, **body)
    assert answer.status_code == 422
    is_name = SECRET in body
    assert is_name or SECRET not in answer.text
    record = installation.store.get_application("shop")
    assert (dict(record.definition.environment), record.secrets) == ({}, {})


def test_only_administrators_change_variables(client, token):
    for header in [token(role) for role in ("read", "deploy")]:
        assert client.get(PATH, headers=header).status_code == 200
        sent = client.put(f"{PATH}/A", json={"value": "x"}, headers=header)
        assert sent.status_code == 403
        assert client.delete(f"{PATH}/A", headers=header).status_code == 403
    assert client.get("/api/v1/applications/no/environment", headers=header).status_code == 404
