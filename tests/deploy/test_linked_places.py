"""Targets, and their directories, that are links to another disk."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from deploycore import Installation, Settings
from deploycore.errors import DeployError, StoreError

SHARED = {"directories": ["storage", "a/deep"], "files": ["conf/settings.ini"]}


def place(target, tmp_path, which):
    """Make one part of the target a link, before the first deployment."""
    elsewhere = tmp_path / "elsewhere" / "room"
    elsewhere.mkdir(parents=True)
    if which == "parent":
        (tmp_path / "linked").symlink_to(elsewhere)
        return tmp_path / "linked" / "new" / "live"
    if which == "target":
        target.symlink_to(elsewhere)
        return target
    target.mkdir()
    (target / which).symlink_to(elsewhere)
    return target


@pytest.mark.parametrize("which", ["parent", "target", "releases", "shared"])
def test_any_part_of_a_target_can_be_a_link(installation, create, publish, target, tmp_path, which):
    target = place(target, tmp_path, which)
    name = create(target=target, shared=SHARED, steps={"build": [{"run": "test -d storage"}]})
    for content in ("one", "two"):
        publish(content)
        assert installation.engine.deploy(name).state == "healthy"
        live = target / "current"
        assert (live / "page").read_text() == content
        (live / "storage" / content).write_text("kept")
        (live / "conf" / "settings.ini").write_text(content)
    assert {each.name for each in (target / "shared" / "storage").iterdir()} == {"one", "two"}
    assert (target / "shared" / "conf" / "settings.ini").read_text() == "two"
    assert installation.engine.roll_back(name).state == "healthy"
    assert (live / "page").read_text() == "one"
    assert (live / "storage" / "two").exists()


@pytest.mark.parametrize("which", ["parent", "target", "releases", "shared"])
def test_a_link_to_an_unmounted_disk_is_reported(installation, create, target, tmp_path, which):
    target = place(target, tmp_path, which)
    (tmp_path / "elsewhere" / "room").rename(tmp_path / "not-mounted")
    name = create(target=target, shared=SHARED)
    with pytest.raises(DeployError, match=r"is a link to .*room, which does not exist") as caught:
        installation.engine.deploy(name)
    assert "mount its disk" in caught.value.hint
    assert not (tmp_path / "elsewhere" / "room").exists()
    (tmp_path / "not-mounted").rename(tmp_path / "elsewhere" / "room")
    assert installation.engine.deploy(name).state == "healthy"


@pytest.mark.parametrize("which", ["home", "parent"])
def test_the_data_directory_can_be_a_link(tmp_path, which):
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    home = tmp_path / "linked" if which == "home" else tmp_path / "linked" / "new" / "home"
    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(home)})) as opened:
        opened.secrets.seal(SecretStr("of no importance"))
    assert (home / "secret.key").exists()


def test_a_data_directory_that_is_a_dangling_link_is_reported(tmp_path):
    (tmp_path / "linked").symlink_to("nowhere")
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "linked" / "home")})
    with (
        pytest.raises(StoreError, match="is a link to nowhere, which does not exist"),
        Installation(settings) as opened,
    ):
        opened.store.list_providers()
