"""Deployments with commands: declare, deploy, inspect, cancel and roll back."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import pytest

DECLARATION = """\
applications:
  site:
    provider: {provider}
    repository: acme/site
    ref: main
    target: {target}
    environment:
      GREETING: hello
      TOKEN: {{secret: stored}}
    steps:
      build: [{{shell: "echo $GREETING; echo $TOKEN"}}]
    health_check: {{run: [test, "!", -e, broken], retries: 0}}
"""


@pytest.fixture
def declared(shell, connect, sandbox):
    """An application from a file; gives the file's path."""
    name, _ = connect()
    sandbox.publish("acme", "site", "main", {"page": b"one\n"}, "One")
    path = shell.directory / "apps.yaml"
    path.write_text(DECLARATION.format(provider=name, target=shell.directory / "live"))
    shell.succeed("apply", "apps.yaml")
    shell.succeed("app", "secret", "site", "TOKEN", "--stdin", given=shell.made_up + "\n")
    return path


def live(shell) -> str:
    return (shell.directory / "live" / "current" / "page").read_text()


def test_reapplying_a_file_changes_nothing_and_export_returns_it(shell, declared):
    assert shell.succeed("apply", "apps.yaml") == "site: unchanged\n"
    exported = shell.succeed("export")
    (shell.directory / "again.yaml").write_text(exported)
    assert shell.succeed("apply", "again.yaml", "--dry-run") == "site: unchanged\n"
    declared.write_text(declared.read_text().replace("GREETING: hello", "GREETING: hi"))
    wanted = {"environment/GREETING": {"before": "hello", "after": "hi"}}
    for arguments in (["--dry-run"], [], []):
        (change,) = shell.json("apply", "apps.yaml", *arguments)
        assert change["fields"] == wanted
        wanted = {} if not arguments else wanted
    assert "GREETING: hi" in shell.succeed("export", "site")


def test_the_first_deployment_is_shown_after_it_is_created(shell, declared):
    code, said = shell.fail("show", "site")
    assert (code, "Make the first: deploycore deploy site" in said) == (3, True)
    shell.succeed("deploy", "site")
    assert "healthy" in shell.succeed("show", "site")


def test_a_file_with_an_error_changes_nothing(shell, declared):
    declared.write_text(declared.read_text() + "  blog: {provider: x}\n")
    code, message = shell.fail("apply", "apps.yaml")
    assert code == 3
    assert "applications/blog/repository: is missing" in message
    assert [app["name"] for app in shell.json("app", "list")] == ["site"]


def test_events_are_streamed_as_lines_and_end_with_the_result(shell, declared):
    *events, done = shell.stream("deploy", "site")
    states = [event["phase"] for event in events if event["event"] == "state"]
    assert states[0] == "queued"
    assert states[-2:] == ["activating", "healthy"]
    assert [e["text"] for e in events if e["event"] == "output"] == ["hello", "********"]
    assert (done["event"], done["state"], done["subject"]) == ("finished", "healthy", "One")
    assert done["current"] == str(shell.directory / "live" / "current")


def test_a_failing_release_is_rolled_back_and_can_be_inspected(shell, declared, sandbox):
    shell.succeed("deploy", "site")
    sandbox.publish("acme", "site", "main", {"page": b"two\n", "broken": b""}, "Two")
    code, message = shell.fail("deploy", "site")
    assert code == 8
    assert "is live again" in message
    assert live(shell) == "one\n"
    newest, first = shell.json("deployments", "site")
    assert (newest["state"], first["state"]) == ("rolled_back", "healthy")
    assert newest["error_code"] == "health_check_failed"
    assert shell.json("show", str(newest["id"]))["seconds"]["activating"] > 0
    lines = shell.stream("logs", "site")
    assert lines[-1]["phase"] == "rolled_back"
    assert "hello" in shell.succeed("logs", str(newest["id"]))
    assert "rolled_back" in shell.succeed("deployments")


def test_a_manual_rollback_and_the_list_of_available_releases(shell, declared, sandbox):
    for content in (b"one\n", b"two\n"):
        sandbox.publish("acme", "site", "main", {"page": content}, content.decode().strip())
        shell.succeed("deploy", "site")
    newest, first = shell.json("releases", "site")
    assert (newest["state"], newest["subject"], first["state"]) == ("live", "two", "kept")
    *_, done = shell.stream("rollback", "site")
    assert (done["kind"], done["release"]) == ("rollback", first["release"])
    assert done["from"] == {"commit": newest["commit"], "release": newest["release"]}
    assert done["to"] == {"commit": first["commit"], "release": first["release"]}
    assert live(shell) == "one\n"
    said = shell.succeed("rollback", "site", "--to", newest["commit"][:10])
    assert f"from commit {first['commit'][:12]} (release {first['release']})" in said
    assert f"to   commit {newest['commit'][:12]} (release {newest['release']})" in said
    assert live(shell) == "two\n"
    code, message = shell.fail("rollback", "site", "--to", "nope")
    assert (code, "'nope' of site does not exist" in message) == (3, True)


