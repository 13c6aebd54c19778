"""Events as a list, and as a stream that can be continued."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event

from deploycore.deploy.events import DeployEvent
from deploycore.server import feed as feeds
from deploycore.server import followers as followings
from deploycore.server import subscribers
from deploycore.server.feed import Feed, Filter, Position, position_text
from deploycore.server.followers import Followers
from deploycore.server.subscribers import Batch, Subscriber
from deploycore.store import DeliveryRecord
from deploycore.store.changes import Mark

V1 = "/api/v1"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Readers look at once again, so that no test waits."""
    monkeypatch.setattr(feeds, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(followings, "_LOOK_SECONDS", 0.01)


@pytest.fixture
def read(client, token):
    header = token("read")

    def ask(**query):
        answer = client.get(f"{V1}/events", headers=header, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


@pytest.fixture
def feed(installation, secret):
    return Feed(installation, most=100)


@pytest.fixture
def store(installation):
    return installation.store


def parsed(text: str) -> list[tuple[str, str, dict]]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


async def until(events, done, *, after=()):
    """Read events until one satisfies ``done``; do things once the stream is ready."""
    seen, waiting = [], list(after)
    async for text in events:
        for each in parsed(text):
            seen.append(each)
            if each[0] == "ready":
                for do in waiting:
                    await asyncio.to_thread(do)
            if done(each):
                await events.aclose()
                return seen
    return seen


def states(seen) -> list[str]:
    return [data["state"] for kind, _, data in seen if kind == "deployment"]


def is_failed(each) -> bool:
    return each[0] == "deployment" and each[2]["state"] == "failed"


def yes() -> bool:
    return True


def test_the_list_has_deployments_and_requests_newest_first(read, store):
    first = store.triggers.add("shop", cause="push", actor="ada", ref="main")
    ran = store.deployments.request("shop", ref="main")
    second = store.triggers.add("shop", cause="poll")
    items = read()["items"]
    ids = [(each["kind"], (each["deployment"] or each["request"])["id"]) for each in items]
    assert ids == [("request", second.id), ("deployment", ran.id), ("request", first.id)]
    assert items[2]["request"]["actor"] == "ada"


def test_pages_of_the_list_skip_nothing(read, store, client, token, create):
    create("blog")
    for number in range(7):
        store.triggers.add(("shop", "blog")[number % 2], cause="push")
        store.deployments.request(("shop", "blog")[number % 2], ref="main")
    header = token("read")
    for query, count in (("", 14), ("&application=blog", 6)):
        found, address = [], f"{V1}/events?limit=3{query}"
        while address:
            page = client.get(address, headers=header).json()
            found += [(e["kind"], (e["deployment"] or e["request"])["id"]) for e in page["items"]]
            address = page["next"]
        assert len(found) == len(set(found)) == count


def test_a_stream_has_only_the_requested_events(feed, store, create):
    create("blog")
    missed = store.deployments.request("blog", ref="main")
    store.triggers.add("shop", cause="push")
    place = position_text(Mark(0, 0, 0))

    def happen():
        store.deployments.request("shop", ref="main")
        store.triggers.add("blog", cause="push")
        store.deployments.advance(missed.id, "authenticating")
        judged(store)

    def has_begun(each):
        return each[0] == "deployment" and each[2]["state"] == "authenticating"

    async def follow():
        wanted = Filter("blog", frozenset({"deployment"}))
        events = feed.events(Position.of(place), yes, wanted)
        return await until(events, has_begun, after=[happen])

    seen = asyncio.run(follow())
    assert states(seen) == ["queued", "authenticating"]
    assert {kind for kind, _, _ in seen} <= {"deployment", "ready", "position"}
    assert {data["application"] for kind, _, data in seen if kind == "deployment"} == {"blog"}


def test_a_client_is_told_the_position_of_events_that_it_does_not_want(feed, store):
    async def follow():
        def is_position(each):
            return each[0] == "position"

        wanted = Filter(None, frozenset({"delivery"}))
        ask = lambda: store.triggers.add("shop", cause="push")  # noqa: E731
        other = feed.events(None, yes)  # keeps the reader going meanwhile
        await anext(other), await anext(other)
        first = await until(feed.events(None, yes, wanted), is_position, after=[ask])
        position = Position.of(first[-1][1])
        again = feed.events(position, yes, Filter(None, frozenset({"request"})))
        second = await until(again, lambda each: each[0] == "ready")
        await other.aclose()
        return first, second

    first, second = asyncio.run(follow())
    assert [kind for kind, _, _ in first] == ["ready", "position"]
    assert first[-1][2] == {"position": first[-1][1]}
    assert [kind for kind, _, _ in second] == ["ready"]  # what was left out is not sent later


def test_an_unknown_application_and_an_invalid_position_are_rejected(client, token):
    header = token("read")
    for query, status in (
        *(("application=nothing", 404), ("before=x", 422), ("after=1", 422)),
        *(("kind=push", 422), ("kind=request,", 422)),
    ):
        assert client.get(f"{V1}/events?{query}", headers=header).status_code == status


def test_new_deployments_and_their_states_are_sent(feed, store):
    def happen():
        record = store.deployments.request("shop", ref="main")
        store.deployments.advance(record.id, "authenticating")

        def fail():
            store.deployments.advance(record.id, "failed")

        threading.Timer(0.05, fail).start()

    seen = asyncio.run(until(feed.events(None, yes), is_failed, after=[happen]))
    assert seen[0][0] == "ready"
    assert states(seen)[-2:] == ["authenticating", "failed"]
    assert all(Position.of(place) for _, place, _ in seen)


def test_requests_and_changes_of_providers_are_sent(feed, store, installation):
    made = []

    def ask():
        made.append(store.triggers.add("shop", cause="push", actor="ada"))

    def settle():
        store.triggers.settle([made[0].id], error_code="not_found")
        installation.add_provider("other", "acme", {}, {"token": SecretStr("hunter2-of-acme")})

    async def follow():
        return await until(
            feed.events(None, yes), lambda each: each[0] == "provider", after=[ask, settle]
        )

    seen = asyncio.run(follow())
    assert seen[-1][2] == {"name": "other", "removed": False}
    assert next(data["actor"] for kind, _, data in seen if kind == "request") == "ada"


def test_a_client_that_reconnects_gets_what_it_missed(feed, store):
    record = store.deployments.request("shop", ref="main")

    def advance(state):
        return lambda: store.deployments.advance(record.id, state)

    async def follow():
        other = feed.events(None, yes)  # keeps the reader going meanwhile
        await anext(other), await anext(other)
        first = await until(
            feed.events(None, yes),
            lambda each: each[0] == "deployment",
            after=[advance("authenticating")],
        )
        await asyncio.to_thread(advance("resolving"))
        await anext(other), await anext(other)
        again = feed.events(Position.of(first[-1][1]), yes)
        second = await until(again, is_failed, after=[advance("failed")])
        await other.aclose()
        return first, second

    first, second = asyncio.run(follow())
    assert states(first) == ["authenticating"]
    assert states(second) == ["resolving", "failed"]


def judged(store, outcome="ignored", **more):
    """Records a delivery as a server does."""
    texts = dict.fromkeys(("message", "ref", "actor", "sender", "delivery"), "")
    at = datetime.now(UTC)
    given = texts | {"event": "push", "commit": None, "trigger": None, "reason": "another_ref"}
    given |= {"received_at": at, "first_at": at} | more
    store.deliveries.add([DeliveryRecord("shop", outcome, **given)])


def test_deliveries_are_listed_with_their_verdict(read, store):
    judged(store)
    judged(store, "refused", reason="bad_signature")
    store.triggers.add("shop", cause="push")
    found = read(kind="delivery")["items"]
    assert [each["delivery"]["outcome"] for each in found] == ["refused", "ignored"]
    assert found[1]["delivery"]["message"] == "The push is to another branch or tag."
    assert {each["kind"] for each in read()["items"]} == {"delivery", "request"}
    assert [each["kind"] for each in read(kind="request")["items"]] == ["request"]
    assert {each["kind"] for each in read(kind="request,deployment")["items"]} == {"request"}
    assert read(kind="provider")["items"] == []
    assert read(kind="deployment", application="shop")["items"] == []
    first = read(kind="delivery", limit=1)
    before = first["next"].partition("before=")[2].partition("&")[0]
    assert read(kind="delivery", before=before)["items"] == found[1:]


def test_a_stream_has_deliveries_too(feed, store, installation, secret):
    judged(store)
    place = position_text(store.changes.mark())

    async def follow():
        def is_refused(each):
            return each[0] == "delivery" and each[2]["outcome"] == "refused"

        refuse = lambda: judged(store, "refused", reason="stale")  # noqa: E731
        return await until(feed.events(None, yes), is_refused, after=[refuse])

    seen = [data for kind, _, data in asyncio.run(follow()) if kind == "delivery"]
    assert [(each["outcome"], each["application"]) for each in seen] == [("refused", "shop")]

    async def again():
        events = Feed(installation, most=1).events(Position.of(place), yes)
        return await until(events, lambda each: each[0] == "ready")

    told = [data["outcome"] for kind, _, data in asyncio.run(again()) if kind == "delivery"]
    assert told == ["refused"]


def test_a_position_from_an_earlier_version_misses_no_delivery():
    assert Position.of("0123abcd.5.6.7").mark == Mark(6, 7, 2**31 - 1)
    assert Position.of("0123abcd.5.6.7.8").mark == Mark(6, 7, 8)


def test_after_a_restart_the_current_state_is_sent(installation, store, secret):
    record = store.deployments.request("shop", ref="main")
    place = position_text(store.changes.mark())
    store.deployments.advance(record.id, "failed")
    later = store.deployments.request("shop", ref="main")

    async def follow():
        events = Feed(installation, most=1).events(Position.of(place), yes)
        return await until(events, lambda each: each[0] == "ready")

    seen = asyncio.run(follow())
    told = [(data["id"], data["state"]) for kind, _, data in seen if kind == "deployment"]
    assert told == [(record.id, "failed"), (later.id, "queued")]


def test_a_client_that_was_away_too_long_is_asked_to_reload(
    installation, store, secret, monkeypatch
):
    monkeypatch.setattr("deploycore.store.changes.MOST", 3)
    place = Position.of(position_text(store.changes.mark()))
    for _ in range(5):
        store.triggers.add("shop", cause="push", settled=True)

    async def follow():
        events = Feed(installation, most=1).events(place, yes)
        return await until(events, lambda each: each[0] == "ready")

    assert next(kind for kind, _, _ in asyncio.run(follow())) == "reset"


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "zzzzzzzz.1.1.1", "٣" * 8, "0" * 500])
def test_an_invalid_position_starts_from_the_present(text):
    assert Position.of(text) is None


