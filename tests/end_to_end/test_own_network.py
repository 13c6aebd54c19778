"""Each provider has its own network settings: certificates, a proxy and timeouts, for all of its
requests."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from deploycore_gitea.sandbox import GiteaSandbox
from pydantic import SecretStr

from deploycore import Installation, Settings
from deploycore.errors import ConfigurationError, GitError, ProviderUnavailable
from deploycore.git import GitSettings, export
from deploycore.git.lfs.client import LfsClient
from deploycore.git.operation import Operation
from deploycore.git.progress import Cancellation, no_progress
from deploycore.models import CloneUrl, RepositoryId
from deploycore.provider import open_provider
from tests.git.lfs_server import LfsServer
from tests.network import Proxy, TlsEnd, write_certificate

SHOP = RepositoryId(owner=GiteaSandbox.OWNER, slug="shop")
PROXY_SECRET = "word-of-the-proxy"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def sandbox():
    with GiteaSandbox.demo() as sandbox:
        yield sandbox


@pytest.fixture
def installation(tmp_path):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "home")})
    with Installation(settings) as installation:
        yield installation


@pytest.fixture
def proxy():
    made = Proxy()
    made.demanded = f"me:{PROXY_SECRET}"
    yield made
    made.stop()


@pytest.fixture
def network(tmp_path, sandbox):
    """Makes TLS ends before the sandbox, each with a certificate of its own."""
    made = []

    def make(name, *, port=None, **options):
        certificate = write_certificate(tmp_path / f"{name}.pem", name)
        end = TlsEnd(port or int(sandbox.url.rpartition(":")[2]), certificate, **options)
        end.certificate = certificate
        made.append(end)
        return end

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def values(sandbox):
    """A provider's fields, and its secrets, for an address."""
    known = next(each for each in sandbox.connections if each.settings["mode"] == "token")
    token = known.settings["token"]

    def give(origin, **more):
        plain = {"mode": "token", "owner": known.owner, "url": origin, **more}
        return plain, {"token": token}

    return give


def add(installation, name, given, **secrets):
    settings, own = given
    return installation.add_provider(
        name,
        "gitea",
        settings,
        {**own, **{key: SecretStr(value) for key, value in secrets.items()}},
        verify=lambda provider: provider.authenticate(),
    )


def deploy(installation, tmp_path, provider):
    target = tmp_path / f"site-of-{provider}"
    installation.add_application(
        f"site-{provider}", provider=provider, repository=SHOP, target=target, ref="main"
    )
    return installation.deploy(f"site-{provider}").state


def test_two_providers_with_different_networks_in_one_process(
    installation, network, values, proxy, tmp_path
):
    mine = write_certificate(tmp_path / "mine.pem", "mine")
    yours = write_certificate(tmp_path / "yours.pem", "yours")
    one = network("one", client_ca=mine)
    two = network("two", client_ca=yours)
    shown = {"ca_bundle": str(one.certificate), "client_certificate": str(mine)}
    add(installation, "one", values(one.origin, **shown))
    shown = {"ca_bundle": str(two.certificate), "client_certificate": str(yours)}
    address = f"http://me:{PROXY_SECRET}@127.0.0.1:{proxy.port}"
    add(installation, "two", values(two.origin, client_key=str(yours), **shown), proxy=address)
    assert deploy(installation, tmp_path, "one") == "healthy"
    assert deploy(installation, tmp_path, "two") == "healthy"
    assert set(one.shown) == {"mine"}
    assert set(two.shown) == {"yours"}
    assert {line.split()[1] for line, _ in proxy.seen} == {f"localhost:{two.port}"}
    assert len(proxy.seen) == len(two.shown)  # the API's connections, and git's


def test_git_uses_the_network_settings_of_the_provider(
    installation, network, values, proxy, tmp_path
):
    mine = write_certificate(tmp_path / "mine.pem", "mine")
    end = network("end", client_ca=mine)
    fields = values(end.origin, ca_bundle=str(end.certificate), client_certificate=str(mine))
    add(installation, "work", fields, proxy=f"me:{PROXY_SECRET}@127.0.0.1:{proxy.port}")
    with installation.open_provider("work") as provider:
        place = provider.clone_url(SHOP)
        end.shown.clear()
        proxy.seen.clear()
        settings = provider.git_settings(GitSettings(retries=0))
    export(place, "main", tmp_path / "with", settings=settings)
    assert set(end.shown) == {"mine"}
    assert proxy.seen
    with pytest.raises(GitError):
        export(place, "main", tmp_path / "without", settings=GitSettings(retries=0))


