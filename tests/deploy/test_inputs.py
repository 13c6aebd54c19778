"""A value that an application refers to has changed: the same commit is deployed again."""

from __future__ import annotations

import json
import stat

import pytest

from deploycore.deploy import Releases

SECRET = "made-up-value-1"


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.write_text(SECRET)
    return file


@pytest.fixture
def deploy(installation, create, token):
    create(
        environment={"TOKEN": {"secret": f"file:{token}"}, "PLAIN": "x"},
        steps={"build": [{"shell": 'printf %s "$TOKEN" > token'}]},
        watch=["nothing"],
    )
    return lambda: installation.deploy("site").state


def test_the_same_commit_is_deployed_again_once(deploy, token, target):
    assert [deploy(), deploy()] == ["healthy", "skipped"]
    token.write_text("made-up-value-2")
    assert [deploy(), deploy()] == ["healthy", "skipped"]
    assert (target / "current" / "token").read_text() == "made-up-value-2"
    token.write_text(SECRET)
    assert deploy() == "healthy"


def test_stored_inputs_contain_no_values_and_are_private(deploy, target):
    deploy()
    file = Releases(target).inputs
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET not in file.read_text()
    assert list(json.loads(file.read_text())) == [Releases(target).current.name]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff", b'{"%s": 5}', b'{"%s": ["x", "y"]}', b'{"%s": []}']
)
def test_unreadable_inputs_change_nothing(deploy, token, target, content):
    deploy()
    live = Releases(target).current.name.encode()
    Releases(target).inputs.write_bytes(content.replace(b"%s", live))
    token.write_text("made-up-value-2")
    assert deploy() == "skipped"


def test_unwritable_inputs_do_not_fail_a_deployment(deploy, token, target):
    (target / ".deploycore.inputs.new").mkdir(parents=True)
    (target / "releases").mkdir()
    assert deploy() == "healthy"
    assert not Releases(target).inputs.exists()


def test_inputs_of_removed_releases_are_deleted(installation, deploy, token, target):
    for number in range(8):
        token.write_text(f"made-up-value-{number}")
        assert deploy() == "healthy"
    content = Releases(target).inputs.read_text()
    assert content.count("Z-") <= 6


def test_after_a_rollback_the_inputs_of_the_live_release_count(
    installation, deploy, token, target, publish
):
    deploy()
    token.write_text("made-up-value-2")
    publish("two", nothing=b"")
    assert deploy() == "healthy"
    second = (target / "current").readlink().name
    installation.roll_back("site")
    assert not (target / "current" / "nothing").exists()
    token.write_text(SECRET)
    installation.roll_back("site", to=second)
    assert deploy() == "healthy"


def test_without_secret_references_no_inputs_are_stored(installation, create, target):
    create(environment={"PLAIN": "x"})
    installation.deploy("site")
    assert not Releases(target).inputs.exists()
