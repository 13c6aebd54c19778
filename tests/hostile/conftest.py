"""Fixtures of the hostile tests: a fake server, and the checks after each attempt."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from deploycore.errors import DeploycoreError
from deploycore.git import GitSettings, export
from tests.git.conftest import make, other_server, server
from tests.git.servers import nothing_left, snapshot, source
from tests.hostile.confined import Outcome
from tests.hostile.server import HostileServer

__all__ = ["make", "other_server", "server"]

SECONDS_MOST = 60
ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings():
    """The usual limits, without waits and retries."""
    return GitSettings(connect_timeout=2, read_timeout=5, total_timeout=30, retries=0, retry_wait=0)


@pytest.fixture
def hostile():
    running = HostileServer()
    yield running
    running.stop()


@pytest.fixture
def other_hostile():
    running = HostileServer()
    yield running
    running.stop()


@pytest.fixture
def script(hostile):
    """The response of the hostile server."""
    return hostile.script


@pytest.fixture
def target(tmp_path, monkeypatch):
    """A path in an empty directory, next to files that must not change."""
    (tmp_path / "place").mkdir()
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "victim").write_bytes(b"as it was")
    monkeypatch.chdir(beside)
    return tmp_path / "place" / "target"


@pytest.fixture
def outside(tmp_path):
    """All files on the disk that the export must not change."""

    def look():
        return snapshot(tmp_path, without=b"place")

    return look


@pytest.fixture
def attempt(hostile, target, settings, outside):
    """Exports, and checks the result against the promises for all hostile input.

    Returns the files on the disk, or the typed error. ``attempt(url, max_files=5)``.
    """

    def run(
        url=None,
        *,
        secret=None,
        submodules=False,
        lfs=False,
        escaping_links="refuse",
        seconds=SECONDS_MOST,
        **changed,
    ):
        before, began = outside(), time.monotonic()
        try:
            export(
                source(url or hostile.url, secret=secret),
                "main",
                target,
                submodules=submodules,
                lfs=lfs,
                escaping_links=escaping_links,
                settings=replace(settings, **changed),
            )
        except DeploycoreError as error:
            assert nothing_left(target)
            assert_fit_for_people(error)
            outcome = error
        else:
            assert os.listdir(target.parent) == ["target"]
            outcome = snapshot(target)
        assert outside() == before
        assert time.monotonic() - began < seconds
        return outcome

    return run


@pytest.fixture
def refused(attempt):
    """Exports a repository that must cause this type of error, and returns the error."""

    def run(kind, *arguments, **options):
        outcome = attempt(*arguments, **options)
        assert isinstance(outcome, kind), outcome
        return outcome

    return run


@pytest.fixture(scope="session")
def exporter():
    """What exports in other processes; see ``tests.hostile.confined``."""
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.confined"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        bufsize=1,
    )
    yield running
    running.stdin.close()
    running.wait()
    running.stdout.close()


@pytest.fixture
def confined(exporter, hostile, target, settings, outside):
    """Exports in another process, whose memory is measured; see ``attempt``."""

    def run(url=None, *, submodules=False, **changed):
        wanted = {
            "url": url or hostile.url,
            "target": str(target),
            "submodules": submodules,
            "settings": asdict(replace(settings, **changed)),
        }
        before = outside()
        exporter.stdin.write(json.dumps(wanted) + "\n")
        if not select.select([exporter.stdout], [], [], SECONDS_MOST)[0]:
            exporter.kill()  # later tests must not take its answer for theirs
            pytest.fail("the export hangs")
        outcome = Outcome(**json.loads(exporter.stdout.readline()))
        assert outside() == before
        assert nothing_left(target) if outcome.error else os.listdir(target.parent) == ["target"]
        return outcome

    return run


def assert_fit_for_people(error):
    """A message is limited in length and contains no control characters, even if it quotes a
    server."""
    assert error.message.isprintable()
    assert len(error.message) < 1500
    assert error.hint.isprintable()
    assert str(error).isprintable()
    for value in error.details.values():
        assert not isinstance(value, str) or value.isprintable(), value


@pytest.fixture
def upload_pack(sshd):
    """The program that the server runs instead of git: ``upload_pack("echo …")``, in a shell."""
    program = sshd.programs / "git-upload-pack"

    def give(script):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    yield give
    program.unlink(missing_ok=True)
