"""Webhooks of a fake git host: which there are, and their deliveries, made in the background.

What an event says and how it is signed is the host's own; here is what hosts have in common: one
delivery after another to each address, attempts again when there is no answer, and a record of
what was sent.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from deploycore.configuration import is_loopback
from deploycore.events import WebhookDelivery
from deploycore.testing.host import LoopbackHost
from deploycore.testing.messages import Answer, Request, json_answer

__all__ = [
    "Delivery",
    "DeliveryRules",
    "Event",
    "Hook",
    "Listener",
    "ShownDeployment",
    "ShownStatus",
    "Webhooks",
    "hmac_sha256",
]

REMEMBERED_DELIVERIES = 10_000


@dataclass(frozen=True)
class Hook:
    """A webhook that somebody registered.

    Attributes:
        id: The host's identifier.
        repository: The full name of the repository that it is for.
        events: The host's names of the events that it asks for.
    """

    id: str
    repository: str
    url: str
    events: tuple[str, ...] = ()
    secret: SecretStr | None = None
    active: bool = True
    description: str = ""


@dataclass(frozen=True)
class Event:
    """Something to tell webhooks of.

    Attributes:
        name: The host's name of it, which hooks ask for.
        headers: But for those that are another for each hook or attempt.
    """

    name: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one hook, as far as it has come.

    Attributes:
        number: From 1, in the order in which events happened.
        headers: As sent at the first attempt.
        statuses: What each attempt was answered; ``None`` where there was no answer.
        done: Whether there will be no further attempt.
    """

    number: int
    hook: Hook
    event: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    statuses: tuple[int | None, ...] = ()
    done: bool = False

    @property
    def is_accepted(self) -> bool:
        """Whether the last attempt was answered with a status of 200 to 299."""
        last = self.statuses[-1] if self.statuses else None
        return last is not None and 200 <= last < 300


@dataclass(frozen=True)
class ShownStatus:
    """What a fake host shows about a commit, in deploycore's words."""

    key: str
    state: str
    name: str = ""
    description: str = ""
    url: str = ""


@dataclass(frozen=True)
class ShownDeployment:
    """What a fake host shows about a deployment of a commit, in deploycore's words."""

    environment: str
    state: str
    description: str = ""
    url: str = ""


@dataclass(frozen=True)
class DeliveryRules:
    """How a host delivers.

    Attributes:
        timeout: Seconds to wait for an answer.
        attempts: How often a delivery is tried in all.
        pause: Seconds between attempts; fake hosts are in a hurry.
        is_failure: From the status, ``None`` for no answer, to whether another attempt is due.
        attempt_header: Where the number of the attempt stands; empty for nowhere.
        body_bytes_most: Larger events are not sent at all.
    """

    timeout: float = 10.0
    attempts: int = 1
    pause: float = 0.05
    is_failure: Callable[[int | None], bool] = lambda status: status is None or status >= 500
    attempt_header: str = ""
    body_bytes_most: int = 25 * 1024 * 1024


