"""``python -m tests.testing.prepared_pytest``: pytest that has started, and forks children.

To start pytest takes longer than most checks of the kit. This process registers pytest's plugins,
and creates its configuration and session once. Each child gets its own directory, environment,
streams, report and ``conftest.py``, and then collects and runs one file.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.capture import CaptureManager
from _pytest.junitxml import bin_xml_escape, xml_key
from _pytest.logging import LoggingPlugin
from _pytest.terminal import TerminalReporter

from tests import fork_server
from tests.forked import ForkedProcess
from tests.preloading import keep_for_children

__all__ = ["PreparedPytest"]

_ROOT = Path(__file__).parents[2]
_OPTIONS = ["-q", "--tb=native", "--noconftest", "-c", os.devnull, "--rootdir", str(_ROOT)]
_OPTIONS += ["-p", "no:cacheprovider", "-p", "no:faulthandler", "--junitxml=replaced.xml"]


class PreparedPytest(ForkedProcess):
    """Like ``[sys.executable, "-m", "pytest", FILE]`` with the options ``-q --tb=native``; writes
    ``report.xml``. The file and its ``conftest.py`` are in the current directory."""

    def _server(self) -> socket.socket:
        with _starting:
            return _started_server()


_starting = threading.Lock()


@cache
def _started_server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = ForkedProcess(
            [sys.executable, "-m", __name__],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            cwd=_ROOT,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
        )
    atexit.register(_stop, ours, server)
    return ours


def _stop(requests: socket.socket, server: ForkedProcess) -> None:
    requests.close()  # by which it ends
    server.wait(30)


class _Serving:
    """Forks children when pytest has started. What follows is in a child."""

    def __init__(self) -> None:
        self._requests = socket.socket(fileno=os.dup(0))  # kept: its number may be used again
        self._path = sys.path[1:]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        bin_xml_escape("")  # compiles an expression that each child's report needs
        keep_for_children()
        request, streams = fork_server.fork_children(self._requests)
        plugins = session.config.pluginmanager
        capturing = plugins.getplugin("capturemanager")
        assert isinstance(capturing, CaptureManager)
        capturing.stop_global_capturing()
        logging = plugins.getplugin("logging-plugin")
        assert isinstance(logging, LoggingPlugin)
        logging.log_file_handler.close()  # as all files of this process will be
        fork_server.prepare(request, streams, self._path)
        capturing.start_global_capturing()
        capturing.suspend_global_capture()
        reporter = plugins.getplugin("terminalreporter")
        assert isinstance(reporter, TerminalReporter)
        reporter._tw._file, reporter.startpath = sys.stdout, Path.cwd()
        _move(session, Path.cwd(), request["arguments"][-1])


def _move(session: pytest.Session, directory: Path, file: str) -> None:
    """Let a session collect a file of another directory."""
    config = session.config
    config._rootpath = session.path = directory
    config.invocation_params = replace(config.invocation_params, dir=directory)
    config.pluginmanager._confcutdir = directory
    config.stash[xml_key].logfile = str(directory / "report.xml")
    config.args[:] = [str(directory / file)]
    conftest = ModuleType("conftest")
    text = (directory / "conftest.py").read_text()
    exec(compile(text, directory / "conftest.py", "exec"), conftest.__dict__)
    config.pluginmanager.register(conftest)


if __name__ == "__main__":
    sys.exit(pytest.main(_OPTIONS, plugins=[_Serving()]))
