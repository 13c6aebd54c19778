"""No page and no response of the API contains a secret of the installation, or unescaped markup.

One installation has a secret in every place that can have one, and markup in every place that
others can write. Each page and each reading operation is requested as an administrator.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from pydantic import SecretStr

from deploycore.server.accounts.openid_settings import OpenIdSettings
from deploycore.server.dashboard.table import PAGES
from deploycore.server.rest.table import OPERATIONS
from deploycore.store.token_digests import digest_of, new_token
from tests.distributions import GOOD_PROVIDER
from tests.server.acme import body_of, push, signed
from tests.server.dashboard.conftest import Browser
from tests.server.dashboard.hostile_pages import HOSTILE, faults_of

SAMPLES = {
    "application": "shop",
    "deployment": "1",
    "kind": "evil",
    "name": "DATABASE_URL",
    "provider": "evil",
    "token": "ci",
    "user": "eve",
    "link": "none",
}
LEFT_OUT = ("/sign-in/issuer/answer", "/callback", "/doctor")
"""What ends a sign-in, and what is slow and tested by itself."""

MARKUP = " ".join(HOSTILE)


def canary(name):
    return f"canary-of-{name}-7Qx"


@pytest.fixture
def canaries(installation, secret, install_distribution, deployed):
    """Puts a secret and what others write into every place; gives the secrets."""
    describing = f'token: SecretStr = Field(description="""{MARKUP}""")'
    source = GOOD_PROVIDER.replace("token: SecretStr", describing)
    source = source.replace("from pydantic import", "from pydantic import Field,")
    source = source.replace('username="ada"', f"username={MARKUP!r}")
    install_distribution("deploycore-evil", "evil", source)
    install_distribution("deploycore-worse", "worse", f"raise RuntimeError({MARKUP!r})")
    found = [canary("provider"), canary("proxy"), canary("variable"), canary("former")]
    secrets = {
        "token": SecretStr(canary("provider")),
        "proxy": SecretStr(f"http://ada:{canary('proxy')}@proxy.example:3128"),
    }
    installation.add_provider("evil", "evil", {}, {**secrets, "token": SecretStr(found[3])})
    change = installation.provider_changes.plan(
        "evil", {}, {"token": SecretStr(canary("provider"))}
    )
    installation.provider_changes.store(change, keep_former=timedelta(hours=1))
    found.append(secret)
    store, token = installation.store, new_token()
    store.tokens.add("ci", digest=digest_of(token), role="read", expires_at=None)
    store.users.add("eve", role="read", password=canary("hash"))
    store.sessions.add("eve", digest="e" * 64, browser=MARKUP[:200], address="192.0.2.1")
    link, _ = store.sign_in_links.create("eve")
    found += [link.get_secret_value(), token.get_secret_value(), digest_of(token), "e" * 64]
    found += [canary("hash"), canary("oidc"), digest_of(link)]
    deployed("failed", *HOSTILE, hint=MARKUP, subject=MARKUP, author=MARKUP, error=MARKUP)
    return found


@pytest.fixture
def admin(canaries, serving, sign_in_as, token):
    openid = OpenIdSettings(
        issuer="http://127.0.0.1:9",
        client_id="deploycore",
        client_secret=SecretStr(canary("oidc")),
        label=MARKUP,
        default_role="read",
    )
    client = serving(openid=openid)
    variable = "/api/v1/applications/shop/environment/DATABASE_URL"
    given = {"secret": canary("variable")}
    assert client.put(variable, json=given, headers=token("admin")).status_code == 201
    return sign_in_as(client, "admin", "admin")


def addresses():
    for route in (*PAGES, *OPERATIONS):
        if route.method == "GET" and route.path not in LEFT_OUT:
            yield re.sub(r"{(\w+)}", lambda found: SAMPLES.get(found[1], "none"), route.path)


def test_no_response_contains_a_secret_or_unescaped_foreign_text(admin, canaries):
    body = body_of(push(actor=MARKUP))
    secret = canaries[4]
    admin.client.post("/webhooks/shop", content=body, headers=signed(body, secret))
    admin.client.post("/webhooks/shop", content=body, headers=signed(body, "wrong"))
    shown, leaks, faults, refused = "", [], [], []
    own = set(admin.client.cookies.values())
    for path in addresses():
        answer = admin.get(path)
        text = answer.text + str(answer.headers)
        leaks += [(path, each) for each in [*canaries, *own] if each in text]
        if answer.headers.get("content-type", "").startswith("text/html"):
            faults += [(path, each) for each in faults_of(answer.text)]
            shown += answer.text
            refused += [(path, answer.status_code)] * (answer.status_code != 200)
    assert leaks == []
    assert refused == [("/sign-in/link/none", 403)]
    assert faults == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown


def test_pages_without_a_signed_in_user_contain_no_secret(serving, admin, canaries):
    stranger = Browser(serving())
    for page in PAGES:
        if page.role is None and page.method == "GET":
            path = re.sub(r"{\w+}", "none", page.path)
            answer = stranger.get(path, params={"next": MARKUP, "error": MARKUP, "state": MARKUP})
            assert faults_of(answer.text) == [], path
            assert not any(each in answer.text for each in canaries)
