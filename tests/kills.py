"""Kill processes of automatic deployments at random moments, while pushes continue."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from tests.auto_deploy import Promises, Site, wait_for
from tests.postgresql import Server

__all__ = ["LEASE", "VICTIMS", "Kills"]

LEASE = 3.0
_SENDERS = 8
_SETTLED_WITHIN = 90.0

Victim = Literal["server", "worker", "PostgreSQL"]
VICTIMS: tuple[Victim, ...] = ("server", "worker", "PostgreSQL")


class Kills:
    """A server with a worker, a separate worker, and a database, which are killed.

    Args:
        database: The database server; ``None`` for SQLite.
        seed: The seed of the random choices.
        longest: The maximum seconds between two kills.
        tell: Called with a line for each kill.

    Attributes:
        done: The number of kills of each.
        promises: The responses to the webhooks.
        settling: Seconds after each round until everything was settled.
    """

    def __init__(
        self,
        site: Site,
        database: Server | None,
        *,
        seed: int,
        longest: float = 3.0,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.done: Counter[Victim] = Counter()
        self.promises = Promises()
        self.settling: list[float] = []
        self._site = site
        self._database = database
        self._chance = random.Random(f"kills {seed}")
        self._pushes = random.Random(f"pushes {seed}")
        self._longest = longest
        self._tell = tell
        self._next: list[Victim] = []
        self._server = site.serve("--workers", "2", lease=LEASE)
        self._worker = site.work("--threads", "2", lease=LEASE)

    def round(self, count: int) -> list[str]:
        """Kill processes a number of times during one burst of pushes, then wait until everything
        is settled.

        Returns:
            The deviations from what was promised.
        """
        over = threading.Event()
        pushing = threading.Thread(target=self._push_until, args=(over,))
        pushing.start()
        try:
            for _ in range(count):
                self._kill_one()
        finally:
            over.set()
            pushing.join()
        began = time.monotonic()
        try:
            wait_for(self._site.is_settled, "not settled", _SETTLED_WITHIN)
        except AssertionError:
            return self._left_over() + self._site.problems(self.promises.newest)
        self.settling.append(time.monotonic() - began)
        return self._site.problems(self.promises.newest)

    def _kill_one(self) -> None:
        victim = self._victim()
        before, away = self._chance.uniform(0.2, self._longest), self._chance.uniform(0.0, 1.0)
        time.sleep(before)
        self.done[victim] += 1
        self._tell(f"after {before:.2f} s: {victim}, away for {away:.2f} s")
        if victim == "PostgreSQL" and self._database is not None:
            self._database.kill()
            time.sleep(away)
            self._database.start()
            return
        process = self._server if victim == "server" else self._worker
        process.kill()
        process.wait()
        time.sleep(away)
        if victim == "server":
            self._server = self._site.serve("--workers", "2", lease=LEASE, wait=False)
        else:
            self._worker = self._site.work("--threads", "2", lease=LEASE)

    def _victim(self) -> Victim:
        """Yield all of them in random order, so that each is chosen even if there are only a
        few."""
        if not self._next:
            self._next = list(VICTIMS if self._database is not None else VICTIMS[:2])
            self._chance.shuffle(self._next)
        return self._next.pop()

    def _push_until(self, over: threading.Event) -> None:
        with ThreadPoolExecutor(_SENDERS) as senders:
            while not over.wait(self._pushes.uniform(0.0, 0.06)):
                push = self._site.push(self._pushes.choice(self._site.names))
                senders.submit(self.promises.send, push, self._site.port)

    def _left_over(self) -> list[str]:
        store = self._site.installation.store
        return (
            [
                f"trigger {each.id} of {each.application} is not settled after"
                f" {_SETTLED_WITHIN:.0f} s"
                for name in self._site.names
                for each in store.triggers.open(name)
            ]
            + [f"claim: {each}" for each in store.claims.list()]
            + [self._site.stacks()]
        )
