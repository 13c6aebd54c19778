"""Submodules at other hosts, with the credentials of the providers that an application names."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from deploycore_gitea.sandbox import GiteaSandbox
from deploycore_github.sandbox import GitHubSandbox
from pydantic import SecretStr

from deploycore.deploy.named_providers import NamedProviders
from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    GitError,
    HostKeyRefused,
    KeyRefused,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RemoteRefused,
)
from deploycore.testing.faults import Fault, answer
from deploycore.testing.repositories import Submodule
from tests.distributions import GOOD_PROVIDER
from tests.git.lfs_server import LfsServer, pointer_file
from tests.git.servers import SECRET, Content
from tests.git.test_submodules import modules, tip
from tests.ssh_server import make_key

SERVICE = "git-upload-pack"


def asked_by_git(sandbox, request):
    """Whether a request is one of git to this sandbox: watchers see those to all of them."""
    is_its_own = request.headers["host"] == urlsplit(sandbox.url).netloc
    return is_its_own and SERVICE in request.path + request.query_string


@pytest.fixture
def watch(monkeypatch):
    """Notes the scheme of each Authorization header that git sends to a sandbox."""

    def start(sandbox):
        seen = []

        def note(exchange):
            if asked_by_git(sandbox, exchange.request):
                seen.append(exchange.request.headers.get("authorization", ""))

        monkeypatch.setattr(type(sandbox), "watchers", [*type(sandbox).watchers, note])
        return seen

    return start


@pytest.fixture
def hosts():
    """A Gitea with the application's repository, and GitHubs on two other ports."""
    with ExitStack() as stack:
        made = [GiteaSandbox(), GitHubSandbox(), GitHubSandbox()]
        yield [stack.enter_context(each) for each in made]


def add(installation, name, kind, sandbox):
    """Add a provider for a new token of a sandbox; gives the token."""
    credential = sandbox.add_credential("token")
    settings = dict(sandbox.connection(credential).settings)
    installation.add_provider(name, kind, settings, {"token": settings.pop("token")})
    return credential


def write_shop(gitea, url, commit):
    files = {".gitmodules": modules(lib=("lib", url)), "lib": Submodule(commit), "page": b"one"}
    return gitea.publish("guild", "shop", "main", files, "Shop")


@pytest.fixture
def create(installation, hosts, target):
    gitea = hosts[0]
    add(installation, "home", "gitea", gitea)

    def make(url, commit, *credentials, **more):
        write_shop(gitea, url, commit)
        installation.add_application(
            "shop",
            provider="home",
            repository="guild/shop",
            ref="main",
            target=target,
            submodules=True,
            credentials=credentials,
            **more,
        )

    return make


def publish_lib(sandbox):
    return sandbox.publish("guild", "lib", "main", {"lib.txt": b"lib"}, "Lib")


def rotate(installation, name, sandbox, old):
    new = sandbox.add_credential("token")
    sandbox.revoke_credential(old)
    changes = installation.provider_changes
    settings = sandbox.connection(new).settings
    changes.store(changes.plan(name, {}, {"token": settings["token"]}))


@pytest.mark.parametrize("form", ["{url}/guild/lib.git", "{url}/guild/lib"])
def test_a_submodule_is_fetched_with_the_credential_of_the_named_provider(
    installation, hosts, create, target, form, watch
):
    _, github, _ = hosts
    add(installation, "team", "github", github)
    seen = watch(github)
    create(form.format(url=github.url), publish_lib(github), "team")
    installation.deploy("shop")
    assert (target / "current/lib/lib.txt").read_bytes() == b"lib"
    assert set(seen) == {"Basic"}


def test_an_origin_without_a_named_provider_receives_no_credential(
    installation, hosts, create, watch
):
    """Also on the same host: another port is another origin."""
    _, github, other = hosts
    add(installation, "team", "github", github)
    seen, unused = watch(other), watch(github)
    create(f"{other.url}/guild/lib.git", publish_lib(other), "team")
    with pytest.raises(RemoteRefused) as caught:
        installation.deploy("shop")
    assert "provider" not in caught.value.message
    assert (set(seen), unused) == ({""}, [])


def test_a_provider_that_is_not_named_is_not_used(installation, hosts, create, watch):
    _, github, _ = hosts
    add(installation, "team", "github", github)
    seen = watch(github)
    create(f"{github.url}/guild/lib.git", publish_lib(github))
    with pytest.raises(RemoteRefused):
        installation.deploy("shop")
    assert set(seen) == {""}


def test_a_credential_rejected_midway_is_reloaded(
    installation, hosts, create, target, watch, monkeypatch
):
    _, github, _ = hosts
    old = add(installation, "team", "github", github)
    create(f"{github.url}/guild/lib.git", publish_lib(github), "team")
    rotated = []

    def replace(exchange):
        if asked_by_git(github, exchange.request) and not rotated:
            rotated.append(exchange.answer.status)
            rotate(installation, "team", github, old)

    monkeypatch.setattr(type(github), "watchers", [*type(github).watchers, replace])
    seen = watch(github)
    installation.deploy("shop")
    assert rotated == [200]
    assert len(seen) > 2
    assert (target / "current/lib/lib.txt").read_bytes() == b"lib"


