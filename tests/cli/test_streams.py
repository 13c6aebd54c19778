"""Commands whose streams are closed, full, without a reader, or of another encoding."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.main import get_command

from deploycore import Installation, Settings, render_declaration
from deploycore.cli import COMMANDS
from deploycore.cli.dispatch import application_of
from tests.forked import ForkedProcess
from tests.processes import Process

pytestmark = pytest.mark.timeout(600)  # a run of all commands, on a busy machine

FULL = "No space left on device"

# Each with {clone} for a new directory. Without those that go on until they are told to end.
LINES = """
    --help
    --version
    app
    app list --nope
    provider list
    provider show work
    provider test work
    repos work
    branches work acme/shop
    clone work acme/shop {clone}
    app list
    app show shop
    deploy shop
    deploy shop other
    deploy shop --force
    deploy nope
    deploy broken
    releases shop
    deployments
    show shop
    logs shop
    logs -f shop
    rollback shop
    rollback nope
    cancel 1
    recover
    worker --once
    apply {file}
    app secret shop STAGE --stdin
    export
    webhook register shop --by-hand
    webhook show shop
    webhook rotate shop
    webhook remove shop --keep-at-host
    key create shop
    key list
    key rotate shop
    key remove shop --keep-at-host
    token add ci --role read
    token list
    token remove ci
    user add ada --role read
    user list
    user role ada deploy
    user link ada
    user remove ada
    login http://127.0.0.1:9 --stdin
    logout http://127.0.0.1:9
    cache list
    cache remove nope
    cache prune
    plugins
    plugin new acme --dir {plugin}
    doctor --offline
    app create more --provider work --repository acme/shop --branch main --target {more}
    app accept-repository shop
    app remove more --yes
    provider add new --kind bitbucket
    provider remove nope --yes
    provider edit work --workspace acme --no-verify
    provider rotate work
    provider authorize work
    app edit shop --branch main --offline
"""
LASTING = {"serve", "sandbox", "demo", "plugin check"}

# Runs command lines one after another in a process whose streams are what they are.
DRIVER = """
import json, os, sys
from deploycore.cli import main
lines, results = sys.argv[1:]
codes = []
for line in json.load(open(lines)):
    sys.stdin = None if sys.stdin is None else open(os.devnull)
    try:
        main(line)
    except SystemExit as ending:
        codes.append(ending.code)
    else:
        codes.append(None)
