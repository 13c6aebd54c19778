"""Sources that were found out in another process are used like models."""

from __future__ import annotations

import marshal
from datetime import datetime, timedelta, timezone

import pytest
from pydantic import SecretStr

from deploycore.errors import RemoteRefused
from deploycore.git import clone, export
from deploycore.git.credentials import Credentials, authorization_of, key_of, password_of
from deploycore.git.plain_source import (
    as_model,
    credential_as_model,
    credential_as_plain,
    pack_source,
    unpack_source,
)
from deploycore.git.wording import clean
from deploycore.models import CloneUrl, GitCredential, SshCredential
from tests.git.servers import GITLINK
from tests.git.test_lfs import LfsOfGit

SECRET = SecretStr("made-up-secret")
SOURCES = {
    "public": CloneUrl(url="https://git.example.com/a.git"),
    "password": CloneUrl(
        url="https://git.example.com/a.git",
        credential=GitCredential(username="ada", password=SECRET),
    ),
    "token": CloneUrl(
        url="https://git.example.com/a.git",
        credential=GitCredential(
            username="x",
            password=SECRET,
            scheme="bearer",
            expires_at=datetime(2026, 11, 30, 1, 2, 3, 456789, timezone(timedelta(hours=-5))),
        ),
    ),
    "key": CloneUrl(
        url="ssh://git@git.example.com:7999/a.git",
        credential=SshCredential(
            private_key=SECRET, passphrase=SecretStr("other"), host_keys=("h a b", "h c d")
        ),
    ),
    "agent": CloneUrl(url="ssh://git@git.example.com/a.git", credential=SshCredential(agent=True)),
}


def plain(source):
    return unpack_source(marshal.loads(marshal.dumps(pack_source(source))))


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_source_is_the_same_again(source):
    found = plain(source)
    assert found.url == source.url
    assert as_model(found) == as_model(source) == source
    assert "made-up" not in f"{found!r} {found}"
    for given, other in ((source, found), (found, found)):
        assert (password_of(given) is None) == (password_of(other) is None)
        assert (key_of(given) is None) == (key_of(other) is None)


@pytest.mark.parametrize("name", ["password", "token"])
def test_the_same_header_is_sent(name):
    source = SOURCES[name]
    expected = authorization_of(source.credential)
    found = authorization_of(password_of(plain(source)))
    assert found == expected
    assert "made-up-secret" not in repr(found)
    assert found[1].get_secret_value().startswith("Bearer" if name == "token" else "Basic")


@pytest.mark.parametrize("name", ["password", "token", "key", "agent"])
def test_a_credential_is_equal_to_its_copies_only(name):
    source = SOURCES[name]
    copies = {credential_as_plain(each.credential) for each in (source, plain(source))}
    assert len(copies) == 1
    [copy] = copies
    assert credential_as_model(copy) == source.credential
    assert credential_as_plain(copy) is copy
    others = {credential_as_plain(each.credential) for each in SOURCES.values() if each.credential}
    assert len(others) == len(SOURCES) - 1


def test_a_secret_in_a_message_of_the_server_is_masked():
    said = "remote: made-up-secret is wrong"
    assert clean(said, plain(SOURCES["password"])) == clean(said, SOURCES["password"])
    assert "made-up" not in clean(said, plain(SOURCES["password"]))


def test_a_replaced_credential_replaces_its_copies_too():
    new = GitCredential(username="ada", password=SecretStr("renewed"))
    asked = []
    credentials = Credentials(lambda rejected: asked.append(rejected) or new)
    model, copy = SOURCES["password"].credential, plain(SOURCES["password"]).credential
    assert credentials.replace(copy)
    assert credentials.replace(model)
    assert len(asked) == 1
    assert credentials.current(model) == credentials.current(copy) == new
    assert not Credentials(lambda rejected: model).replace(copy)  # the same one again
    assert not Credentials(lambda rejected: SOURCES["agent"].credential).replace(copy)


def source_of(shop, secret):
    given = CloneUrl(
        url=shop.url, credential=GitCredential(username="ada", password=SecretStr(secret))
    )
    return plain(given)


def test_a_clone_renews_a_credential(server, make, target, settings):
    shop = make("shop", {"a.txt": b"1"})
    server.credential = "ada:renewed"
    new = GitCredential(username="ada", password=SecretStr("renewed"))
    source = source_of(shop, "expired-secret")
    clone(source, "main", target, settings=settings, renew=lambda rejected: new)
    assert (target / "a.txt").read_bytes() == b"1"
    server.credential = "ada:other"
    with pytest.raises(RemoteRefused) as caught:
        clone(source, "main", target.parent / "other", settings=settings)
    assert "expired-secret" not in f"{caught.value} {caught.value.details}"


def test_submodules_and_git_lfs_get_the_credential(server, make, target, settings):
    both = LfsOfGit(server)
    server.credential = "ada:made-up"
    library = make("library", {"b.txt": b"2"})
    files = {
        ".gitattributes": b"*.bin filter=lfs\n",
        "a.bin": both.add(b"large"),
        "lib": (GITLINK, library.repo.refs[b"refs/heads/main"]),
        ".gitmodules": b'[submodule "lib"]\n\tpath = lib\n\turl = ../library.git\n',
    }
    shop = make("shop", files)
    export(source_of(shop, "made-up"), "main", target, submodules=True, lfs=True, settings=settings)
    assert (target / "a.bin").read_bytes() == b"large"
    assert (target / "lib/b.txt").read_bytes() == b"2"
