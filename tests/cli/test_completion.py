"""Completions for Tab, in the shells' protocol and in processes as shells start them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploycore import Installation, Settings
from deploycore.cli import COMMANDS, completion_table
from deploycore.store.token_digests import digest_of, new_token

ROOT = Path(__file__).parents[2]
HEAVY = {"typer", "pydantic", "sqlalchemy", "rich", "dulwich", "httpx2", "deploycore.store"}
HEAVY_PROGRAM = (
    "import sys\nfrom deploycore.cli import main\n"
    "try: main()\nexcept SystemExit: pass\n"
    "print(len(sys.modules), *sys.modules, file=sys.stderr)"
)
HOSTILE = ["x;touch${IFS}owned", "`id`", "$(id)", "it's", 'quo"te', "a|b", "a&b", "(x)", "é-ok"]


class Tab:
    def __init__(self, home: Path) -> None:
        self.home = home

    def press(self, line: str, *, shell="bash", program=None, **more: str):
        """Press Tab at the end of a line."""
        words = line.split(" ")
        environment = os.environ | {
            "DEPLOYCORE_HOME": str(self.home),
            "_DEPLOYCORE_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": str(len(words) - 1),
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
        command = [sys.executable, *(["-c", program] if program else ["-m", "deploycore"])]
        done = subprocess.run(
            command, env=environment | more, capture_output=True, text=True, timeout=110
        )
        assert program or done.stderr == ""
        return done

    def __call__(self, line: str, **more: str) -> list[str]:
        return self.press(line, **more).stdout.split()

    def until(self, line: str, value: str, **more: str) -> list[str]:
        """What is offered once a value is: it may come too late for the first Tab."""
        deadline = time.monotonic() + 100
        while value not in (found := self(line, **more)):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found


@pytest.fixture(scope="module")
def host():
    from deploycore_bitbucket.sandbox import Sandbox

    sandbox = Sandbox().start().with_demo_content()
    for name in HOSTILE:
        sandbox.commit("acme", "shop", name, {"a": b"1"}, "One")
    yield sandbox
    sandbox.stop()


@pytest.fixture(scope="module")
def filled_home(tmp_path_factory, host, empty_home):
    home = shutil.copytree(empty_home, tmp_path_factory.mktemp("completion") / "home")
    connection = next(each for each in host.connections if "workspace" in each.settings)
    secrets = {k: v for k, v in connection.settings.items() if isinstance(v, SecretStr)}
    settings = {k: v for k, v in connection.settings.items() if k not in secrets}
    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(home)})) as installation:
        fill(installation, home.parent / "target", settings, secrets)
    return home


def fill(installation, target, settings, secrets):
    installation.add_provider("work", "bitbucket", settings, secrets)
    installation.add_provider("private", "bitbucket", settings, secrets)
    for name in ("shop", "blog"):
        installation.add_application(
            name, provider="work", repository="acme/shop", branch="main", target=target / name
        )
    installation.deploy("shop")
    installation.webhooks.prepare("shop")
    installation.store.tokens.add("ci", digest=digest_of(new_token()), role="read", expires_at=None)
    installation.store.users.add("ada", role="read")


@pytest.fixture
def tab(filled_home):
    return Tab(filled_home)


def test_the_completion_table_matches_the_commands():
    spec = importlib.util.spec_from_file_location("made", ROOT / "docs" / "completion.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.parameters() == completion_table.PARAMETERS, "Run: python docs/completion.py"


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("deploycore ", set(COMMANDS)),
        ("deploycore pro", {"provider"}),
        ("deploycore --v", {"--version"}),
        ("deploycore help pro", {"provider"}),
        ("deploycore app ", {"create", "list", "show", "secret", "accept-repository", "remove"}),
        ("deploycore deploy --no", {"--no-wait"}),
        ("deploycore deploy ", {"shop", "blog"}),
        ("deploycore deploy shop ", {"blog"}),
        ("deploycore deploy --parallel ", set()),
        ("deploycore deploy --json sh", {"shop"}),
        ("deploycore provider test ", {"work", "private"}),
        ("deploycore app create x --provider w", {"work"}),
        ("deploycore app create x --provider = w", {"work"}),  # as bash cuts --provider=w
        ("deploycore token remove ", {"ci"}),
        ("deploycore token add x --role ", {"read", "deploy", "admin"}),
        ("deploycore user role ", {"ada"}),
        ("deploycore user role ada ", {"read", "deploy", "admin"}),
        ("deploycore webhook show ", {"shop"}),
        ("deploycore logs ", {"1", "shop", "blog"}),
        ("deploycore cancel ", set()),
        ("deploycore nope ", set()),
        ("deploycore apply ", set()),
        ("deploycore app create ", set()),
    ],
)
def test_commands_and_names_are_suggested(tab, line, offered):
    assert offered <= (found := set(tab(line)))
    assert found == offered or line in ("deploycore ", "deploycore app ")


def test_kinds_are_suggested(tab):
    assert "bitbucket" in tab("deploycore provider add x --kind ")
    assert "bitbucket" in tab("deploycore sandbox --kind ")


def test_releases_are_suggested(tab, filled_home):
    releases = filled_home.parent / "target" / "shop" / "releases"
    assert tab("deploycore rollback shop --to ") == os.listdir(releases)
    assert tab("deploycore rollback nope --to ") == []


def test_repositories_and_branches_are_read_from_the_host_and_cached(tab, host):
    assert "acme/shop" in tab.until("deploycore branches work ", "acme/shop")
    line = "deploycore app create x --provider work --repository acme/shop --branch "
    assert "main" in tab.until(line, "main")
    before = len(host.requests)
    assert "main" in tab("deploycore clone work acme/shop --branch m")
    assert "acme/shop" in tab("deploycore provider test work --repository acme/")
    assert len(host.requests) == before
    assert "acme" in tab.until("deploycore repos work --owner ", "acme")
    for path in (tab.home / "cache" / "completion").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tab.home / "cache" / "completion").stat().st_mode) == 0o700


def test_names_with_shell_metacharacters_are_not_suggested(tab):
    found = tab.until("deploycore clone work acme/shop --branch ", "é-ok")
    assert not {name for name in HOSTILE if name != "é-ok"} & set(found)


def test_the_fields_of_a_kind_are_suggested(tab, tmp_path):
    tab = Tab(tmp_path / "home")  # for the first provider there is no data directory yet
    line = "deploycore provider add x --kind bitbucket "
    found = tab.until(line + "--", "--workspace")
    assert {"--mode", "--token-stdin", "--token-env", "--token-file", "--json"} <= set(found)
    assert not {"--kind", "--token"} & set(found)
    assert set(tab(line + "--mode ")) >= {"api-token", "access-token"}


@pytest.mark.parametrize("position", ["", "x", "-1", "99"])
def test_an_invalid_position_is_not_an_error(tab, position):
    assert tab.press("deploycore deploy ", COMP_CWORD=position).returncode == 0


def test_zsh_and_fish_show_descriptions(tab):
    zsh = tab.press("deploycore deploy ", shell="zsh").stdout
    assert zsh.startswith('_arguments \'*: :(("blog":"/')
    assert tab.press("deploycore apply ", shell="zsh").stdout == "_files\n"
    assert "1\tshop healthy" in tab.press("deploycore show ", shell="fish").stdout
    action = {"_TYPER_COMPLETE_FISH_ACTION": "is-args"}
    assert tab.press("deploycore show ", shell="fish", **action).returncode == 0
    assert tab.press("deploycore apply ", shell="fish", **action).returncode == 1


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_completion_works_in_bash(tab, tmp_path):
    """With the function that --show-completion prints."""
    from typer._completion_shared import get_completion_script

    function = get_completion_script(
        prog_name="deploycore", complete_var="_DEPLOYCORE_COMPLETE", shell="bash"
    )
    program = tmp_path / "deploycore"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m deploycore "$@"\n')
    program.chmod(0o755)
    script = (
        f"{function}\nCOMP_WORDS=(deploycore deploy --json sh)\nCOMP_CWORD=3\n"
        f'_deploycore_completion {program}\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=os.environ | {"DEPLOYCORE_HOME": str(tab.home)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("shop\n", "")


@pytest.mark.parametrize(
    "line", ["deploycore ", "deploycore deploy ", "deploycore deploy --", "deploycore rollback s"]
)
def test_completion_imports_few_modules(tab, line):
    """Time depends on the machine, and on what else it does; what is imported does not."""
    count, *modules = tab.press(line, program=HEAVY_PROGRAM).stderr.split()
    assert not HEAVY & set(modules)
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(len(sys.modules))"],
        capture_output=True,
        text=True,
    )
    assert int(count) < int(bare.stdout) + 60


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "broken link", "directory"])
@pytest.mark.parametrize("line", ["deploycore deploy ", "deploycore clone work "])
def test_an_unreadable_database_yields_no_suggestions_and_is_not_changed(tmp_path, damage, line):
    home = tmp_path / "home"
    home.mkdir()
    file = home / "deploycore.db"
    if damage == "empty":
        file.touch()
    elif damage == "garbage":
        file.write_bytes(b"no database" * 1000)
    elif damage == "directory":
        file.mkdir()
    elif damage == "broken link":
        file.symlink_to("nowhere")
    before = sorted(os.listdir(home))
    assert Tab(home)(line) == []
    assert sorted(os.listdir(home)) == before


def test_completion_does_not_migrate_an_older_database(tab, tmp_path):
    import sqlite3

    home = shutil.copytree(tab.home, tmp_path / "home", ignore=shutil.ignore_patterns("cache"))
    with sqlite3.connect(home / "deploycore.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0003'")
    database.close()
    assert Tab(home)("deploycore repos ") == ["private", "work"]
    assert Tab(home)("deploycore branches work ") == []
    with sqlite3.connect(home / "deploycore.db") as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == ("0003",)
    database.close()


def test_names_stored_in_postgresql_are_suggested(postgresql, tmp_path):
    environment = {"DEPLOYCORE_HOME": str(tmp_path), "DEPLOYCORE_DATABASE_URL": postgresql}
    with Installation(Settings.from_environment(environment)) as installation:
        installation.add_provider(
            "work",
            "bitbucket",
            {"mode": "access-token", "workspace": "acme"},
            {"token": SecretStr("x")},
        )
    tab = Tab(tmp_path)
    assert tab.until("deploycore repos ", "work", DEPLOYCORE_DATABASE_URL=postgresql) == ["work"]


def test_an_unresponsive_host_yields_no_suggestions(tab, tmp_path):
    home = shutil.copytree(tab.home, tmp_path / "home", ignore=shutil.ignore_patterns("cache"))
    environment = {"DEPLOYCORE_HOME": str(home)}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Installation(Settings.from_environment(environment)) as installation:
            settings = {"mode": "access-token", "workspace": "acme", "api_url": url}
            installation.add_provider("silent", "bitbucket", settings, {"token": SecretStr("x")})
        # These end while the host is still silent.
        assert Tab(home)("deploycore branches silent ") == []
        assert Tab(home)("deploycore branches silent ") == []
    assert Tab(home)("deploycore branches nope ") == []
