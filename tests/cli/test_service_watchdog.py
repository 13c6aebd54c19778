"""Heartbeats to a service manager: they are sent while Python runs, and not while it is blocked."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from deploycore.cli.service_watchdog import telling_watchdog
from tests.worker.conftest import wait_for

HELD = """
import re, sys
from deploycore.cli.service_watchdog import telling_watchdog
with telling_watchdog():
    sys.stdin.readline()
    print("held", flush=True)
    re.match(r"(a|aa)+$", "a" * 60 + "b")
"""


def telling_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "deploycore-watchdog"]


@contextmanager
def manager(address: str):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        receiver.settimeout(60)
        yield receiver


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_heartbeats_are_sent_until_the_end(tmp_path, kind):
    address = str(tmp_path / "notify") if kind == "file" else f"@deploycore-{os.getpid()}"
    given = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000", "WATCHDOG_PID": str(os.getpid())}
    with manager(address) as receiver:
        with telling_watchdog(given):
            assert {receiver.recv(100) for _ in range(3)} == {b"WATCHDOG=1"}
        assert telling_threads() == []


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "vsock:2:1"},
    ],
)
def test_no_notification_is_sent_unless_the_watchdog_is_enabled(tmp_path, given):
    address = str(tmp_path / "notify")
    asked = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000"} | given if given else {}
    with manager(address) as receiver:
        with telling_watchdog(asked):
            pass
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(100)


def test_a_missing_service_manager_is_harmless(tmp_path):
    given = {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "2000"}
    with telling_watchdog(given):
        pass


def test_a_blocked_process_sends_no_heartbeat(tmp_path):
    address = str(tmp_path / "notify")
    environment = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000"}
    with (
        manager(address) as receiver,
        subprocess.Popen(
            [sys.executable, "-c", HELD],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        try:
            receiver.recv(100)
            process.stdin.write(b"\n")
            process.stdin.close()
            assert process.stdout.readline() == b"held\n"
            receiver.settimeout(0.5)  # fifty times what is expected

            def is_silent() -> bool:
                try:
                    receiver.recv(100)
                except TimeoutError:
                    return True
                return False

            wait_for(is_silent)
        finally:
            process.kill()
