from __future__ import annotations

from urllib.parse import quote

from deploycore_bitbucket.sandbox import LoggedRequest


def test_requests_are_logged_with_mode_and_name(sandbox, ada, get, git, joined_url):
    sandbox.commit("acme", "shop", "main", {"a": b"1"}, "One")
    token = sandbox.add_api_token(ada)
    get("/repositories/acme", token, pagelen=5)
    git("ls-remote", joined_url(token, "acme/shop"))
    assert sandbox.requests[0] == LoggedRequest(
        method="GET",
        path="/2.0/repositories/acme",
        query="pagelen=5",
        status=200,
        mode="api-token",
        username="ada@example.com",
    )
    last = sandbox.requests[-1]
    assert (last.mode, last.username) == ("api-token", "x-bitbucket-api-token-auth")
    assert [(logged.status, logged.mode) for logged in sandbox.requests[1:]] == [
        (401, None),
        (200, "api-token"),
    ]


def test_no_secret_is_logged_regardless_of_where_it_was_sent(
    sandbox, session, get, credential, capfd
):
    secret = credential.secret.get_secret_value()
    get("/repositories/acme", credential)
    session.get(f"{sandbox.api_url}/repositories/{quote(secret)}?q={quote(secret)}", timeout=10)
    session.get(f"{sandbox.api_url}/user", auth=(secret, "x"), timeout=10)
    session.get(f"{sandbox.git_url}/{secret}/shop.git/info/refs", auth=("x", secret), timeout=10)
    assert len(sandbox.requests) == 4
    logged = repr(sandbox.requests)
    assert secret not in logged
    assert quote(secret) not in logged
    assert secret not in repr(sandbox.connections)
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
