"""A process that dies at any call while a deploy key is replaced leaves a key that works."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from deploycore.applications.application import Application
from deploycore.deploy.own_key import open_with_own_key, opener_with_own_key
from deploycore.errors import (
    ConfigurationError,
    KeyRefused,
    NotFound,
    PermissionDenied,
    ProviderUnavailable,
)
from deploycore.installation.deploy_keys import DeployKeys, KeyOwner
from deploycore.secrets import SecretBox
from deploycore.settings import Settings
from deploycore.ssh import making
from deploycore.ssh.making import make_key_pair
from deploycore.store import PreviewRecord, ProviderRecord, Store
from tests.deploy_key_host import Changes, Host, public_of

OWNER = KeyOwner("shop", "work")
OF_PROVIDER = KeyOwner(None, "work")
HOST_CALLS = ("add_deploy_key", "remove_deploy_key", "list_deploy_keys")
STORE_CALLS = ("add", "note_registered", "activate", "remove")


class Died(BaseException):
    """What kills the process."""


class Calls:
    """Counts calls, and dies before or after one of them."""

    def __init__(self):
        self.count, self.die_at, self.after = 0, None, False

    def wrap(self, target, name):
        real = getattr(target, name)

        def call(*arguments, **options):
            self.count += 1
            is_last = self.count == self.die_at
            if is_last and not self.after:
                raise Died
            result = real(*arguments, **options)
            if is_last:
                raise Died
            return result

        setattr(target, name, call)


@pytest.fixture
def scenario(home, tmp_path, monkeypatch):
    """A service whose calls to the store, the host and the provider's secrets can be cut off."""
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(home)})
    store = Store(settings)
    store.add_provider(ProviderRecord("work", "acme", {}, {}, datetime.now(UTC)))
    shop = Application(
        name="shop", provider="work", repository="ada/shop", ref="main", target=tmp_path / "www"
    )
    store.add_application(shop)
    host, changes, calls = Host(), Changes(), Calls()
    secrets = SecretBox(settings)
    keys = DeployKeys(store, secrets, lambda name: host, changes, None)

    def prove(self, provider, repository):
        if host.given not in host.keys.values():
            raise KeyRefused("The key is not accepted.")

    monkeypatch.setattr(DeployKeys, "_prove", prove)
    for name in HOST_CALLS:
        calls.wrap(host, name)
    for name in STORE_CALLS:
        calls.wrap(store.deploy_keys, name)
    calls.wrap(changes, "store")
    with store:
        yield SimpleNamespace(
            store=store,
            host=host,
            changes=changes,
            calls=calls,
            secrets=secrets,
            keys=keys,
            shop=shop,
            home=home,
        )


def used_key(scenario, owner):
    """The public part of the key that git uses now."""
    if owner is OF_PROVIDER:
        return public_of(scenario.changes.key)
    found = scenario.store.find_deploy_key(scenario.shop)
    return public_of(scenario.secrets.reveal(found.secret))


def put(scenario, **changes):
    scenario.store.put_applications([scenario.shop.model_copy(update=changes)])


def has_own_key(scenario, monkeypatch):
    monkeypatch.setattr(
        DeployKeys, "_has_own_key", lambda self, owner: scenario.changes.key is not None
    )


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("owner", [OWNER, OF_PROVIDER], ids=lambda each: each.noun)
def test_a_crash_at_any_step_of_a_rotation_leaves_a_working_key(
    scenario, owner, after, monkeypatch
):
    has_own_key(scenario, monkeypatch)
    scenario.keys.create(owner)
    deaths = 0
    for step in range(1, 30):
        scenario.calls.count, scenario.calls.die_at, scenario.calls.after = 0, step, after
        try:
            scenario.keys.rotate(owner)
        except Died:
            deaths += 1
        scenario.calls.die_at = None
        assert used_key(scenario, owner) in scenario.host.keys.values()
        rows = scenario.store.deploy_keys.of(owner.application, owner.provider)
        assert set(scenario.host.keys.values()) <= {each.public_key for each in rows}
        if scenario.calls.count < step:
            break
        scenario.keys.rotate(owner)
        assert list(scenario.host.keys.values()) == [used_key(scenario, owner)]
        [left] = scenario.store.deploy_keys.of(owner.application, owner.provider)
        assert left.state == "live"
    assert deaths == step - 1
    assert deaths >= 6
    scenario.keys.remove(owner)
    assert scenario.host.keys == {}


