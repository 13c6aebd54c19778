"""Commands that a server on another machine runs: ``deploycore --server URL COMMAND``."""

from __future__ import annotations

import json
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploycore.cli.remote import REMOTE_COMMANDS
from deploycore.cli.sandbox import add_command
from deploycore.remote.server import server_url

DECLARATION = """\
applications:
  shop:
    provider: api-token
    repository: {owner}/shop
    ref: main
    target: {target}
"""


@pytest.fixture
def owner(connect):
    """Who owns the repository ``shop``, at a provider that the server has."""
    _, connection = connect()
    return connection.owner


@pytest.fixture
def serving(owner, serving):
    """The server has a provider."""
    return serving


@pytest.fixture
def declared(remote, owner, sandbox, tmp_path):
    sandbox.publish(owner, "shop", "main", {"OLD": b"x"}, "Begin")
    text = DECLARATION.format(owner=owner, target=tmp_path / "shop")
    assert remote("apply", "-", given=text).startswith("shop: created\n")
    return owner


def test_an_application_is_applied_deployed_and_rolled_back(remote, declared, sandbox, tmp_path):
    assert "shop" in remote("app", "list")
    assert "healthy" in (said := remote("deploy", "shop"))
    assert "Deployed shop: commit" in said
    sandbox.publish(declared, "shop", "main", {"NEW": b"x"}, "Add a file")
    remote("deploy", "shop")
    assert (tmp_path / "shop" / "current" / "NEW").exists()
    assert "Skipped shop" in remote("deploy", "shop")
    assert remote("releases", "shop").count("Begin") == 1
    assert "Rolled back shop" in remote("rollback", "shop")
    assert not (tmp_path / "shop" / "current" / "NEW").exists()
    listed = json.loads(remote("deployments", "shop", "--json"))
    assert [each["kind"] for each in listed] == ["rollback", "deploy", "deploy", "deploy"]
    assert "→ healthy" in remote("logs", "shop")
    assert "Add a file" in remote("show", str(listed[2]["id"]))
    assert "repository: " in remote("export", "shop")
    assert "Application shop is removed." in remote("app", "remove", "shop", "--yes")
    assert "No applications yet" in remote("app", "list")


def test_remote_commands_return_the_same_exit_codes_as_local_ones(remote, declared):
    assert "nothere" in remote("deploy", "nothere", code=3)
    assert "999" in remote("show", "999", code=3)
    assert "cannot be run with --server" in remote("serve", code=3)


def test_all_unknown_applications_are_reported_at_once(remote, declared):
    said = " ".join(remote("deploy", "no", "shop", "on", code=3).split())
    assert "There is no application 'no'. There is no application 'on'." in said


def test_missing_applications_are_reported(remote):
    assert "There are no applications." in remote("deploy", "--all", code=3)


def test_an_application_without_deployments_is_reported(remote, declared):
    assert "shop has no deployments yet" in remote("logs", "shop", code=3)


def test_a_failed_deployment_fails_the_command(remote, declared, tmp_path):
    text = DECLARATION.format(owner=declared, target=tmp_path / "shop")
    remote("apply", "-", given=text + "    health_check: {shell: 'false', retries: 1}\n")
    said = remote("deploy", "shop", code=8)
    assert "health check" in said
    assert "logs" in said


def test_an_application_is_created_edited_and_given_a_secret(remote, owner, sandbox, tmp_path):
    sandbox.publish(owner, "shop", "main", {"OLD": b"x"}, "Begin")
    line = ["--provider", "api-token", "--ref", "main", "--target", str(tmp_path / "shop")]
    create = ["app", "create", "shop", *line, "--repository"]
    assert "not found" in remote(*create, f"{owner}/nope", code=5)
    said = remote(*create, f"{owner}/shop", "--build", "echo a && echo b")
    assert "Application shop is created. Deploy it: deploycore deploy shop" in said
    assert "is taken" in remote(*create, f"{owner}/shop", code=3)
    edit = ["app", "edit", "shop", "--keep", "9", "--env", "A=1"]
    assert "keep: (not set) → 9" in remote(*edit, "--dry-run")
    assert "keep: 9" not in remote("export")
    assert "environment/A" in remote(*edit)
    remote("app", "secret", "shop", "TOKEN", "--stdin", given="s3cret-value\n")
    declared = remote("export")
    assert "keep: 9" in declared
    assert "secret: stored" in declared
    remote("app", "secret", "shop", "TOKEN", "--remove", "--yes")
    assert "TOKEN" not in remote("app", "show", "shop", "--json")


