"""Secrets in bodies are sent unchanged, and masked in all messages about the request."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from deploycore.errors import DeploycoreError, ProviderError, UnexpectedAnswer
from deploycore.http import HttpClient, HttpSettings
from deploycore.testing.host import LoopbackHost
from deploycore.testing.messages import Answer

SECRET = "webhook-hunter2-secret"
BODY = {"url": "https://deploy.example.com", "config": {"secret": SecretStr(SECRET), "other": [1]}}


class Echo(LoopbackHost):
    """Repeats what it was sent as plain text."""

    status = 200
    sent = b""

    def answer(self, request):
        self.sent = request.body
        return Answer(self.status, {"Content-Type": "text/plain"}, b"you said " + request.body)


@pytest.fixture
def echo():
    with Echo() as running:
        yield running


@pytest.fixture
def client(echo):
    with HttpClient(echo.url, settings=HttpSettings(retries=0)) as made:
        yield made


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("status", [200, 400])
def test_a_secret_is_sent_in_plain_form_and_masked_in_errors(echo, client, method, status):
    echo.status = status
    with pytest.raises(DeploycoreError) as caught:
        client.send_json(method, "hooks", body={"secret": SecretStr(SECRET)})
    assert json.loads(echo.sent) == {"secret": SECRET}
    assert "you said" not in caught.value.message
    assert SECRET[:10] not in f"{caught.value} {caught.value.hint}"


def test_secrets_inside_objects_are_sent(echo, client):
    with pytest.raises(UnexpectedAnswer):
        client.send_json("POST", "hooks", body=BODY)
    assert json.loads(echo.sent)["config"] == {"secret": SECRET, "other": [1]}
    assert BODY["config"]["secret"].get_secret_value() == SECRET


def test_the_code_that_explains_an_error_sees_no_secret(echo, client):
    echo.status = 400
    seen = []

    def explain(answer):
        seen.append(answer.text)
        return ProviderError(answer.text)

    with pytest.raises(DeploycoreError) as caught:
        client.explaining(explain).send_json("POST", "hooks", body=BODY)
    assert "you said" in seen[0]
    assert SECRET not in seen[0] + str(caught.value)


def test_a_body_without_a_secret_is_sent_unchanged(echo, client):
    with pytest.raises(UnexpectedAnswer, match="not valid JSON"):
        client.send_json("POST", "hooks", body=["no", "secret"])
    assert json.loads(echo.sent) == ["no", "secret"]
