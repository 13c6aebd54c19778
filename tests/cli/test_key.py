"""The commands that ``deploycore key`` names as the next step are for the same key."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

import deploycore
from deploycore.cli import key
from deploycore.errors import ProviderUnavailable
from deploycore.installation.deploy_keys import KeyOutcome, KeyOwner
from deploycore.store import DeployKeyRecord

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="


@pytest.fixture
def keys(monkeypatch):
    """What the commands find in place of the keys of an installation."""
    found = SimpleNamespace(owner=lambda name, of: KeyOwner(None, name))
    opened = SimpleNamespace(deploy_keys=found)
    monkeypatch.setattr(deploycore, "Installation", lambda: nullcontext(opened))
    return found


@pytest.mark.parametrize(("left_over", "options"), [(False, ""), (True, " --left-over")])
def test_the_hint_for_leftover_keys_does_not_remove_the_key_in_use(keys, left_over, options):
    def refuse(*arguments, **more):
        raise ProviderUnavailable("The host is down.", hint="Try again.")

    keys.remove = refuse
    with pytest.raises(ProviderUnavailable) as caught:
        key.remove("work", of="provider", left_over=left_over, yes=True)
    command = f"deploycore key remove work --of provider{options} --keep-at-host"
    assert caught.value.hint.endswith(command)


def test_repeating_the_same_command_activates_a_pending_key(keys, capsys):
    at = datetime(2026, 11, 29, tzinfo=UTC)
    waiting = DeployKeyRecord(1, None, "work", None, "new", PUBLIC, None, {}, at)
    keys.create = lambda *arguments, **more: KeyOutcome(waiting, "The token may not.")
    key.create("work", of="provider", repository=["ada/shop", "ada/blog"])
    again = "deploycore key create work --of provider --repository ada/shop --repository ada/blog"
    assert again in " ".join(capsys.readouterr().out.split())
