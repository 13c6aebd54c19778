"""What a plugin without an API gets: refs by git, and the errors of a git host."""

from __future__ import annotations

import pytest
from deploycore_git import PlainGitProvider
from deploycore_git.sandbox import PlainGitSandbox
from pydantic import SecretStr

from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    HostKeyRefused,
    NotFound,
    PermissionDenied,
    ProviderUnavailable,
    RateLimited,
    UnexpectedAnswer,
)
from deploycore.http import HttpSettings
from deploycore.models import CloneUrl, SshAddress
from deploycore.provider.core_fields import CoreFields
from deploycore.provider.git_reader import ProviderGitReader
from deploycore.provider.registry import check_provider_class
from deploycore.provider.signatures import init_faults, takes_git
from deploycore.redaction import Redactor
from deploycore.testing.faults import (
    Fault,
    answer,
    connection_reset,
    html,
    latency,
)
from tests.ssh_server import make_key

HASTY = HttpSettings(retries=1, backoff_first=0.01, read_timeout=0.3, total_timeout=5)


@pytest.fixture
def served():
    """A server whose repositories are public."""
    with PlainGitSandbox() as running:
        running.publish("acme", "shop", "main", {"page": b"one"}, "One")
        running.add_credential("anonymous")
        yield running


@pytest.fixture
def reader():
    return ProviderGitReader(CoreFields(), HASTY, Redactor())


def source(served, slug="shop"):
    return CloneUrl(url=f"{served.url}/acme/{slug}")


def test_refs_and_the_default_branch_are_told(served, reader):
    [(_, commit)] = served.branches(served.find("acme", "shop"))
    before = served.request_count
    listing = reader.refs(source(served))
    assert served.request_count == before
    assert [(each.name, each.commit) for each in listing] == [("refs/heads/main", commit)]
    assert reader.default_branch(source(served)) == "main"
    served.add_repository("acme", "vacant")
    assert reader.default_branch(source(served, "vacant")) is None
    assert list(reader.refs(source(served, "vacant"))) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (answer(401, "no"), AuthenticationFailed),
        (answer(403, "no"), PermissionDenied),
        (answer(404, "no"), NotFound),
        (answer(410, "no"), NotFound),
        (answer(418, "no"), UnexpectedAnswer),
        (answer(500, "no"), ProviderUnavailable),
        (answer(302, headers={"Location": "/sign-in"}), UnexpectedAnswer),
        (html(), UnexpectedAnswer),
        (connection_reset(), ProviderUnavailable),
        (latency(60), ProviderUnavailable),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_errors_are_those_of_a_git_host(served, reader, change, expected):
    served.faults.add(Fault(change))
    with pytest.raises(expected) as caught:
        list(reader.refs(source(served)))
    assert type(caught.value) is expected
    assert caught.value.hint
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_rate_limit_is_waited_for_or_told_with_its_end(served, reader):
    served.faults.add(Fault(answer(429, "later", headers={"Retry-After": "0"}), times=1))
    assert list(reader.refs(source(served)))
    served.faults.add(Fault(answer(429, "later", headers={"Retry-After": "1800"}), times=1))
    with pytest.raises(RateLimited) as caught:
        list(reader.refs(source(served)))
    assert caught.value.retry_at is not None
    assert caught.value.hint == "Wait a few minutes, then try again."
    assert list(reader.refs(source(served)))  # later


def test_a_server_that_is_not_there_is_unavailable(reader):
    with pytest.raises(ProviderUnavailable, match="cannot be reached"):
        reader.default_branch(CloneUrl(url="http://127.0.0.1:1/acme/shop"))


def test_over_ssh_the_core_adds_key_and_host_keys(sshd, tmp_path):
    def ask(**fields):
        key = SecretStr(sshd.key.read_text())
        core = CoreFields(**{"ssh_private_key": key, "ssh_host_keys": known, **fields})
        reader = ProviderGitReader(core, None, Redactor())
        return list(reader.refs(SshAddress(url=sshd.url("nothing.git"))))

    known = sshd.host_keys[0]
    with pytest.raises(NotFound, match="does not appear to be a git repository"):
        ask()
    with pytest.raises(HostKeyRefused, match="is not known"):
        ask(ssh_host_keys=None)
    stranger = make_key(tmp_path / "stranger").read_text()
    with pytest.raises(AuthenticationFailed, match="does not accept the key"):
        ask(ssh_private_key=SecretStr(stranger))
    with pytest.raises(ConfigurationError, match="There is no SSH key"):
        ask(ssh_private_key=None)


def test_a_class_gets_a_reader_if_its_third_parameter_is_git():
    def made(init):
        return type("Made", (), {"__init__": init})

    assert takes_git(made(lambda self, config, http, git: None))
    assert takes_git(made(lambda self, config, http, git=None: None))
    assert not takes_git(made(lambda self, config, http: None))
    assert not takes_git(made(lambda self, config, http, other=None: None))
    assert list(init_faults(made(lambda self, config, http, other=None: None))) == []
    [fault] = init_faults(made(lambda self, config, http, other: None))
    assert "(config, http, git)" in fault


def test_the_plugin_passes_the_registrys_checks():
    assert "list_branches" in check_provider_class(PlainGitProvider, plugin="git")
