"""Tags, owners and tokens of one repository, as a person sees them."""

from __future__ import annotations

import pytest
from deploycore_gitlab.sandbox import GitLabSandbox

from deploycore.cli.sandbox import add_command


@pytest.fixture
def tagged(sandbox):
    commit = sandbox.publish("acme", "site", "main", {"page": b"one\n"}, "One")
    sandbox.add_tag("acme", "site", "v1.0", at=commit)
    sandbox.add_tag("acme", "site", "v2.0", at=commit)
    return commit


def test_tags_are_listed_with_their_commits(shell, connect, tagged):
    name, _ = connect()
    assert shell.json("branches", name, "acme/site", "--tags", "--filter", "V1") == [
        {"name": "v1.0", "commit": tagged}
    ]
    said = shell.succeed("branches", name, "acme/site", "--tags")
    assert said.split()[:2] == ["TAG", "COMMIT"]
    assert "v2.0" in said
    assert "main" not in said
    assert "No tags found." in shell.succeed(
        "branches", name, "acme/site", "--tags", "--filter", "x"
    )


def test_a_misspelled_tag_gets_a_suggestion(shell, connect, tagged):
    name, _ = connect()
    code, said = shell.fail(
        "app", "create", "site", "--provider", name, "--repository", "acme/site",
        "--ref", "v1.O", "--target", "live",
    )  # fmt: skip
    assert (code, "Did you mean 'v1.0'?" in said) == (5, True), said


def test_repositories_have_their_optional_fields(shell, connect, tagged):
    name, _ = connect()
    found = next(row for row in shell.json("repos", name) if row["slug"] == "site")
    assert found["empty"] is False
    assert found["archived"] is None
    assert found["updated_at"] == "2024-01-01T00:00:00Z"


@pytest.fixture
def narrow(shell, sandbox, tagged):
    """Adds a provider with a token of one repository that may not list."""

    def narrow(*more):
        token = sandbox.add_access_token("acme", "site", may_list=False)
        add = ["provider", "add", "narrow", "--kind", "bitbucket", "--mode", "access-token"]
        place = ["--api-url", sandbox.api_url, "--git-url", sandbox.git_url, "--token-stdin"]
        arguments = [*add, *place, "--workspace", "acme", *more]
        return shell.run(*arguments, given=token.secret.get_secret_value())

    return narrow


def test_a_repository_token_requires_the_repository_name(shell, narrow):
    done = narrow()
    assert done.returncode == 4
    assert "cannot list the repositories" in done.stderr
    assert "--repository WORKSPACE/SLUG" in done.stderr
    done = narrow("--repository", "acme/site")
    assert done.returncode == 0, done.stderr
    said = shell.succeed("provider", "test", "narrow")
    assert "Repositories  1 accessible" in said
    assert [row["id"] for row in shell.json("repos", "narrow")] == ["acme/site"]


def test_naming_the_repository_verifies_a_token_stored_without_it(shell, narrow):
    assert narrow("--no-verify").returncode == 0
    code, said = shell.fail("provider", "test", "narrow")
    assert (code, "deploycore provider edit narrow --repository" in said) == (4, True), said
    said = shell.succeed("provider", "test", "narrow", "--repository", "acme/site")
    assert "Credentials   valid: acme" in said
    assert "Repositories  cannot be listed" in said
    assert "deploycore provider edit narrow --repository" in " ".join(said.split())
    found = shell.json("provider", "test", "narrow", "--repository", "acme/site")
    assert found["repositories"] is None
    code, _ = shell.fail("provider", "test", "narrow", "--repository", "acme/shop")
    assert code == 5
    shell.succeed("provider", "edit", "narrow", "--repository", "acme/site")
    assert shell.json("provider", "test", "narrow")["repositories"] == 1


def test_archived_repositories_are_marked(shell):
    with GitLabSandbox.demo() as gitlab:
        gitlab.archived.add(f"{gitlab.OWNER}/notes")
        arguments, given = add_command("gitlab", gitlab.connections[0], "lab")
        shell.succeed(*arguments, given=given)
        lines = shell.succeed("repos", "lab").splitlines()
        assert [line for line in lines if "archived" in line] == [
            line for line in lines if "/notes" in line
        ]
        found = {row["slug"]: row["archived"] for row in shell.json("repos", "lab")}
        assert found == {"shop": False, "notes": True}