def test_a_key_stored_in_a_provider_before_a_crash_is_in_use(scenario, monkeypatch):
    has_own_key(scenario, monkeypatch)

    def die(key):
        raise Died

    monkeypatch.setattr(scenario.store.deploy_keys, "activate", die)
    with pytest.raises(Died):
        scenario.keys.create(OF_PROVIDER)
    monkeypatch.undo()
    record = scenario.store.get_provider("work")
    sealed = {"ssh_private_key": scenario.secrets.seal(scenario.changes.key)}
    scenario.store.change_provider(record, settings={}, secrets=sealed)
    assert [(each.key.state, each.use) for each in scenario.keys.listed()] == [("new", "in use")]
    with pytest.raises(ConfigurationError, match="no deploy key that git no longer uses"):
        scenario.keys.remove(OF_PROVIDER, left_over=True)
    prove = lambda self, provider, repository: None  # noqa: E731
    monkeypatch.setattr(DeployKeys, "_prove", prove)
    done = scenario.keys.create(OF_PROVIDER)
    assert done.key.public_key == public_of(scenario.changes.key)
    assert [(each.key.state, each.use) for each in scenario.keys.listed()] == [("live", "in use")]
    assert len(scenario.host.keys) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_repeating_a_removal_recovers_from_a_crash(scenario, after):
    for step in range(1, 10):
        scenario.keys.create(OWNER)
        scenario.calls.count, scenario.calls.die_at, scenario.calls.after = 0, step, after
        try:
            scenario.keys.remove(OWNER)
        except Died:
            scenario.calls.die_at = None
            if scenario.store.deploy_keys.of("shop", "work"):
                scenario.keys.remove(OWNER)
        assert scenario.host.keys == {}
        assert scenario.store.deploy_keys.of("shop", "work") == []
        if scenario.calls.count < step:
            break
    assert step > 3


def test_a_previous_key_kept_by_the_host_is_listed_and_removed_later(scenario):
    scenario.keys.create(OWNER)
    first = used_key(scenario, OWNER)
    real = scenario.host.remove_deploy_key

    def refuse(*arguments):
        raise ProviderUnavailable("The host is down.")

    scenario.host.remove_deploy_key = refuse
    done = scenario.keys.rotate(OWNER)
    assert done.is_live
    assert [str(each.error) for each in done.remains] == ["The host is down."]
    states = {each.public_key: each.state for each in scenario.store.deploy_keys.list()}
    assert states == {first: "former", used_key(scenario, OWNER): "live"}
    assert all(
        each.secret is None for each in scenario.store.deploy_keys.list() if each.state == "former"
    )
    with pytest.raises(ProviderUnavailable):
        scenario.keys.remove(OWNER, left_over=True)
    scenario.host.remove_deploy_key = real
    assert scenario.keys.remove(OWNER, left_over=True) == ()
    assert list(scenario.host.keys.values()) == [used_key(scenario, OWNER)]


def test_without_permission_the_reason_is_shown_and_a_user_adds_the_key(scenario):
    scenario.host.refusal = PermissionDenied("The token may not.", hint="Add a scope.")
    done = scenario.keys.create(OWNER)
    assert not done.is_live
    assert done.by_hand == "The token may not. Add a scope."
    assert scenario.store.find_deploy_key(scenario.shop) is None
    scenario.host.keys["7"] = done.key.public_key
    again = scenario.keys.create(OWNER)
    assert again.is_live
    assert again.key.public_key == done.key.public_key


def test_a_key_is_only_used_for_its_own_repository(scenario):
    scenario.keys.create(OWNER)
    elsewhere = scenario.shop.model_copy(update={"repository": "ada/other"})
    assert scenario.store.find_deploy_key(elsewhere) is None
    assert scenario.store.find_deploy_key(scenario.shop) is not None


def test_a_key_hidden_by_the_host_is_not_deleted(scenario):
    """Hosts answer "not found" for what a credential may no longer see."""
    key = scenario.keys.create(OWNER).key
    seen = scenario.host.list_deploy_keys

    def hidden(repository):
        raise NotFound("Repository ada/shop was not found.")

    scenario.host.remove_deploy_key = lambda repository, number: False
    scenario.host.list_deploy_keys = hidden
    with pytest.raises(NotFound):
        scenario.keys.remove(OWNER)
    assert [each.public_key for each in scenario.store.deploy_keys.list()] == [key.public_key]
    scenario.host.list_deploy_keys = seen
    scenario.host.keys = {"99": key.public_key}  # a person has added it again
    del scenario.host.remove_deploy_key
    assert scenario.keys.remove(OWNER) == ()
    assert scenario.host.keys == {}


