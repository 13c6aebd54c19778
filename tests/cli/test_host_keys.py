"""Pinning the key of an SSH server: the option, and the prompt at the terminal."""

from __future__ import annotations

import pytest

from deploycore.cli import host_keys
from deploycore.cli.host_keys import pinning, with_host_keys
from deploycore.errors import Cancelled, ConfigurationError, HostKeyRefused
from tests.ssh.test_known_hosts import ONE, TWO

LINE, OTHER = f"host {ONE.text}", f"host {TWO.text}"


def refusal(known=(), revoked=False):
    details = {"host": "host", "algorithm": ONE.kind, "fingerprint": ONE.fingerprint}
    return HostKeyRefused(
        "It is refused.", line=LINE, known=list(known), revoked=revoked, **details
    )


class Stored:
    """Stores what knows the key, and nothing else."""

    def __init__(self, known=(), revoked=False):
        self.known, self.revoked = known, revoked

    def __call__(self, settings):
        if LINE not in settings.get("ssh_host_keys", ""):
            raise refusal(self.known, self.revoked)
        return settings


@pytest.fixture
def answer(monkeypatch):
    """What a person at the terminal answers: ``answer(True)``."""

    def give(yes):
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr(host_keys.typer, "confirm", lambda *_, **__: yes)

    return give


def test_a_confirmed_key_is_pinned_in_addition_to_the_others(answer, capsys):
    answer(True)
    assert pinning(Stored(), {}, as_json=False) == {"ssh_host_keys": LINE}
    said = capsys.readouterr().err
    assert f"{ONE.kind} {ONE.fingerprint}" in said
    stored = pinning(Stored(), {"a": "b"}, stored=OTHER, as_json=False)
    assert stored == {"a": "b", "ssh_host_keys": f"{OTHER}\n{LINE}"}


def test_a_key_that_the_user_rejects_is_not_pinned(answer):
    answer(False)
    with pytest.raises(Cancelled, match="Nothing was stored"):
        pinning(Stored(), {}, as_json=False)


@pytest.mark.parametrize("why", [{"known": ["ssh-ed25519 SHA256:x"]}, {"revoked": True}])
@pytest.mark.parametrize("as_json", [True, False])
def test_a_changed_or_revoked_key_is_never_offered_for_confirmation(answer, why, as_json):
    answer(True)
    with pytest.raises(HostKeyRefused) as caught:
        pinning(Stored(**why), {}, as_json=as_json)
    assert caught.value.hint is None or "--host-key" not in caught.value.hint


@pytest.mark.parametrize("as_json", [True, False])
def test_without_a_terminal_the_error_names_the_option(answer, monkeypatch, as_json):
    answer(True)
    if not as_json:
        monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(HostKeyRefused) as caught:
        pinning(Stored(), {}, as_json=as_json)
    assert f"--host-key '{LINE}'" in caught.value.hint


def test_the_option_accepts_lines_and_files(tmp_path):
    known = tmp_path / "known_hosts"
    known.write_text(f"# of the host\n{LINE}\n")
    found = with_host_keys({"ssh_host_keys": OTHER}, [str(known)])
    assert found == {"ssh_host_keys": f"{OTHER}\n{LINE}"}
    assert with_host_keys({"a": "b"}, None) == {"a": "b"}
    for each in (str(tmp_path / "missing"), "host nonsense", ""):
        with pytest.raises(ConfigurationError, match="The host key cannot be used") as caught:
            with_host_keys({}, [each])
        assert (
            "host.example.com ssh-ed25519 AAAA… or the path of a known_hosts" in caught.value.hint
        )
    for each in (LINE, str(known)):
        assert with_host_keys({}, [each]) == {"ssh_host_keys": LINE}
