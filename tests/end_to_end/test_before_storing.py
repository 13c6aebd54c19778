"""Problems of a provider or an application are reported before anything is stored."""

from __future__ import annotations

import pytest
from deploycore_bitbucket.sandbox import Fault, faults

from deploycore.cli.sandbox import add_command

TOKEN = ["--kind", "bitbucket", "--mode", "access-token", "--workspace", "acme", "--token-stdin"]


@pytest.fixture
def provider(sandbox, connect):
    sandbox.publish("acme", "site", "main", {"page": b"one\n"}, "One")
    return connect()[0]


def create(provider, **given):
    values = {"repository": "acme/site", "branch": "main", "target": "live"} | given
    options = [part for name, value in values.items() for part in (f"--{name}", value)]
    return ["app", "create", "site", "--provider", provider, *options]


@pytest.mark.outside_description("faults are not as described")
@pytest.mark.parametrize(
    ("change", "code"),
    [(None, 4), (faults.answer(403, "no"), 4), (faults.answer(404, "no"), 5), (faults.html(), 6)],
    ids=["wrong", "forbidden", "absent", "nonsense"],
)
def test_a_provider_that_fails_its_check_is_not_stored(shell, sandbox, change, code):
    place = ["--api-url", sandbox.api_url, "--git-url", sandbox.git_url]
    if change is not None:
        sandbox.faults.add(Fault(change, path="*"))
    add = ["provider", "add", "bad", *TOKEN, *place]
    given, said = shell.fail(*add, given=shell.made_up)
    assert given == code
    assert "--no-verify" in said
    assert shell.json("provider", "list") == []
    assert not (shell.home / "secret.key").exists()
    shell.succeed(*add, "--no-verify", given=shell.made_up)


@pytest.mark.usefixtures("no_home_yet")
def test_adding_a_provider_shows_its_account(shell, sandbox):
    connection = next(c for c in sandbox.connections if c.settings["mode"] == "app-password")
    arguments, given = add_command("bitbucket", connection, "work")
    username = connection.settings["username"]
    assert f"signed in as {username}" in shell.succeed(*arguments, given=given)
    code, said = shell.fail(*arguments, given=given)
    assert (code, "work" in said) == (3, True)


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"repository": "acme/siet"}, 5, "Did you mean 'acme/site'?"),
        ({"repository": "amce/site"}, 5, "Did you mean 'acme/site'?"),
        ({"branch": "mian"}, 5, "Did you mean 'main'?"),
        ({"branch": "1234abc"}, 5, "give its full hash"),
        ({"branch": "origin/main"}, 5, "Did you mean 'main'? List the branches: "),
        ({"branch": "mian"}, 5, "acme/site. To store it without this check"),
        ({"branch": "refs/tags/none"}, 5, "refs/tags/none"),
        ({"repository": "https://elsewhere.example/acme/site"}, 3, "elsewhere.example"),
        ({"repository": "acme"}, 3, "OWNER/REPOSITORY"),
        ({"target": "full"}, 3, "not empty"),
    ],
)
def test_an_application_that_cannot_be_deployed_is_not_stored(shell, provider, given, code, said):
    (shell.directory / "full").mkdir()
    (shell.directory / "full" / "letter").touch()
    found, message = shell.fail(*create(provider, **given))
    assert (found, said in message, code == 3 or "--offline" in message) == (code, True, True)
    assert shell.json("app", "list") == []


def test_a_repository_url_is_accepted_wherever_a_repository_is_named(shell, sandbox, provider):
    address = f"{sandbox.git_url}/acme/site"
    said = shell.succeed(*create(provider, repository=f"{address}/src/main/page"))
    assert "The repository is acme/site." in said
    assert shell.json("app", "show", "site")["repository"] == "acme/site"
    assert shell.json("branches", provider, f"{address}.git")[0]["name"] == "main"
    shell.succeed("clone", provider, address, "copy")
    assert (shell.directory / "copy" / "page").is_file()
    declared = shell.succeed("export").replace("acme/site", f"{address}/")
    assert address in declared
    assert shell.succeed("apply", "-", given=declared) == "site: unchanged\n"


def test_a_file_from_standard_input_can_be_toml_and_is_validated(shell, provider):
    text = f"""
    [applications.site]
    provider = "{provider}"
    repository = "acme/site"
    ref = "mian"
    target = "{shell.directory}/live"
    steps.build = ["echo a && echo b"]
    """
    code, said = shell.fail("apply", "-", "--dry-run", given=text)
    assert (code, "Did you mean 'main'?" in said) == (5, True)
    done = shell.run("apply", "-", "--offline", given=text)
    assert done.stdout.startswith("site: created\n")
    assert "Warning: site: steps/build/0: '&&'" in done.stderr
    code, said = shell.fail("apply", "-", given="applications: [")
    assert (code, "standard input is not YAML" in said) == (3, True)


def test_clone_suggests_similar_names(shell, provider):
    code, said = shell.fail("clone", provider, "acme/siet", "copy")
    assert (code, "Did you mean 'acme/site'?" in said) == (5, True)
    code, said = shell.fail("clone", provider, "acme/site", "copy", "--branch", "mian")
    assert (code, "Did you mean 'main'?" in said) == (5, True)
    code, said = shell.fail("branches", provider, "acme/siet")
    assert (code, "Did you mean 'acme/site'?" in said) == (5, True)


def test_all_command_line_errors_are_reported_at_once(shell):
    code, said = shell.fail("app", "create")
    assert code == 2
    for name in ("NAME", "--provider", "--repository", "--branch", "--target"):
        assert name in said
    code, said = shell.fail("provider", "add", "x", "--kind", "bitbucket", "--emial", "a@b.example")
    assert (code, "Did you mean --email?" in said) == (2, True)
    code, said = shell.fail("repos", "x", "--limt", "3")
    assert (code, "Did you mean --limit?" in said) == (2, True)
    code, said = shell.fail("repos", "x", "--limit", "many")
    assert (code, "should be a whole number" in said, "Input" in said) == (2, True, False)
    code, said = shell.fail("provider", "add", "x", "--kind", "bitbuket")
    assert (code, "Did you mean 'bitbucket'?" in said) == (3, True)
    code, said = shell.fail("provider", "add", "x", "--kind", "bitbucket", "--mode", "api-token")
    assert (code, "email, token and workspace are missing" in said) == (3, True)
    for words in (["app"], ["app", "create"], ["clone"]):
        assert shell.succeed("help", *words) == shell.succeed(*words, "--help")
    assert shell.fail("help", "nope")[0] == 2
    for words, wrong in (
        (["deploy", "--all", "x"], "cannot be combined"),
        (["provider", "list", "more"], "takes no further argument 'more'"),
    ):
        code, said = shell.fail(*words)
        assert (code, wrong in said, "Next: " in said) == (2, True, True)


def test_an_empty_path_is_not_treated_as_the_current_directory(shell, provider):
    """As of a variable that is not set: --target "$PLACE"."""
    for words in (create(provider, target=""), ["clone", provider, "acme/site", ""], ["apply", ""]):
        code, said = shell.fail(*words)
        assert (code, "is empty" in said) == (2, True)
    assert shell.json("app", "list") == []