def test_many_followers_cause_only_one_store_query(feed, store, installation, secret):
    """Of fifty clients of everything and fifty of a log, and of one each, as many statements."""
    record = store.deployments.request("shop", ref="main")
    followers = Followers(installation, most=100)

    async def count(clients: int) -> int:
        streams = []
        for _ in range(clients):
            streams += [feed.events(None, yes), followers.events(record, 0, yes)]
        readers = [asyncio.create_task(_drain(each)) for each in streams]
        await asyncio.sleep(0.3 + clients * 0.02)  # they have caught up
        looks, statements = [], []
        listen = lambda *a: statements.append(a[2])  # noqa: E731
        original = feed._look

        def look(watch):
            looks.append(1)
            return original(watch)

        feed._look = look
        event.listen(Engine, "before_cursor_execute", listen)
        while len(looks) < 20:
            await asyncio.sleep(0.01)
        event.remove(Engine, "before_cursor_execute", listen)
        feed._look = original
        for each in readers:
            each.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        return len(statements)

    async def both():
        return await count(1), await count(50)

    few, many = asyncio.run(both())
    assert many < 3 * few + 50


async def _drain(stream) -> None:
    async for _ in stream:
        pass


def test_a_slow_client_reads_the_log_itself_and_misses_nothing(
    installation, store, secret, monkeypatch
):
    monkeypatch.setattr(subscribers, "_WAITING_MOST", 2)
    record = store.deployments.request("shop", ref="main")
    log = installation.engine.logs.open("shop", record.id)

    def say(number):
        at = datetime.now(UTC)
        log.write(DeployEvent(record.id, "shop", at, "output", "building", f"line {number}"))

    async def follow():
        events = Followers(installation, most=1).events(record, 0, yes)
        seen, said = [], 0
        async for text in events:
            seen += [data["text"] for kind, _, data in parsed(text) if kind == "line"]
            while said < 40:
                say(said)
                said += 1
                await asyncio.sleep(0.03)  # several looks, while this client reads nothing
            store.deployments.advance(record.id, "failed") if said == 40 else None
            said = 41
        return seen

    say("first")
    seen = asyncio.run(follow())
    assert seen == ["line first", *(f"line {number}" for number in range(40))]
    log.close()