def test_a_webhook_is_registered_shown_rotated_and_removed(remote, declared):
    assert "deploycore webhook register shop --url" in remote("webhook", "show", "shop", code=3)
    line = ["webhook", "register", "shop", "--by-hand", "--url", "https://deploy.example.com"]
    made = json.loads(remote(*line, "--reveal-secret", "--json"))
    assert made["url"] == "https://deploy.example.com/webhooks/shop"
    kept = json.loads(remote("webhook", "show", "shop", "--json"))
    assert (kept["secret"], kept["former_secret"]) == ("stored, encrypted", None)
    assert kept.keys() == made.keys()
    remote("webhook", "rotate", "shop", "--grace", "30m")
    assert "valid until 20" in remote("webhook", "show", "shop")
    said = remote("webhook", "remove", "shop", "--yes")
    assert "Remove it there yourself" in said


def test_users_and_tokens_are_managed(remote, serving):
    said = remote("user", "add", "ada", "--role", "read")
    assert f"{serving}/sign-in/link/" in said
    assert f"{serving}/sign-in/link/" in remote("user", "link", "ada")
    assert "has the role admin" in remote("user", "role", "ada", "admin")
    [user] = json.loads(remote("user", "list", "--json"))
    assert (user["name"], user["role"], user["signed_in_at"]) == ("ada", "admin", None)
    remote("user", "add", "bob", "--role", "deploy", "--json")
    remote("user", "remove", "bob", "--yes")
    assert "bob" not in remote("user", "list")
    assert "last administrator" in remote("user", "remove", "ada", "--yes", code=3)
    added = json.loads(remote("token", "add", "ci", "--role", "read", "--expires", "12h", "--json"))
    assert added["token"].startswith("dct_")
    assert "ci " in remote("token", "list")
    assert "Token ci is removed." in remote("token", "remove", "ci", "--yes")


def test_json_output_is_the_same_as_on_the_machine(remote, shell, declared):
    remote("user", "add", "ada", "--role", "admin")
    for line in ("user list", "token list", "provider list", "provider show api-token"):
        there, here = json.loads(remote(*line.split(), "--json")), shell.json(*line.split())
        if line == "token list":  # its last use is noted meanwhile
            there, here = [[each | {"used_at": ""} for each in side] for side in (there, here)]
        assert there == here, line


def test_a_provider_is_added_changed_and_removed(remote, sandbox, tmp_path):
    connection = next(each for each in sandbox.connections if each.settings["mode"] == "api-token")
    (arguments, given), name = add_command("bitbucket", connection, "second"), "second"
    assert "--token-stdin" in remote("provider", "add", "--kind", "bitbucket", "--help")
    plain = [each for each in arguments[2:] if not each.endswith("-stdin")]
    said = remote("provider", "add", *plain, "--token-file", "secret.txt", code=3)
    assert "--token-stdin" in said
    assert "signed in as" in remote(*arguments, given=given)
    assert "is taken" in remote(*arguments, given=given, code=3)
    assert '"name": "second"' in remote("provider", "show", name, "--json")
    said = remote("provider", "edit", name, "--expires-on", "2090-01-01", "--dry-run")
    assert "Nothing is stored." in said
    assert "signed in as" in remote("provider", "edit", name, "--expires-on", "2090-01-01")
    assert "2090-01-01" in remote("provider", "show", name)
    remote("provider", "edit", name, "--unset", "expires_on")
    assert "2090-01-01" not in remote("provider", "show", name)
    made_up = "made-up-secret-5f2c81d0\n"
    remote("provider", "rotate", name, "--token-stdin", given=made_up, code=4)
    assert "is changed" in remote("provider", "rotate", name, "--token-stdin", given=given)
    assert "deploycore provider show second" in remote("provider", "edit", name, code=2)
    assert "Provider second is removed." in remote("provider", "remove", name, "--yes")
    assert "second" not in remote("provider", "list")


def test_repositories_and_branches_are_listed_by_the_server(remote, owner, sandbox):
    sandbox.publish(owner, "shop", "main", {"OLD": b"x"}, "Begin")
    assert f"{owner}/shop" in remote("repos", "api-token")
    assert "No repositories found." in remote("repos", "api-token", "--filter", "nothing-like-it")
    assert "main" in remote("branches", "api-token", f"{owner}/shop")
    assert "accessible" in remote("provider", "test", "api-token")


def test_the_owner_of_a_key_is_found_by_its_name(remote, declared):
    said = remote("key", "rotate", "nothing", code=3)
    assert "no application and no provider named 'nothing'" in said
    assert "deploycore key create shop" in remote("key", "rotate", "shop", code=3)
    text = DECLARATION.format(owner=declared, target=remote.directory / "other")
    remote("apply", "-", given=text.replace("  shop:", "  api-token:"))
    assert "--of application" in remote("key", "rotate", "api-token", code=3)
    of_provider = remote("key", "remove", "api-token", "--of", "provider", "--yes", code=3)
    assert "The provider 'api-token' has no deploy key" in of_provider
    assert "No deploy keys yet" in remote("key", "list")


def test_the_cache_of_the_server_is_listed_and_cleared(remote, declared):
    remote("deploy", "shop")
    [entry] = json.loads(remote("cache", "list", "--json"))
    assert entry["url"] in remote("cache", "list")
    assert "is no longer in the cache" in remote("cache", "remove", entry["url"])
    assert "deploycore cache list" in remote("cache", "remove", entry["url"], code=3)
    assert "The cache is empty" in remote("cache", "list")
    assert "Removed 0 repositories" in remote("cache", "prune")


