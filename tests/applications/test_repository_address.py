"""Pasted addresses of repositories are parsed, or rejected with an error without their secrets."""

from __future__ import annotations

import pytest

from deploycore.applications.repository_address import read_repository
from deploycore.errors import ConfigurationError

HOST = ("https://git.acme.example", "https://api.git.acme.example/2.0")
BELOW = ("https://acme.example/git", "https://acme.example/git/api/v1")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("acme/shop", "acme/shop"),
        (" acme/shop/ ", "acme/shop"),
        ("/acme/shop", "acme/shop"),
        ("acme/shop.git", "acme/shop"),
        ("acme/group/shop.git", "acme/group/shop"),
        ("my.group/sub/shop", "my.group/sub/shop"),
        ("https://git.acme.example/acme/shop", "acme/shop"),
        ("HTTPS://Git.Acme.Example/acme/shop/", "acme/shop"),
        ("http://git.acme.example/acme/shop.git", "acme/shop"),
        ("https://ada@git.acme.example/acme/shop.git", "acme/shop"),
        ("https://git.acme.example:443/acme/group/sub/shop.git/", "acme/group/sub/shop"),
        ("https://git.acme.example/acme/shop?tab=readme#readme", "acme/shop"),
        ("https://git.acme.example/acme/shop/src/main", "acme/shop"),
        ("https://git.acme.example/acme/shop/src/main/README.md", "acme/shop"),
        ("https://git.acme.example/acme/shop/src", "acme/shop"),
        ("https://git.acme.example/acme/shop/tree/main", "acme/shop"),
        ("https://git.acme.example/acme/shop/tree/feature/x", "acme/shop"),
        ("https://git.acme.example/acme/shop/src/branch/main", "acme/shop"),
        ("https://git.acme.example/acme/shop/branch/main", "acme/shop"),
        ("https://git.acme.example/acme/group/shop/-/tree/main", "acme/group/shop"),
        ("https://git.acme.example/acme/shop/pull-requests/7", "acme/shop"),
        ("https://git.acme.example/acme/shop/commits/1a2b", "acme/shop"),
        ("https://git.acme.example/acme/shop.git/info/refs", "acme/shop"),
        ("https://www.git.acme.example/acme/shop", "acme/shop"),
        ("https://git.acme.example/acme/my%2Eshop", "acme/my.shop"),
        ("git.acme.example/acme/shop", "acme/shop"),
        ("git.acme.example/acme/group/shop.git", "acme/group/shop"),
        ("git@git.acme.example:acme/shop.git", "acme/shop"),
        ("git@git.acme.example:acme/group/shop", "acme/group/shop"),
        ("git.acme.example:acme/shop.git", "acme/shop"),
        ("git@git.acme.example:/acme/shop.git", "acme/shop"),
        ("ssh://git@git.acme.example/acme/shop.git", "acme/shop"),
        ("ssh://git@ssh.git.acme.example:443/acme/shop.git", "acme/shop"),
        ("git+ssh://git@git.acme.example/acme/shop.git", "acme/shop"),
        ("git://git.acme.example/acme/shop.git", "acme/shop"),
        ("git clone git@git.acme.example:acme/shop.git", "acme/shop"),
        ("git clone --depth=1 https://git.acme.example/acme/shop.git", "acme/shop"),
        ("<https://git.acme.example/acme/shop>", "acme/shop"),
        ("`acme/shop`", "acme/shop"),
        ("“acme/shop”", "acme/shop"),
        ("\ufeffacme/shop\u200b", "acme/shop"),
        ("(https://git.acme.example/acme/shop),", "acme/shop"),
        ("[the shop](https://git.acme.example/acme/shop)", "acme/shop"),
        ("git+https://git.acme.example/acme/shop.git", "acme/shop"),
        ("git+https://git.acme.example/acme/shop.git@v1#egg=shop", "acme/shop"),
        ("git+ssh://git@git.acme.example/acme/shop.git@main", "acme/shop"),
        ("https:/git.acme.example/acme/shop", "acme/shop"),
        ("https://git.acme.example./acme/shop", "acme/shop"),
        ("https://git.acme.example/acme/shop%20", "acme/shop"),
        ("https://git.acme.example/acme/shop/overview", "acme/shop"),
        ("git clone -b main https://git.acme.example/acme/shop.git", "acme/shop"),
        ("git clone https://git.acme.example/acme/shop.git somewhere", "acme/shop"),
        ("git remote add origin git@git.acme.example:acme/shop.git", "acme/shop"),
        ("origin\tgit@git.acme.example:acme/shop.git (fetch)", "acme/shop"),
        ("url = https://git.acme.example/acme/shop.git", "acme/shop"),
        ("gh repo clone acme/shop", "acme/shop"),
    ],
)
def test_pasted_addresses_are_understood(text, wanted):
    assert str(read_repository(text, lambda: HOST)) == wanted


def test_a_host_below_a_url_path_is_supported():
    for text in (
        "https://acme.example/git/ada/shop",
        "https://acme.example/git/ada/shop.git",
        "https://acme.example/git/ada/shop/src/branch/main",
        "ssh://git@acme.example/ada/shop.git",
    ):
        assert str(read_repository(text, lambda: BELOW)) == "ada/shop"


def test_a_plain_name_does_not_open_a_provider():
    def refuse():
        raise AssertionError

    assert str(read_repository("acme/group/shop", refuse)) == "acme/group/shop"


@pytest.mark.parametrize(
    "text",
    [
        "https://elsewhere.example/acme/shop",
        "https://ada:made-up-secret@elsewhere.example/acme/shop.git",
        "git@elsewhere.example:acme/shop.git",
        "ssh://git@elsewhere.example/acme/shop.git",
        "https://notgit.acme.example.evil.example/acme/shop",
        "https://10.0.0.1/acme/shop",
    ],
)
def test_an_address_of_another_host_is_rejected_by_name(text):
    with pytest.raises(ConfigurationError, match="the provider is for") as caught:
        read_repository(text, lambda: HOST)
    assert "git.acme.example" in caught.value.message
    assert "OWNER/REPOSITORY" in caught.value.hint
    assert "made-up-secret" not in f"{caught.value} {caught.value.hint}"
    host = f"https://{caught.value.details['host']}"
    assert str(read_repository(text, lambda: (host,))) == "acme/shop"  # of another provider
    assert str(read_repository("acme/shop", lambda: HOST)) == "acme/shop"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "shop",
        "shop.git",
        "acme/.git",
        "acme//shop",
        "acme/../shop",
        "acme/my shop",
        "https://git.acme.example",
        "https://git.acme.example/",
        "https://git.acme.example/acme",
        "git@git.acme.example:shop.git",
        "https://[",
        "ada:made-up-secret@git.acme.example/acme/shop",
        "file:///srv/git/acme/shop.git",
        "ftp://ada:made-up-secret@git.acme.example/acme/shop",
        "git clone https://ada:made-up-secret with-space@git.acme.example/acme",
        "acme/shop#main",
        "acme/shop@main",
    ],
)
def test_an_invalid_repository_is_rejected_with_an_example(text):
    with pytest.raises(ConfigurationError) as caught:
        read_repository(text, lambda: HOST)
    assert "OWNER/REPOSITORY" in caught.value.hint
    assert "made-up-secret" not in f"{caught.value} {caught.value.hint}"
    for right in ("acme/shop", "https://git.acme.example/acme/shop"):
        assert str(read_repository(right, lambda: HOST)) == "acme/shop"
