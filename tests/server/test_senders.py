"""Senders: their addresses, their shares of memory, and their form in the log."""

from __future__ import annotations

import asyncio
import logging

import pytest

from deploycore.cli.dispatch import run
from deploycore.server.bodies import Room, Share
from deploycore.server.problems import Refusal
from deploycore.server.senders import forwarded_address, sender_of
from deploycore.text.log_format import LogFormatter

ESCAPE = "\x1b[31m"


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7:4711"], "203.0.113.7"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["2001:DB8:0::1"], "2001:db8::1"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        ([f"fe80::1%{ESCAPE}"], "fe80::1"),
        ([], None),
        ([""], None),
        (["unknown"], None),
        ([f"203.0.113.7{ESCAPE}"], None),
        (["1" * 60_000], None),
        (["203.0.113.7, "], None),
    ],
)
def test_the_sender_is_the_client_address_seen_by_the_proxy(values, address):
    assert forwarded_address(values) == address


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
def test_an_ipv6_network_counts_as_one_sender(one, other, is_same):
    assert (sender_of(one) == sender_of(other)) == is_same


@pytest.mark.parametrize("behind_proxy", [True, False])
@pytest.mark.parametrize("given", [ESCAPE, "x" * 60_000, f"1.2.3.4{ESCAPE}", "a\nb"])
def test_an_address_header_from_an_untrusted_sender_is_not_logged(
    serving, secret, caplog, given, behind_proxy
):
    with caplog.at_level(logging.DEBUG):
        serving(behind_proxy=behind_proxy).get(
            "/healthz", headers={"X-Forwarded-For": given.encode("latin-1")}
        )
    assert ESCAPE not in caplog.text
    assert max(map(len, caplog.text.splitlines())) < 1000


def test_the_address_of_the_client_behind_a_proxy_is_logged(serving, secret, caplog):
    with caplog.at_level(logging.INFO):
        serving(behind_proxy=True).get("/healthz", headers={"X-Forwarded-For": "203.0.113.7"})
    assert "from 203.0.113.7" in caplog.text


@pytest.mark.parametrize(
    "text", [ESCAPE, "a\nb\rc", "\x9b31m", "\u202egnp", "\ud800", "x" * 100_000, "\x07" * 50_000]
)
def test_a_log_line_is_one_printable_line_of_bounded_length(text):
    record = logging.LogRecord("x", logging.WARNING, "", 0, "said: %s", (text,), None)
    line = LogFormatter("%(levelname)s %(message)s").format(record)
    assert line.isprintable()
    assert line.startswith("WARNING said: ")
    assert len(line) <= 4000


def test_a_traceback_keeps_its_lines_and_is_printable():
    try:
        raise ValueError(ESCAPE)
    except ValueError as error:
        given = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), given)
    lines = LogFormatter("%(message)s").format(record).split("\n")
    assert len(lines) > 3
    assert all(each.isprintable() for each in lines)


def test_a_sender_can_use_only_a_share_of_the_body_memory():
    room = Room(100, 40)
    with room.share("one") as first, room.share("one") as second, room.share("other") as other:
        first.take(30)
        with pytest.raises(Refusal, match="at once"):
            second.take(11)
        second.take(10)
        other.take(40)


def test_when_memory_is_full_the_sender_with_the_most_loses_a_body():
    async def held(room: Room, sender: str, count: int, has_begun: asyncio.Event) -> None:
        with room.share(sender) as share:
            async with share.arriving(3600):
                share.take(count)
                has_begun.set()
                await asyncio.sleep(3600)

    async def go() -> None:
        room, begun = Room(100, 60), [asyncio.Event() for _ in range(3)]
        tasks = [
            asyncio.create_task(held(room, sender, count, has_begun))
            for sender, count, has_begun in zip(
                ["many", "many", "few"], [30, 30, 40], begun, strict=True
            )
        ]
        for each in begun:
            await each.wait()
        with room.share("new") as share:
            share.take(20)
            with pytest.raises(Refusal, match="needed the memory") as refused:
                await tasks[0]
            assert refused.value.status == 503
            assert not tasks[1].done()
            share.take(10)
        for each in tasks[1:]:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with room.share("one") as one, room.share("other") as other:  # all is free again
            one.take(60)
            other.take(40)

    asyncio.run(go())


def test_the_newest_body_of_a_sender_replaces_its_oldest():
    async def go() -> None:
        room = Room(100, 40)
        with room.share("one") as held, room.share("one") as newest:
            async with newest.arriving(3600):
                with pytest.raises(Refusal, match="needed the memory"):  # noqa: PT012
                    async with held.arriving(3600):
                        held.take(40)
                        newest.take(10)
                        await asyncio.sleep(3600)
            assert (held.taken, newest.taken) == (0, 10)

    asyncio.run(go())


def test_without_a_memory_limit_no_memory_is_reserved():
    share = Share()
    share.take(10**12)
    assert share.taken == 0


def test_a_command_without_log_setup_writes_printable_lines(monkeypatch, capsys):
    monkeypatch.setattr(logging.lastResort, "formatter", None)
    with pytest.raises(SystemExit):
        run(["plugins"], commands=["plugins"])
    record = logging.LogRecord("x", logging.WARNING, "", 0, "said: %s", (ESCAPE,), None)
    logging.lastResort.handle(record)
    assert ESCAPE not in capsys.readouterr().err
