"""Deliveries as forms, as a webhook with the content type ``application/x-www-form-urlencoded``.

Gitea and Forgejo sign the JSON, which they call the payload content, and not the form:
https://github.com/go-gitea/gitea/blob/main/services/webhook/deliver.go
"""

from __future__ import annotations

import hashlib
import hmac
import json
from urllib.parse import urlencode

import pytest
from deploycore.errors import UnexpectedAnswer
from deploycore.events import WebhookDelivery
from pydantic import SecretStr

from deploycore_gitea.webhooks import delivered, is_signed

SECRET = SecretStr("It's a Secret to Everybody")
FORM = "application/x-www-form-urlencoded"
PUSH = {
    "ref": "refs/heads/größe&100%",
    "before": "1e65c05c1d5171631d92438a13901ca7dae9618c",
    "after": "709d658dc5b6d6afcd46049c2f332ee3f515a67d",
    "repository": {"id": 7, "full_name": "ada/shop"},
}
CONTENT = json.dumps(PUSH, indent=2).encode()


def signature(content, secret=SECRET):
    return hmac.new(secret.get_secret_value().encode(), content, hashlib.sha256).hexdigest()


def delivery(body, signed, content_type=FORM, *, program="gitea"):
    headers = {f"x-{program}-event": "push", f"x-{program}-signature": signature(signed)}
    return WebhookDelivery({**headers, "content-type": content_type}, body)


@pytest.mark.parametrize("program", ["gitea", "forgejo"])
@pytest.mark.parametrize("content_type", [FORM, "Application/X-WWW-Form-URLEncoded; charset=utf-8"])
def test_a_form_is_signed_by_its_payload_and_equals_the_json_form(program, content_type):
    form = urlencode({"payload": CONTENT}).encode()
    sent = delivery(form, CONTENT, content_type, program=program)
    assert is_signed(sent, (SecretStr("another"), SECRET))
    assert delivered(sent) == delivered(delivery(CONTENT, CONTENT, "application/json"))
    assert not is_signed(sent, (SecretStr("another"),))


@pytest.mark.parametrize(
    ("body", "signed"),
    [
        (urlencode({"payload": CONTENT}).encode(), urlencode({"payload": CONTENT}).encode()),
        (urlencode({"payload": CONTENT + b" "}).encode(), CONTENT),
        (urlencode([("payload", CONTENT), ("payload", b"{}")]).encode(), CONTENT),
        (b"other=1", CONTENT),
        (b"", b"?"),
        (b"payload=%ff", CONTENT),
        (b"\xff\x00", CONTENT),
        (b"&".join([b"a=1"] * 100), CONTENT),
    ],
    ids=range(8),
)
def test_another_form_is_not_signed(body, signed):
    assert not is_signed(delivery(body, signed), (SECRET,))


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x"])
def test_another_content_type_is_rejected_with_the_next_step(content_type):
    with pytest.raises(UnexpectedAnswer, match="must be JSON") as caught:
        delivered(delivery(CONTENT, CONTENT, content_type))
    assert "application/json" in caught.value.hint