def test_a_new_repository_is_accepted_and_deployments_are_recovered(remote, declared):
    assert "The next deployment of shop uses" in remote("app", "accept-repository", "shop")
    assert "nothere" in remote("app", "accept-repository", "nothere", code=3)
    assert "nothere" in remote("provider", "show", "nothere", code=3)
    assert "No unfinished deployments." in remote("recover")


def test_a_file_is_validated_completely_before_anything_is_stored(remote, declared, tmp_path):
    shop = DECLARATION.format(owner=declared, target=tmp_path / "shop")
    other = shop.partition("\n")[2].replace("shop:", "other:").replace("ref: main", "ref: missing")
    text = shop + "    keep: 9\n" + other.replace(str(tmp_path / "shop"), str(tmp_path / "other"))
    remote("apply", "-", given=text, code=5)
    assert "keep: 9" not in remote("export")
    assert "would be changed" in remote("apply", "-", "--dry-run", given=shop + "    keep: 9\n")


def test_plugins_and_doctor_show_the_state_of_the_server(remote):
    assert "bitbucket" in remote("plugins")
    assert "database" in remote("doctor", "--offline")
    assert "api-token" in remote("provider", "list")


def test_the_token_is_only_stored_in_its_own_file(remote, serving, shell):
    path = remote.directory / "servers.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {serving: remote.token}
    shell.succeed("logout", serving, **remote.away)
    assert json.loads(path.read_text()) == {}
    assert "not signed in" in remote("app", "list", code=3)


def test_a_removed_token_is_reported_with_the_next_step(remote, serving, shell):
    shell.succeed("token", "remove", "admin", "--yes")
    for _ in range(60):  # the server may know the token for another second
        done = shell.run("--server", serving, "app", "list", **remote.away)
        if done.returncode:
            break
        time.sleep(0.1)
    assert (done.returncode, "deploycore login http" in done.stderr) == (4, True)


def test_environment_variables_set_the_server_and_the_token(serving, token, shell, tmp_path):
    away = {"DEPLOYCORE_HOME": str(tmp_path / "away"), "DEPLOYCORE_SERVER": serving}
    said = shell.succeed("provider", "list", DEPLOYCORE_TOKEN=token("read"), **away)
    assert "api-token" in said


def test_an_unreachable_server_is_reported_with_its_address(shell, tmp_path):
    away = {"DEPLOYCORE_TOKEN": "dct_x" * 9, "DEPLOYCORE_CONFIG_HOME": str(tmp_path)}
    code, said = shell.fail("--server", "http://127.0.0.1:9", "app", "list", **away)
    assert code == 6
    assert "127.0.0.1" in said


@pytest.fixture
def answering():
    """Starts a server that answers everything with a body: ``answering(b"{}")`` gives its URL."""
    servers = []

    def start(body):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("app list", b"[]"),
        ("app list", b'{"items": [{"name": "\\u001b[31m"}]}'),
        ("deployments", b'{"items": 5}'),
        ("doctor", b'{"findings": [null], "problems": "x", "warnings": []}'),
        ("login", b"{}"),
    ],
)
def test_an_invalid_response_of_the_server_is_reported(answering, shell, tmp_path, command, body):
    away = {"DEPLOYCORE_TOKEN": "dct_x" * 9, "DEPLOYCORE_CONFIG_HOME": str(tmp_path / "c")}
    url = answering(body)
    if command == "login":
        done = shell.run("login", url, "--stdin", given="dct_x\n", **away)
    else:
        done = shell.run("--server", url, *command.split(), **away)
    assert done.returncode == 6, (done.stdout, done.stderr)
    assert url in done.stderr
    assert "Check the address" in done.stderr
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("text", ["", "ftp://x", "https://", "https://a:b@x.example", "http://x:y"])
def test_an_invalid_address_is_rejected(text, shell):
    code, said = shell.fail("--server", text, "app", "list", DEPLOYCORE_TOKEN="dct_x")
    assert code == 3
    assert "https://deploy.example.com" in said


def test_a_misplaced_option_is_reported_with_its_correct_position(shell):
    _, said = shell.fail("app", "list", "--server", "https://x.example")
    assert "Put --server before the command: deploycore --server URL app list" in said


def test_an_address_is_stored_in_normalized_form():
    assert server_url("deploy.example.com/") == "https://deploy.example.com"
    assert server_url("https://Deploy.example.com/x/") == "https://deploy.example.com/x"
    assert server_url("http://[::1]:8080") == "http://[::1]:8080"


def test_help_of_each_remote_command(shell):
    for command in REMOTE_COMMANDS:
        done = shell.run("--server", "https://x.example", command, "--help")
        assert done.returncode == 0
        assert f"deploycore {command}" in done.stdout
