"""SSH keys that deploycore created, on each kind of database and with several processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from deploycore.errors import ConfigurationError

OWNERS = [("shop", "ada/shop"), (None, None)]
TOGETHER = 4


@pytest.fixture
def keys(store, provider, application):
    store.add_provider(provider())
    store.add_application(application("shop"))
    return store.deploy_keys


def add(keys, owner, repository, number=0):
    return keys.add(
        application=owner,
        provider="acme",
        repository=repository,
        public_key=f"ssh-ed25519 {number}",
        secret=f"env:KEY_{number}",
    )


@pytest.mark.parametrize(("owner", "repository"), OWNERS)
def test_concurrent_creators_of_a_key_get_the_same_key(keys, owner, repository):
    """Else the host would have one that no process goes on with."""
    barrier = Barrier(TOGETHER)

    def made(number):
        barrier.wait(60)
        return add(keys, owner, repository, number)

    with ThreadPoolExecutor(TOGETHER) as pool:
        found = list(pool.map(made, range(TOGETHER)))
    assert len({each.public_key for each in found}) == 1
    assert keys.of(owner, "acme") == found[:1]


@pytest.mark.parametrize(("owner", "repository"), OWNERS)
def test_a_replaced_key_is_not_used_again(keys, owner, repository):
    first = add(keys, owner, repository, 1)
    keys.activate(first)
    keys.activate(first)  # as after a crash
    second = add(keys, owner, repository, 2)
    keys.activate(second)
    assert [each.state for each in keys.of(owner, "acme")] == ["former", "live"]
    for remove in (lambda: None, lambda: keys.remove(first)):
        remove()
        with pytest.raises(ConfigurationError, match="Another process has"):
            keys.activate(first)
    [left] = keys.of(owner, "acme")
    assert (left.public_key, left.state) == (second.public_key, "live")


def test_only_an_unused_key_can_be_discarded(keys):
    waiting = add(keys, *OWNERS[0])
    keys.activate(waiting)
    keys.give_up(waiting)
    assert [each.state for each in keys.of("shop", "acme")] == ["live"]
    other = add(keys, *OWNERS[0], 2)
    keys.give_up(other)
    former = keys.of("shop", "acme")[1]
    assert (former.state, former.secret) == ("former", None)