json.dump(codes, open(results, "w"))
"""


def commands(group=None, before=()):
    """All commands that do something, each as the words that name it."""
    group = group or get_command(application_of(COMMANDS))
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield " ".join((*before, name))


def test_every_command_is_tested():
    tried = [line.strip() for line in LINES.splitlines()]
    assert {
        name
        for name in commands()
        if name not in LASTING and not any(line.startswith(name) for line in tried)
    } == set()


class Place:
    """An installation with a provider and applications, as new for each run."""

    def __init__(self, directory: Path, sandbox) -> None:
        self.directory = directory
        self.home = directory / "home"
        sandbox.commit("acme", "shop", "main", {"a": b"1"}, "Zażółć gęślą jaźń")
        connection = next(each for each in sandbox.connections if "workspace" in each.settings)
        secrets = {k: v for k, v in connection.settings.items() if isinstance(v, SecretStr)}
        settings = {k: v for k, v in connection.settings.items() if k not in secrets}
        environment = {"DEPLOYCORE_HOME": str(self.home)}
        with Installation(Settings.from_environment(environment)) as installation:
            installation.add_provider("work", "bitbucket", settings, secrets)
            for name, steps in {"shop": {}, "other": {}, "broken": {"build": ["false"]}}.items():
                installation.add_application(
                    name,
                    provider="work",
                    repository="acme/shop",
                    branch="main",
                    target=directory / "targets" / name,
                    steps=steps,
                )
            definition = installation.store.get_application("shop").definition
        (directory / "shop.yaml").write_text(render_declaration([definition]))
        shutil.copytree(self.home, directory / "template")

    def renew(self) -> None:
        for each in (self.home, self.directory / "targets", self.directory / "made"):
            shutil.rmtree(each, ignore_errors=True)
        shutil.copytree(self.directory / "template", self.home)

    def lines(self, *more: str) -> list[list[str]]:
        made = self.directory / "made"
        places = {
            "file": self.directory / "shop.yaml",
            "clone": made / "clone",
            "plugin": made / "plugin",
            "more": made / "more",
        }
        filled = (line.format(**places) for line in LINES.split("\n") if line.strip())
        return [[*line.split(), *more] for line in filled]

    def run(self, command, *, environment=None, kind=Process, **streams) -> Process:
        return kind(
            command,
            cwd=self.directory,
            env=os.environ | {"DEPLOYCORE_HOME": str(self.home)} | (environment or {}),
            **{"stdin": subprocess.DEVNULL, **streams},
        )

    def codes(self, lines, *, environment=None, **streams) -> list[int]:
        """The exit codes of command lines, one after another."""
        self.renew()
        given, found = self.directory / "lines.json", self.directory / "codes.json"
        given.write_text(json.dumps(lines))
        found.unlink(missing_ok=True)
        command = [sys.executable, "-c", DRIVER, str(given), str(found)]
        kind = Process if "preexec_fn" in streams else ForkedProcess
        running = self.run(command, environment=environment, kind=kind, **streams)
        assert running.wait(timeout=550) == 0
        return json.loads(found.read_text())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    from deploycore_bitbucket.sandbox import Sandbox

    sandbox = Sandbox().start().with_demo_content()
    yield Place(tmp_path_factory.mktemp("streams"), sandbox)
    sandbox.stop()


@pytest.fixture(scope="module")
def usual(place):
    """The exit codes where the streams are as usual, and nothing is asked for as JSON."""
    with open(place.directory / "usual", "w") as output:
        return place.codes(place.lines(), stdout=output, stderr=output)


def test_commands_exit_with_the_expected_code_with_usual_streams(place, usual):
    lines = [line.strip() for line in LINES.splitlines() if line.strip()]
    by_line = dict(zip(lines, usual, strict=True))
    assert by_line["deploy shop"] == by_line["repos work"] == by_line["export"] == 0
    assert by_line["deploy broken"] == 8
    assert set(usual) <= {0, 2, 3, 5, 7, 8}


@contextmanager
def without_reader():
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextmanager
def full():
    with open("/dev/full", "w") as output:
        yield output


def said(place):
    text = (place.directory / "said").read_text()
    for bad in ("Traceback", "unforeseen", "Exception ignored", "BrokenPipe", "Logging error"):
        assert bad not in text, text
    return text


def test_a_closed_pipe_does_not_change_the_exit_code(place, usual):
    """Nor does a standard error that cannot be written."""
    with without_reader() as output, full() as errors:
        assert place.codes(place.lines(), stdout=output, stderr=errors) == usual


def test_unwritable_output_is_an_error(place, usual):
    lines = place.lines("--json")
    with full() as output, open(place.directory / "said", "w") as told:
        codes = place.codes(lines, stdout=output, stderr=told)
    told = said(place)
    for line, before, code in zip(lines, usual, codes, strict=True):
        assert code in (before or 1, 2) or (before == 0 and not writes(line)), line
    assert codes[lines.index(["deploy", "shop", "--json"])] == 1
    assert codes[lines.index(["deploy", "broken", "--json"])] == 8
    assert told.count(FULL) > 20


def writes(line):
    """Whether a command prints anything; some have nothing to tell."""
    return line[:2] not in (["worker", "--once"],) and line[0] != "logs"


def test_commands_work_with_closed_standard_streams(place, usual):
    lines = place.lines()

    def close():
        for number in (0, 1, 2):
            os.close(number)

    codes = place.codes(lines, stdin=None, preexec_fn=close)
    assert codes == usual
    with sqlite3.connect(place.home / "deploycore.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_characters_outside_the_encoding_are_escaped(place, usual):
    path = place.directory / "said"
    with open(path, "w") as output:
        codes = place.codes(
            place.lines(),
            environment={"PYTHONIOENCODING": "ascii:strict"},
            stdout=output,
            stderr=output,
        )
    assert codes == usual
    assert "Za\\u017c\\xf3\\u0142\\u0107" in said(place)
    assert path.read_text().isascii()


@pytest.mark.parametrize(
    ("line", "usual_code"), [("--help", 0), ("cache list --json", 0), ("app nope", 2)]
)
def test_python_prints_no_error_at_exit_when_the_reader_is_gone(place, line, usual_code):
    command = [sys.executable, "-m", "deploycore", *line.split()]
    with without_reader() as output:
        done = place.run(command, stdout=output, stderr=subprocess.PIPE)
        told = done.communicate(timeout=110)[1]
        assert b"Exception" not in told
        assert done.returncode == usual_code
        assert place.run(command, stdout=output, stderr=output).wait(timeout=110) == usual_code


@pytest.mark.parametrize("line", ["--help", "--version", "cache list"])
def test_a_full_disk_is_reported_in_one_line(place, line):
    with full() as output:
        command = [sys.executable, "-m", "deploycore", *line.split()]
        done = place.run(command, stdout=output, stderr=subprocess.PIPE)
        told = done.communicate(timeout=110)[1].decode()
    assert told == f"Error: Standard output cannot be written: {FULL}.\n"
    assert done.returncode == 1


@pytest.mark.parametrize("line", ["deploy shop", "deploy --all --json"])
def test_a_deployment_continues_when_its_reader_closes_the_pipe(place, line):
    place.renew()
    arguments = [sys.executable, "-m", "deploycore", *line.split()]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = place.run(arguments, kind=ForkedProcess, **streams)
    with running:
        running.stdout.close()
        running.stderr.close()
        code = running.wait(timeout=110)
    assert code == (8 if "--all" in line else 0)
    assert (place.directory / "targets" / "shop" / "current" / "a").read_bytes() == b"1"


def stopped_in(module: str, number: int) -> str:
    """A program that runs a command line, and gets a signal while it imports a module."""
    return (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from deploycore.cli import main\n"
        "main()\n"
    )


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("app list", "deploycore.cli.standard_streams"),
        ("app list", "deploycore.cli.dispatch"),
        ("repos work --json", "typer"),
        ("deploy shop", "deploycore.installation.installation"),
        ("nope", "deploycore.cli.plugins"),
    ],
)
def test_an_interrupt_during_command_import_exits_quietly(place, line, module):
    command = [sys.executable, "-c", stopped_in(module, signal.SIGINT), *line.split()]
    done = place.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    printed, told = done.communicate(timeout=110)
    assert (printed, told, done.returncode) == (b"", b"", 130)


@pytest.mark.parametrize("module", ["deploycore.store.listing", "deploycore.provider.handle"])
def test_an_interrupt_during_a_command_exits_quietly(place, module):
    place.renew()
    command = [sys.executable, "-c", stopped_in(module, signal.SIGINT), "repos", "work"]
    done = place.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    printed, told = done.communicate(timeout=110)
    assert (printed, told, done.returncode) == (b"", b"", 130)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("serve --port 0", signal.SIGHUP),
        ("worker", signal.SIGHUP),
        ("sandbox --kind bitbucket", signal.SIGHUP),
    ],
)
def test_a_service_exits_cleanly_when_its_terminal_closes(place, line, number):
    place.renew()
    command = [sys.executable, "-m", "deploycore", *line.split()]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = place.run(command, kind=ForkedProcess, **streams)
    with running:
        assert running.stdout.readline()
        running.stdout.close()  # nobody reads what comes now
        running.send_signal(number)
        told = running.communicate(timeout=110)[1].decode()
    assert running.returncode == 0, told
    assert "Traceback" not in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_demo_leaves_nothing_behind(place, tmp_path, number):
    command = [sys.executable, "-m", "deploycore", "demo", "--kind", "bitbucket"]
    running = place.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        environment={"TMPDIR": str(tmp_path)},
    )
    with running:
        assert running.stdout.readline()
        while not list(tmp_path.iterdir()):
            assert running.poll() is None
        running.send_signal(number)
        told = running.communicate(timeout=110)[1].decode()
    assert running.returncode == 128 + number, told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_process_under_nohup_ignores_the_hangup_signal(place):
    place.renew()
    running = place.run(
        [sys.executable, "-m", "deploycore", "worker"],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    with running:
        assert running.stdout.readline()
        status = Path(f"/proc/{running.pid}/status").read_text()
        running.terminate()
        assert running.wait(timeout=110) == 0
    ignored = int(next(line for line in status.splitlines() if "SigIgn" in line).split()[1], 16)
    assert ignored & 1 << signal.SIGHUP - 1