def test_git_lfs_uses_the_network_settings_of_the_provider(network, values, proxy, tmp_path):
    lfs = LfsServer()
    mine = write_certificate(tmp_path / "mine.pem", "mine")
    port = int(lfs.origin.rpartition(":")[2])
    end = network("end", port=port, client_ca=mine)
    lfs.origin = end.origin
    pointer = lfs.add(b"large")
    settings, secrets = values(end.origin, ca_bundle=str(end.certificate))
    fields = {**settings, **secrets, "client_certificate": str(mine)}
    fields["proxy"] = SecretStr(f"http://me:{PROXY_SECRET}@127.0.0.1:{proxy.port}")
    with open_provider("gitea", {"name": "work", **fields}) as provider:
        used = provider.git_settings(GitSettings(retries=0))
    place = CloneUrl(url=f"{end.origin}/shop.git")
    got = []
    LfsClient(place, Operation(used, no_progress, Cancellation(), home=place.url)).fetch(
        [pointer], lambda each: nullcontext(type("Sink", (), {"write": got.append}))
    )
    lfs.stop()
    assert b"".join(map(bytes, got)) == b"large"
    assert set(end.shown) == {"mine"}
    assert len(proxy.seen) == len(end.shown)


def test_an_untrusted_host_is_not_added(installation, network, values):
    end, other = network("end"), network("other")
    for fields in ({}, {"ca_bundle": str(other.certificate)}):
        with pytest.raises(ProviderUnavailable, match="TLS") as caught:
            add(installation, "work", values(end.origin, **fields))
        assert "ca_bundle" in caught.value.hint
    assert installation.store.list_providers() == []


CORRECTED = {
    "ca_bundle": "good.pem",
    "client_certificate": "good.pem",
    "client_key": "good.pem",
    "connect_timeout": "5",
    "read_timeout": "600",
    "expires_on": "2099-01-01",
}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"ca_bundle": "nowhere.pem"}, "nowhere.pem.*No such file"),
        ({"ca_bundle": "text.pem"}, "text.pem.*cannot be used"),
        ({"ca_bundle": " "}, "ca_bundle: it is empty"),
        ({"client_certificate": "nowhere.pem"}, "nowhere.pem.*No such file"),
        ({"client_certificate": "text.pem"}, "text.pem.*cannot be used"),
        ({"client_key": "text.pem"}, "no client_certificate"),
        ({"proxy": "socks5://proxy:1080"}, "proxy: it must be http"),
        ({"proxy": "http://"}, "proxy: it must be http"),
        ({"proxy": "http://me:hidden@proxy:3128"}, "must be a secret"),
        ({"connect_timeout": "soon"}, "connect_timeout"),
        ({"read_timeout": "0"}, "read_timeout"),
        ({"read_timeout": "601"}, "read_timeout"),
        ({"expires_on": "never"}, "expires_on"),
    ],
)
def test_an_invalid_field_is_named_and_nothing_is_stored(
    installation, sandbox, values, tmp_path, monkeypatch, fields, problem
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=problem) as caught:
        add(installation, "work", values("https://git.example.com", **fields))
    assert caught.value.details["provider"] == "work"
    assert caught.value.hint or "client" in problem
    assert "hidden" not in f"{caught.value} {caught.value.hint}"
    assert installation.store.list_providers() == []
    write_certificate(tmp_path / "good.pem", "good")
    corrected = {name: CORRECTED[name] for name in fields if name in CORRECTED}
    if "client_key" in fields:  # "Give both, or neither."
        corrected |= {"client_certificate": "good.pem"}
    add(installation, "work", values(sandbox.url, **corrected))


