"""With any request to a webhook, there is never a response with 500, and never a trigger without a
valid signature."""

from __future__ import annotations

import ast
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

import deploycore
from deploycore import events
from deploycore.events import hmac_sha256_matches
from deploycore.server import access
from tests.server.acme import body_of, push, signed

RELAXED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
REFUSALS = {400, 401, 404, 405, 408, 413, 422}

header_names = st.sampled_from(
    ["X-Acme-Signature", "X-Acme-Delivery", "Content-Type", "Content-Encoding", "X-Other", "Expect"]
)
header_values = st.binary(max_size=80).map(
    lambda value: bytes(byte for byte in value if byte >= 0x20 and byte != 0x7F).strip()
)
names = st.one_of(
    st.just("shop"),
    st.text(
        st.characters(
            exclude_characters="/?#%.", exclude_categories=("Cc", "Cs"), min_codepoint=33
        ),
        min_size=1,
    ),
)
bodies = st.one_of(
    st.binary(max_size=3000),
    st.just(body_of(push())),
    st.integers(min_value=0, max_value=30_000).map(lambda size: b"{" * size),
    st.recursive(st.none() | st.booleans() | st.text(), lambda each: st.lists(each)).map(
        lambda value: json.dumps(value).encode()
    ),
)


@pytest.fixture
def small(serving, secret):
    return serving(body_bytes_most=20_000)


@RELAXED
@given(name=names, body=bodies, headers=st.lists(st.tuples(header_names, header_values)))
def test_unsigned_requests_create_no_trigger(small, installation, name, body, headers):
    given_headers = [(each.encode(), value) for each, value in headers]
    answer = small.post(f"/webhooks/{name}", content=body, headers=given_headers)
    assert answer.status_code in REFUSALS
    assert answer.json()["code"]
    assert installation.store.triggers.counts().due == 0


@RELAXED
@given(
    body=st.just(body_of(push())),
    place=st.integers(min_value=0),
    change=st.integers(min_value=1, max_value=255),
)
def test_a_signed_body_with_one_byte_changed_is_refused(
    small, installation, secret, body, place, change
):
    changed = bytearray(body)
    changed[place % len(body)] ^= change
    answer = small.post("/webhooks/shop", content=bytes(changed), headers=signed(body, secret))
    assert answer.status_code == 401
    assert installation.store.triggers.counts().due == 0


@RELAXED
@given(body=bodies)
def test_signed_requests_are_answered_and_only_pushes_create_triggers(
    small, installation, secret, body
):
    answer = small.post("/webhooks/shop", content=body, headers=signed(body, secret))
    is_push = body == body_of(push())
    assert answer.status_code in ({200, 202} if is_push else {413, 422})
    assert installation.store.triggers.counts().due <= 1


@pytest.mark.parametrize("right", [None, 0, 1, 2])
def test_all_secrets_are_compared_even_after_a_match(monkeypatch, right):
    compared = []

    original = hmac.compare_digest

    def compare(one, other):
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    secrets = [SecretStr(each) for each in ("one", "two", "three")]
    key = "none" if right is None else secrets[right].get_secret_value()
    signature = hmac.new(key.encode(), b"body", hashlib.sha256).hexdigest()
    assert hmac_sha256_matches(b"body", signature, secrets) == (right is not None)
    assert len(compared) == 3


@pytest.mark.parametrize("module", [events, access], ids=["events", "access"])
def test_secrets_and_digests_are_compared_only_in_constant_time(module):
    """A structural check: no ``==`` between what is given and what is kept, and no early end."""
    tree = ast.parse(Path(module.__file__).read_text())
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    function = functions["hmac_sha256_matches" if module is events else "_find"]
    loops = [node for node in ast.walk(function) if isinstance(node, ast.For)]
    assert len(loops) == 1
    [loop] = loops
    assert not [n for n in ast.walk(loop) if isinstance(n, ast.Break | ast.Return | ast.Continue)]
    called = {ast.unparse(n.func) for n in ast.walk(loop) if isinstance(n, ast.Call)}
    assert "hmac.compare_digest" in called
    equalities = [
        ast.unparse(n)
        for n in ast.walk(loop)
        if isinstance(n, ast.Compare) and any(isinstance(o, ast.Eq | ast.In) for o in n.ops)
    ]
    assert equalities == []


def test_the_server_never_compares_secrets_or_digests_with_equality():
    suspicious = []
    for path in (Path(deploycore.__file__).parent / "server").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and any(isinstance(o, ast.Eq) for o in node.ops):
                text = ast.unparse(node)
                if "digest" in text or "signature" in text:
                    suspicious.append(f"{path.name}: {text}")
    assert suspicious == []
