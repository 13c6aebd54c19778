"""SSH servers that follow the protocol and try to keep the client busy: each attempt ends soon."""

from __future__ import annotations

import asyncio
import resource
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from deploycore.errors import GitError, KeyRefused, LimitExceeded, RemoteRefused
from deploycore.git import export
from tests.git.servers import nothing_left
from tests.hostile.ssh_servers import NO_HANG, SETTINGS, Hostile, hostile_server, refuse

MEBIBYTE = 1024 * 1024
MEMORY_MOST = 40 * MEBIBYTE


@pytest.fixture
def memory():
    """Fails a test in which this process came to need much more memory than before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MEMORY_MOST


@pytest.mark.parametrize(
    ("pieces", "said"), [(1, "Max packet size exceeded"), (1000, "too many banners")]
)
def test_a_banner_of_ten_megabytes_is_not_read_completely(tmp_path, target, pieces, said):
    class Talking(Hostile):
        def begin_auth(self, username):
            for _ in range(pieces):
                self.connection.send_auth_banner("\033[31mHello\033[0m" * (700_000 // pieces))
            return True

    with hostile_server(Talking, tmp_path, refuse) as (source, noted):
        with pytest.raises(GitError, match=said) as caught:
            export(source, "main", target, settings=SETTINGS)
        assert (caught.value.message.isprintable(), noted) == (True, [])
    assert nothing_left(target)


def test_a_hundred_megabytes_of_colored_messages_end_the_connection(tmp_path, target, memory):
    sent = []

    async def talk(process):
        with suppress(Exception):  # until the client leaves
            for _ in range(1600):
                process.stderr.write(b"\033[2J\033[31mfatal: \033]0;title\007x" * 2048)
                await process.stderr.drain()
                sent.append(1)
        await process.stdin.read()

    with hostile_server(Hostile, tmp_path, talk) as (source, _):
        with pytest.raises(LimitExceeded, match="too many messages") as caught:
            export(source, "main", target, settings=SETTINGS)
        assert caught.value.message.isprintable()
    assert len(sent) < 800
    assert nothing_left(target)


def test_a_channel_that_never_closes_ends_at_the_timeout(tmp_path, target):
    async def talk(process):
        process.stderr.write(b"ERROR: nothing for you\n")
        process.stdout.write_eof()
        await asyncio.sleep(NO_HANG)

    with hostile_server(Hostile, tmp_path, talk) as (source, _):
        settings = replace(SETTINGS, read_timeout=1)
        started = time.monotonic()
        with pytest.raises(GitError, match=r"nothing for you|in time|closed before"):
            export(source, "main", target, settings=settings)
        assert time.monotonic() - started < NO_HANG
    assert nothing_left(target)


def test_the_number_of_key_exchanges_is_limited(tmp_path, target, memory):
    exchanges = []

    async def talk(process):
        connection = process.channel.get_connection()
        with suppress(Exception):  # until the client leaves
            while not connection.is_closed():
                if connection._kex is None and not connection._kexinit_sent:
                    connection._send_kexinit()
                    connection._kexinit_sent = True
                    exchanges.append(1)
                await asyncio.sleep(0)

    with hostile_server(Hostile, tmp_path, talk) as (source, _):
        settings = replace(SETTINGS, read_timeout=2, total_timeout=10)
        started = time.monotonic()
        with pytest.raises(GitError, match=r"did not answer in time|too many messages"):
            export(source, "main", target, settings=settings)
        assert time.monotonic() - started < NO_HANG
    assert len(exchanges) > 1
    assert nothing_left(target)


def test_requests_of_a_server_are_not_answered(tmp_path, target):
    """Neither at once nor after the key was accepted."""

    class Asking(Hostile):
        offers = ("publickey", "password")

        def validate_public_key(self, username, key):
            self.noted.append("publickey")
            return False

    with hostile_server(Asking, tmp_path, refuse) as (source, noted):
        with pytest.raises(KeyRefused, match="does not accept the key"):
            export(source, "main", target, settings=SETTINGS)
        assert set(noted) == {"publickey"}

    class AlsoAsking(Asking):
        def begin_auth(self, username):
            self.connection.set_extra_info(asked=True)
            return True

        def validate_public_key(self, username, key):
            self.noted.append("publickey")
            return True

        def auth_completed(self):
            self.noted.append("signed in")

    other = tmp_path / "other"
    other.mkdir()
    with hostile_server(AlsoAsking, other, refuse) as (source, noted):
        with pytest.raises(RemoteRefused, match="nothing for you"):
            export(source, "main", target, settings=SETTINGS)
        assert not [each for each in noted if each.startswith(("password", "keyboard"))]
