"""An application is edited while its history, releases and webhook stay."""

from __future__ import annotations

import pytest


@pytest.fixture
def site(shell, sandbox, connect, tmp_path):
    """An application that was deployed once."""
    sandbox.publish("acme", "site", "main", {"page": b"one\n"}, "One")
    sandbox.publish("acme", "site", "next", {"page": b"two\n"}, "Two")
    name, _ = connect("api-token")
    shell.succeed(
        "app", "create", "site", "--provider", name, "--repository", "acme/site",
        "--branch", "main", "--target", str(tmp_path / "live"), "--env", "MODE=test",
        "--env", "COLOR=red", "--build", "true", "--health-url", "http://127.0.0.1:9/",
        "--offline",
    )  # fmt: skip
    shell.succeed("app", "edit", "site", "--unset", "health_check")
    shell.succeed("deploy", "site")
    return name


def shown(shell):
    return shell.json("app", "show", "site")


def test_a_dry_run_shows_the_difference_and_changes_nothing(shell, site):
    before = shown(shell)
    said = shell.succeed("app", "edit", "site", "--ref", "next", "--keep", "7", "--dry-run")
    assert said.splitlines() == [
        "site: would be changed",
        "  keep: (not set) → 7",
        '  ref: "main" → "next"',
    ]
    assert shown(shell) == before


def test_editing_keeps_the_history_and_the_releases(shell, site, tmp_path):
    (before,) = shell.json("deployments", "site")
    assert "site: changed" in shell.succeed("app", "edit", "site", "--branch", "next")
    assert (tmp_path / "live" / "current" / "page").read_text() == "one\n"
    assert shell.json("deployments", "site") == [before]
    shell.succeed("deploy", "site")
    assert (tmp_path / "live" / "current" / "page").read_text() == "two\n"
    assert len(shell.json("deployments", "site")) == 2


def test_variables_are_merged_and_other_lists_are_replaced(shell, site):
    shell.succeed(
        "app", "edit", "site", "--env", "MODE=live", "--env", "KEY=@stored",
        "--unset-env", "COLOR", "--after-activate", "touch after", "--shared", "var/",
    )  # fmt: skip
    found = shown(shell)
    assert found["environment"] == {"MODE": "live", "KEY": {"secret": "stored"}}
    assert found["steps"] == {
        "build": [{"run": ["true"]}],
        "after_activate": [{"run": ["touch", "after"]}],
    }
    assert found["shared"] == {"directories": ["var"]}
    shell.succeed("app", "edit", "site", "--unset", "shared", "--build", "date")
    found = shown(shell)
    assert "shared" not in found
    assert found["steps"]["build"] == [{"run": ["date"]}]


def test_additional_providers_are_named_shown_and_kept(shell, site, connect):
    other, _ = connect("access-token")
    said = shell.succeed("app", "edit", "site", "--submodules", "--credentials", other)
    assert f'credentials: (not set) → ["{other}"]' in said
    assert shown(shell)["credentials"] == [other]
    assert other in shell.succeed("app", "show", "site")
    (shell.directory / "site.yaml").write_text(shell.succeed("export", "site"))
    assert shell.succeed("apply", "site.yaml") == "site: unchanged\n"
    code, said = shell.fail("provider", "remove", other, "--yes")
    assert (code, "--unset credentials" in " ".join(said.split())) == (3, True)
    _, said = shell.fail("app", "edit", "site", "--credentials", site)
    assert "which is the application's own provider" in " ".join(said.split())
    shell.succeed("deploy", "site")
    assert shell.json("deployments", "site")[0]["state"] == "healthy"  # the same commit again
    shell.succeed("app", "edit", "site", "--unset", "credentials")
    create = (
        "app", "create", "blog", "--provider", site, "--repository", "acme/site", "--ref", "main",
        "--target", str(shell.directory / "blog"), "--submodules", "--offline", "--credentials",
    )  # fmt: skip
    _, said = shell.fail(*create, "nowhere")
    assert "deploycore provider list" in said
    shell.succeed(*create, other)
    assert shell.json("app", "show", "blog")["credentials"] == [other]
    shell.succeed("app", "remove", "blog", "--yes")
    shell.succeed("provider", "remove", other, "--yes")


def test_repeating_an_edit_changes_nothing(shell, site):
    assert shell.succeed("app", "edit", "site", "--ref", "main") == "site: unchanged\n"
    assert shell.json("app", "edit", "site", "--ref", "main") == {
        "application": "site",
        "change": "unchanged",
        "fields": {},
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--branch", "nxet"], 5, "Did you mean 'next'?"),
        (["--repository", "acme/siet"], 5, "Did you mean 'acme/site'?"),
        (["--repository", "acme"], 3, "OWNER/REPOSITORY"),
        (["--provider", "nowhere"], 3, "nowhere"),
        (["--target", "full"], 3, "not empty"),
        (["--credentials", "nowhere"], 3, "deploycore provider list"),
        (["--unset", "target"], 2, "no optional field 'target'"),
        (["--unset", "health-chekc"], 2, "Did you mean 'health_check'?"),
        (["--unset-env", "NOTHING"], 2, "no variable 'NOTHING'"),
        (["--env", "secret"], 3, "NAME=VALUE"),
    ],
)
def test_invalid_input_is_reported_before_anything_changes(shell, site, arguments, code, said):
    (shell.directory / "full").mkdir()
    (shell.directory / "full" / "letter").touch()
    before = shown(shell)
    found, message = shell.fail("app", "edit", "site", *arguments)
    assert (found, said in message) == (code, True), message
    assert shown(shell) == before


def test_the_host_is_not_contacted_about_unchanged_fields(shell, site, sandbox):
    before = sandbox.request_count
    shell.succeed("app", "edit", "site", "--keep", "9")
    shell.succeed("app", "edit", "site", "--ref", "nowhere", "--offline")
    assert sandbox.request_count == before


def test_editing_keeps_the_webhook(shell, site, sandbox):
    public = {"DEPLOYCORE_PUBLIC_URL": "https://deploy.example.com"}
    shell.succeed("webhook", "register", "site", **public)
    (hook,) = sandbox.webhooks.of("acme/site")
    shell.succeed("app", "edit", "site", "--branch", "next")
    assert list(sandbox.webhooks.of("acme/site")) == [hook]
    assert "https://deploy.example.com" in shell.succeed("webhook", "show", "site")


def test_an_unknown_application_is_reported(shell, connect):
    code, said = shell.fail("app", "edit", "nothing", "--keep", "3")
    assert (code, "nothing" in said) == (3, True)