def test_a_live_commit_is_only_deployed_again_with_force(shell, declared):
    shell.succeed("deploy", "site")
    said = shell.succeed("deploy", "site")
    assert "is already live" in said
    assert "deploycore deploy site --force" in said
    assert shell.stream("deploy", "site", "--if-changed")[-1]["state"] == "skipped"
    assert shell.stream("deploy", "site", "--force")[-1]["state"] == "healthy"
    assert len(shell.json("releases", "site")) == 2
    assert shell.fail("deploy", "site", "--force", "--if-changed")[0] == 2


def test_several_applications_are_deployed_and_failures_are_reported(shell, declared, connect):
    text = declared.read_text()
    other = text.partition("applications:\n")[2].replace("  site:", "  other:")
    other = other.replace("ref: main", "ref: gone").replace("/live", "/other")
    declared.write_text(text + other)
    code, said = shell.fail("apply", "apps.yaml")
    assert (code, "no branch 'gone'" in said, "--offline" in said) == (5, True, True)
    assert shell.json("apply", "apps.yaml", "--offline")[1]["change"] == "create"
    shell.succeed("app", "secret", "other", "TOKEN", "--stdin", given=shell.made_up)
    done = shell.run("deploy", "--all")
    assert done.returncode == 5
    assert "Deployed site" in done.stdout
    assert "Error: other: " in done.stderr
    assert done.stderr.count("no branch 'gone'") == 1
    assert live(shell) == "one\n"
    done = shell.run("deploy", "site", "other", "--json")
    assert json.loads(done.stderr)["error"]["details"]["application"] == "other"


def test_a_running_deployment_is_followed_and_cancelled_by_another_process(shell, declared):
    text = declared.read_text()
    declared.write_text(text.replace('{shell: "', '{shell: "echo begun; sleep 60; '))
    shell.succeed("apply", "apps.yaml")
    running = shell.start("deploy", "site")
    with running:
        following = shell.start("logs", "--follow", "site")
        with following:
            seen = ""
            deadline = time.monotonic() + 30
            while "begun" not in seen and time.monotonic() < deadline:
                if following.poll() is not None:  # asked before there was a deployment
                    shell.printed += following.communicate()
                    following = shell.start("logs", "--follow", "site")
                    continue
                seen += following.stdout.readline()
            assert "will stop at its next safe point" in shell.succeed("cancel", "site")
            shell.printed += running.communicate(timeout=30)
            shell.printed += following.communicate(timeout=30)
    assert (running.returncode, following.returncode) == (130, 0)
    assert shell.json("show", "site")["state"] == "cancelled"
    assert '"state": "cancelled"' in shell.printed[-2]
    lines = ("show site", "deployments", "logs site")
    said = "".join(shell.succeed(*each.split()) for each in lines)
    assert ("→ canceled" in said, "cancelled" in said) == (True, False)


def test_a_deployment_of_a_killed_process_is_recovered(shell, declared):
    text = declared.read_text()
    declared.write_text(text.replace('{shell: "', '{shell: "echo begun; sleep 60; '))
    shell.succeed("apply", "apps.yaml")
    running = shell.start("deploy", "site")
    with running:
        while "begun" not in running.stderr.readline():
            assert running.poll() is None
        running.send_signal(signal.SIGKILL)
        shell.printed += running.communicate(timeout=30)
    (settled,) = shell.json("recover")
    assert settled["state"] == "failed"
    assert shell.json("recover") == []
    assert list((shell.directory / "live" / "releases").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "99"], 3, "There is no deployment 99"),
        (["show", "site"], 3, "site has no deployments yet"),
        (["logs", "nope"], 3, "no application 'nope'"),
        (["cancel", "99"], 3, "There is no deployment 99"),
        (["releases", "nope"], 3, "no application 'nope'"),
        (["deployments", "nope"], 3, "no application 'nope'"),
        (["rollback", "site"], 3, "no release to roll back to"),
        (["apply", "nope.yaml"], 3, "cannot be read"),
        (["export", "nope"], 3, "no application 'nope'"),
        (["deploy", "site", "nope"], 3, "no application 'nope'"),
        (["deploy", "site", "--all"], 2, "cannot be combined"),
        (["app", "secret", "nope", "A", "--stdin"], 3, "no application 'nope'"),
    ],
)
def test_unknown_names_are_reported_clearly(shell, declared, arguments, code, said):
    found, message = shell.fail(*arguments)
    assert found == code
    assert said in message


def test_the_example_runs(shell):
    import subprocess

    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(root / "examples" / "deploy_from_python.py")],
        capture_output=True,
        text=True,
        env=shell.environment(),
        cwd=shell.directory,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "still live: Hello" in done.stdout
    assert json.dumps("x") not in done.stderr