def test_a_provider_key_is_used_once_it_can_read_every_repository(scenario, monkeypatch):
    """Else the former key, which can, is removed at the host."""
    has_own_key(scenario, monkeypatch)
    both = ("ada/shop", "ada/blog")
    scenario.keys.create(OF_PROVIDER, repositories=both)
    first = used_key(scenario, OF_PROVIDER)
    real, readable = scenario.host.add_deploy_key, {"ada/shop"}

    def refuse_one(repository, key):
        if str(repository) == "ada/blog":
            raise PermissionDenied("The token may not.")
        return real(repository, key)

    def prove(self, provider, repository):
        if repository not in readable:
            raise KeyRefused("The key is not accepted.")

    scenario.host.add_deploy_key = refuse_one
    monkeypatch.setattr(DeployKeys, "_prove", prove)
    waiting = scenario.keys.rotate(OF_PROVIDER)
    assert not waiting.is_live
    assert waiting.pages == ("https://acme.example/ada/blog",)
    assert used_key(scenario, OF_PROVIDER) == first
    assert first in scenario.host.keys.values()
    readable.add("ada/blog")  # a person has added the key
    done = scenario.keys.rotate(OF_PROVIDER)
    assert done.is_live
    assert done.key.public_key == waiting.key.public_key


def test_a_pending_key_of_the_previous_repository_is_not_used_for_the_new_one(scenario):
    scenario.host.refusal = PermissionDenied("The token may not.")
    waiting = scenario.keys.create(OWNER).key
    put(scenario, repository="ada/other")
    scenario.host.refusal = None
    done = scenario.keys.create(OWNER)
    shop = scenario.store.get_application("shop").definition
    assert scenario.store.find_deploy_key(shop).public_key == done.key.public_key
    assert done.key.public_key != waiting.public_key
    assert list(done.key.registered) == ["ada/other"]
    assert [each.key.public_key for each in done.remains] == [waiting.public_key]


def test_a_pending_key_is_replaced_by_one_of_the_requested_type(scenario, monkeypatch):
    monkeypatch.setattr(making, "_RSA_BITS", 1024)  # made in no time
    scenario.host.refusal = PermissionDenied("The token may not.")
    assert scenario.keys.create(OWNER).key.public_key.startswith("ssh-ed25519 ")
    asked = scenario.keys.create(OWNER, kind="rsa").key
    assert asked.public_key.startswith("ssh-rsa ")
    assert scenario.keys.create(OWNER).key.public_key == asked.public_key
    states = [each.state for each in scenario.store.deploy_keys.of("shop", "work")]
    assert states == ["former", "new"]


@pytest.mark.parametrize("owner", [OWNER, OF_PROVIDER], ids=lambda each: each.noun)
def test_a_slow_process_does_not_replace_the_key_of_a_later_rotation(scenario, owner, monkeypatch):
    has_own_key(scenario, monkeypatch)
    scenario.keys.create(owner)
    prove, others = DeployKeys._prove, []

    def overtaken(self, provider, repository):
        prove(self, provider, repository)
        if not others:
            others.append(owner)
            scenario.keys.rotate(owner)
            scenario.keys.rotate(owner)

    monkeypatch.setattr(DeployKeys, "_prove", overtaken)
    with pytest.raises(ConfigurationError, match="Another process has") as caught:
        scenario.keys.rotate(owner)
    assert "deploycore key list" in caught.value.hint
    assert list(scenario.host.keys.values()) == [used_key(scenario, owner)]
    [live] = scenario.store.deploy_keys.of(owner.application, owner.provider)
    assert live.public_key == used_key(scenario, owner)


def set_by_a_user(scenario, is_theirs):
    """Create the provider's deploy key, then set it or another as a user does, and return that."""
    scenario.keys.create(OF_PROVIDER)
    used = make_key_pair("ed25519")[0] if is_theirs else scenario.changes.key
    record = scenario.store.get_provider("work")
    sealed = {"ssh_private_key": scenario.secrets.seal(used)}
    scenario.store.change_provider(record, settings={}, secrets=sealed)
    return used


@pytest.mark.parametrize("is_theirs", [False, True], ids=["ours", "of a person"])
def test_a_key_set_by_a_user_in_the_meantime_is_kept(scenario, is_theirs):
    used = set_by_a_user(scenario, is_theirs)
    scenario.changes.key = used
    scenario.keys.remove(OF_PROVIDER)
    assert scenario.host.keys == {}
    assert scenario.changes.key == (used if is_theirs else None)


@pytest.mark.parametrize("is_theirs", [False, True], ids=["ours", "of a person"])
def test_a_key_replaced_by_a_user_is_listed_as_not_used(scenario, is_theirs):
    set_by_a_user(scenario, is_theirs)
    [listed] = scenario.keys.listed()
    assert listed.use == ("not used" if is_theirs else "in use")
    if not is_theirs:
        with pytest.raises(ConfigurationError, match="has no deploy key that git no longer uses"):
            scenario.keys.remove(OF_PROVIDER, left_over=True)
        return
    assert scenario.keys.remove(OF_PROVIDER, left_over=True) == ()
    assert (scenario.host.keys, scenario.keys.listed()) == ({}, [])


