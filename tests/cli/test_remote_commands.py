"""``deploycore --server URL``: what commands ask, and how they read the answers."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
import typer
from pydantic import SecretStr

from deploycore.cli.fields import GivenFields
from deploycore.cli.remote import accounts, webhooks
from deploycore.cli.remote.provider_fields import given_body, read_field_set
from deploycore.cli.remote.records import deployment_of, in_utc
from deploycore.deployment_records import DeploymentRecord
from deploycore.errors import ConfigurationError


class Server:
    """Gives one answer to every request."""

    url = "https://deploy.example.com"

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def ask(self, method, path, **more):
        self.asked.append((method, path, more))
        return self.answer


@pytest.fixture
def answering(monkeypatch):
    def connect(module, answer):
        server = Server(answer)
        monkeypatch.setattr(module, "connected", lambda: nullcontext(server))
        return server

    return connect


def test_a_role_is_changed_at_the_server(answering, capsys):
    server = answering(accounts, {"name": "ada", "role": "read"})
    accounts.change_role("ada", "read")
    ((method, path, more),) = server.asked
    assert (method, path, more["user"]) == ("PATCH", "/users/{user}", "ada")
    assert "ada" in capsys.readouterr().out


def test_a_missing_webhook_is_reported_with_the_command(answering):
    answering(webhooks, {"exists": False})
    with pytest.raises(ConfigurationError, match="'shop' has no webhook") as caught:
        webhooks.show("shop")
    assert "deploycore webhook register shop" in caught.value.hint


def test_commands_are_added_by_their_nouns():
    application = typer.Typer()
    accounts.register(application)
    webhooks.register(application)
    nouns = {each.name: each.typer_instance for each in application.registered_groups}
    commands = {
        name: [command.name for command in noun.registered_commands] for name, noun in nouns.items()
    }
    assert commands["token"] == ["add", "list", "remove"]
    assert commands["webhook"] == ["show", "register", "rotate", "remove"]


def test_a_deployment_of_the_server_has_no_machine():
    unknown = {"cancel_requested", "revision", "unproved", "host", "home"}
    view = {name: None for name in DeploymentRecord.__dataclass_fields__ if name not in unknown}
    record = deployment_of({**view, "id": 7, "requested_at": "2026-11-25T10:00:00+00:00"})
    assert (record.id, record.host, record.started_at) == (7, "", None)
    assert record.requested_at == datetime(2026, 11, 25, 10, tzinfo=UTC)


def test_times_are_printed_in_utc():
    view = {"a": "2026-11-25T12:00:00+02:00", "b": None, "c": 1}
    assert in_utc(view, ("a", "b")) == {"a": "2026-11-25T10:00:00Z", "b": None, "c": 1}


def test_secrets_and_settings_are_sent_apart():
    given = GivenFields({"workspace": "acme"}, {"token": SecretStr("s3cret-value")})
    body = given_body(given, ["user", "password"], secret=["token", "password"])
    assert body["settings"] == {"workspace": "acme", "user": None}
    assert body["secrets"] == {"token": "s3cret-value", "password": None}
    assert body["references"] == {}


def test_a_field_of_one_way_to_sign_in_is_required_for_it_only():
    field = {
        **{"name": "token", "description": "A token", "required": True, "secret": True},
        **{"choices": [], "may_be_plain": False, "default": None, "format": None},
    }
    modes = [
        {"name": "token", "fields": [{**field, "group": "plugin"}]},
        {"name": "key", "fields": [{**field, "name": "url", "group": "core"}]},
    ]
    found = read_field_set(Server({"modes": modes, "discriminator": "auth"}), "acme")
    choice, token = found.own
    assert choice.choices == ("token", "key")
    assert (token.only_for, token.required_for, token.required) == (("token",), ("token",), True)
    (url,) = found.core
    assert not url.required