def test_a_rejected_credential_is_reported_with_its_provider(installation, hosts, create):
    _, github, _ = hosts
    old = add(installation, "team", "github", github)
    create(f"{github.url}/guild/lib.git", publish_lib(github), "team")
    github.revoke_credential(old)
    with pytest.raises(RemoteRefused) as caught:
        installation.deploy("shop")
    assert "The credential is that of the provider 'team'." in caught.value.message
    assert "deploycore provider rotate team" in caught.value.hint
    assert caught.value.details["provider"] == "team"
    assert caught.value.details["submodule"] == "lib"
    log = installation.engine.logs.path("shop", caught.value.details["deployment"]).read_text()
    assert "'team'" in log
    assert old.secret.get_secret_value() not in log
    rotate(installation, "team", github, old)
    installation.deploy("shop")


def test_a_named_provider_cannot_be_removed_and_a_missing_one_is_reported(
    installation, hosts, create
):
    _, github, _ = hosts
    add(installation, "team", "github", github)
    create(f"{github.url}/guild/lib.git", publish_lib(github), "team")
    for refused in (
        installation.store.remove_provider,
        installation.store.refuse_provider_removal,
    ):
        with pytest.raises(ConfigurationError, match="named in the credentials of: shop") as caught:
            refused("team")
        assert "deploycore app edit shop --unset credentials" in caught.value.hint
    shop = installation.store.get_application("shop")
    [change] = installation.apply([shop.definition.model_copy(update={"credentials": ()})])
    assert change.fields == {"credentials": (["team"], None)}
    assert installation.store.get_application("shop").revision == shop.revision + 1
    installation.store.remove_provider("team")
    with pytest.raises(ConfigurationError, match="no provider 'team'"):
        installation.apply([shop.definition])


def test_without_submodules_the_providers_are_not_opened(
    installation, hosts, create, target, watch
):
    _, github, _ = hosts
    add(installation, "team", "github", github)
    create(f"{github.url}/guild/lib.git", publish_lib(github), "team")
    definition = installation.store.get_application("shop").definition
    installation.apply([definition.model_copy(update={"submodules": False})])
    seen = watch(github)
    installation.deploy("shop")
    assert (list((target / "current/lib").iterdir()), seen) == ([], [])


SSH = """
    @hookimpl
    def ssh_clone_url(self, repository):
        from deploycore.models import SshAddress
        return SshAddress(url="{place}/" + repository.slug + ".git", host_keys={keys})
"""


FILES = {"lib.txt": b"lib"}


@pytest.fixture
def over_ssh(sshd, tmp_path, installation, install_distribution):
    """Adds a provider that clones over SSH: ``over_ssh(key)``; gives the submodule's commit."""
    below = sshd.root / f"{tmp_path.name}-named"
    below.mkdir()
    place = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}{below}"

    def make(key, *, host_keys=tuple(sshd.host_keys), files=FILES):
        lib = Content(below / "lib.git")
        lib.commit(lib.files(files))
        lib.repo.close()
        hook = SSH.format(place=place, keys=repr(host_keys))
        source = (GOOD_PROVIDER + hook).replace("https://api.acme.example", "http://127.0.0.1:9")
        install_distribution("deploycore-acme", "acme", source)
        given = {"token": "acme-token-71f0", "ssh_private_key": Path(key).read_text()}
        secrets = {name: SecretStr(value) for name, value in given.items()}
        installation.add_provider("team", "acme", {}, secrets)
        return tip(lib).decode()

    make.port = sshd.port
    return make


@pytest.fixture
def at_localhost(hosts, monkeypatch):
    """Gives the application's own host another name than that of the SSH server."""
    url = hosts[0].url.replace("127.0.0.1", "localhost")
    monkeypatch.setattr(type(hosts[0]), "url", property(lambda self: url))


@pytest.mark.parametrize(
    "form",
    [
        "ssh://git@127.0.0.1:{port}/guild/lib.git",
        "git@127.0.0.1:guild/lib",
        "http://127.0.0.1:9/guild/lib",
    ],
)
def test_a_submodule_over_ssh_is_fetched_with_the_key_of_the_named_provider(
    installation, over_ssh, sshd, at_localhost, create, target, form
):
    commit = over_ssh(sshd.key)
    create(form.format(port=sshd.port), commit, "team")
    installation.deploy("shop")
    assert (target / "current/lib/lib.txt").read_bytes() == b"lib"


@pytest.fixture
def lfs():
    running = LfsServer()
    running.credential = f"ada:{SECRET}"
    yield running
    running.stop()