def test_the_queue_of_a_client_is_bounded(monkeypatch):
    monkeypatch.setattr(subscribers, "_WAITING_MOST", 3)

    async def fill():
        client = Subscriber(yes)
        for place in range(1, 10):
            client.put(Batch(((place, str(place)),), str(place)))
        return client, [each.text async for each in client]

    client, texts = asyncio.run(fill())
    assert (texts, client.is_behind) == (["1", "2", "3"], True)


def test_a_stream_requires_a_token_and_ends_when_it_is_removed(client, token, installation):
    events = {"Accept": "text/event-stream"}
    headers = events | token("read", name="reader")
    assert client.get(f"{V1}/events", headers=events).status_code == 401

    def remove():
        while not client.application.feed._subscribers:
            time.sleep(0.01)
        installation.store.tokens.remove("reader")

    threading.Thread(target=remove, daemon=True).start()
    seen = parsed(client.get(f"{V1}/events", headers=headers).text)
    assert (seen[0][0], seen[-1][0]) == ("ready", "error")
    assert seen[-1][2] == {"code": "authentication_failed"}


def test_the_number_of_followers_is_limited(serving, secret, token):
    headers = {**token("read"), "Accept": "text/event-stream"}
    answer = serving(followers_most=0).get(f"{V1}/events", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "too_many_followers")


def test_clients_are_disconnected_when_the_server_stops(feed):
    async def follow_and_stop():
        async for text in feed.events(None, yes):
            if "ready" in text:
                feed.stop()

    asyncio.run(asyncio.wait_for(follow_and_stop(), 30))


def test_a_client_with_a_future_position_does_not_block_the_log_for_others(
    installation, store, secret
):
    record = store.deployments.request("shop", ref="main")
    log = installation.engine.logs.open("shop", record.id)
    followers = Followers(installation, most=9)

    async def follow():
        liar = followers.events(record, 10**9, yes)
        waiting = asyncio.create_task(_drain(liar))
        while not followers._channels:
            await asyncio.sleep(0.01)
        at = datetime.now(UTC)
        log.write(DeployEvent(record.id, "shop", at, "output", "building", "one"))
        async for text in followers.events(record, 0, yes):
            if "one" in text:
                break
        waiting.cancel()

    asyncio.run(asyncio.wait_for(follow(), 30))
    log.close()
