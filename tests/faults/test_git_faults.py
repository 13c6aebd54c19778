"""Connections are cut and processes are killed at random moments: the result is complete or
absent."""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import replace

import pytest

from deploycore.errors import DeploycoreError
from deploycore.git import RepositoryCache, export
from tests.git.servers import EXECUTABLE, LINK, nothing_left, snapshot, source
from tests.network import Listening
from tests.processes import Process

TIMES = 200


class Relay(Listening):
    """Passes a connection on, and cuts it after so many bytes from the server."""

    def __init__(self, port):
        self.left = 0
        self._to = port
        super().__init__()

    def _handle(self, client):
        server = socket.create_connection(("127.0.0.1", self._to))
        threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
        self._answer(client, server)

    def _ask(self, client, server):
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)

    def _answer(self, client, server):
        with client, server, suppress(OSError):
            while self.left > 0 and (data := server.recv(min(self.left, 65536))):
                self.left -= len(data)
                client.sendall(data)
            for end in (client, server):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def contents(make):
    """A repository, and its files before and after a change."""
    chance = random.Random(3)
    before = {f"d{n % 9}/{n}.txt": chance.randbytes(40) * chance.randrange(60) for n in range(60)}
    before |= {
        "run": (EXECUTABLE, b"#!"),
        "link": (LINK, b"run"),
        "large": chance.randbytes(40_000),
    }
    after = before | {f"d{n}/{n}.txt": chance.randbytes(200) for n in range(9)}
    made = make("shop", before)
    made.before, made.after = before, after
    return made


@pytest.mark.parametrize("is_redeploy", [False, True], ids=["first", "redeploy"])
def test_a_connection_can_be_interrupted_at_any_byte(
    contents, server, tmp_path, settings, is_redeploy
):
    relay = Relay(server.port)
    place = source(contents.url.replace(str(server.port), str(relay.port)))
    impatient = replace(settings, retries=0)
    releases = tmp_path / "releases"
    cache = RepositoryCache(tmp_path / "cache")
    former = None
    if is_redeploy:
        relay.left = 10**9
        former = releases / "former"
        export(place, "main", former, cache=cache, settings=settings)
        contents.commit(contents.files(contents.after))
    export(source(contents.url), "main", tmp_path / "plain", settings=settings)
    wanted = snapshot(tmp_path / "plain")
    relay.left = most = 10**9
    export(place, "main", tmp_path / "measured", settings=settings)
    most -= relay.left
    chance, failed = random.Random(1), 0
    (tmp_path / "place").mkdir()
    for number in range(TIMES // 2):
        target = tmp_path / "place" / str(number)
        # An own cache where the commit must come anew.
        used = (
            cache if is_redeploy and not number % 10 else RepositoryCache(tmp_path / f"c{number}")
        )
        relay.left = chance.randrange(most)
        try:
            export(place, "main", target, cache=used, former=former, settings=impatient)
        except DeploycoreError:
            failed += 1
            assert nothing_left(target)
        else:
            assert snapshot(target) == wanted
            target.rename(tmp_path / f"done{number}")
        again = tmp_path / f"again{number}"
        relay.left = 10**9
        export(place, "main", again, cache=used, settings=settings)
        assert snapshot(again) == wanted
    relay.stop()
    assert failed > TIMES // 4


RUNS = """
import os, signal, sys, time
from pathlib import Path
import deploycore.git.run, deploycore.git.wire.http_client
from deploycore.git import RepositoryCache, export
from deploycore.models import CloneUrl

url, cache = sys.argv[1:]
for line in sys.stdin:
    target, former, delay = line.rstrip("\\n").split("\\t")
    began = time.monotonic()
    child = os.fork()
    if not child:
        options = {"former": Path(former), "reuse": "hard-link"} if former else {}
        try:
            place, kept = CloneUrl(url=url), RepositoryCache(Path(cache))
            export(place, "main", Path(target), cache=kept, **options)
        finally:
            os._exit(0)
    if delay:
        time.sleep(float(delay))
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("ended", time.monotonic() - began, flush=True)
"""


def test_a_process_can_be_killed_at_any_moment(contents, tmp_path, settings):
    cache = RepositoryCache(tmp_path / "cache")
    wanted = []
    for files in (contents.before, contents.after):
        contents.commit(contents.files(files))
        plain = tmp_path / f"plain{len(wanted)}"
        export(source(contents.url), "main", plain, settings=settings)
        wanted.append(snapshot(plain))
    chance = random.Random(2)
    command = [sys.executable, "-c", RUNS, contents.url, str(cache.directory)]
    former, complete = "", 0
    with Process(command, stdin=-1, stdout=-1, text=True) as runs:

        def run(target, former="", delay=""):
            runs.stdin.write(f"{target}\t{former}\t{delay}\n")
            runs.stdin.flush()
            word, seconds = runs.stdout.readline().split()
            assert word == "ended"
            return float(seconds)

        # How long one takes is up to the machine, and to what else it does at the time. What
        # ends before it is killed shortens the wait for the next ones, what does not lengthens it.
        longest = 1.5 * min(run(tmp_path / f"unhurried{number}") for number in range(3))
        for number in range(TIMES):
            change = number % 2
            contents.commit(contents.files((contents.before, contents.after)[change]))
            target = tmp_path / "place" / str(number)
            run(target, former, f"{chance.uniform(0, longest):.4f}")
            longest *= 0.8 if target.exists() else 1.25
            if target.exists():
                complete += 1
                assert snapshot(target) == wanted[change]
            if number % 20 == 0:
                done = tmp_path / "place" / f"done{number}"
                export(source(contents.url), "main", done, cache=cache, settings=settings)
                assert snapshot(done) == wanted[change]
                former = str(done)
                hidden = [name for name in os.listdir(done.parent) if name.startswith(".")]
                assert hidden == []
    assert TIMES / 8 < complete < TIMES * 7 / 8