@pytest.fixture
def authenticate(sshd, lfs):
    """Has the SSH server grant access to the LFS server; gives the file with what was asked."""
    program, asked = sshd.programs / "git-lfs-authenticate", sshd.directory / "asked"
    basic = base64.b64encode(lfs.credential.encode()).decode()
    header = {"Authorization": f"Basic {basic}"}
    granted = json.dumps({"href": f"{lfs.url}/info/lfs", "header": header})
    program.write_text(f"""#!/bin/sh\nprintf '%s\\n' "$@" > {asked}\necho '{granted}'\n""")
    program.chmod(0o755)
    yield asked
    program.unlink()


def test_lfs_files_of_a_submodule_are_fetched_with_the_key_of_its_provider(
    installation, over_ssh, sshd, at_localhost, create, target, lfs, authenticate
):
    pointer = lfs.add(b"large")
    files = {
        ".gitattributes": b"*.bin filter=lfs\n",
        "a.bin": pointer_file(pointer.oid, pointer.size),
    }
    commit = over_ssh(sshd.key, files=files)
    create(f"ssh://git@127.0.0.1:{sshd.port}/guild/lib.git", commit, "team", lfs=True)
    installation.deploy("shop")
    assert (target / "current/lib/a.bin").read_bytes() == b"large"
    path, operation = authenticate.read_text().splitlines()
    assert (path.endswith("/lib.git"), operation) == (True, "download")
    assert len(lfs.batches) == 1


def test_a_rejected_key_is_reported_with_its_provider(
    installation, over_ssh, sshd, at_localhost, create, tmp_path
):
    commit = over_ssh(make_key(tmp_path / "stranger"))
    create("git@127.0.0.1:guild/lib.git", commit, "team")
    with pytest.raises(KeyRefused) as caught:
        installation.deploy("shop")
    assert "The credential is that of the provider 'team'." in caught.value.message
    assert "deploycore provider rotate team" in caught.value.hint


def test_the_hint_for_an_unknown_host_key_pins_it_for_its_provider(
    installation, over_ssh, sshd, at_localhost, create, monkeypatch
):
    commit = over_ssh(sshd.key, host_keys=())
    create("git@127.0.0.1:guild/lib.git", commit, "team")
    with pytest.raises(HostKeyRefused) as caught:
        installation.deploy("shop")
    assert "deploycore provider edit team --host-key FILE" in caught.value.hint
    assert caught.value.details["provider"] == "team"


REFUSALS = {
    401: AuthenticationFailed,
    403: PermissionDenied,
    404: NotFound,
    409: ProviderError,
    422: ProviderError,
    429: RateLimited,
    500: ProviderUnavailable,
}


def test_an_error_of_a_named_provider_only_fails_that_deployment(
    installation, create, target, tmp_path, monkeypatch
):
    """With an SSH key, the plugin asks the host where the repository is."""
    monkeypatch.setattr("deploycore.http.client.seconds_before_retry", lambda *_, **__: 0.0)
    with GiteaSandbox() as team:
        credential = team.add_credential("token")
        settings = dict(team.connection(credential).settings)
        secrets = {"token": settings.pop("token")}
        installation.add_provider("team", "gitea", settings, secrets)
        commit = publish_lib(team)
        create(f"{team.url}/guild/lib.git", commit, "team")
        live = installation.deploy("shop").release
        changes = installation.provider_changes
        key = SecretStr(Path(make_key(tmp_path / "key")).read_text())
        changes.store(changes.plan("team", {}, {"ssh_private_key": key}))
        for status, kind in REFUSALS.items():
            team.faults.clear()
            team.faults.add(Fault(answer(status, "no"), path="/api/*"))
            with pytest.raises(kind) as caught:
                installation.deploy("shop", force=True)
            assert caught.value.hint, status
            said = str(caught.value.as_dict())
            assert credential.secret.get_secret_value() not in said
            assert key.get_secret_value()[100:200] not in said
            assert (target / "current").readlink().name == live


def test_errors_of_other_origins_are_not_changed():
    named = NamedProviders((), lambda name: pytest.fail(name), seconds=1, look=lambda: None)
    error = GitError("It failed.", hint="Try again.", url="https://h/a", submodule="lib")
    with named:
        assert named.find("https://git.example.com/a/b.git") is None
        named.explain(error)
    assert (error.message, error.hint) == ("It failed.", "Try again.")


def test_the_secrets_of_all_named_providers_are_masked():
    def opened(name):
        provider = SimpleNamespace(
            addresses=[f"https://{name}.example"],
            secrets=(SecretStr(f"{name}-token"), SecretStr(f"{name}-renewed")),
            close=lambda: None,
        )
        provider.within = lambda limit: provider
        return provider

    with NamedProviders(("one", "two"), opened, seconds=9, look=lambda: None) as named:
        assert named.secrets == ()
        assert named.find("https://three.example/a/b.git") is None
        shown = [each.get_secret_value() for each in named.secrets]
    assert shown == ["one-token", "one-renewed", "two-token", "two-renewed"]