def test_a_key_of_another_repository_is_listed_as_not_used(scenario):
    scenario.keys.create(OWNER)
    assert [each.use for each in scenario.keys.listed()] == ["in use"]
    put(scenario, repository="ada/other")
    assert [each.use for each in scenario.keys.listed()] == ["not used"]


def test_an_unreadable_secret_does_not_prevent_a_list_of_keys(scenario):
    scenario.keys.create(OF_PROVIDER)
    record = scenario.store.get_provider("work")
    sealed = {"ssh_private_key": scenario.secrets.seal(scenario.changes.key)}
    scenario.store.change_provider(record, settings={}, secrets=sealed)
    (scenario.home / "secret.key").unlink()
    scenario.keys._secrets = SecretBox(
        Settings.from_environment({"DEPLOYCORE_HOME": str(scenario.home)})
    )
    assert [each.use for each in scenario.keys.listed()] == ["in use"]


def test_a_hanging_host_does_not_delay_a_removal(scenario, monkeypatch):
    key = scenario.keys.create(OWNER).key
    answered = threading.Event()
    scenario.host.remove_deploy_key = lambda repository, number: answered.wait(60)
    monkeypatch.setattr("deploycore.installation.deploy_keys._SECONDS", 0.05)
    [left] = scenario.keys.remove_at_host_in_time(scenario.store.deploy_keys.of("shop", "work")[0])
    answered.set()
    assert (left.key.public_key, left.repository) == (key.public_key, "ada/shop")
    assert "did not answer within 0.05 s" in str(left.error)
    end = time.monotonic() + 60  # what still runs would open the database again
    while scenario.store.deploy_keys.list()[0].registered != {"ada/shop": ""}:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_unusable_key_is_not_registered(scenario):
    scenario.host.missing_hooks = ("ssh_clone_url",)
    with pytest.raises(ConfigurationError, match="cannot clone over SSH"):
        scenario.keys.create(OWNER)
    assert (scenario.host.keys, scenario.store.deploy_keys.list()) == ({}, [])


def test_a_preview_does_not_get_its_own_key(scenario, monkeypatch):
    now, place = datetime.now(UTC), scenario.shop.target
    preview = PreviewRecord("shop", "site", 7, place, place, None, now, None, None)
    monkeypatch.setattr(scenario.store.previews, "list", lambda: [preview])
    with pytest.raises(ConfigurationError, match="is a preview") as caught:
        scenario.keys.create(OWNER)
    assert "deploycore key create site" in caught.value.hint


def test_keys_at_a_provider_include_those_of_applications_that_moved_away(scenario):
    key = scenario.keys.create(OWNER).key
    now = datetime.now(UTC)
    scenario.store.add_provider(ProviderRecord("new", "acme", {}, {}, now))
    put(scenario, provider="new")
    assert [each.public_key for each in scenario.store.deploy_keys.at("work")] == [key.public_key]
    assert scenario.store.deploy_keys.at("new") == []


def test_the_command_in_the_hint_replaces_a_rejected_application_key(scenario):
    scenario.keys.create(OWNER)
    given = {}

    def use_ssh_key(key, *, replace_with=""):
        given["command"] = replace_with

    scenario.host.use_ssh_key = use_ssh_key
    assert open_with_own_key(
        scenario.shop, lambda name: scenario.host, scenario.store, scenario.secrets
    )
    assert given == {"command": "deploycore key rotate shop"}


def test_only_the_own_provider_gets_the_key_of_an_application(scenario):
    scenario.keys.create(OWNER)
    within = scenario.shop.target.parent / "previews"
    preview = scenario.shop.model_copy(update={"name": "shop-7", "target": within / "7"})
    scenario.store.begin_preview(
        preview, parent=scenario.shop, number=7, within=within, limit=3, opens=True
    )
    fork = preview.model_copy(update={"repository": "stranger/shop"})
    cases = (
        (scenario.shop, "work", True),
        (scenario.shop, "other", False),
        (preview, "work", True),
        (preview, "other", False),
        (fork, "work", False),
    )
    for definition, name, is_given in cases:
        scenario.host.given = None
        opened = opener_with_own_key(
            definition, lambda name: scenario.host, scenario.store, scenario.secrets
        )
        assert opened(name) is scenario.host
        assert (scenario.host.given is not None) == is_given
