"""Git servers on the loopback address: dulwich's, and git's own behind nginx if they are
installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import pytest

from deploycore.git import GitSettings
from tests.git.servers import SECRET, Content, Server

NGINX = """
daemon off; error_log stderr; pid {directory}/nginx.pid; {user}
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      set $version $http_git_protocol;
      # What a server is that never heard of other versions than 0.
      if ($uri ~ "^/version-0/") {{ set $version ""; }}
      rewrite ^/version-0(/.*)$ $1 break;
      auth_basic "git"; auth_basic_user_file {directory}/users;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_PROJECT_ROOT {root};
      fastcgi_param GIT_HTTP_EXPORT_ALL "";
      fastcgi_param GIT_PROTOCOL $version;
      fastcgi_param GIT_CONFIG_COUNT 1;
      fastcgi_param GIT_CONFIG_KEY_0 safe.directory;
      fastcgi_param GIT_CONFIG_VALUE_0 *;
      fastcgi_param PATH_INFO $uri;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_pass unix:{directory}/fcgi;
    }}
  }}
}}
"""


@pytest.fixture
def settings():
    """The usual limits, without waits."""
    return GitSettings(connect_timeout=2, read_timeout=5, total_timeout=30, retry_wait=0)


@pytest.fixture
def server():
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def other_server():
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def secure_server(certificate):
    """A server with a self-signed certificate."""
    running = Server(certificate=certificate)
    yield running
    running.stop()


@pytest.fixture
def make(tmp_path_factory, server):
    """Creates repositories, which are served at once: ``make("shop", {"a.txt": b"…"})``."""
    made, served = [], tmp_path_factory.mktemp("served")

    def make_one(name="shop", files=None, on=server):
        made.append(Content(served / f"{on.port}-{name}.git"))
        on.backend.repos[f"/{name}.git"] = made[-1].repo
        made[-1].url = f"{on.origin}/{name}.git"
        if files is not None:
            made[-1].commit(made[-1].files(files))
        return made[-1]

    yield make_one
    for each in made:
        each.repo.close()


@pytest.fixture
def target(tmp_path):
    """A path in an empty directory."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "target"


@pytest.fixture(scope="session")
def stock_git():
    """Runs git without the user's configuration."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    author = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Ada Lovelace"), ("EMAIL", "ada@example.com"))
    }
    nothing = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def run(*arguments, at=None):
        done = subprocess.run(
            ["git", *map(str, arguments)],
            cwd=at,
            env=os.environ | author | nothing | {"GIT_TERMINAL_PROMPT": "0"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def http_backend(stock_git, tmp_path_factory):
    """``git http-backend`` behind nginx, with Basic authentication; its root and address."""
    backend = os.path.join(stock_git("--exec-path").strip(), "git-http-backend")
    missing = [name for name in ("nginx", "fcgiwrap") if not shutil.which(name)]
    if missing or not os.path.exists(backend):
        pytest.skip(f"not installed: {', '.join(missing) or 'git-http-backend'}")
    directory = tmp_path_factory.mktemp("nginx")
    root = tmp_path_factory.mktemp("stock")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = "user root;" if os.getuid() == 0 else ""
    values = {"directory": directory, "root": root, "port": port, "user": user}
    (directory / "nginx.conf").write_text(NGINX.format(backend=backend, **values))
    (directory / "users").write_text(f"ada:{{PLAIN}}{SECRET}\n")
    started = [
        subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for command in (
            ["fcgiwrap", "-s", f"unix:{directory}/fcgi"],
            ["nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")],
        )
    ]
    try:
        _wait_for(port)
        yield root, f"http://127.0.0.1:{port}"
    finally:
        for each in reversed(started):
            each.terminate()
            each.wait()


def _wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail("nginx did not start")
