"""The demo checks the results of its commands, and fails if one is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from types import SimpleNamespace

import pytest

from deploycore.cli import demo as module
from deploycore.cli.standard_streams import signals_to_end
from deploycore.errors import DeploycoreError
from deploycore.sandbox import SandboxConnection

CONNECTION = SandboxConnection("Token", {}, "ada")


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """A demo whose commands do nothing, successfully, with a live release."""

    def run(command, **options):
        assert not {"stdout", "stderr", "capture_output"} & options.keys()  # hints say "above"
        code = 8 if demo.fails and command[3] == "deploy" else 0
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(module.subprocess, "run", run)
    live = tmp_path / "deployed" / module.provider_name(CONNECTION)
    (live / "releases" / "1").mkdir(parents=True)
    (live / "releases" / "2").mkdir()
    (live / "current").symlink_to("releases/1")
    sandbox = SimpleNamespace(publish=lambda *arguments: "1" * 40)
    made = module._Demo("acme", sandbox, tmp_path)
    demo = SimpleNamespace(made=made, live=live, fails=False)
    return demo


def test_a_command_with_an_unexpected_exit_code_ends_the_demo(demo):
    demo.made.command("deploy", "site")
    with pytest.raises(DeploycoreError, match="exit code 0 instead of 8") as caught:
        demo.made.command("deploy", "site", code=8)
    assert "printed above" in caught.value.hint


def test_a_changed_file_that_is_not_live_ends_the_demo(demo):
    (demo.live / "current" / module._CHANGED).write_bytes(b"something else")
    with pytest.raises(DeploycoreError, match="the changed file is not live") as caught:
        module._change_and_deploy_again(demo.made, CONNECTION, {})
    assert "Report it" in caught.value.hint


def test_a_broken_release_that_stays_live_ends_the_demo(demo, monkeypatch):
    def publish(*arguments):
        demo.fails = True
        (demo.live / "current").unlink()
        (demo.live / "current").symlink_to("releases/2")

    monkeypatch.setattr(demo.made.sandbox, "publish", publish)
    with pytest.raises(DeploycoreError, match="the last good release is not live") as caught:
        module._break_and_recover(demo.made, CONNECTION, {})
    assert "Report it" in caught.value.hint


@pytest.fixture
def handlers():
    """Restores the handlers of signals that the demo replaces."""
    before = {number: signal.getsignal(number) for number in signals_to_end()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", signals_to_end())
def test_a_signal_during_directory_creation_leaves_nothing_behind(
    handlers, tmp_path, monkeypatch, number
):
    make, stopped = tempfile.mkdtemp, []

    def make_and_signal(*arguments):
        path = make(*arguments)
        os.kill(os.getpid(), number)
        return path

    sandbox = SimpleNamespace(demo=lambda: SimpleNamespace(stop=lambda: stopped.append(True)))
    monkeypatch.setattr(module, "load_sandbox", lambda kind: ("acme", sandbox))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "mkdtemp", make_and_signal)
    with pytest.raises(SystemExit) as caught:
        module.demo("acme", None, serve=False, port=0)
    assert caught.value.code == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert stopped == [True]


def test_a_second_signal_stops_the_demo_immediately():
    leaving, reached = module._Leaving(), []

    def be_told_twice():
        with leaving.later():
            leaving(signal.SIGINT, None)
            reached.append("first")
            leaving(signal.SIGTERM, None)
            reached.append("second")

    with pytest.raises(SystemExit) as caught:
        be_told_twice()
    assert caught.value.code == 128 + signal.SIGTERM
    assert reached == ["first"]
