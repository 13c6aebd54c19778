"""Deploy keys and pinned host keys at hosts that do not respond, or send a byte at a time."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import pytest
from pydantic import SecretStr

from deploycore import Installation, Settings
from deploycore.errors import DeploycoreError, ProviderUnavailable
from deploycore.git import GitSettings, clone
from deploycore.http import HttpSettings
from deploycore.installation import deploy_keys, host_keys
from deploycore.installation.host_keys import verify_ssh
from deploycore.models import RepositoryId
from tests.faults import test_deploy_key_refusals
from tests.faults.test_deploy_key_refusals import (
    OWNERS,
    attempt,
    check,
    home,
    make_good,
    prepare,
    scenario,
)
from tests.git.conftest import stock_git
from tests.git.servers import nothing_left
from tests.ssh_server import Proxy

HASTY_HTTP = HttpSettings(connect_timeout=10, read_timeout=0.4, total_timeout=1, retries=0)
HASTY_GIT = GitSettings(connect_timeout=10, read_timeout=0.4, total_timeout=1, retries=0)
SECONDS = 0.8
WAYS = {
    "silent at once": {"silent_after": 0},
    "silent while signing in": {"silent_after": 1500},
    "trickling": {"silent_after": 1000, "trickle": 0.05},
}
IN_THE_PACK = "trickling in the middle of the pack"

__all__ = ["home", "scenario", "stock_git"]


@pytest.mark.outside_description("the host sends no whole response")
@pytest.mark.parametrize("how", ["silent", "trickling"])
@pytest.mark.parametrize("verb", ["create", "rotate", "remove"])
def test_a_host_that_does_not_finish_its_response_loses_no_key(
    scenario, verb, how, caplog, monkeypatch
):
    owner = OWNERS[0]
    prepare(scenario, owner, verb)
    scenario.step.how = how
    refused = 0
    for at in range(1, test_deploy_key_refusals.REQUESTS_MOST):
        scenario.step.at, scenario.step.count = at, 0
        with monkeypatch.context() as patch, scenario.opened() as installation:
            patch.setattr(test_deploy_key_refusals, "IMPATIENT", HASTY_HTTP)
            done, error = attempt(
                lambda each=installation: getattr(scenario.keys(each), verb)(owner)
            )
        if scenario.step.count < at:
            break
        refused += 1
        told = [error] if error else [each.error for each in done.remains]
        assert [type(each) for each in told] == [ProviderUnavailable]
        assert "127.0.0.1 failed: it timed out" in str(told[0])
        check(scenario, owner, error=error, was_used=verb == "rotate", caplog=caplog)
        make_good(scenario, owner, verb)
    assert refused


# A server that is reached over SSH alone


@pytest.fixture
def served(sshd, stock_git, tmp_path):
    """A directory of the SSH server with a repository ``acme/shop``."""
    root, tree = sshd.root / f"{tmp_path.name}-silence", tmp_path / "tree"
    stock_git("init", "-q", "-b", "main", tree)
    (tree / "page").write_text("one")
    (tree / "large").write_bytes(os.urandom(50_000))
    stock_git("add", ".", at=tree)
    stock_git("commit", "-qm", "first", at=tree)
    stock_git("clone", "-q", "--bare", tree, root / "acme/shop")
    return root


@pytest.fixture
def door(sshd):
    """A proxy before the server; ``WAYS`` says how it is broken, and ``mend`` that it is not."""
    running = Proxy(sshd.port)
    yield running
    running.close()


@pytest.fixture
def opened(home):
    """A new installation, in a hurry or not: ``opened(hasty=True)``."""

    def open_one(*, hasty):
        settings = Settings.from_environment({"DEPLOYCORE_HOME": str(home)})
        if hasty:
            return Installation(settings, http_settings=HASTY_HTTP, git_settings=HASTY_GIT)
        return Installation(settings)

    return open_one


def fields(sshd, door, served):
    pinned = [line.replace(f":{sshd.port} ", f":{door.port} ") for line in sshd.host_keys]
    return {
        "mode": "ssh",
        "url": re.sub(r":\d+/", f":{door.port}/", sshd.url(served.name)),
        "repositories": "acme/shop",
        "ssh_host_keys": pinned[0],
    }


def add(installation, sshd, given):
    def verify(provider):
        provider.authenticate()
        verify_ssh(provider, installation.git_settings)

    key = SecretStr(sshd.key.read_text())
    installation.add_provider("plain", "git", given, {"ssh_private_key": key}, verify=verify)


@pytest.mark.parametrize("way", WAYS)
def test_a_provider_is_not_stored_while_its_server_is_silent(
    sshd, door, served, opened, way, monkeypatch
):
    given = fields(sshd, door, served)
    monkeypatch.setattr(host_keys, "_SECONDS", SECONDS)
    door.breaks(**WAYS[way])
    with opened(hasty=True) as installation:
        with pytest.raises(DeploycoreError) as caught:
            add(installation, sshd, given)
        assert installation.store.list_providers() == []
    assert f"127.0.0.1:{door.port}" in caught.value.message
    assert caught.value.hint
    door.mend()
    monkeypatch.undo()
    with opened(hasty=False) as installation:
        add(installation, sshd, given)
        [stored] = installation.store.list_providers()
    assert stored.settings["ssh_host_keys"] == given["ssh_host_keys"]


@pytest.mark.parametrize("way", WAYS)
def test_a_key_is_not_used_before_a_silent_server_has_accepted_it(
    sshd, door, served, opened, way, tmp_path, monkeypatch
):
    with opened(hasty=False) as installation:
        add(installation, sshd, fields(sshd, door, served))
        installation.add_application(
            "shop", provider="plain", repository="acme/shop", ref="main", target=tmp_path / "www"
        )
        keys = installation.deploy_keys
        owner = keys.owner("shop")
        made = keys.create(owner)
    assert not made.is_live
    with sshd.authorized.open("a") as file:
        file.write(f"{made.key.public_key}\n")
    door.breaks(**WAYS[way])
    with opened(hasty=True) as installation, monkeypatch.context() as patch:
        patch.setattr(deploy_keys, "_SECONDS", SECONDS)
        with pytest.raises(DeploycoreError) as caught:
            installation.deploy_keys.create(owner)
        states = [each.key.state for each in installation.deploy_keys.listed()]
    assert states == ["new"]
    assert f"127.0.0.1:{door.port}" in caught.value.message
    assert caught.value.hint
    door.mend()
    with opened(hasty=False) as installation:
        done = installation.deploy_keys.create(owner)
    assert done.is_live
    assert done.key.public_key == made.key.public_key


@pytest.mark.parametrize("way", [*WAYS, IN_THE_PACK])
def test_a_first_clone_from_a_silent_server_leaves_nothing_behind(
    sshd, door, served, opened, way, tmp_path
):
    with opened(hasty=False) as installation:
        add(installation, sshd, fields(sshd, door, served))
        with installation.open_provider("plain") as provider:
            source = provider.clone_url(RepositoryId.parse("acme/shop"))
    target = tmp_path / "place" / "clone"
    target.parent.mkdir()
    door.breaks(**(WAYS | {IN_THE_PACK: {"silent_after": 10_000, "trickle": 0.05}})[way])
    # A byte of a packet is no data yet, so only the limit of the whole clone ends that.
    settings = replace(HASTY_GIT, read_timeout=60) if way == IN_THE_PACK else HASTY_GIT
    with pytest.raises(DeploycoreError) as caught:
        clone(source, None, target, settings=settings)
    told = "more than 1 second" if way == IN_THE_PACK else f"127.0.0.1:{door.port}"
    assert told in caught.value.message
    assert caught.value.hint
    assert nothing_left(target)
    door.mend()
    clone(source, None, target, settings=replace(GitSettings(), retries=0))
    assert (target / "page").read_text() == "one"
