"""Git servers without an API: polling over HTTP and SSH, and signed requests about pushes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from deploycore_git.sandbox import PlainGitSandbox

from tests.end_to_end.test_auto_deploy import server, wait_for
from tests.git.conftest import http_backend, stock_git
from tests.git.servers import SECRET
from tests.network import TlsEnd

__all__ = ["http_backend", "server", "stock_git"]

README = Path(__file__).parents[2] / "plugins/git/README.md"
REPOSITORY = "acme/site.git"
DECLARATION = """\
applications:
  site:
    provider: plain
    repository: {repository}
    ref: main
    target: {live}
    auto_deploy: {{poll: {poll}}}
"""


@pytest.fixture
def sandbox():
    with PlainGitSandbox.demo() as running:
        yield running


def declare(shell, tmp_path, repository, poll):
    text = DECLARATION.format(repository=repository, live=tmp_path / "live", poll=poll)
    (tmp_path / "apps.yaml").write_text(text)
    shell.succeed("apply", "apps.yaml")
    return tmp_path / "live" / "current" / "page"


@pytest.fixture
def pushed(stock_git, tmp_path):
    """Pushes a page to a bare repository below a directory: ``pushed(root, "one")``."""
    tree = tmp_path / "tree"
    stock_git("init", "-q", "-b", "main", tree)

    def push(root, content):
        place = root / REPOSITORY
        if not place.exists():
            stock_git("init", "-q", "--bare", "-b", "main", place)
        (tree / "page").write_text(content)
        stock_git("add", "page", at=tree)
        stock_git("commit", "-qm", f"Say {content}", at=tree)
        stock_git("push", "-q", place, "HEAD:main", at=tree)
        return stock_git("rev-parse", "HEAD", at=tree).strip()

    return push


def poll(shell, server, pushed, root, tmp_path, repository=REPOSITORY):
    commit = pushed(root, "one")
    assert [each["slug"] for each in shell.json("repos", "plain")] == ["site"]
    [branch] = shell.json("branches", "plain", repository)
    assert (branch["name"], branch["commit"]) == ("main", commit)
    page = declare(shell, tmp_path, repository, poll=10)
    server()
    wait_for(page.exists, "what is there is not deployed")
    assert page.read_text() == "one"
    pushed(root, "two")
    wait_for(lambda: page.read_text() == "two", "the push is not found")


@pytest.fixture
def behind_tls(certificate):
    """Puts TLS before a server: ``behind_tls("http://127.0.0.1:8000")`` is the new address."""
    with ExitStack() as ended:

        def put(address):
            end = TlsEnd(urlsplit(address).port, certificate)
            ended.callback(end.stop)
            return end.origin

        yield put


def test_a_push_to_a_plain_git_server_over_https_is_found_by_polling(
    shell, server, pushed, http_backend, behind_tls, certificate, tmp_path
):
    root, address = http_backend
    address = behind_tls(address)
    root = root / tmp_path.name
    pushed(root, "zero")
    shell.succeed(
        *("provider", "add", "plain", "--kind", "git", "--mode", "basic", "--username", "ada"),
        *("--url", f"{address}/{root.name}", "--repositories", REPOSITORY, "--password-stdin"),
        *("--ca-bundle", str(certificate)),
        given=SECRET + "\n",
    )
    poll(shell, server, pushed, root, tmp_path)


def test_a_push_to_an_ssh_server_is_found_by_polling(shell, server, pushed, sshd, tmp_path):
    root = sshd.root / tmp_path.name
    pushed(root, "zero")
    add = (
        *("provider", "add", "plain", "--kind", "git", "--mode", "ssh"),
        *("--url", sshd.url(root.name), "--repositories", REPOSITORY),
        *("--ssh-private-key-file", str(sshd.key)),
    )
    _, said = shell.fail(*add)
    assert "is not known" in " ".join(said.split())
    shell.succeed(*add, "--host-key", sshd.host_keys[0])
    poll(shell, server, pushed, root, tmp_path)


def test_a_push_to_a_host_without_api_access_is_found_by_polling(
    shell, server, pushed, sshd, tmp_path
):
    root = sshd.root / tmp_path.name
    pushed(root, "zero")
    add = (
        *("provider", "add", "plain", "--kind", "gitea", "--mode", "deploy-key"),
        *("--url", "https://git.example.com", "--ssh-url", sshd.url(root.name)),
        *("--repositories", "acme/site", "--host-key", sshd.host_keys[0]),
    )
    _, said = shell.fail(*add)
    assert "--ssh-private-key-file PATH" in " ".join(said.split())
    shell.succeed(*add, "--ssh-private-key-file", str(sshd.key))
    shell.succeed("clone", "plain", "acme/site", str(tmp_path / "clone"))
    assert (tmp_path / "clone" / "page").read_text() == "zero"
    poll(shell, server, pushed, root, tmp_path, "acme/site")
    _, said = shell.fail("webhook", "register", "site", "--url", "https://deploy.example.com")
    said = " ".join(said.split())
    assert "Providers of kind gitea in mode deploy-key cannot set up a webhook." in said
    assert "deploycore webhook register site --by-hand --reveal-secret" in said
    by_hand = ("webhook", "register", "site", "--by-hand", "--reveal-secret")
    assert shell.json(*by_hand, "--url", "https://deploy.example.com")["secret"]
    said = " ".join(shell.succeed("key", "create", "site").split())
    assert "Providers of kind gitea in mode deploy-key cannot register deploy keys." in said
    assert "https://git.example.com/acme/site/settings/keys" in said
    assert "ssh-ed25519 " in said


def readmes_example():
    """The lines of the README that CI runs after a push."""
    [example] = re.findall(r"<!-- ci -->\n```console\n(.*?)```", README.read_text(), re.DOTALL)
    return example


@pytest.mark.skipif(
    not all(map(shutil.which, ("curl", "openssl"))), reason="curl or openssl is not installed"
)
def test_the_ci_request_from_the_readme_deploys(shell, server, sandbox, tmp_path):
    sandbox.publish("acme", "shop", "main", {"page": b"one"}, "One")
    connection = sandbox.connect("basic", _full())
    given = connection.settings["password"].get_secret_value()
    shell.succeed(
        *("provider", "add", "plain", "--kind", "git", "--mode", "basic"),
        *("--url", sandbox.url, "--username", connection.settings["username"]),
        *("--repositories", "acme/shop.git", "--password-stdin"),
        given=given + "\n",
    )
    page = declare(shell, tmp_path, "acme/shop.git", poll='"off"')
    address = server()
    _, said = shell.fail("webhook", "register", "site", "--url", address)
    assert "--by-hand --reveal-secret" in " ".join(said.split())
    shown = shell.json(
        *("webhook", "register", "site", "--by-hand", "--reveal-secret", "--url", address)
    )
    for content in ("two", "three"):
        commit = sandbox.publish("acme", "shop", "main", {"page": content.encode()}, content)
        values = {"COMMIT": commit, "SECRET": shown["secret"], "URL": shown["url"]}
        done = subprocess.run(
            ["sh", "-ec", readmes_example()],
            env=os.environ | values,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"accepted"' in done.stdout, done.stdout
        wait_for(
            lambda: page.exists() and page.read_text() == content,  # noqa: B023
            "the push is not live",
        )
    forged = subprocess.run(
        ["sh", "-ec", readmes_example()],
        env=os.environ | values | {"SECRET": "another"},
        capture_output=True,
        text=True,
    )
    assert forged.returncode != 0
    assert "401" in forged.stderr


def _full():
    from deploycore.testing.scenarios import Access

    return Access.FULL


def test_a_mistyped_path_is_reported_with_the_next_step(shell, sandbox):
    connection = sandbox.connect("basic", _full())
    given = connection.settings["password"].get_secret_value() + "\n"
    add = (
        *("provider", "add", "plain", "--kind", "git", "--mode", "basic"),
        *("--url", sandbox.url, "--username", connection.settings["username"]),
        "--password-stdin",
    )
    code, said = shell.fail(*add, "--repositories", "acme/shpo", given=given)
    said = " ".join(said.split())
    assert code == 5
    assert "Repository acme/shpo was not found" in said
    assert "deploycore provider edit plain --repositories" in said
    shell.succeed(*add, "--repositories", "acme/shop acme/notse", given=given)
    code, said = shell.fail("repos", "plain")
    assert code == 5
    assert "acme/notse" in said
    shell.succeed("provider", "edit", "plain", "--repositories", "acme/shop acme/notes")
    assert {each["slug"] for each in shell.json("repos", "plain")} == {"shop", "notes"}
