"""A process that has imported all of deploycore, and forks a child for each command.

A short command spends most of its time on imports. This process does them once. A request is one
message of a Unix socket: a Python command line with its environment and directory, as JSON, and
four descriptors. The first gets the child's number, and in the end its exit status; the others are
the child's streams.

A child looks like a process that has just started: its own environment, directory, streams and
import path, default signals, no other open file, and no module ``__main__`` but its own. It differs
in two ways: its modules are loaded, and at its end, objects are not freed one by one.
"""

from __future__ import annotations

import atexit
import builtins
import codecs
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any, NoReturn

__all__ = ["NUMBER", "fork_children", "open_streams", "prepare", "run", "serve"]

NUMBER = struct.Struct("q")
"""The format of a child's number and its exit status."""

_LONGEST = 1 << 20
_DESCRIPTORS = 1 << 16


def serve(requests: socket.socket) -> NoReturn:
    """Import all of deploycore, and fork a child for each request, until no process can send one.

    Args:
        requests: The receiving end of a pair of ``SOCK_SEQPACKET`` sockets.
    """
    if "DEPLOYCORE_TEST_EXECUTED" in os.environ:
        importlib.import_module("tests.executed")
    from tests.forked_probes import probe_in_forks
    from tests.preloading import keep_for_children, load_all
    from tests.warming import warm_up

    load_all()
    warm_up()
    probe_in_forks(run, lambda: open_streams(os.environ))
    # A process that has just started has no cache of directories. Each child would free this one.
    importlib.invalidate_caches()
    sys.path_importer_cache.clear()
    keep_for_children()
    assert threading.active_count() == 1, threading.enumerate()
    path = sys.path[1:]  # the first is the directory of this
    _become(*fork_children(requests), path)


def fork_children(requests: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork a child for each request, and return in each child. This process ends when no process
    can send a request.

    Returns:
        The request, and the descriptors of the child's streams.
    """
    ended, woken = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    children: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([requests, ended], [], [])
        if ended in ready:
            os.read(ended, _LONGEST)
            _report_ended(children)
        if requests not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(requests, _LONGEST, 4)
        if not message:  # who would send one has ended
            for child in children:
                os.kill(child, signal.SIGKILL)
            os._exit(0)
        child = os.fork()
        if child == 0:
            return json.loads(message), descriptors[1:]
        children[child] = descriptors[0]
        _write(descriptors[0], child)
        for each in descriptors[1:]:
            os.close(each)


def _report_ended(children: dict[int, int]) -> None:
    """Report all children that have ended."""
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        descriptor = children.pop(child)
        _write(descriptor, os.waitstatus_to_exitcode(status))
        os.close(descriptor)


def _write(descriptor: int, number: int) -> None:
    with suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(descriptor, NUMBER.pack(number))


def _become(request: dict[str, Any], streams: list[int], path: list[str]) -> NoReturn:
    """Run a command line in this new child, and end."""
    code = 1
    try:
        prepare(request, streams, path)
        code = run(request["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def prepare(request: dict[str, Any], streams: list[int], path: list[str]) -> None:
    """Make this process look like one that has just started."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["start_new_session"]:
        os.setsid()
    elif request["process_group"] >= 0:
        os.setpgid(0, request["process_group"])
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.closerange(3, _DESCRIPTORS)
    environment = request["environment"]
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    tempfile.tempdir = None
    os.chdir(request["directory"])
    open_streams(environment)
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    first = "" if request["arguments"][0] == "-c" else os.getcwd()
    places = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [first, *places, *path]
    importlib.invalidate_caches()


def open_streams(environment: Mapping[str, str]) -> None:
    """Open the standard streams as Python does at its start."""
    encoding, _, errors = environment.get("PYTHONIOENCODING", "").partition(":")
    names = (environment.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, names), "C")
    if not encoding and locale in ("C", "C.UTF-8", "POSIX"):
        errors = errors or "surrogateescape"

    is_unbuffered = bool(environment.get("PYTHONUNBUFFERED"))

    def opened(number: int, mode: str) -> IO[str]:
        stream = open(number, mode, 0 if is_unbuffered and number else -1, closefd=False)  # noqa: SIM115
        return io.TextIOWrapper(
            stream,
            encoding=codecs.lookup(encoding or "utf-8").name,
            errors="backslashreplace" if number == 2 else errors or "strict",
            line_buffering=number == 2 or stream.isatty(),
            write_through=is_unbuffered,
        )

    sys.stdin = sys.__stdin__ = opened(0, "rb")
    sys.stdout = sys.__stdout__ = opened(1, "wb")
    sys.stderr = sys.__stderr__ = opened(2, "wb")


def run(arguments: list[str]) -> int:
    """Run a module or a program; return the exit code with which Python would end."""
    option, what, *rest = arguments
    code = 0
    try:
        if option == "-m":
            sys.argv[:] = ["-m", *rest]
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv[:] = ["-c", *rest]
            main = types.ModuleType("__main__")
            main.__builtins__ = builtins
            sys.modules["__main__"] = main
            exec(compile(what, "<string>", "exec"), main.__dict__)
    except SystemExit as ending:
        code = _code_of(ending)
    except BaseException as error:
        traceback.print_exc()
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    code = _flushed(code)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _code_of(ending: SystemExit) -> int:
    if ending.code is None or isinstance(ending.code, int):
        return (ending.code or 0) & 0xFF
    print(ending.code, file=sys.stderr)
    return 1


def _flushed(code: int) -> int:
    """Flush the streams, as Python does at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError as error:
            if stream is sys.stdout:
                print(f"Exception ignored in: {stream}\n{error}", file=sys.stderr, flush=True)
                code = 120
    return code


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _requests:
        serve(_requests)
