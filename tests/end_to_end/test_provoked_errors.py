"""Mistakes of a new user at the command line: the message names the mistake, and the hint helps."""

from __future__ import annotations

import socket

import pytest
import yaml

from tests.distributions import GOOD_PROVIDER, write_distribution

NAMED = ["--provider", "work", "--repository", "ada/engine", "--branch", "main", "--offline"]


@pytest.fixture
def acme(shell, monkeypatch):
    """A provider whose plugin has neither webhooks nor a host."""
    site = shell.directory / "site"
    monkeypatch.setenv("PYTHONPATH", str(site))
    write_distribution(site, "deploycore-acme", "acme", GOOD_PROVIDER, version="0.1")
    add = ["provider", "add", "work", "--kind", "acme", "--token-stdin"]
    shell.succeed(*add, given=f"{shell.made_up}\n")
    return "work"


@pytest.fixture
def engine(shell, acme):
    shell.succeed("app", "create", "engine", *NAMED, "--target", "live")
    return "engine"


def test_deploying_all_without_applications_is_an_error(shell):
    code, said = shell.fail("deploy", "--all")
    assert (code, "There are no applications." in said) == (3, True)
    assert "--target" in shell.succeed("app", "create", "--help")


def test_a_variable_without_a_value_is_not_echoed(shell, acme):
    create = ["app", "create", "engine", *NAMED, "--target", "live", "--env"]
    code, said = shell.fail(*create, shell.made_up)
    assert (code, "does not have the form NAME=VALUE" in said) == (3, True)
    assert shell.made_up not in said
    shell.succeed(*create, "RAILS_ENV=production")


def test_an_unusable_pattern_is_rejected_before_it_is_stored(shell, acme):
    create = ["app", "create", "engine", *NAMED, "--target", "live", "--watch"]
    code, said = shell.fail(*create, "[")
    assert (code, "'[' is not a valid .gitignore pattern" in said) == (3, True)
    shell.succeed(*create, "\\[")
    for given, problem in (("./src", "matches no path"), ("!docs/", "only excludes paths")):
        code, said = shell.fail("app", "edit", "engine", "--offline", "--watch", given)
        assert (code, problem in said) == (3, True)
    shell.succeed("app", "edit", "engine", "--offline", "--watch", "**", "--watch", "!docs/")


def test_an_application_without_deployments_suggests_the_first_one(shell, engine):
    code, said = shell.fail("show", "engine")
    assert (code, "engine has no deployments yet." in said) == (3, True)
    assert "deploycore deploy engine" in said


def test_each_webhook_command_suggests_the_next_step(shell, engine):
    code, said = shell.fail("webhook", "rotate", "engine")
    assert (code, "'engine' has no webhook" in said) == (3, True)
    register = ["webhook", "register", "engine"]
    assert " ".join(register) in said
    code, said = shell.fail(*register)
    assert (code, "public address is not set" in said, "--url https://" in said) == (3, True, True)
    code, said = shell.fail(*register, "--url", "ftp://deploy.example.com")
    assert (code, "is not a valid address of a server" in said) == (3, True)
    url = ["--url", "https://deploy.example.com"]
    code, said = shell.fail(*register, *url)
    assert (code, "cannot set up a webhook" in said) == (3, True)
    assert "deploycore webhook register engine --by-hand --reveal-secret" in " ".join(said.split())
    shell.succeed(*register, *url, "--by-hand", "--reveal-secret")
    code, said = shell.fail("webhook", "rotate", "engine", "--grace", "soon")
    assert (code, "'soon' is not a duration" in said) == (3, True)
    assert "--grace 90d, 12h, 30m or 45s" in said
    shell.succeed("webhook", "rotate", "engine", "--grace", "12h")


def test_a_token_requires_a_unique_name(shell):
    code, said = shell.fail("token", "add", "my token", "--role", "read")
    assert (code, "'my token' is not a valid name for a token" in said) == (3, True)
    shell.succeed("token", "add", "my-token", "--role", "read")
    code, said = shell.fail("token", "add", "my-token", "--role", "read")
    assert (code, "'my-token' is already used" in said) == (3, True)
    shell.succeed("token", "remove", "my-token", "--yes")
    shell.succeed("token", "add", "my-token", "--role", "read")


def test_removing_a_provider_in_use_names_its_users(shell, engine):
    code, said = shell.fail("provider", "remove", "work", "--yes")
    assert (code, "'work' is used by: engine" in said) == (3, True)
    shell.succeed("app", "remove", "engine", "--yes")
    shell.succeed("provider", "remove", "work", "--yes")


def test_an_application_of_another_machine_is_not_deployed_here(shell, engine):
    declared = shell.directory / "applications.yaml"
    found = yaml.safe_load(shell.succeed("export"))
    found["applications"]["engine"]["host"] = "far.example"
    declared.write_text(yaml.safe_dump(found))
    shell.succeed("apply", str(declared), "--offline")
    code, said = shell.fail("deploy", "engine")
    assert (code, "is deployed by the machine 'far.example'" in said) == (3, True)
    found["applications"]["engine"]["host"] = socket.gethostname()
    declared.write_text(yaml.safe_dump(found))
    shell.succeed("apply", str(declared), "--offline")
    _, said = shell.fail("deploy", "engine")
    assert "far.example" not in said


def test_a_secret_that_is_not_yet_stored_is_named(shell, acme):
    env = ["--env", "TOKEN=@stored"]
    shell.succeed("app", "create", "engine", *NAMED, "--target", "live", *env)
    done = shell.run("doctor", "--offline")
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "A secret of an application is not stored." in said
    assert "deploycore app secret" in said
    shell.succeed("app", "secret", "engine", "TOKEN", "--stdin", given="hunter2-of-acme\n")
    assert "is not stored" not in shell.run("doctor", "--offline").stdout


def test_a_sandbox_that_cannot_be_started_says_why(shell):
    code, said = shell.fail("sandbox", "--kind", "bitbuket")
    assert (code, "sandbox" in said) == (3, True)
    assert "Did you mean 'bitbucket'?" in said
    code, said = shell.fail("sandbox", "--kind", "bitbucket", "--seed", "")
    assert (code, "The value of --seed is empty" in said) == (3, True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        code, said = shell.fail("sandbox", "--kind", "bitbucket", "--port", port)
    assert (code, f"cannot listen on port {port}" in said) == (3, True)


def test_a_repository_that_is_not_cached_is_not_removed(shell):
    code, said = shell.fail("cache", "remove", "https://git.example.com/a.git")
    assert (code, "The cache has no repository https://git.example.com/a.git" in said) == (3, True)
    shell.succeed("cache", "list")
