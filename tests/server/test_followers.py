"""Logs as server-sent events."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import UTC, datetime

import pytest

from deploycore.deploy.events import DeployEvent
from deploycore.server.followers import Followers, position_of
from deploycore.server.problems import Refusal
from deploycore.server.subscribers import Stream

LOG = "/api/v1/deployments/{}/log"


@pytest.fixture
def running(installation, secret):
    """A deployment that runs: ``running.say("text")``, ``running.end()``."""

    class Running:
        def __init__(self):
            self.record = installation.store.deployments.request("shop", ref="main")
            self.number = self.record.id
            self.log = installation.engine.logs.open("shop", self.number)

        def say(self, *texts):
            for text in texts:
                at = datetime.now(UTC)
                self.log.write(DeployEvent(self.number, "shop", at, "output", "building", text))

        def log_size(self):
            return installation.engine.logs.size("shop", self.number)

        def end(self):
            installation.store.deployments.advance(self.number, "failed")

    made = Running()
    yield made
    made.log.close()


@pytest.fixture
def follow(client, token):
    """Follows the log of a deployment to its end: ``follow(7, last="120")``; gives events."""
    header = token("read")

    def read(number, last=None, query=""):
        headers = {**header, "Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = last
        answer = client.get(LOG.format(number) + query, headers=headers)
        assert answer.headers["content-type"].startswith("text/event-stream")
        return events_of(answer.text)

    return read


def events_of(text: str) -> list[tuple[str, str, dict]]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return found


def texts_of(events) -> list[str]:
    return [data["text"] for kind, _, data in events if kind == "line"]


def test_a_finished_log_is_sent_whole_and_ends_with_the_state(running, follow):
    running.say(*(f"line {number}" for number in range(500)))
    running.end()
    events = follow(running.number)
    assert texts_of(events) == [f"line {number}" for number in range(500)]
    assert events[-1][0] == "end"
    assert events[-1][2] == {"deployment": running.number, "state": "failed"}


def test_new_lines_are_streamed_as_they_are_written(running, follow):
    running.say("first")

    def go_on():
        time.sleep(0.5)
        running.say("second", "ein Wort wie größe\nund eine Zeile")
        running.end()

    thread = threading.Thread(target=go_on)
    thread.start()
    events = follow(running.number)
    thread.join()
    assert texts_of(events) == ["first", "second", "ein Wort wie größe\nund eine Zeile"]


def test_a_reconnecting_client_resumes_from_any_event(running, follow):
    running.say(*(f"line {number} – é" for number in range(20)))
    running.end()
    events = follow(running.number)
    for place, (_, last, _) in enumerate(events[:-1]):
        assert follow(running.number, last) == events[place + 1 :]
    assert texts_of(follow(running.number, query=f"?after={events[4][1]}")) == texts_of(events)[5:]


@pytest.mark.parametrize("last", ["", "x", "-1", "1e3", "٣", "9" * 30, "0"])
def test_an_invalid_event_id_starts_from_the_beginning(running, follow, last):
    running.say("first")
    running.end()
    encoded = last.encode().decode("latin-1")
    assert texts_of(follow(running.number, encoded.encode("latin-1"))) == ["first"]
    assert position_of(last) == 0


def test_a_position_inside_a_line_skips_the_rest_of_that_line(running, follow):
    running.say("first", "second")
    running.end()
    assert texts_of(follow(running.number, "5")) == ["second"]


def test_a_position_past_the_end_sends_only_the_end_event(running, follow):
    running.say("first")
    running.end()
    assert [kind for kind, _, _ in follow(running.number, "99999")] == ["end"]


def test_a_client_with_a_future_position_does_not_move_the_shared_reader(installation, running):
    followers = Followers(installation, most=2)
    running.say("one")
    size = running.log_size()

    async def follow():
        ahead = followers.events(running.record, 2**53, lambda: True)
        honest = followers.events(running.record, 0, lambda: True)
        tasks = [asyncio.ensure_future(_all(each)) for each in (ahead, honest)]
        while not (channel := followers._channels.get(running.number)) or len(
            channel.subscribers
        ) < len(tasks):
            await asyncio.sleep(0.01)
        position = channel.position
        followers.stop()
        for each in tasks:
            await each
        return position

    assert asyncio.run(asyncio.wait_for(follow(), 30)) == size


async def _all(events):
    return [text async for text in events]


def test_the_log_of_an_unknown_deployment_is_a_problem_response(client, token):
    headers = {**token("read"), "Accept": "text/event-stream"}
    answer = client.get(LOG.format(99), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_number_of_followers_is_limited(serving, secret, running, token):
    headers = {**token("read"), "Accept": "text/event-stream"}
    client = serving(followers_most=0)
    answer = client.get(LOG.format(running.number), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "too_many_followers")


def test_one_user_cannot_use_more_than_half_of_all_streams():
    async def none():
        return
        yield

    stream = Stream(40, "40 clients are already following.", hint="Try again later.")
    held = [stream.answer(none(), "user eve") for _ in range(20)]
    with pytest.raises(Refusal) as caught:
        stream.answer(none(), "user eve")
    assert (caught.value.status, caught.value.code) == (503, "too_many_followers")
    stream.answer(none(), "user ada")
    held[0]._ended()
    stream.answer(none(), "user eve")


def test_clients_that_follow_a_log_are_disconnected_when_the_server_stops(installation, running):
    running.say("first")

    async def follow_and_stop():
        followers = Followers(installation, most=1)
        seen = []
        async for each in followers.events(running.record, 0, lambda: True):
            seen.append(each)
            if "first" in each:
                followers.stop()
        return seen

    seen = asyncio.run(follow_and_stop())
    assert "first" in seen[-1]


def test_deleting_a_deployment_disconnects_its_followers(installation, running):
    async def follow_forgotten():
        followers = Followers(installation, most=1)
        events = followers.events(running.record, 0, lambda: True)
        await anext(events)
        running.end()
        installation.store.remove_application("shop")
        return [each async for each in events]

    [last] = asyncio.run(follow_forgotten())
    assert last.startswith("event: error")


def test_the_limit_holds_when_many_followers_connect_at_once(serving, secret, running, token):
    reader = token("read")
    header = [(name.lower().encode(), value.encode()) for name, value in reader.items()]
    path = LOG.format(running.number)
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [*header, (b"accept", b"text/event-stream")],
    }
    client, statuses = serving(followers_most=2), []

    async def come(ended: asyncio.Event) -> None:
        async def receive():
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                if len(statuses) % 10 == 0:
                    ended.set()

        await client.app(dict(scope), receive, send)

    async def come_all():
        ended = asyncio.Event()
        await asyncio.gather(*(come(ended) for _ in range(10)))

    for _ in range(2):  # and they are counted no longer when they have gone
        asyncio.run(come_all())
    assert (statuses.count(200), statuses.count(503)) == (4, 16)
    as_json = client.get(path, headers=reader)  # as the hint of those who may not follow
    assert (as_json.status_code, "items" in as_json.json()) == (200, True)


def test_a_head_request_for_a_log_is_answered_at_once(client, token, running):
    headers = {**token("read"), "Accept": "text/event-stream"}
    answer = client.head(LOG.format(running.number), headers=headers)
    assert answer.headers["content-type"] == "application/json"


def test_a_follower_is_disconnected_when_its_token_is_removed(client, installation, token, running):
    running.say("first")
    headers = {**token("read", name="reader"), "Accept": "text/event-stream"}

    def take_away():
        installation.store.tokens.remove("reader")
        running.say("second")

    timer = threading.Timer(0.5, take_away)
    timer.start()
    events = events_of(client.get(LOG.format(running.number), headers=headers).text)
    assert events[-1][0] == "error"
    assert events[-1][2] == {"code": "authentication_failed"}
    assert texts_of(events)[0] == "first"
