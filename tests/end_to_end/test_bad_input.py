"""Each invalid input causes a typed error with one sentence and the next step, and nothing is
written."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from deploycore_bitbucket.sandbox import Fault, faults

from deploycore.testing.paging import JsonLink

TOKEN = ["--kind", "bitbucket", "--mode", "access-token", "--workspace", "acme"]


@pytest.fixture
def application(shell, sandbox, connect):
    """A provider and an application ``site`` of it, deployed once."""
    name, connection = connect()
    sandbox.publish(connection.owner, "site", "main", {"page": b"one\n"}, "One")
    shell.succeed(
        *("app", "create", "site", "--provider", name, "--target", "live"),
        *("--repository", f"{connection.owner}/site", "--branch", "main"),
    )
    shell.succeed("deploy", "site")
    return name


def live(shell) -> str:
    return (shell.directory / "live" / "current" / "page").read_text()


def releases(shell) -> set[str]:
    return set(os.listdir(shell.directory / "live" / "releases"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["provider", "add", "x", "--kind", "nope"], 3, "No plugin for providers of kind 'nope'"),
        (["provider", "add", "x", "--kind", "bitbucket"], 3, "mode is missing"),
        (["provider", "add", "a b", *TOKEN, "--token-stdin"], 3, "name: "),
        (["provider", "add", "x", *TOKEN], 3, "token is missing"),
        (["provider", "add", "x", *TOKEN, "--tokn-stdin"], 2, "Did you mean --token-stdin?"),
        (["provider", "add", "x", *TOKEN, "--email", "a@b", "--token-stdin"], 3, "email"),
        (["provider", "add", "x", *TOKEN, "--token-env", "NOT_SET"], 3, "NOT_SET"),
        (["provider", "add", "x", *TOKEN, "--token-file", "/no/such"], 3, "/no/such"),
        (["provider", "test", "nope"], 3, "nope"),
        (["provider", "show", "nope"], 3, "nope"),
        (["provider", "remove", "nope"], 3, "nope"),
        (["repos", "nope"], 3, "nope"),
        (["branches", "nope", "a/b"], 3, "nope"),
        (["branches", "nope", "no-slash"], 3, "does not name a repository"),
        (["clone", "nope", "a/b"], 3, "nope"),
        (["deploy", "nope"], 3, "nope"),
        (["deploy", "no", "on"], 3, "There are no applications 'no' and 'on'."),
        (["export", "no", "on", "no"], 3, "There are no applications 'no' and 'on'."),
        (["app", "show", "nope"], 3, "nope"),
        (["app", "remove", "nope"], 3, "nope"),
        (["repos", "x", "--limit", "0"], 2, "limit"),
        (["provider", "add", *TOKEN, "x", "--token-stdin"], 2, "NAME must be the first argument"),
        (["provider", "add", "--kind", "bitbucket"], 2, "NAME is missing"),
        (["provider", "add", "x"], 2, "--kind is missing"),
        (["provider", "add"], 2, "NAME and --kind are missing"),
        (["nope"], 2, "nope"),
        (["deploy"], 2, "APPLICATION"),
    ],
)
def test_invalid_names_and_values_are_rejected(shell, arguments, code, said):
    given, message = shell.fail(*arguments, given=shell.made_up + "\n")
    assert given == code
    assert said.lower() in message.lower()
    if code == 3:
        assert "Next: " in message
    assert shell.json("provider", "list") == []


def test_a_secret_on_the_command_line_is_rejected_and_not_echoed(shell):
    code, said = shell.fail("provider", "add", "x", *TOKEN, "--token", shell.made_up)
    assert code == 3
    assert "--token-stdin" in said


def test_a_token_of_another_mode_is_named(shell, sandbox):
    connection = next(c for c in sandbox.connections if c.settings["mode"] == "access-token")
    secret = connection.settings["token"].get_secret_value()
    code, said = shell.fail(
        *("provider", "add", "x", "--kind", "bitbucket", "--mode", "api-token"),
        *("--email", "ada@example.com", "--workspace", "acme", "--token-stdin"),
        given=secret,
    )
    assert code == 3
    assert "access-token" in said


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("app-password", "app password"),
        ("api-token", "expired"),
        ("access-token", "revoked"),
    ],
)
def test_rejected_credentials_say_what_to_check(shell, sandbox, mode, said):
    connection = next(c for c in sandbox.connections if c.settings["mode"] == mode)
    settings = {k: v for k, v in connection.settings.items() if isinstance(v, str)}
    options = [part for k, v in settings.items() for part in ("--" + k.replace("_", "-"), v)]
    field = "app-password" if mode == "app-password" else "token"
    shell.succeed(
        *("provider", "add", "bad", "--kind", "bitbucket", *options, f"--{field}-stdin"),
        "--no-verify",
        given=shell.made_up,
    )
    code, message = shell.fail("provider", "test", "bad")
    assert code == 4
    assert said in message.lower()
    code, message = shell.fail("clone", "bad", "acme/shop", "copy")
    assert code == 4
    assert not (shell.directory / "copy").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["repos", "--owner", "nope"], 5, "nope"),
        (["branches", "acme/nope"], 5, "acme/nope"),
        (["clone", "acme/nope", "copy"], 5, "acme/nope"),
        (["clone", "acme/shop", "copy", "--branch", "nope"], 5, "nope"),
    ],
)
def test_unknown_resources_are_named(shell, connect, arguments, code, said):
    name, _ = connect()
    given, message = shell.fail(arguments[0], name, *arguments[1:])
    assert given == code
    assert said in message
    assert "Next: " in message
    assert not (shell.directory / "copy").exists()


@pytest.mark.outside_description("faults are not as described")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (faults.html(), 6),
        (faults.truncated_json(), 6),
        (faults.malformed_json(), 6),
        (faults.wrong_types(), 6),
        (faults.looping_next(JsonLink()), 6),
        (faults.next_elsewhere(JsonLink(), "http://127.0.0.2:9"), 6),
        (faults.rate_limited(retry_after=3600), 6),
        (faults.answer(500, "broken"), 6),
        (faults.answer(403, "no"), 4),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_an_invalid_response_of_the_host_is_reported_clearly(shell, sandbox, connect, change, code):
    name, _ = connect()
    sandbox.listed_repositories("acme", 250)
    sandbox.faults.add(Fault(change, path="/2.0/repositories/*"))
    given, message = shell.fail("repos", name)
    assert given == code
    assert "Next: " in message


def test_an_unreachable_host_is_reported_clearly(shell):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        shell.succeed(
            *("provider", "add", "x", *TOKEN, "--api-url", address, "--git-url", address),
            *("--token-stdin", "--no-verify"),
            given=shell.made_up,
        )
        assert shell.fail("clone", "x", "a/b")[0] == 7
        code, message = shell.fail("provider", "test", "x")
    assert code == 6
    assert "127.0.0.1" in message
    assert os.listdir(shell.directory) == ["home"]


def test_an_untrusted_certificate_is_reported_clearly(shell, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"https://localhost:{server.server_address[1]}"
    shell.succeed(
        *("provider", "add", "x", *TOKEN, "--api-url", address, "--git-url", address),
        *("--token-stdin", "--no-verify"),
        given=shell.made_up,
    )
    for command, code in ((("provider", "test", "x"), 6), (("clone", "x", "a/b"), 7)):
        given, message = shell.fail(*command)
        assert given == code
        assert "certificate" in message
        assert "REQUESTS_CA_BUNDLE" in message
    server.shutdown()
    server.server_close()


def test_an_existing_directory_with_files_is_not_touched(shell, connect):
    name, _ = connect()
    (shell.directory / "copy").mkdir()
    (shell.directory / "copy" / "letter").touch()
    code, message = shell.fail("clone", name, "acme/shop", "copy")
    assert code == 3
    assert "empty" in message
    code, message = shell.fail(
        *("app", "create", "shop", "--provider", name, "--repository", "acme/shop"),
        *("--branch", "main", "--target", "copy"),
    )
    assert code == 3
    assert "empty" in message
    assert os.listdir(shell.directory / "copy") == ["letter"]


def test_names_in_use_are_rejected(shell, connect, application):
    taken = ["app", "create", "site", "--provider", application, "--repository", "a/b"]
    assert shell.fail(*taken, "--branch", "main", "--target", "other")[0] == 3
    other = ["app", "create", "other", *taken[3:], "--branch", "main", "--target", "live"]
    assert "belongs to the application 'site'" in shell.fail(*other)[1]
    code, message = shell.fail("provider", "remove", application)
    assert code == 3
    assert "site" in message


def test_a_deleted_branch_fails_the_deployment_and_keeps_the_release(
    shell, sandbox, connect, application
):
    before = releases(shell)
    shell.succeed("app", "remove", "site", "--yes")
    shell.succeed(
        *("app", "create", "site", "--provider", application, "--target", "live"),
        *("--repository", "acme/site", "--branch", "gone", "--offline"),
    )
    code, message = shell.fail("deploy", "site")
    assert code == 5
    assert "gone" in message
    assert live(shell) == "one\n"
    assert releases(shell) == before
    last = shell.json("app", "show", "site")["deployments"][0]
    assert (last["state"], last["error_code"]) == ("failed", "not_found")


@pytest.mark.outside_description("faults are not as described")
@pytest.mark.parametrize(
    ("change", "path", "code"),
    [
        (faults.answer(503, "down"), "/acme/site.git/info/refs", 7),
        (faults.answer(403, "no"), "/acme/site.git/info/refs", 4),
        (faults.connection_cut(after=300), "/acme/site.git/git-upload-pack", 7),
        (faults.html(), "/acme/site.git/git-upload-pack", 7),
    ],
    ids=["refused", "forbidden", "cut", "html"],
)
def test_a_failing_git_server_keeps_the_release_live(
    shell, sandbox, application, change, path, code
):
    before = releases(shell)
    sandbox.publish("acme", "site", "main", {"page": b"two\n"}, "Two")
    sandbox.faults.add(Fault(change, path=path))
    given, message = shell.fail("deploy", "site")
    assert given == code
    assert "Next: " in message
    assert live(shell) == "one\n"
    assert releases(shell) == before
    sandbox.faults.clear()
    shell.succeed("deploy", "site")
    assert live(shell) == "two\n"


@pytest.mark.parametrize(
    ("number", "state"), [(signal.SIGKILL, "failed"), (signal.SIGTERM, "cancelled")]
)
def test_a_killed_deployment_loses_nothing(shell, sandbox, application, number, state):
    before = releases(shell)
    sandbox.publish("acme", "site", "main", {"page": b"two\n"}, "Two")
    sandbox.faults.add(Fault(faults.latency(3.0), path="/acme/site.git/git-upload-pack"))
    running = shell.start("deploy", "site")
    with running:
        wait_until(lambda: "receiving" in running.stderr.readline() or running.poll() is not None)
        running.send_signal(number)
        shell.printed += running.communicate(timeout=30)
    assert running.returncode == (130 if state == "cancelled" else -signal.SIGKILL)
    assert live(shell) == "one\n"
    sandbox.faults.clear()
    shell.succeed("deploy", "site")
    assert live(shell) == "two\n"
    states = [item["state"] for item in shell.json("app", "show", "site")["deployments"]]
    assert states == ["healthy", state, "healthy"]
    assert len(releases(shell)) == len(before) + 1
    assert set(os.listdir(shell.directory / "live")) <= {"releases", "current", ".deploycore.lock"}


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("no_home_yet")
def test_a_data_directory_that_is_a_file_is_a_clear_error(shell):
    shell.home.touch()
    code, message = shell.fail("provider", "list")
    assert code in (3, 9)
    assert str(shell.home) in message


def test_a_corrupt_database_is_a_clear_error(shell, connect):
    connect()
    for path in shell.home.glob("*.db*"):
        path.write_bytes(b"not a database at all" * 100)
    code, message = shell.fail("provider", "list")
    assert code == 9
    assert str(shell.home) in message


def test_a_wrong_or_missing_key_is_a_clear_error(shell, connect):
    name, _ = connect()
    key = shell.home / "secret.key"
    assert key.stat().st_mode & 0o777 == 0o600
    other = "bm90LXRoZS1rZXktbm90LXRoZS1rZXktbm90LXRoZS0="
    code, message = shell.fail("provider", "test", name, DEPLOYCORE_SECRET_KEY=other)
    assert code == 9
    assert "key" in message
    key.unlink()
    assert shell.fail("provider", "test", name)[0] == 9
    assert not key.exists()


def test_output_to_a_closed_pipe_prints_no_traceback(shell, sandbox, connect):
    sandbox.listed_repositories("acme", 3000)
    name, _ = connect()
    running = shell.start("repos", name, "--json")
    with running:
        running.stdout.readline()
        running.stdout.close()
        said = running.stderr.read()
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_process_arguments_contain_no_secret(shell, sandbox, connect):
    name, _ = connect()
    sandbox.faults.add(Fault(faults.latency(1.0), path="*"))
    running = shell.start("clone", name, "acme/shop", "copy")
    with running:
        time.sleep(0.5)
        shown = subprocess.run(["ps", "-ef", "ww"], capture_output=True, text=True).stdout
        shell.printed += [shown, *running.communicate(timeout=60)]
    assert running.returncode == 0