def test_paths_are_stored_as_absolute_paths(installation, network, values, tmp_path, monkeypatch):
    end = network("end")
    monkeypatch.chdir(tmp_path)
    add(installation, "work", values(end.origin, ca_bundle="end.pem"))
    monkeypatch.chdir("/")
    assert installation.store.get_provider("work").settings["ca_bundle"] == str(end.certificate)
    with installation.open_provider("work") as provider:
        assert provider.authenticate().username


def test_a_missing_file_is_reported_when_the_provider_is_opened(installation, network, values):
    end = network("end")
    add(installation, "work", values(end.origin, ca_bundle=str(end.certificate)))
    end.certificate.unlink()
    with pytest.raises(ConfigurationError, match=r"end\.pem") as caught:
        installation.open_provider("work")
    assert caught.value.details["provider"] == "work"


def test_a_proxy_moves_between_settings_and_secrets(installation, network, values, proxy):
    end = network("end")
    proxy.demanded = None
    add(installation, "work", values(end.origin, ca_bundle=str(end.certificate)))
    changes = installation.provider_changes
    plain, secret = "http://127.0.0.1:1", f"http://me:word@127.0.0.1:{proxy.port}"
    changes.store(changes.plan("work", {"proxy": plain}, {}))
    assert installation.store.get_provider("work").settings["proxy"] == plain
    changes.store(changes.plan("work", {}, {"proxy": SecretStr(secret)}))
    record = installation.store.get_provider("work")
    assert "proxy" not in record.settings
    assert "proxy" in record.secrets
    with installation.open_provider("work") as provider:
        provider.authenticate()
        assert "word" in [each.get_secret_value() for each in provider.secrets]
    assert proxy.seen
    changes.store(changes.plan("work", {"proxy": "none"}, {}))
    record = installation.store.get_provider("work")
    assert (record.settings["proxy"], "proxy" in record.secrets) == ("none", False)


def test_proxy_none_overrides_the_environment(
    installation, network, values, proxy, tmp_path, monkeypatch
):
    end = network("end")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    add(installation, "work", values(end.origin, ca_bundle=str(end.certificate), proxy="none"))
    assert deploy(installation, tmp_path, "work") == "healthy"
    assert not proxy.seen


def test_the_timeouts_of_the_provider_are_used(installation, network, values):
    end = network("end")
    shown = {"ca_bundle": str(end.certificate), "connect_timeout": "7", "read_timeout": "8.5"}
    add(installation, "work", values(end.origin, **shown))
    with installation.open_provider("work") as provider:
        used = provider.git_settings(GitSettings())
        own = provider._connection.http._settings
    assert (used.connect_timeout, used.read_timeout) == (7, 8.5)
    assert (own.connect_timeout, own.read_timeout) == (7, 8.5)


def test_the_command_line_accepts_network_fields_but_no_password(shell, network, values, proxy):
    end = network("end")
    settings, secrets = values(end.origin)
    options = [f"--{key}={value}" for key, value in settings.items()]
    token = secrets["token"].get_secret_value()
    start = ("provider", "add", "work", "--kind", "gitea", *options, "--token-stdin")
    code, said = shell.fail(*start, "--proxy", f"http://me:{PROXY_SECRET}@127.0.0.1", given=token)
    assert code == 3
    assert "--proxy-stdin" in said
    shell.succeed(
        *start, "--ca-bundle", str(end.certificate), "--proxy-stdin",
        given=f"{token}\nhttp://me:{PROXY_SECRET}@127.0.0.1:{proxy.port}\n",
    )  # fmt: skip
    assert proxy.seen
    assert "ca_bundle" in shell.succeed("provider", "show", "work")
    shell.succeed("provider", "edit", "work", "--unset", "proxy", "--read-timeout", "5")
    shown = shell.json("provider", "show", "work")["settings"]
    assert ("proxy" in shown, shown["read_timeout"]) == (False, "5")
    assert "trusted" in shell.succeed("doctor")


def test_the_help_lists_the_network_fields(shell):
    said = shell.succeed("provider", "add", "--kind", "gitea", "--help")
    assert "Network fields" in said
    edited = shell.succeed("provider", "edit", "--help")
    for field in ("ca-bundle", "client-certificate", "client-key", "proxy", "connect-timeout",
                  "read-timeout", "expires-on"):  # fmt: skip
        assert f"--{field}" in said
        assert f"--{field}" in edited
