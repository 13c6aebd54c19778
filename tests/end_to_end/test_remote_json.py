"""With ``--json``, a command prints the same with ``--server`` as on the server's machine."""

from __future__ import annotations

import importlib
import json

import pytest
import typer
from typer.main import get_command

from deploycore import Installation, Settings
from deploycore.cli.remote import REMOTE_COMMANDS
from deploycore.cli.sandbox import add_command

SAME = """
    app list
    app show shop
    deployments
    show shop
    releases shop
    provider list
    provider show api-token
    repos api-token
    branches api-token {owner}/shop
    branches api-token {owner}/shop --tags
    webhook show shop
    plugins
    user list
    key list
    cache list
    apply {file} --dry-run
    app edit shop --keep 7 --dry-run
    provider edit api-token --expires-on 2090-01-01 --dry-run
"""
"""Commands that print the same values. They change nothing."""

ALIKE = """
    app create {one} --provider api-token --repository {owner}/shop --ref main --target {target}
    app remove {one} --yes
    apply {file}
    webhook register shop --by-hand --url https://deploy.example.com
    webhook rotate shop
    user add {one} --role read
    user link {one}
    token add {one} --role read
    token list
    provider test api-token
    doctor --offline
    cache prune
    cancel {queued}
    recover
"""
"""Commands that print the same fields with other values. Those that change something do that to
another object each."""

ELSEWHERE = {
    "logs": "test_lines_of_logs_and_deployments_are_the_same",
    "deploy": "test_lines_of_logs_and_deployments_are_the_same",
    "rollback": "test_lines_of_logs_and_deployments_are_the_same",
    "cache remove": "test_changes_of_one_object_are_the_same",
    "provider add": "test_changes_of_one_object_are_the_same",
    "provider rotate": "test_changes_of_one_object_are_the_same",
    "provider authorize": "test_remote.py",
    "key create": "test_deploy_keys.py",
    "key rotate": "test_deploy_keys.py",
}
"""The tests of other commands."""


def leaves(group, before=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*before, name))
        else:
            yield " ".join((*before, name)), command


def test_every_command_with_json_output_is_compared():
    application = typer.Typer()
    for module in dict.fromkeys(REMOTE_COMMANDS.values()):
        importlib.import_module(module).register(application)
    with_json = {
        name
        for name, command in leaves(get_command(application))
        if any("--json" in each.opts for each in command.params)
    }
    lines = [each.strip() for each in (SAME + ALIKE).splitlines() if each.strip()]
    compared = {
        name for name in with_json if any(f"{each} ".startswith(f"{name} ") for each in lines)
    }
    assert with_json - compared - ELSEWHERE.keys() == set()


def fields(value):
    """The names of the fields of a JSON value, at each level."""
    if isinstance(value, dict):
        return {name: fields(each) for name, each in value.items()}
    if isinstance(value, list):
        return [fields(each) for each in value[:1]]
    return None


def alike(here, there):
    """Whether two values have the same fields. An empty value may be in place of any other."""
    if not here or not there:
        return True
    if isinstance(here, dict) and isinstance(there, dict):
        same = here.keys() == there.keys()
        return same and all(alike(here[name], there[name]) for name in here)
    if isinstance(here, list) and isinstance(there, list):
        return alike(here[0], there[0])
    return type(here) is type(there)


@pytest.fixture
def place(shell, connect, sandbox, tmp_path, remote):
    """What the commands are about."""
    _, connection = connect()
    owner = connection.owner
    sandbox.publish(owner, "shop", "main", {"OLD": b"x"}, "Begin")
    line = ["app", "create", "shop", "--provider", "api-token", "--repository", f"{owner}/shop"]
    shell.succeed(*line, "--ref", "main", "--target", str(tmp_path / "shop"))
    shell.succeed("deploy", "shop")
    file = tmp_path / "applications.yaml"
    text = shell.succeed("export", "shop")
    file.write_text(text + "    keep: 9\n")
    return {"owner": owner, "file": str(file)}


def test_values_of_commands_that_read_are_the_same(shell, remote, place):
    remote("user", "add", "ada", "--role", "admin")
    remote("webhook", "register", "shop", "--by-hand", "--url", "https://deploy.example.com")
    for line in filter(None, map(str.strip, SAME.splitlines())):
        words = line.format(**place).split()
        here, there = shell.json(*words), json.loads(remote(*words, "--json"))
        assert there == here, line


def test_fields_of_commands_that_change_something_are_the_same(shell, remote, place, tmp_path):
    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(shell.home)})) as opened:

        def unfinished():
            deployments = opened.store.deployments
            record = deployments.request("shop", ref="main", home=str(shell.home))
            deployments.advance(record.id, "authenticating")

        for line in filter(None, map(str.strip, ALIKE.splitlines())):
            printed = []
            for one in ("here", "there"):
                more = {"one": one, "target": tmp_path / one, "queued": ""}
                if line == "recover":
                    unfinished()
                if line.startswith("cancel"):
                    more["queued"] = opened.store.deployments.request("shop", ref="main").id
                words = line.format(**place, **more).split()
                there = one == "there"
                printed.append(
                    json.loads(remote(*words, "--json")) if there else shell.json(*words)
                )
            assert alike(*printed), (line, *map(fields, printed))
        unfinished()
    (tmp_path / "shop" / "current").unlink()
    (tmp_path / "shop" / "current").symlink_to("/etc")
    here = json.loads(shell.run("app", "show", "shop", "--json").stderr)["error"]
    there = json.loads(remote("app", "show", "shop", "--json", code=3))["error"]
    assert there == here
    code = shell.run("doctor", "--offline").returncode
    assert code > 1
    remote("doctor", "--offline", code=code)


def test_lines_of_logs_and_deployments_are_the_same(shell, remote, place, sandbox):
    def lines(text):
        return [json.loads(each) for each in text.splitlines()]

    assert lines(remote("logs", "shop", "--json")) == shell.stream("logs", "shop")
    sandbox.publish(place["owner"], "shop", "main", {"NEW": b"x"}, "Add a file")
    for words in (["deploy", "shop", "--force"], ["rollback", "shop"]):
        here = [each for each in shell.stream(*words) if "step" not in each]
        shell.succeed("deploy", "shop", "--force")
        there = lines(remote(*words, "--json"))
        assert {tuple(each) for each in here} == {tuple(each) for each in there}, words
        assert alike(here[-1], there[-1])
        assert there[-1]["current"] == here[-1]["current"]
        assert {each["event"] for each in here} >= {each["event"] for each in there}


def test_changes_of_one_object_are_the_same(shell, remote, place, sandbox):
    connection = next(each for each in sandbox.connections if each.settings["mode"] == "api-token")
    printed = []
    for name, run in (("here", shell.run), ("there", None)):
        arguments, given = add_command("bitbucket", connection, name)
        rotate = ["provider", "rotate", name, "--token-stdin", "--json"]
        for words in ([*arguments, "--json"], rotate):
            if run is None:
                printed.append(json.loads(remote(*words, given=given)))
            else:
                printed.append(json.loads(run(*words, given=given).stdout))
    assert alike(printed[0], printed[2])
    assert alike(printed[1], printed[3])
    shell.succeed("deploy", "shop", "--force")
    [entry] = shell.json("cache", "list")
    here = shell.json("cache", "remove", entry["url"])
    shell.succeed("deploy", "shop", "--force")
    assert json.loads(remote("cache", "remove", entry["url"], "--json")) == here
