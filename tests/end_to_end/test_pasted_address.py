"""A provider is added by the address of a repository, as a person copies it from a page."""

from __future__ import annotations

import json

import pytest
from deploycore_bitbucket_datacenter.sandbox import BitbucketDataCenterSandbox


@pytest.fixture
def sandbox():
    with BitbucketDataCenterSandbox.demo() as running:
        yield running


@pytest.mark.parametrize(
    "page", ["/scm/web/shop.git", "/projects/WEB/repos/shop/browse"], ids=["clone", "page"]
)
def test_kind_server_and_project_are_derived_from_a_pasted_address(shell, sandbox, page):
    token = sandbox.add_credential("personal-token").secret.get_secret_value()
    address = sandbox.base_url.replace("//", "//ada@") + page
    options = ("--mode", "personal-token", "--token-stdin")
    done = shell.run("provider", "add", "work", address, *options, given=token)
    assert done.returncode == 0, done.stderr
    assert "Recognized the kind bitbucket-datacenter from the URL" in done.stderr
    assert "signed in as ada" in done.stdout
    shown = shell.json("provider", "show", "work")
    assert shown["kind"] == "bitbucket-datacenter"
    assert shown["settings"] == {
        "mode": "personal-token",
        "url": sandbox.base_url,
        "project": "WEB",
    }


def test_a_server_recognizes_a_pasted_address(shell, sandbox, remote, serving):
    token = sandbox.add_credential("personal-token").secret.get_secret_value()
    address = f"{sandbox.base_url}/projects/WEB/repos/shop/browse"
    options = ("--mode", "personal-token", "--token-stdin", "--json")
    line = ("--server", serving, "provider", "add", "work", address, *options)
    done = shell.run(*line, given=token, **remote.away)
    assert done.returncode == 0, done.stderr
    assert "Recognized the kind bitbucket-datacenter from the URL" in done.stderr
    shown = json.loads(done.stdout)
    assert shown == shell.json("provider", "show", "work")
    told = {"mode": "personal-token", "url": sandbox.base_url, "project": "WEB"}
    assert shown["settings"] == told
    add = ("provider", "add", "other")
    of_kind = (address, "--kind", "Bitbucket_DataCenter", "--mode", "personal-token")
    assert "signed in as ada" in remote(*add, *of_kind, "--token-stdin", given=token)
    for line, said in (
        ((address, "--kind", "github"), "was not recognized as one of a provider of kind github."),
        ((address, "--kind", "nothere"), "No plugin for providers of kind 'nothere' is installed"),
        (("https://git.example.com/acme/shop.git",), "No plugin of the server recognizes the URL"),
        (("https://ada:x@git.example.com/acme/shop.git",), "password"),
    ):
        code = 2 if "recognize" in said else 3
        assert said in " ".join(remote(*add, *line, code=code).split())


def test_a_repository_can_be_named_by_its_address(shell, sandbox):
    token = sandbox.add_credential("personal-token").secret.get_secret_value()
    options = ("--kind", "bitbucket-datacenter", "--mode", "personal-token", "--token-stdin")
    url = sandbox.base_url
    shell.succeed("provider", "add", "work", *options, "--url", url, given=token)
    for address in (f"{url}/scm/web/shop.git", f"{url}/projects/WEB/repos/shop/browse"):
        (branch,) = shell.json("branches", "work", address)
        assert branch["name"] == "main"


def test_the_kind_of_an_ambiguous_address_is_not_guessed(shell, sandbox):
    code, said = shell.fail("provider", "add", "work", "https://git.example.com/acme/shop.git")
    assert code == 2
    assert "No installed plugin recognizes the URL" in said
    assert "--kind KIND" in said
