"""The webhooks of a sandbox, and their deliveries, which are sent in the background.

The content and the signature of an event differ between hosts. This module has what hosts have in
common: deliveries to an address are sent one after another, failed deliveries are retried, and
everything that was sent is recorded.
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
    """A registered webhook.

    Attributes:
        id: The host's identifier.
        repository: The full name of the repository that it is for.
        url: The address to send to.
        events: The events that it subscribes to, by the host's names.
        secret: The secret; ``None`` if it has none.
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
    """An event to send to webhooks.

    Attributes:
        name: The host's name of the event.
        body: The body.
        headers: The headers, except those that differ for each webhook or attempt.
    """

    name: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Delivery:
    """An event that is being sent to a webhook.

    Attributes:
        number: The number of the delivery, from 1, in the order of the events.
        headers: The headers of the first attempt.
        statuses: The status of each attempt's response; ``None`` if there was no response.
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
    """The status of a commit that a sandbox shows, in deploycore's words."""

    key: str
    state: str
    name: str = ""
    description: str = ""
    url: str = ""


@dataclass(frozen=True)
class ShownDeployment:
    """The deployment of a commit that a sandbox shows, in deploycore's words."""

    environment: str
    state: str
    description: str = ""
    url: str = ""


@dataclass(frozen=True)
class DeliveryRules:
    """How a host delivers webhooks.

    Attributes:
        timeout: Seconds to wait for a response.
        attempts: The maximum number of attempts.
        pause: Seconds between attempts. Sandboxes wait less than real hosts.
        is_failure: Returns whether another attempt follows, for a status, or for ``None`` if there
            was no response.
        attempt_header: The header with the number of the attempt; empty for none.
        body_bytes_most: The maximum size of an event. Larger ones are not sent.
    """

    timeout: float = 10.0
    attempts: int = 1
    pause: float = 0.05
    is_failure: Callable[[int | None], bool] = lambda status: status is None or status >= 500
    attempt_header: str = ""
    body_bytes_most: int = 25 * 1024 * 1024


class Webhooks:
    """All webhooks of a sandbox. It is safe to use from several threads.

    It sends only to this machine. A delivery to another address gets no response.

    Args:
        rules: How it delivers.
        sign: Returns the headers for a webhook and a body that prove the sender, and other headers
            that differ for each webhook.
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
        """Add a webhook, or replace the one with its identifier."""
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
        """Return the webhooks of a repository, in the order of creation."""
        with self._changed:
            return [hook for hook in self._hooks.values() if hook.repository == repository]

    def find(self, repository: str, id: str) -> Hook | None:
        """Return a webhook of a repository by its identifier."""
        return next((hook for hook in self.of(repository) if hook.id == id), None)

    @property
    def all(self) -> Sequence[Hook]:
        """The hooks of all repositories."""
        with self._changed:
            return list(self._hooks.values())

    @property
    def secrets(self) -> Iterable[SecretStr]:
        """The secrets of all webhooks."""
        with self._changed:
            return [hook.secret for hook in self._hooks.values() if hook.secret is not None]

    def fire(self, repository: str, event: Event) -> None:
        """Send an event to all active webhooks of a repository that subscribe to it."""
        with self._changed:
            for hook in self.of(repository):
                if hook.active and event.name in hook.events:
                    self.send(hook, event)

    def send(self, hook: Hook, event: Event) -> None:
        """Send an event to one webhook, whatever it subscribes to, for example a ping."""
        with self._changed:
            headers = {**event.headers, **self._sign(hook, event.body)}
            self._enqueue(Delivery(0, hook, event.name, event.body, headers))

    def send_again(self, delivery: Delivery) -> None:
        """Send a delivery again with the same headers: a replay."""
        with self._changed:
            self._enqueue(replace(delivery, statuses=(), done=False))

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """The deliveries that were sent or are waiting, the oldest first."""
        with self._changed:
            return list(self._deliveries)

    def wait(self, seconds: float = 30.0) -> bool:
        """Wait until everything is delivered or given up.

        Returns:
            Whether this happened in time.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._pending == 0, seconds)

    def stop(self) -> None:
        """Stop at once, and give up unfinished deliveries. This can be called twice."""
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
    """Delivers to one webhook, one delivery after another, in its own thread."""

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
                    connection.sock.shutdown(2)  # wakes the thread that waits for a response
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
        """Return the status of the response; ``None`` if there is none in time."""
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
    """A server that webhooks can send to. It keeps the deliveries and answers 202.

    To make it fail, use its ``faults``.

    Attributes:
        received: Each attempt, in the order of arrival.
    """

    def __init__(self) -> None:
        super().__init__()
        self.received: list[WebhookDelivery] = []

    @property
    def address(self) -> str:
        """The address to register."""
        return f"{self.url}/webhook"

    def answer(self, request: Request) -> Answer:
        """Accept every request."""
        self.received.append(WebhookDelivery(request.headers, request.body))
        return json_answer({}, 202)


def hmac_sha256(secret: SecretStr, body: bytes) -> str:
    """Return the hexadecimal HMAC-SHA256 (RFC 2104), with which many hosts sign."""
    key = secret.get_secret_value().encode()
    return hmac.new(key, body, hashlib.sha256).hexdigest()
