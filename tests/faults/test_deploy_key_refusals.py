"""Each step of creating, replacing and removing a deploy key fails in turn.

After each failure: a key that works stays in use, each key that the host has is listed, the error
has the next step, and the private key is in no error, log, request or file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from deploycore import Installation, Settings
from deploycore.configuration import parse_config
from deploycore.errors import DeploycoreError, KeyRefused
from deploycore.http import HttpSettings
from deploycore.installation import deploy_keys
from deploycore.installation.deploy_keys import DeployKeys, KeyOwner
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import load_plugin
from deploycore.ssh.making import is_pair, make_key_pair
from deploycore.testing.faults import connection_reset, latency
from deploycore.testing.scenarios import ONE, Access
from tests.faults.statements import CALLS_MOST

OWNERS = (KeyOwner("shop", "work"), KeyOwner(None, "work"))
KINDS = ("gitea", "github", "gitlab", "bitbucket", "bitbucket-datacenter")
REFUSALS = (401, 403, 404, 409, 422, 429, 500, "lost")
"""A status before anything is done, or a connection that ends after it was done."""
IMPATIENT = HttpSettings(retries=0, read_timeout=5, total_timeout=5, retry_after_most=0)
IS_WHOLE = bool(os.environ.get("DEPLOYCORE_REFUSE_ALL"))
REQUESTS_MOST = 40
SILENT_SECONDS = 3
#: By default a rotation is refused, which has the steps of making and of removing a key, at one
#: host: each request in two ways, and each third call of the system. With DEPLOYCORE_REFUSE_ALL=1
#: the whole product is tested.
VERBS = ("rotate", "remove", "create") if IS_WHOLE else ("rotate",)
WAYS = len(REFUSALS) if IS_WHOLE else 2
STRIDE = 1 if IS_WHOLE else 3
OTHER_USER = 64_991


@dataclass
class Step:
    """Which request about keys is refused, and how; 0 is none."""

    at: int = 0
    how: object = 500
    count: int = 0


def refusing(sandbox_class, step):
    """A sandbox that refuses one request about deploy keys."""

    class Refusing(sandbox_class):
        def answer(self, request):
            if "key" not in request.path:
                return super().answer(request)
            step.count += 1
            if step.count != step.at:
                return super().answer(request)
            if step.how == "lost":
                return connection_reset().apply(request, super().answer(request))
            if step.how == "silent":
                return latency(SILENT_SECONDS).apply(request, super().answer(request))
            if step.how == "trickling":
                return replace(super().answer(request), status=200, body=_trickle)
            return self.refusal(step.how, "no")

    return Refusing


def _trickle(write):
    for _ in range(int(SILENT_SECONDS / 0.05)):
        write(b" ")
        time.sleep(0.05)


@dataclass
class Scenario:
    """An installation with a provider on a sandbox, and what the tests look at."""

    sandbox: object
    step: Step
    config: object
    kind: str
    home: object
    repository: str
    made: list = field(default_factory=list)

    def open_provider(self, name):
        plugin = load_plugin(self.kind)
        return Provider(plugin, self.config, http_settings=IMPATIENT, observers=Observers())

    def opened(self):
        return Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(self.home)}))

    def keys(self, installation):
        return DeployKeys(
            installation.store,
            installation.secrets,
            self.open_provider,
            installation.provider_changes,
            None,
        )

    def at_host(self):
        return [each.text for each in self.sandbox.deploy_keys.of(self.repository)]

    def used(self, installation, owner):
        """The public part of the key that git uses; ``None`` if it uses none."""
        store = installation.store
        if owner.application is None:
            stored = store.get_provider("work").secrets.get("ssh_private_key")
        else:
            found = store.find_deploy_key(store.get_application("shop").definition)
            stored = found and found.secret
        if not stored:
            return None
        private = installation.secrets.reveal(stored)
        return next(public for _, public in self.made if is_pair(private, public))

    def lines(self):
        """Lines of private keys; the first of each is mostly the same for all."""
        texts = (private.get_secret_value() for private, _ in self.made)
        return {line for text in texts for line in text.splitlines()[2:-1] if len(line) > 40}


@pytest.fixture
def home(empty_home):
    """A data directory that another user can reach, which those of pytest are not."""
    made = Path(tempfile.mkdtemp(prefix="keys-"))
    made.chmod(0o755)
    yield shutil.copytree(empty_home, made / "home")
    shutil.rmtree(made)


@pytest.fixture(params=KINDS if IS_WHOLE else KINDS[:1])
def scenario(request, home, monkeypatch):
    contract = load_plugin(request.param)
    step = Step()
    sandbox_class = _sandbox_of(request.param)
    with refusing(sandbox_class, step)() as sandbox:
        (shop,) = sandbox.arrange(ONE)
        repository = f"{shop.owner}/{shop.slug}"
        mode = next(each for each in sandbox_class.MODES if "oauth" not in each)
        given = sandbox.connect(mode, Access.FULL).settings
        config = parse_config(contract.config_type, {"name": "work", **given}, kind=request.param)
        made = Scenario(sandbox, step, config, request.param, home, repository)
        with made.opened() as installation:
            texts = {key: value for key, value in given.items() if isinstance(value, str)}
            secrets = {key: value for key, value in given.items() if not isinstance(value, str)}
            installation.add_provider("work", request.param, texts, secrets)
            installation.add_application(
                "shop",
                provider="work",
                repository=repository,
                ref="main",
                target=home.parent / "www",
            )

        def make(kind):
            made.made.append(make_key_pair(kind))
            return made.made[-1]

        def prove(self, provider, repository):
            if not any(is_pair(provider._ssh_key, each) for each in made.at_host()):
                raise KeyRefused("The key is not accepted.", hint="Add it.")

        monkeypatch.setattr(deploy_keys, "make_key_pair", make)
        monkeypatch.setattr(DeployKeys, "_prove", prove)
        yield made
        assert sandbox.crashes == []


def _sandbox_of(kind):
    from importlib.metadata import entry_points

    (found,) = (each for each in entry_points(group="deploycore.sandboxes") if each.name == kind)
    return found.load()


def attempt(action):
    try:
        return action(), None
    except DeploycoreError as error:
        return None, error


def check(scenario, owner, *, error, was_used, caplog):
    """What holds whatever was refused."""
    with scenario.opened() as installation:
        keys = scenario.keys(installation)
        used = scenario.used(installation, owner)
        listed = {each.key.public_key: each.use for each in keys.listed()}
        assert set(scenario.at_host()) <= set(listed), (
            "a key is left at the host without being told"
        )
        if was_used:
            assert used in scenario.at_host(), "a key that worked is lost"
        if used:
            assert listed[used] == "in use"
    said = caplog.text + str(error.as_dict() if error else "") + str(scenario.sandbox.requests)
    written = b"".join(each.read_bytes() for each in scenario.home.rglob("*") if each.is_file())
    assert not any(line in said or line.encode() in written for line in scenario.lines())
    if error is not None:
        assert error.hint, error
    for path in scenario.home.rglob("*"):
        if path.is_file():
            assert not path.stat().st_mode & 0o077, path


def make_good(scenario, owner, verb):
    """Do it again, with nothing refused: one key is left, or none."""
    scenario.step.at = 0
    with scenario.opened() as installation:
        keys = scenario.keys(installation)
        rows = installation.store.deploy_keys.of(owner.application, owner.provider)
        if verb == "remove":
            if rows:
                keys.remove(owner)
            assert (scenario.at_host(), keys.listed()) == ([], [])
            keys.create(owner)
            return
        used = scenario.used(installation, owner)
        done = keys.rotate(owner) if used else keys.create(owner)
        assert done.is_live
        assert done.remains == ()
        assert scenario.at_host() == [scenario.used(installation, owner)]
        assert [each.use for each in keys.listed()] == ["in use"]
        if verb == "create":
            keys.remove(owner)


@pytest.mark.outside_description("the host sends refusals that are not its own")
@pytest.mark.parametrize("owner", OWNERS if IS_WHOLE else OWNERS[:1], ids=lambda each: each.noun)
@pytest.mark.parametrize("verb", VERBS)
def test_no_key_is_lost_when_any_request_to_the_host_fails(scenario, owner, verb, caplog):
    prepare(scenario, owner, verb)
    refused = 0
    for number in range(REQUESTS_MOST * WAYS):
        at, how = number // WAYS, REFUSALS[number % len(REFUSALS)]
        scenario.step.at, scenario.step.how, scenario.step.count = at + 1, how, 0
        with scenario.opened() as installation:
            done, error = attempt(lambda: getattr(scenario.keys(installation), verb)(owner))
        if scenario.step.count <= at:
            break
        refused += 1
        told = error is not None or (verb != "remove" and (done.by_hand or done.remains))
        # A key that a repeated request finds gone, or there already, is as it was to be.
        assert told or how in (404, "lost"), (at, how)
        check(scenario, owner, error=error, was_used=verb == "rotate", caplog=caplog)
        make_good(scenario, owner, verb)
    assert scenario.step.count <= at
    assert refused >= WAYS * (1 if verb == "remove" else 2)


@pytest.mark.parametrize("scenario", KINDS[:1], indirect=True)
@pytest.mark.parametrize("owner", OWNERS if IS_WHOLE else OWNERS[:1], ids=lambda each: each.noun)
@pytest.mark.parametrize("verb", VERBS)
def test_no_key_is_lost_when_any_system_call_fails(scenario, owner, verb, refuse, caplog):
    """Of the file system and of the database, which does not depend on the host."""
    prepare(scenario, owner, verb)
    for at in range(1, CALLS_MOST, STRIDE):
        with scenario.opened() as installation:
            error, count = refuse(partial(getattr(scenario.keys(installation), verb), owner), at)
        check(scenario, owner, error=error, was_used=verb == "rotate", caplog=caplog)
        make_good(scenario, owner, verb)
        if count < at:
            break
    assert error is None
    assert count >= 3


@pytest.mark.parametrize("scenario", KINDS[:1], indirect=True)
@pytest.mark.parametrize(
    ("name", "mode"), [("", 0o500), ("deploycore.db", 0o400), ("secret.key", 0)], ids=str
)
def test_inaccessible_files_lose_no_key(scenario, name, mode, caplog):
    """The kernel refuses here, so the process is not root's."""
    owner = OWNERS[0]
    prepare(scenario, owner, "rotate")
    if os.getuid() == 0:
        for each in (scenario.home, *scenario.home.rglob("*")):
            os.chown(each, OTHER_USER, OTHER_USER)
    path = scenario.home / name
    before = path.stat().st_mode
    path.chmod(mode)
    said = in_a_child(partial(rotate_as_other_user, scenario, owner))
    path.chmod(before)
    code, _, hint = said.partition("\n")
    assert code == "store", said
    assert hint
    check(scenario, owner, error=None, was_used=True, caplog=caplog)
    make_good(scenario, owner, "rotate")


def rotate_as_other_user(scenario, owner):
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(OTHER_USER)
        os.setuid(OTHER_USER)
    with scenario.opened() as installation:
        scenario.keys(installation).rotate(owner)


def in_a_child(action):
    """What a fork says of an action: the code of its error, and the hint."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        return said
    said = "no error"
    try:
        action()
    except DeploycoreError as error:
        said = f"{error.code}\n{error.hint}"
    except BaseException as error:
        said = repr(error)
    finally:
        os.write(writing, said.encode())
        os._exit(0)


def prepare(scenario, owner, verb):
    if verb != "create":
        with scenario.opened() as installation:
            scenario.keys(installation).create(owner)
