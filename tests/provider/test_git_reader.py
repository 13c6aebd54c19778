"""A plugin without an API reads refs with git, and gets the errors of a git host."""

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
from tests.hostile.server import Answer, HostileServer, lines
from tests.ssh_server import make_key

COMMIT = b"1" * 40

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


def test_refs_and_the_default_branch_are_returned(served, reader):
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


def test_a_rate_limit_is_waited_for_or_reported_with_its_end(served, reader):
    served.faults.add(Fault(answer(429, "later", headers={"Retry-After": "0"}), times=1))
    assert list(reader.refs(source(served)))
    served.faults.add(Fault(answer(429, "later", headers={"Retry-After": "1800"}), times=1))
    with pytest.raises(RateLimited) as caught:
        list(reader.refs(source(served)))
    assert caught.value.retry_at is not None
    assert caught.value.hint == "Wait a few minutes, then try again."
    assert list(reader.refs(source(served)))  # later


@pytest.fixture
def hostile():
    running = HostileServer()
    running.script.refs = [(COMMIT, b"refs/heads/main")]
    yield running
    running.stop()


def test_refs_that_git_does_not_allow_are_omitted(hostile, reader):
    names = (b"", b"a\x1b[31mb", b"a\rb", b"a\0b", b"\xff", b"a..b", b"a/", b"gr\xc3\xb6n", b"v")
    bad = (b"0" * 40, b"12", b"A" * 40, COMMIT + b" peeled:zz")
    rows = [COMMIT + b" refs/heads/" + name for name in names]
    rows += [hash_[:40] + b" refs/heads/bad%d" % at + hash_[40:] for at, hash_ in enumerate(bad)]
    hostile.script.list_refs = lambda request: Answer(lines(*rows))
    listed = list(reader.refs(CloneUrl(url=hostile.url)))
    assert [each.name for each in listed] == ["refs/heads/grön", "refs/heads/v"]


@pytest.mark.parametrize(
    "head",
    [
        b"unborn HEAD symref-target:refs/heads/main",
        COMMIT + b" HEAD symref-target:HEAD",
        COMMIT + b" HEAD symref-target:refs/heads/",
        COMMIT + b" HEAD symref-target:refs/heads/\xff",
        COMMIT + b" HEAD symref-target:refs/heads/a\x1b[31mb",
        COMMIT + b" HEAD",
    ],
)
def test_a_head_that_points_to_no_branch_is_none(hostile, reader, head):
    hostile.script.list_refs = lambda request: Answer(lines(head))
    assert reader.default_branch(CloneUrl(url=hostile.url)) is None


def test_a_redirect_to_another_origin_receives_no_credentials(hostile, served, reader):
    where = ("Location", f"{served.url}/acme/shop/info/refs?service=git-upload-pack")
    hostile.script.discover = lambda request: Answer(status="302 Found", headers=(where,))
    before = served.request_count
    with pytest.raises(UnexpectedAnswer, match="does not follow redirects"):
        list(reader.refs(CloneUrl(url=hostile.url)))
    assert served.request_count == before


def test_sha_256_hashes_are_listed(hostile, reader):
    hostile.script.object_format, hostile.script.refs = b"sha256", [(b"a" * 64, b"refs/heads/x")]
    assert [each.commit for each in reader.refs(CloneUrl(url=hostile.url))] == ["a" * 64]


def test_an_unreachable_server_is_unavailable(reader):
    with pytest.raises(ProviderUnavailable, match="cannot be reached"):
        reader.default_branch(CloneUrl(url="http://127.0.0.1:1/acme/shop"))


def test_over_ssh_the_core_adds_the_key_and_the_host_keys(sshd, tmp_path):
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


def test_a_class_receives_a_reader_if_its_third_parameter_is_git():
    def made(init):
        return type("Made", (), {"__init__": init})

    assert takes_git(made(lambda self, config, http, git: None))
    assert takes_git(made(lambda self, config, http, git=None: None))
    assert not takes_git(made(lambda self, config, http: None))
    assert not takes_git(made(lambda self, config, http, other=None: None))
    assert list(init_faults(made(lambda self, config, http, other=None: None))) == []
    keyword = made(lambda self, config, http, *, git: None)
    for wrong in (made(lambda self, config, http, other: None), keyword, type("Made", (dict,), {})):
        assert not takes_git(wrong)
        [fault] = init_faults(wrong)
        assert "(config, http, git)" in fault


def test_the_plugin_passes_the_registrys_checks():
    assert "list_branches" in check_provider_class(PlainGitProvider, plugin="git")
