"""The server in its own process: ``deploycore serve``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import httpx2
import pytest

from deploycore.server import serving
from tests import forked
from tests.forked import ForkedProcess
from tests.server.acme import body_of, push, signed

_SERVE = [sys.executable, "-m", "deploycore", "serve", "--port", "0", "--workers", "0"]


@pytest.fixture
def command(home, installation, tmp_path):
    """Runs a deploycore command to its end: ``command("token", "list")``."""
    environ = {**os.environ, "DEPLOYCORE_HOME": str(home), "PYTHONPATH": str(tmp_path / "site")}

    def run(*arguments, **variables):
        environment = environ | variables
        return forked.run("deploycore", arguments, environment=environment, directory=tmp_path)

    run.environ = environ
    return run


@pytest.fixture
def server(command):
    """A running server: ``server("--metrics-open")`` gives its URL; ``server.process``."""
    processes = []

    def start(*arguments):
        process = ForkedProcess(
            [*_SERVE, *arguments],
            env=command.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        start.process = process
        said = process.stdout.readline()
        assert "serves at http://" in said, process.stderr.read()
        return said.split()[3]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_push_is_accepted_and_sigterm_stops_the_server_gracefully(server, secret, triggers):
    url = server()
    body = body_of(push())
    answer = httpx2.post(f"{url}/webhooks/shop", content=body, headers=signed(body, secret))
    assert answer.status_code == 202
    assert [each.id for each in triggers()] == [answer.json()["trigger"]]
    assert "server" not in answer.headers
    server.process.send_signal(signal.SIGTERM)
    _, logged = server.process.communicate(timeout=60)
    assert server.process.returncode == 0
    assert answer.headers["x-request-id"] in logged
    assert "Traceback" not in logged


def test_a_log_follower_does_not_delay_server_shutdown(server, installation, secret, token):
    record = installation.store.deployments.request("shop", ref="main")
    headers = {**token("read"), "Accept": "text/event-stream"}
    url, began, ended = server(), threading.Event(), threading.Event()

    def follow():
        path = f"{url}/api/v1/deployments/{record.id}/log"
        with httpx2.stream("GET", path, headers=headers, timeout=60) as answer:
            for _ in answer.iter_text():
                began.set()
        ended.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert began.wait(60)
    server.process.send_signal(signal.SIGTERM)
    server.process.communicate(timeout=60)
    thread.join()
    assert (server.process.returncode, ended.is_set()) == (0, True)


def test_a_request_in_progress_is_answered_during_shutdown(server, secret, triggers):
    url = server()
    host, port = url.removeprefix("http://").split(":")
    body = body_of(push())
    headers = {**signed(body, secret), "Content-Length": str(len(body)), "Host": "x"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"POST /webhooks/shop HTTP/1.1\r\n{head}\r\n".encode() + body[:10])
        while httpx2.get(f"{url}/healthz").status_code != 200:
            pass
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body[10:])
        answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 202")
    assert len(triggers()) == 1


def test_concurrent_deliveries_are_each_accepted_once(server, secret, triggers):
    url = server()
    bodies = [body_of(push(after=f"{number:040x}")) for number in range(40)]
    statuses = []

    def send():
        with httpx2.Client(timeout=60) as client:
            for body in bodies:
                headers = signed(body, secret, delivery="")
                answer = client.post(f"{url}/webhooks/shop", content=body, headers=headers)
                statuses.append(answer.status_code)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses.count(202), statuses.count(200)) == (40, 120)
    assert len(triggers()) == 40


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Content-Length: 6\r\n\r\nabcdef",
        b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        # Whoever goes by the length takes what follows the chunks for a part of the body.
        b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=range(6),
)
def test_invalid_http_is_rejected_and_the_server_continues(server, secret, sent):
    url = server()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(sent)
        answer = b""
        with suppress(ConnectionResetError):  # what it did not read is thrown away
            while more := connection.recv(1000):
                answer += more
        assert answer.startswith(b"HTTP/1.1 4")
        assert answer.count(b"HTTP/1.1") == 1
    assert httpx2.get(f"{url}/healthz").status_code == 200


def test_unauthenticated_requests_are_logged_a_bounded_number_of_times(server):
    url = server()
    host, port = url.removeprefix("http://").split(":")
    upgrade = b"GET /nope HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    for sent in (b"\x00\r\n\r\n", upgrade) * 30:
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(sent)
            connection.recv(1000)
    server.process.send_signal(signal.SIGTERM)
    _, logged = server.process.communicate(timeout=60)
    assert len(logged.splitlines()) < 30


@pytest.mark.parametrize(
    ("arguments", "warned"),
    [
        (("--host", "0.0.0.0"), True),
        (("--host", "0.0.0.0", "--behind-proxy"), False),
        (("--host", "127.0.0.2"), False),
    ],
    ids=["open", "proxy", "loopback"],
)
def test_serving_without_tls_beyond_this_machine_logs_a_warning(server, arguments, warned):
    server(*arguments)
    server.process.send_signal(signal.SIGTERM)
    _, logged = server.process.communicate(timeout=60)
    assert ("without TLS" in logged) == warned


def test_a_port_in_use_is_reported_with_the_next_step(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = command("serve", "--port", port, "--workers", "0")
    assert done.returncode == 3
    assert f"cannot listen on 127.0.0.1, port {port}" in done.stderr
    assert "--port" in done.stderr
    with serving._listening("127.0.0.1", int(port)) as listener:  # the program that used it is gone
        assert listener.getsockname()[1] == int(port)


def test_a_missing_extra_is_reported_with_the_install_command(command, tmp_path):
    (tmp_path / "site" / "starlette.py").write_text(
        "raise ModuleNotFoundError('no', name='starlette')"
    )
    done = subprocess.run(
        [sys.executable, "-m", "deploycore", "serve"],
        env=command.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "pip install" in done.stderr
    assert "[server]" in done.stderr  # of the package, or of the directory it was installed from


def test_other_commands_do_not_import_the_server(command):
    program = (
        "import sys\n"
        "from deploycore.cli import main\n"
        "try: main(['token', 'list'])\nexcept SystemExit: pass\n"
        "print(sorted({'starlette', 'uvicorn', 'prometheus_client', 'anyio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=command.environ, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_link_for_the_first_administrator_is_printed_until_one_exists(
    command, server, installation
):
    url = server()
    assert "There is no administrator yet" in server.process.stdout.readline()
    link = server.process.stdout.readline().strip()
    assert link.startswith(f"{url}/sign-in/link/")
    assert "Create the first administrator" in httpx2.get(link).text
    installation.store.users.add("ada", role="admin")
    server()
    server.process.terminate()
    said, logged = server.process.communicate(timeout=60)
    assert "sign-in/link" not in said
    assert link.rpartition("/")[2] not in logged


def test_a_token_is_shown_once_and_grants_its_role(command, server, secret):
    made = command("token", "add", "ci", "--role", "deploy", "--expires", "30d", "--json")
    found = json.loads(made.stdout)
    assert found["expires_at"] > found["created_at"]
    listed = command("token", "list", "--json")
    assert found["token"] not in listed.stdout
    assert [each["role"] for each in json.loads(listed.stdout)] == ["deploy"]
    header = {"Authorization": f"Bearer {found['token']}"}
    applications = f"{server()}/api/v1/applications"
    assert httpx2.get(applications, headers=header).status_code == 200
    assert httpx2.delete(f"{applications}/shop", headers=header).status_code == 403
    assert command("token", "remove", "ci").returncode == 0
    assert command("token", "remove", "ci").returncode == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "ci", "--role", "root"),
        ("add", "c i", "--role", "read"),
        ("add", "ci", "--role", "read", "--expires", "soon"),
    ],
    ids=["role", "name", "expires"],
)
def test_an_invalid_token_command_creates_no_token(command, installation, arguments):
    assert command("token", *arguments).returncode in (2, 3)
    assert installation.store.tokens.list() == []


def test_a_webhook_is_registered_rotated_and_removed_without_showing_its_secret(
    command, installation, secret, tmp_path
):
    notes = tmp_path / "notes"
    variables = {"ACME_NOTES": str(notes), "DEPLOYCORE_PUBLIC_URL": "https://deploy.example.com/"}
    address = "https://deploy.example.com/webhooks/shop"
    registered = command("webhook", "register", "shop", "--json", **variables)
    assert json.loads(registered.stdout)["url"] == address
    rotated = command("webhook", "rotate", "shop", "--grace", "2h", "--json", **variables)
    shown = command("webhook", "show", "shop", **variables)
    revealed = command("webhook", "show", "shop", "--reveal-secret", "--json", **variables)
    removed = command("webhook", "remove", "shop", **variables)
    told = [json.loads(line) for line in notes.read_text().splitlines()]
    first, second = told[0][3], told[1][3]
    assert told == [
        ["register", "acme/shop", address, secret],
        ["register", "acme/shop", address, second],
        ["remove", "acme/shop", "hook-1"],
    ]
    assert first != second
    assert json.loads(revealed.stdout)["secret"] == second
    for each in (registered, rotated, shown, removed):
        assert each.returncode == 0, each.stderr
        assert not {first, second} & set(each.stdout.split('"'))
        assert first not in each.stdout + each.stderr
        assert second not in each.stdout + each.stderr
    assert command("webhook", "show", "shop").returncode == 3


def test_a_missing_public_address_is_requested(command, secret):
    done = command("webhook", "register", "shop")
    assert done.returncode == 3
    assert "DEPLOYCORE_PUBLIC_URL" in done.stderr


@pytest.mark.parametrize(
    "url", ["ftp://x", "deploy", "https://user:its-secret@x", "https://x?y=1", "https://"]
)
def test_an_invalid_address_is_rejected_and_not_echoed(command, secret, url):
    done = command("webhook", "register", "shop", "--url", url)
    assert done.returncode == 3
    assert "its-secret" not in done.stderr