class Webhooks:
    """All webhooks of a fake host. Safe to use from several threads.

    It sends to this machine alone: an address elsewhere is never answered.

    Args:
        rules: How it delivers.
        sign: From a hook and a body to the headers that prove where it comes from, and what
            else is another for each hook.
    """

    def __init__(
        self, rules: DeliveryRules, sign: Callable[[Hook, bytes], Mapping[str, str]]
    ) -> None:
        self.rules = rules
        self._sign = sign
        self._changed = threading.Condition()
        self._hooks: dict[str, Hook] = {}
        self._deliveries: deque[Delivery] = deque(maxlen=REMEMBERED_DELIVERIES)
        self._senders: dict[str, _Sender] = {}
        self._number = 0
        self._pending = 0
        self._stopping = threading.Event()

    def put(self, hook: Hook) -> Hook:
        """Add a hook, or change the one of this identifier."""
        with self._changed:
            self._hooks[hook.id] = hook
        return hook

    def remove(self, id: str) -> None:
        """Remove a hook. Deliveries that are queued are still sent."""
        with self._changed:
            self._hooks.pop(id, None)

    def remove_all(self, repository: str) -> None:
        """Remove the hooks of a repository."""
        for hook in self.of(repository):
            self.remove(hook.id)

    def clear(self) -> None:
        """Remove all hooks."""
        with self._changed:
            self._hooks.clear()

    def of(self, repository: str) -> Sequence[Hook]:
        """A repository's hooks, in the order of adding."""
        with self._changed:
            return [hook for hook in self._hooks.values() if hook.repository == repository]

    def find(self, repository: str, id: str) -> Hook | None:
        """A hook of a repository by its identifier."""
        return next((hook for hook in self.of(repository) if hook.id == id), None)

    @property
    def all(self) -> Sequence[Hook]:
        """The hooks of all repositories."""
        with self._changed:
            return list(self._hooks.values())

    @property
    def secrets(self) -> Iterable[SecretStr]:
        """Those of the hooks that there are."""
        with self._changed:
            return [hook.secret for hook in self._hooks.values() if hook.secret is not None]

    def fire(self, repository: str, event: Event) -> None:
        """Tell an event to all active hooks of a repository that ask for it."""
        with self._changed:
            for hook in self.of(repository):
                if hook.active and event.name in hook.events:
                    self.send(hook, event)

    def send(self, hook: Hook, event: Event) -> None:
        """Tell an event to one hook, whatever it asks for: a ping, say."""
        with self._changed:
            headers = {**event.headers, **self._sign(hook, event.body)}
            self._enqueue(Delivery(0, hook, event.name, event.body, headers))

    def send_again(self, delivery: Delivery) -> None:
        """Send what was sent once more, with the same headers: a replay."""
        with self._changed:
            self._enqueue(replace(delivery, statuses=(), done=False))

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """What was sent, or is about to be; the oldest first."""
        with self._changed:
            return list(self._deliveries)

    def wait(self, seconds: float = 30.0) -> bool:
        """Wait until everything is delivered or given up.

        Returns:
            Whether that has come to pass in this time.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._pending == 0, seconds)

    def stop(self) -> None:
        """End at once: what is on its way is given up; harmless when done already."""
        self._stopping.set()
        with self._changed:
            senders = list(self._senders.values())
            self._senders.clear()
        for sender in senders:
            sender.stop()

    def _enqueue(self, delivery: Delivery) -> None:
        if self._stopping.is_set():
            return
        self._number += 1
        delivery = replace(delivery, number=self._number)
        self._deliveries.append(delivery)
        if len(delivery.body) > self.rules.body_bytes_most:
            self._record(replace(delivery, done=True))
            return
        self._pending += 1
        sender = self._senders.get(delivery.hook.id)
        if sender is None:
            sender = _Sender(self.rules, self._stopping, self._progress)
            self._senders[delivery.hook.id] = sender
        sender.queue.put(delivery)

    def _progress(self, delivery: Delivery) -> None:
        with self._changed:
            self._record(delivery)
            if delivery.done:
                self._pending -= 1
                self._changed.notify_all()

    def _record(self, delivery: Delivery) -> None:
        for place, known in enumerate(self._deliveries):
            if known.number == delivery.number:
                self._deliveries[place] = delivery


class _Sender:
    """Delivers to one hook, one after another, in a thread of its own."""

    def __init__(
        self,
        rules: DeliveryRules,
        stopping: threading.Event,
        progress: Callable[[Delivery], None],
    ) -> None:
        self.queue: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._rules = rules
        self._stopping = stopping
        self._progress = progress
        self._connection: http.client.HTTPConnection | None = None
        self._thread = threading.Thread(target=self._run, name="webhook-sender", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.queue.put(None)
        while self._thread.is_alive():
            connection = self._connection
            if connection is not None and connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(2)  # wakes the thread that waits for an answer
            self._thread.join(0.05)

    def _run(self) -> None:
        while delivery := self.queue.get():
            for attempt in range(1, self._rules.attempts + 1):
                status = self._attempt(delivery, attempt)
                again = self._rules.is_failure(status) and attempt < self._rules.attempts
                again = again and not self._stopping.is_set()
                delivery = replace(delivery, statuses=(*delivery.statuses, status), done=not again)
                self._progress(delivery)
                if not again or self._stopping.wait(self._rules.pause):
                    break
            if not delivery.done:
                self._progress(replace(delivery, done=True))

    def _attempt(self, delivery: Delivery, number: int) -> int | None:
        """The status of the answer; ``None`` where there is none, in time."""
        header = self._rules.attempt_header
        headers = {**delivery.headers, **({header: str(number)} if header else {})}
        deadline = time.monotonic() + self._rules.timeout
        try:
            url = urlsplit(delivery.hook.url)
            if self._stopping.is_set() or url.scheme != "http":
                return None
            status = self._post(url, delivery.body, headers)
        except (OSError, ValueError, http.client.HTTPException):
            return None
        return status if time.monotonic() <= deadline else None

    def _post(self, url: SplitResult, body: bytes, headers: Mapping[str, str]) -> int | None:
        host = url.hostname or ""
        if not is_loopback(host):
            return None
        connection = http.client.HTTPConnection(host, url.port, timeout=self._rules.timeout)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._connection = connection
        try:
            connection.request("POST", target, body, dict(headers))
            return connection.getresponse().status
        finally:
            self._connection = None
            connection.close()


class Listener(LoopbackHost):
    """Where webhooks can send to: keeps what comes, and answers 202.

    Let it fail by its ``faults``.

    Attributes:
        received: In the order of coming, each attempt.
    """

    def __init__(self) -> None:
        super().__init__()
        self.received: list[WebhookDelivery] = []

    @property
    def address(self) -> str:
        """What to register."""
        return f"{self.url}/webhook"

    def answer(self, request: Request) -> Answer:
        """Whatever comes is accepted."""
        self.received.append(WebhookDelivery(request.headers, request.body))
        return json_answer({}, 202)


def hmac_sha256(secret: SecretStr, body: bytes) -> str:
    """The hexadecimal HMAC-SHA256 (RFC 2104) that many hosts sign with."""
    key = secret.get_secret_value().encode()
    return hmac.new(key, body, hashlib.sha256).hexdigest()
