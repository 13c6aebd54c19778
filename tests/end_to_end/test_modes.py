"""All steps in each authentication mode, each with its own command."""

from __future__ import annotations

import json
import subprocess

import pytest
import requests

MODES = ["app-password", "api-token", "access-token"]
ODD_BRANCHES = {"feature/login", "discount-50%", "fix-#17", "größe/日本語"}


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_lists_clones_and_deploys_a_repository(shell, sandbox, connect, mode):
    name, connection = connect(mode)
    owner = connection.owner
    first = sandbox.publish(owner, "site", "main", {"page": b"one\n", "a/b": b"deep\n"}, "One")

    assert "valid" in shell.succeed("provider", "test", name)
    listed = shell.json("repos", name)
    assert f"{owner}/site" in {item["id"] for item in listed}
    assert shell.json("branches", name, f"{owner}/site") == [{"name": "main", "commit": first}]

    cloned = shell.json("clone", name, f"{owner}/site", "copy")
    assert cloned["commit"] == first
    assert (shell.directory / "copy" / "a" / "b").read_text() == "deep\n"

    target = shell.directory / "live"
    shell.succeed(
        *("app", "create", "site", "--provider", name, "--repository", f"{owner}/site"),
        *("--branch", "main", "--target", str(target)),
    )
    *events, done = shell.stream("deploy", "site")
    assert (done["state"], done["commit"]) == ("healthy", first)
    assert {event["deployment"] for event in events} == {done["id"]}
    assert (target / "current" / "page").read_text() == "one\n"

    second = sandbox.publish(owner, "site", "main", {"page": b"two\n"}, "Two")
    assert second[:12] in shell.succeed("deploy", "site")
    assert (target / "current" / "page").read_text() == "two\n"
    assert (target / "releases" / done["release"] / "page").read_text() == "one\n"

    shown = shell.json("app", "show", "site")
    assert [item["commit"] for item in shown["deployments"]] == [second, first]
    assert shown["current"] == str((target / "current").resolve())


def test_repositories_and_branches_are_filtered_limited_and_shown_to_people(shell, connect):
    name, _ = connect()
    assert [item["slug"] for item in shell.json("repos", name, "--filter", "SHO")] == ["shop"]
    assert len(shell.json("repos", name, "--limit", "1")) == 1
    assert "acme/shop" in shell.succeed("repos", name)
    assert shell.json("repos", name, "--owner", "ada")[0]["owner"]["username"] == "ada"
    names = {item["name"] for item in shell.json("branches", name, "acme/shop")}
    assert names >= ODD_BRANCHES
    assert [
        item["name"] for item in shell.json("branches", name, "acme/shop", "--filter", "feature/")
    ] == ["feature/login"]
    assert "größe/日本語" in shell.succeed("branches", name, "acme/shop", PYTHONIOENCODING="utf-8")
    assert "gr\\xf6\\xdfe" in shell.succeed("branches", name, "acme/shop", PYTHONIOENCODING="ascii")
    assert "No repositories found." in shell.succeed("repos", name, "--filter", "zzz")


@pytest.mark.parametrize("branch", sorted(ODD_BRANCHES))
def test_a_branch_of_any_name_can_be_cloned_and_deployed(shell, connect, branch):
    name, _ = connect()
    assert shell.json("clone", name, "acme/shop", "copy", "--branch", branch)["branch"] == branch
    shell.succeed(
        *("app", "create", "shop", "--provider", name, "--repository", "acme/shop"),
        *("--branch", branch, "--target", "live"),
    )
    shell.succeed("deploy", "shop")
    start = shell.directory / "live" / "current" / "start"
    assert start.is_symlink()
    assert start.stat().st_mode & 0o111


def test_stock_git_reports_a_clone_as_clean(shell, connect):
    name, _ = connect()
    shell.succeed("clone", name, "acme/shop", "copy")
    git = ["git", "-C", str(shell.directory / "copy")]
    try:
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    assert (status.returncode, status.stdout) == (0, "")
    remote = subprocess.run([*git, "remote", "get-url", "origin"], capture_output=True, text=True)
    assert "@" not in remote.stdout


def test_several_providers_coexist(shell, connect):
    names = [connect(mode)[0] for mode in MODES]
    assert {item["name"] for item in shell.json("provider", "list")} == set(names)
    shown = shell.json("provider", "show", names[0])
    assert shown["secrets"] == {"app_password": "stored, encrypted"}
    shell.succeed("provider", "remove", names[0])
    assert len(shell.json("provider", "list")) == 2
    for name in names[1:]:
        assert shell.json("provider", "test", name)["repositories"] > 0


def test_secrets_can_stay_in_the_environment_or_in_a_file(shell, sandbox, tmp_path_factory):
    connection = next(c for c in sandbox.connections if c.settings["mode"] == "access-token")
    secret = connection.settings["token"].get_secret_value()
    path = tmp_path_factory.mktemp("elsewhere") / "token"
    path.write_text(secret + "\n")
    common = [
        *("--kind", "bitbucket", "--mode", "access-token", "--workspace", "acme"),
        *("--api-url", sandbox.api_url, "--git-url", sandbox.git_url),
    ]
    shell.succeed("provider", "add", "by-file", *common, "--token-file", str(path))
    shell.succeed("provider", "add", "by-env", *common, "--token-env", "TOKEN", TOKEN=secret)
    assert shell.json("provider", "test", "by-file")["repositories"] == 2
    assert "valid" in shell.succeed("provider", "test", "by-env", TOKEN=secret)
    code, said = shell.fail("provider", "test", "by-env")
    assert code == 3
    assert "TOKEN" in said
    path.unlink()
    code, said = shell.fail("provider", "test", "by-file")
    assert code == 3
    assert str(path) in said


def test_errors_are_json_if_json_is_requested(shell, connect):
    name, _ = connect()
    done = shell.run("branches", name, "acme/nope", "--json")
    error = json.loads(done.stderr)["error"]
    assert done.returncode == 5
    assert error["code"] == "not_found"
    assert error["details"]["provider"] == name
    assert error["hint"]


def test_a_listing_of_many_pages_is_complete_ordered_and_unique(shell, sandbox, connect):
    """Of several times as many pages as are requested at the same time."""
    sandbox.listed_repositories("acme", 2_500)
    name, _ = connect()
    listed = [item["slug"] for item in shell.json("repos", name)]
    assert len(listed) == len(set(listed)) == 2_502
    assert listed == list(slugs_page_by_page(sandbox))
    assert shell.json("provider", "test", name)["repositories"] == 2_502


def slugs_page_by_page(sandbox):
    token = next(c for c in sandbox.credentials if c.mode == "access-token")
    header = {"Authorization": f"Bearer {token.secret.get_secret_value()}"}
    url = f"{sandbox.api_url}/repositories/acme?pagelen=100&fields=next,values.slug"
    while url:
        page = requests.get(url, headers=header, timeout=10).json()
        yield from (value["slug"] for value in page["values"])
        url = page.get("next")
