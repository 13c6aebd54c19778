"""Two applications never share a directory, even under different paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploycore.applications.application import parse_application
from deploycore.deploy.releases import Releases
from deploycore.errors import ConfigurationError


def alias(target, tmp_path, how):
    """Another path of the target, or of a directory within it."""
    if how == "slashes":
        return f"/{target}"
    if how == "link to it":
        (tmp_path / "alias").symlink_to(target)
        return tmp_path / "alias"
    if how == "link above it":
        (tmp_path / "above").symlink_to(target.parent)
        return tmp_path / "above" / target.name
    if how == "links and within":
        (tmp_path / "above").symlink_to(target.parent)
        return tmp_path / "above" / target.name / "shared" / "other"
    if how == "around it":
        (tmp_path / "above").symlink_to(tmp_path)
        return tmp_path / "above" / target.parent.name
    raise AssertionError(how)


WAYS = ["slashes", "link to it", "link above it", "links and within", "around it"]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("by", ["add", "apply"])
def test_another_path_to_a_target_in_use_is_rejected_immediately(
    installation, create, tmp_path, how, by
):
    target = tmp_path / "sites" / "site"
    target.mkdir(parents=True)
    first = create(target=target)
    record = installation.store.get_application(first)
    given = record.definition.as_dict() | {"target": str(alias(target, tmp_path, how))}
    second = parse_application(given | {"name": "second"})
    put = {
        "add": lambda: create("second", target=given["target"]),
        "apply": lambda: installation.apply([second]),
    }
    with pytest.raises(ConfigurationError, match="'site' already has the target") as caught:
        put[by]()
    assert [each.name for each in installation.store.list_applications()] == ["site"]
    assert "a directory of its own" in caught.value.hint
    given["target"] = str(tmp_path / "its-own")
    second = parse_application(given | {"name": "second"})
    put[by]()


@pytest.mark.parametrize("within", [".", "releases", "shared/other"])
def test_a_link_created_while_waiting_is_rejected_at_deployment(
    installation, create, publish, target, tmp_path, within
):
    first, second = create(), create("second", target=tmp_path / "second" / "live")
    installation.engine.deploy(first)
    live = os.readlink(target / "current")
    releases = os.listdir(target / "releases")
    if within == ".":
        (tmp_path / "second").mkdir()
        (tmp_path / "second" / "live").symlink_to(target)
    else:
        (target / within).mkdir(parents=True, exist_ok=True)
        (tmp_path / "second").symlink_to(target / within)
    for change in (installation.engine.deploy, installation.engine.roll_back):
        with pytest.raises(ConfigurationError, match="belongs to the application 'site'") as caught:
            change(second)
        assert caught.value.details["owner"] == "site"
    assert os.readlink(target / "current") == live
    assert os.listdir(target / "releases") == releases
    publish("two")
    assert installation.engine.deploy(first).state == "healthy"
    assert "remove site first: deploycore app remove site" in caught.value.hint
    assert "a directory of its own" in caught.value.hint
    moved = installation.store.get_application(second).definition
    installation.apply([moved.model_copy(update={"target": tmp_path / "its-own"})])
    assert installation.engine.deploy(second).state == "healthy"


def test_only_one_of_two_applications_in_the_same_directory_deploys(
    installation, create, target, tmp_path
):
    """As versions before this one let them: the one that deploys first keeps it."""
    first, second = create(), create("second", target=tmp_path / "second")
    (tmp_path / "second").symlink_to(target)
    target.mkdir()
    assert installation.engine.deploy(second).state == "healthy"
    with pytest.raises(ConfigurationError, match="belongs to the application 'second'"):
        installation.engine.deploy(first)
    installation.remove_application(second)
    assert installation.engine.deploy(first).state == "healthy"


def test_a_target_can_pass_to_an_application_with_another_name(installation, create, target):
    installation.engine.deploy(create())
    assert Releases(target).lock.read_text() == "site\n"
    installation.remove_application("site")
    assert installation.engine.deploy(create("renamed")).state == "healthy"
    assert Releases(target).lock.read_text() == "renamed\n"


def test_two_applications_can_exchange_their_targets(installation, create, tmp_path):
    names = [create(each, target=tmp_path / each) for each in ("one", "two")]
    for each in names:
        installation.engine.deploy(each)
    known = [installation.store.get_application(each).definition.as_dict() for each in names]
    known[0]["target"], known[1]["target"] = known[1]["target"], known[0]["target"]
    installation.apply([parse_application(each) for each in known])
    for each in names:
        assert installation.engine.deploy(each).state == "healthy"
    assert Releases(tmp_path / "one").lock.read_text() == "two\n"


def test_an_unfinished_deployment_in_a_foreign_directory_is_completed(
    installation, create, target, tmp_path
):
    first, second = create(), create("second", target=tmp_path / "second")
    installation.engine.deploy(first)
    live = os.readlink(target / "current")
    record = installation.store.deployments.request(
        second, ref="main", requested_by="", kind="deploy", home=""
    )
    installation.store.deployments.advance(record.id, "authenticating")
    (tmp_path / "second").symlink_to(target)
    (settled,) = installation.engine.recover()
    assert (settled.id, settled.state) == (record.id, "failed")
    assert os.readlink(target / "current") == live


@pytest.mark.parametrize("place", [".", "cache", "logs/live", "link/cache", ".."])
def test_a_target_must_not_overlap_the_data_directory(installation, create, home, tmp_path, place):
    """There deploycore clears up: 'cache remove' would remove what is live."""
    (home / "link").symlink_to(home)
    with pytest.raises(ConfigurationError, match="deploycore's data directory") as caught:
        create("other", target=Path(os.path.normpath(home / place)))
    assert installation.store.list_applications() == []
    assert "a directory that is apart from it, such as /srv/other" in caught.value.hint
    installation.engine.deploy(create("other", target=tmp_path / "srv" / "other"))
