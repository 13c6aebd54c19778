"""Automatic deployments under load and with killed processes: small versions of
``benchmarks/burst.py`` and ``benchmarks/kills.py``, which take too long for tests."""

from __future__ import annotations

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.auto_deploy import Promises, deliver, site_at, status_of, wait_for
from tests.forked import ForkedProcess
from tests.kills import Kills
from tests.postgresql import running_server, why_not

SEED = int(os.environ.get("DEPLOYCORE_SEED", "7"))


@pytest.fixture
def site(tmp_path):
    with site_at(tmp_path, program=ForkedProcess) as site:
        yield site


def test_a_burst_of_signed_and_unsigned_requests_deploys_the_newest_commits(site):
    names = site.create(10)
    site.serve("--workers", "2")
    pushes = [site.push(name) for _ in range(3) for name in names]
    wrong = [f"/webhooks/{name}" for name in [*names, "nothing"] for _ in range(6)]
    promises, refused = Promises(), Counter()

    def refuse(path: str) -> None:
        refused[status_of(site.port, "POST", path, b"{}")] += 1

    with ThreadPoolExecutor(8) as senders:
        work = [(promises.send, push, site.port) for push in pushes]
        work += [(refuse, path) for path in wrong]
        random.Random(SEED).shuffle(work)
        for each in [senders.submit(*what) for what in work]:
            each.result()
    wait_for(site.is_settled, "not settled")
    assert (promises.answers, refused) == ({202: 30}, {401: 60, 404: 6})
    assert site.problems(promises.newest) == []
    assert [site.live(name) for name in names] == [3] * 10
    assert max(site.builds().values()) == 1


def test_redeliveries_are_recognized_and_deploy_nothing(site):
    (name,) = site.create(1)
    site.serve("--workers", "1")
    push = site.push(name)
    with ThreadPoolExecutor(8) as senders:
        answers = Counter(senders.map(lambda _: deliver(push, site.port), range(16)))
    wait_for(site.is_settled, "not settled")
    assert answers == {202: 1, 200: 15}
    assert site.builds() == {(name, push.commit): 1}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_accepted_deliveries_are_deployed_despite_killed_processes(tmp_path, database):
    """The server, a worker, the database with all its processes."""
    with ExitStack() as stack:
        server = address = None
        if database == "postgresql":
            if why_not():
                pytest.skip(why_not())
            server = stack.enter_context(running_server())
            address = stack.enter_context(server.database())
        site = stack.enter_context(site_at(tmp_path, address, ForkedProcess))
        site.create(4, seconds=0.1)
        kills = Kills(site, server, seed=SEED, longest=1.5)
        assert kills.round(6 if server else 4) == []
        assert kills.done.keys() == {"server", "worker"} | ({"PostgreSQL"} if server else set())
        assert kills.promises.newest, "nothing was accepted"
        assert site.builds("began"), "nothing was deployed"
