"""From a ``git push`` to the host, through a webhook, to a release and the status at the host."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from deploycore.cli.sandbox import add_command, load_sandbox, provider_name
from deploycore.models import RepositoryId
from deploycore.provider import open_provider

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")

DECLARATION = """\
applications:
  site:
    provider: {provider}
    repository: acme/site
    ref: main
    target: {live}
    environment: {{SECRET: of-the-parent}}
    steps: {{build: [{{shell: "echo ${{SECRET:-none}} > environment"}}]}}
    auto_deploy:
      poll: "off"
      previews: {{target: "{previews}/{{branch}}-{{number}}"}}
"""


def wait_for(condition, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Work:
    """A clone by stock git, whose pushes have a credential of the sandbox's.

    Args:
        source: Where to clone from, and with what.
    """

    def __init__(self, directory, source) -> None:
        self.directory = directory
        # In the environment, not in a file: files of the test are searched for secrets.
        is_bearer = source.credential.scheme == "bearer"
        address = source.url if is_bearer else source.reveal_joined()
        settings = {f"url.{address}.insteadOf": "host:site"}
        if is_bearer:
            token = source.credential.password.get_secret_value()
            settings["http.extraHeader"] = f"Authorization: Bearer {token}"
        self._environment = os.environ | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_CONFIG_COUNT": str(len(settings)),
            "GIT_TERMINAL_PROMPT": "0",
        }
        for number, (key, value) in enumerate(settings.items()):
            self._environment |= {
                f"GIT_CONFIG_KEY_{number}": key,
                f"GIT_CONFIG_VALUE_{number}": value,
            }
        for who in ("AUTHOR", "COMMITTER"):
            self._environment |= {f"GIT_{who}_NAME": "Ada", f"GIT_{who}_EMAIL": "ada@example.com"}
        subprocess.run(
            ["git", "clone", "-q", "host:site", directory], check=True, env=self._environment
        )

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, arguments
        return done.stdout.strip()

    def push(self, branch: str, content: str) -> str:
        """Commit a page and push it; gives the commit."""
        (self.directory / "page").write_text(content)
        self.git("add", "page")
        self.git("commit", "-qm", f"Say {content}")
        self.git("push", "-q", "origin", f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")


def source_of(kind, connection):
    """Where to clone the site from, as the provider says it."""
    with open_provider(kind, {"name": "git", **connection.settings}) as provider:
        return provider.clone_url(RepositoryId(owner=connection.owner, slug="site"))


@pytest.fixture
def site(shell, connect, sandbox, tmp_path):
    """``site`` is declared; gives a clone."""
    name, connection = connect("api-token")
    sandbox.publish("acme", "site", "main", {"page": b"zero"}, "Zero")
    (tmp_path / "apps.yaml").write_text(
        DECLARATION.format(provider=name, live=tmp_path / "live", previews=tmp_path / "previews")
    )
    shell.succeed("apply", "apps.yaml")
    return Work(tmp_path / "clone", source_of("bitbucket", connection))


@pytest.fixture
def server(shell):
    """``deploycore serve`` in a process of its own, ended gently; gives its address."""
    running = []

    def stop(process) -> None:
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
        shell.printed += [output, errors]
        assert process.returncode == 0, errors
        assert "Traceback" not in errors, errors

    def start() -> str:
        process = shell.start("serve", "--port", "0", "--workers", "2")
        running.append(process)
        said = process.stdout.readline()
        found = re.search(r"http://\S+", said)
        assert found, said
        return found.group()

    start.stop = lambda: stop(running.pop())
    yield start
    for process in running:
        stop(process)


def shown(sandbox, commit):
    return [(each.key, each.state) for each in sandbox.statuses("acme", "site", commit)]


def test_a_push_becomes_a_release_and_the_host_shows_it(
    shell, server, site, sandbox, tmp_path, capsys
):
    shell.succeed("webhook", "register", "site", "--url", server())
    page = tmp_path / "live" / "current" / "page"
    for content in ("one", "two"):
        (site.directory / "page").write_text(content)
        site.git("commit", "-qam", f"Say {content}")
        commit = site.git("rev-parse", "HEAD")
        began = time.monotonic()
        site.git("push", "-q", "origin", "main")
        pushed = time.monotonic()
        wait_for(lambda: page.exists() and page.read_text() == content, "the push is not live")  # noqa: B023
        live = time.monotonic()
        with capsys.disabled():
            print(f"\n{live - began:.2f} s from git push to the switch of current, "
                  f"{live - pushed:.2f} s after git push was done")  # fmt: skip
        wait_for(
            lambda: shown(sandbox, commit) == [("deploycore/site", "successful")],  # noqa: B023
            "the host does not show it",
        )
    states = [each["state"] for each in shell.json("deployments", "site")]
    assert states == ["healthy", "healthy"]


def test_a_pull_request_has_its_own_release_until_it_is_merged(
    shell, server, site, sandbox, tmp_path
):
    shell.succeed("webhook", "register", "site", "--url", server())
    place = tmp_path / "previews"
    commit = site.push("topic/one", "a preview")
    row = sandbox.open_pull_request("acme", "site", "topic/one", "main")
    current = place / f"topic-one-{row.number}" / "current"
    wait_for(lambda: (current / "page").exists(), "there is no preview")
    assert (current / "page").read_text() == "a preview"
    assert (current / "environment").read_text() == "none\n"
    wait_for(
        lambda: (f"deploycore/site-pr-{row.number}", "successful") in shown(sandbox, commit),
        "the host does not show it",
    )
    listed = {each["name"]: each.get("preview_of") for each in shell.json("app", "list")}
    assert listed == {"site": None, f"site-pr-{row.number}": "site"}
    assert "PREVIEW OF" in shell.succeed("app", "list")
    site.push("topic/one", "another")
    wait_for(lambda: (current / "page").read_text() == "another", "it is not updated")
    sandbox.merge_pull_request(row)
    wait_for(lambda: list(place.iterdir()) == [], "the preview stays")
    live = tmp_path / "live" / "current"
    wait_for(lambda: (live / "page").exists(), "the merge is not live")
    assert (live / "environment").read_text() == "of-the-parent\n"
    assert [each["name"] for each in shell.json("app", "list")] == ["site"]


def test_without_a_webhook_a_push_is_found_by_polling(shell, server, site, tmp_path):
    declared = tmp_path / "apps.yaml"
    declared.write_text(declared.read_text().replace('poll: "off"', "poll: 10"))
    shell.succeed("apply", "apps.yaml")
    server()
    page = tmp_path / "live" / "current" / "page"
    wait_for(page.exists, "what is there is not deployed")
    site.push("main", "found")
    wait_for(lambda: page.read_text() == "found", "the push is not found")


def test_a_push_while_the_server_is_down_is_found_when_it_starts(shell, server, site, tmp_path):
    """Polling is off, and so nothing else could find it."""
    shell.succeed("webhook", "register", "site", "--url", server())
    page = tmp_path / "live" / "current" / "page"
    site.push("main", "heard")
    wait_for(lambda: page.exists() and page.read_text() == "heard", "the push is not live")
    server.stop()
    site.push("main", "missed")
    server()
    wait_for(lambda: page.read_text() == "missed", "the push is lost")


@pytest.mark.parametrize("kind", ["bitbucket-datacenter", "gitea", "github", "gitlab"])
class TestEveryHost:
    """What is particular to a host is tested by its plugin; here, that it all fits together."""

    @pytest.fixture
    def sandbox(self, kind):
        pytest.importorskip(f"deploycore_{kind.replace('-', '_')}")
        with load_sandbox(kind)[1].demo() as sandbox:
            yield sandbox

    def test_a_push_becomes_a_release_and_the_host_shows_it(
        self, shell, server, sandbox, kind, tmp_path
    ):
        connection = sandbox.connections[0]
        owner, name = connection.owner, provider_name(connection)
        arguments, given = add_command(kind, connection, name)
        shell.succeed(*arguments, given=given)
        sandbox.publish(owner, "site", "main", {"page": b"zero"}, "Zero")
        target = tmp_path / "live"
        declared = {
            "provider": name,
            "repository": f"{owner}/site",
            "ref": "main",
            "target": str(target),
            "auto_deploy": {"poll": "off"},
        }
        (tmp_path / "apps.yaml").write_text(json.dumps({"applications": {"site": declared}}))
        shell.succeed("apply", "apps.yaml")
        shell.succeed("webhook", "register", "site", "--url", server())
        commit = Work(tmp_path / "clone", source_of(kind, connection)).push("main", "one")
        page = target / "current" / "page"
        wait_for(lambda: page.exists() and page.read_text() == "one", "the push is not live")
        wait_for(
            lambda: (
                [(each.key, each.state) for each in sandbox.statuses(owner, "site", commit)]
                == [("deploycore/site", "successful")]
            ),
            "the host does not show it",
        )
        assert all(each.is_accepted for each in sandbox.webhooks.deliveries)


class TestDataCenter:
    """Previews, whose end Bitbucket Data Center tells in its own way."""

    @pytest.fixture
    def sandbox(self):
        with load_sandbox("bitbucket-datacenter")[1].demo() as sandbox:
            yield sandbox

    def test_a_pull_request_has_its_own_release_until_it_is_declined(
        self, shell, server, sandbox, tmp_path
    ):
        kind, connection = "bitbucket-datacenter", sandbox.connections[0]
        name = provider_name(connection)
        arguments, given = add_command(kind, connection, name)
        shell.succeed(*arguments, given=given)
        sandbox.publish("WEB", "site", "main", {"page": b"zero"}, "Zero")
        place = tmp_path / "previews"
        declared = {
            "provider": name,
            "repository": f"{sandbox.base_url}/projects/WEB/repos/site/browse",
            "ref": "main",
            "target": str(tmp_path / "live"),
            "auto_deploy": {
                "poll": "off",
                "previews": {"target": f"{place}/{{branch}}-{{number}}"},
            },
        }
        (tmp_path / "apps.yaml").write_text(json.dumps({"applications": {"site": declared}}))
        shell.succeed("apply", "apps.yaml")
        shell.succeed("webhook", "register", "site", "--url", server())
        clone = Work(tmp_path / "clone", source_of(kind, connection))
        clone.push("topic", "a preview")
        row = sandbox.open_pull_request("WEB", "site", "topic", "main")
        page = place / f"topic-{row.number}" / "current" / "page"
        wait_for(lambda: page.exists() and page.read_text() == "a preview", "there is no preview")
        clone.push("topic", "another")
        wait_for(lambda: page.read_text() == "another", "it is not updated")
        sandbox.close_pull_request(row)
        wait_for(lambda: list(place.iterdir()) == [], "the preview stays")
