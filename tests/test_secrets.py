"""Stored secrets are encrypted with one key, or stored as references. They are never plain text,
and never lost without an error."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from deploycore.errors import ConfigurationError, StoreError
from deploycore.secrets import SecretBox
from deploycore.settings import Settings

SECRET = SecretStr("ATATT-a-token=of_some-length")
OTHER_KEY = Fernet.generate_key().decode()


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "home")})


@pytest.fixture
def box(settings) -> SecretBox:
    return SecretBox(settings)


def with_key(settings: Settings, key: str) -> SecretBox:
    environ = {"DEPLOYCORE_HOME": str(settings.home), "DEPLOYCORE_SECRET_KEY": key}
    return SecretBox(Settings.from_environment(environ))


def said(error: pytest.ExceptionInfo[Exception]) -> str:
    """All that an error and its chain say."""
    words, link = [], error.value
    while link is not None:
        words += [str(link), repr(link), repr(vars(link))]
        link = link.__cause__ or link.__context__
    return " ".join(words)


@pytest.mark.parametrize(
    "text",
    [SECRET.get_secret_value(), "größe €", "", "a\nb", "x" * 5000],
    ids=["token", "unicode", "empty", "lines", "long"],
)
def test_a_sealed_secret_can_be_revealed(box, text):
    stored = box.seal(SecretStr(text))
    assert stored.startswith("fernet:")
    assert box.reveal(stored).get_secret_value() == text


def test_a_sealed_secret_contains_no_plaintext(box, settings):
    stored = box.seal(SECRET)
    assert SECRET.get_secret_value() not in stored
    assert [path.name for path in settings.home.iterdir()] == ["secret.key"]


def test_the_key_file_is_only_accessible_to_its_owner(box, settings):
    old = os.umask(0)
    try:
        box.seal(SECRET)
    finally:
        os.umask(old)
    assert stat.S_IMODE(settings.secret_key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700


def test_a_key_from_the_environment_creates_no_file(settings):
    box = with_key(settings, OTHER_KEY)
    assert box.reveal(box.seal(SECRET)) == SECRET
    assert not settings.home.exists()


def test_references_and_reading_create_no_key(box, settings, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "of-the-environment")
    box.reveal(box.keep_reference("env:SHOP_TOKEN"))
    with pytest.raises(StoreError, match="missing"):
        box.reveal("fernet:abc")
    assert not settings.home.exists()


@pytest.mark.parametrize("environment", [False, True])
def test_a_wrong_key_is_reported_with_the_next_step(box, settings, environment):
    stored = box.seal(SECRET)
    key = settings.secret_key_file.read_text()
    if environment:
        box, place = with_key(settings, OTHER_KEY), "DEPLOYCORE_SECRET_KEY"
    else:
        settings.secret_key_file.write_text(OTHER_KEY)
        place = str(settings.secret_key_file)
    with pytest.raises(StoreError, match="encrypted with another key") as caught:
        box.reveal(stored)
    assert place in caught.value.message
    assert "Restore the key" in caught.value.hint
    assert OTHER_KEY not in said(caught)
    assert with_key(settings, key).reveal(stored) == SECRET


def test_a_damaged_secret_is_rejected_like_a_wrong_key(box):
    stored = box.seal(SECRET)
    with pytest.raises(StoreError, match="cannot be decrypted"):
        box.reveal(stored[:-8])


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 44, b"A" * 5000])
def test_an_invalid_key_is_rejected_and_kept(box, settings, content):
    settings.make_home()
    settings.secret_key_file.touch(mode=0o600)
    settings.secret_key_file.write_bytes(content)
    with pytest.raises(StoreError, match="is not a key") as caught:
        box.seal(SECRET)
    assert str(settings.secret_key_file) in caught.value.message
    assert settings.secret_key_file.read_bytes() == content
    settings.secret_key_file.write_text(OTHER_KEY)
    assert box.reveal(box.seal(SECRET)) == SECRET


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_file_accessible_to_others_is_rejected_with_the_fix(box, settings, mode):
    stored = box.seal(SECRET)
    settings.secret_key_file.chmod(mode)
    with pytest.raises(StoreError, match="be read by other users") as caught:
        box.reveal(stored)
    command = caught.value.hint.partition(": ")[2]
    subprocess.run(command, shell=True, check=True)
    assert box.reveal(stored) == SECRET


def test_a_missing_key_is_not_replaced_while_sealed_secrets_exist(settings):
    stored = SecretBox(settings).seal(SECRET)
    key = settings.secret_key_file.read_text()
    settings.secret_key_file.unlink()
    box = SecretBox(settings, sealed_secrets_exist=lambda: True)
    with pytest.raises(StoreError, match="key of the stored secrets is missing") as caught:
        box.seal(SECRET)
    with pytest.raises(StoreError, match="key of the stored secrets is missing"):
        box.reveal(stored)
    assert str(settings.secret_key_file) in caught.value.message
    assert not settings.secret_key_file.exists()
    assert with_key(settings, key).reveal(stored) == SECRET
    settings.secret_key_file.touch(mode=0o600)
    settings.secret_key_file.write_text(key)
    assert box.reveal(stored) == SECRET


def test_a_key_that_cannot_be_created_is_reported(box, settings, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="cannot be created: No space left"):
        box.seal(SECRET)
    assert list(settings.home.iterdir()) == []
    assert with_key(settings, OTHER_KEY).seal(SECRET)
    monkeypatch.undo()
    assert box.reveal(box.seal(SECRET)) == SECRET


def test_a_directory_in_place_of_the_key_is_reported(box, settings):
    settings.secret_key_file.mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be read: Is a directory"):
        box.seal(SECRET)
    assert with_key(settings, OTHER_KEY).seal(SECRET)
    settings.secret_key_file.rmdir()
    assert box.reveal(box.seal(SECRET)) == SECRET


@pytest.mark.timeout(300)
def test_a_fifo_in_place_of_a_secret_is_reported_without_waiting(box, settings, tmp_path):
    os.mkfifo(tmp_path / "token")
    with pytest.raises(ConfigurationError, match="cannot be read: Not a regular file"):
        box.reveal(f"file:{tmp_path}/token")
    settings.make_home()
    os.mkfifo(settings.secret_key_file)
    with pytest.raises(StoreError, match="cannot be read: Not a regular file"):
        box.has_key()


RACER = """
import sys
import cryptography.fernet
from pydantic import SecretStr
from deploycore.secrets import SecretBox
from deploycore.settings import Settings
box = SecretBox(Settings.from_environment({"DEPLOYCORE_HOME": sys.argv[1]}))
print("ready", flush=True)
sys.stdin.readline()
print(box.seal(SecretStr("of-a-racer")), flush=True)
"""


def test_processes_that_race_to_create_the_key_end_up_with_one(box, settings):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(settings.home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 4
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    stored = [racer.communicate()[0].strip() for racer in racers]
    assert [box.reveal(one).get_secret_value() for one in stored] == ["of-a-racer"] * 4
    assert [path.name for path in settings.home.iterdir()] == ["secret.key"]


@pytest.mark.parametrize("moment", ["before the check", "after it"])
def test_a_key_created_concurrently_by_another_process_is_used(settings, moment):
    other = SecretBox(settings)
    stored = []

    def sealed_by_another() -> bool:
        stored.append(other.seal(SECRET))
        return moment == "before the check"

    box = SecretBox(settings, sealed_secrets_exist=sealed_by_another)
    assert other.reveal(box.seal(SECRET)) == box.reveal(stored[0]) == SECRET


def test_a_variable_is_read_on_each_use(box, monkeypatch):
    stored = box.keep_reference("env:SHOP_TOKEN")
    assert stored == "env:SHOP_TOKEN"
    for value in ("one", "two"):
        monkeypatch.setenv("SHOP_TOKEN", value)
        assert box.reveal(stored).get_secret_value() == value


@pytest.mark.parametrize(("value", "state"), [(None, "not set"), ("", "empty")])
def test_a_variable_without_a_value_is_named(box, monkeypatch, value, state):
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("SHOP_TOKEN", value)
    with pytest.raises(ConfigurationError, match=f"SHOP_TOKEN, .* is {state}"):
        box.reveal("env:SHOP_TOKEN")
    monkeypatch.setenv("SHOP_TOKEN", "of-the-shop")
    assert box.reveal("env:SHOP_TOKEN") == SecretStr("of-the-shop")


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"token\n", "token"), (b"token\r\n", "token"), (b"token", "token"), (b"a\nb\n\n", "a\nb\n")],
)
def test_one_trailing_newline_of_a_file_is_removed(box, tmp_path, content, secret):
    (tmp_path / "token").write_bytes(content)
    stored = box.keep_reference(f"file:{tmp_path}/token")
    assert box.reveal(stored).get_secret_value() == secret


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"tok\xff\xfeen-binary", "is not UTF-8"),
        (b"x" * 70_000, "is larger than"),
    ],
)
def test_a_file_without_a_usable_secret_is_named(box, tmp_path, content, problem):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        box.reveal(f"file:{path}")
    assert str(path) in caught.value.message
    assert "en-binary" not in said(caught)
    path.write_text("the-token\n")
    assert box.reveal(f"file:{path}") == SecretStr("the-token")


def test_text_that_cannot_be_encoded_is_rejected_and_not_echoed(box, monkeypatch):
    with pytest.raises(ConfigurationError, match="is not UTF-8 text") as sealed:
        box.seal(SecretStr("half-a-secret\udcff"))
    monkeypatch.setenv("SHOP_TOKEN", "half-a-secret\udcff")
    with pytest.raises(ConfigurationError, match="SHOP_TOKEN") as revealed:
        box.reveal("env:SHOP_TOKEN")
    assert "half-a-secret" not in said(sealed) + said(revealed)
    monkeypatch.setenv("SHOP_TOKEN", "the-whole-secret")
    assert box.reveal("env:SHOP_TOKEN") == SecretStr("the-whole-secret")


def test_a_tilde_in_a_reference_is_the_home_directory_of_the_user(box, monkeypatch):
    monkeypatch.setenv("HOME", "/home/deployer")
    assert box.keep_reference("file:~/token") == "file:/home/deployer/token"


@pytest.mark.parametrize(
    "text",
    [
        *("", "s3cr3t", "fernet:s3cr3t", "https://s3cr3t/", "ENV:A"),
        *("env:", "env:1A", "env:A B", "env:A=B", "env:A\n"),
        *("file:", "file:s3cr3t/x", "file:/a\0b"),
    ],
)
def test_an_invalid_reference_is_rejected_and_not_echoed(box, text):
    with pytest.raises(ConfigurationError, match="not a reference") as caught:
        box.keep_reference(text)
    assert "env:NAME" in caught.value.hint
    assert "s3cr3t" not in said(caught)
    for right in ("env:NAME", "file:/ABSOLUTE/PATH"):
        assert right in caught.value.hint
        assert box.keep_reference(right) == right


def test_a_format_of_a_later_version_is_rejected(box):
    with pytest.raises(StoreError, match="does not support") as caught:
        box.reveal("vault:shop/token")
    assert "Upgrade" in caught.value.hint
    assert "or replace the secret" in caught.value.hint
    assert box.reveal(box.seal(SECRET)) == SECRET


def test_the_location_of_a_secret_can_be_described(box):
    assert box.describe(box.seal(SECRET)) == "stored, encrypted"
    assert box.describe("env:SHOP_TOKEN") == "environment variable SHOP_TOKEN"
    assert box.describe("file:/run/secrets/shop") == "file /run/secrets/shop"


def test_a_box_shows_no_key_in_its_repr(settings):
    assert OTHER_KEY not in repr(with_key(settings, OTHER_KEY))
