"""Lines of known_hosts files, matched as OpenSSH matches them."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from deploycore.ssh.known_hosts import HostKey, KnownHosts, host_key_line, read_host_keys


def key(number, kind="ssh-ed25519"):
    parts = (kind.encode(), bytes([number]) * 32)
    return HostKey(b"".join(len(part).to_bytes(4, "big") + part for part in parts))


ONE, TWO, THREE = (key(number) for number in (1, 2, 3))


def hashed(name):
    salt = b"salt of the test, "
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("names", "host", "port", "is_known"),
    [
        ("host.example", "host.example", 22, True),
        ("host.example", "HOST.example", 22, True),
        ("Host.Example", "host.example", 22, True),
        ("host.example", "other.example", 22, False),
        ("host.example", "xhost.example", 22, False),
        ("one.example,host.example,192.0.2.1", "host.example", 22, True),
        ("*.example", "host.example", 22, True),
        ("h?st.example", "host.example", 22, True),
        ("*.example,!host.example", "host.example", 22, False),
        ("*.example,!host.example", "other.example", 22, True),
        ("[host.example]:2222", "host.example", 2222, True),
        ("[host.example]:2222", "host.example", 22, False),
        ("host.example", "host.example", 2222, True),
        (hashed("host.example"), "host.example", 22, True),
        (hashed("[host.example]:2222"), "host.example", 2222, True),
        (hashed("other.example"), "host.example", 22, False),
        ("|1|no-hash", "host.example", 22, False),
        ("*", "host.example", 2222, True),
        ("*.*.example", "host.example", 22, False),
        ("host.*e*e", "host.example", 22, True),
        ("host.exampl?e", "host.example", 22, False),
        ("::1", "::1", 22, True),
        ("[::1]:2222", "::1", 2222, True),
        ("host.example", "host.example.", 22, False),
        ("*" + "a*" * 5000 + "b", "a" * 250, 22, False),
    ],
)
def test_a_line_applies_to_the_hosts_it_names(names, host, port, is_known):
    known = KnownHosts([f"{names} {ONE.text} a comment"])
    assert known.trusted(host, port) == ((ONE,) if is_known else ())


def test_a_line_with_the_port_takes_precedence_over_one_without():
    revoked = f"@revoked * {THREE.text}"
    known = KnownHosts([f"host {ONE.text}", f"[host]:2222 {TWO.text}", revoked])
    assert KnownHosts([f"host {ONE.text}", revoked]).trusted("host", 2222) == (ONE,)
    assert known.trusted("host") == (ONE,)
    assert known.trusted("host", 2222) == (TWO,)
    assert known.revoked("host", 2222) == known.revoked("else") == (THREE,)
    assert known.trusted("else") == ()


def test_comments_are_ignored():
    text = f"# of the host\n\n  host {ONE.text} \r\n"
    assert read_host_keys(text) == (f"host {ONE.text}",)
    assert host_key_line("Host", 2222, ONE) == f"[host]:2222 {ONE.text}"
    assert str(ONE) == f"ssh-ed25519 {ONE.fingerprint}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is no host key"),
        ("# nothing", "there is no host key"),
        (ONE.text, "must have a host, an algorithm and a key"),
        ("host ssh-ed25519 not/base64!", "damaged"),
        (f"host ssh-rsa {ONE.text.split()[1]}", "does not have the algorithm 'ssh-rsa'"),
        (f"@cert-authority host {ONE.text}", "'@cert-authority' are not supported"),
        (f"host {ONE.text}\n" * 1001, "more than 1000"),
        (f"host {ONE.text} {'x' * 20_000}", "must have a host"),
    ],
)
def test_an_invalid_host_key_is_rejected(text, problem):
    with pytest.raises(ValueError, match=problem):
        read_host_keys(text)
