"""The fields for SSH that providers of every kind have."""

from __future__ import annotations

import asyncssh
import pytest
from pydantic import SecretStr

from deploycore.cli.fields import field_help, read_fields
from deploycore.configuration import ProviderConfig
from deploycore.errors import ConfigurationError
from deploycore.models import SshAddress
from deploycore.provider.core_fields import core_fields, parse_fields
from tests.ssh.test_known_hosts import ONE, TWO
from tests.ssh_server import make_key, why_not

LINE = f"host {ONE.text}"


class Config(ProviderConfig):
    @property
    def api_base_url(self):
        return "https://host.example"

    @property
    def api_auth(self):
        return None


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    if why_not():
        pytest.skip(why_not())
    return make_key(tmp_path_factory.mktemp("key") / "key", passphrase="right").read_text()


def parsed(settings=None, **secrets):
    given = {name: SecretStr(value) for name, value in secrets.items()}
    return parse_fields(Config, settings or {}, given, name="work", kind="acme")


def test_git_only_uses_ssh_with_a_key_or_an_agent(key):
    assert not parsed().core.uses_ssh
    assert not parsed({"ssh_agent": "false", "ssh_host_keys": LINE}).core.uses_ssh
    assert parsed({"ssh_agent": "true"}).core.uses_ssh
    assert parsed(ssh_private_key=key, ssh_passphrase="right").core.uses_ssh


def test_pinned_keys_are_added_to_the_published_keys(key):
    found = parsed({"ssh_host_keys": LINE}, ssh_private_key=key, ssh_passphrase="right")
    published = f"host {TWO.text}"
    source = found.core.ssh_source(SshAddress(url="ssh://git@host/x", host_keys=(published,)))
    assert source.url == "ssh://git@host/x"
    assert source.credential.host_keys == (LINE, published)
    assert source.credential.passphrase == SecretStr("right")
    secrets = [each.get_secret_value() for each in found.core.secrets]
    assert secrets == [key, "right"]


def test_a_host_key_file_is_stored_as_its_lines(tmp_path):
    known = tmp_path / "known_hosts"
    known.write_text(f"\n# comment\n{LINE}\n")
    assert parsed({"ssh_host_keys": str(known)}).settings == {"ssh_host_keys": LINE}


@pytest.mark.parametrize(
    ("passphrase", "said"), [({}, "there is no passphrase"), ({"ssh_passphrase": "no"}, "not open")]
)
def test_an_unreadable_key_is_rejected_on_input(key, passphrase, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        parsed(ssh_private_key=key, **passphrase)
    assert caught.value.details["provider"] == "work"


def test_a_key_of_an_unsupported_type_is_rejected_on_input():
    kind = asyncssh.generate_private_key("ssh-dss").export_private_key().decode()
    with pytest.raises(ConfigurationError, match="neither Ed25519, ECDSA nor RSA"):
        parsed(ssh_private_key=kind)


@pytest.mark.parametrize("option", ["--ssh-private-key", "--ssh-passphrase"])
def test_a_key_is_never_passed_as_an_argument(option):
    with pytest.raises(ConfigurationError, match="would put a secret on the command line"):
        read_fields(Config, [option, "x"])
    plain = {field.name for field in core_fields(Config) if field.may_be_plain}
    assert plain == {"proxy"}
    assert "SSH fields, to clone with a key:" in field_help(Config)
