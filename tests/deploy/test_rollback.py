"""Rollbacks to a previous release: one switch, no network, and only to a release that worked."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from deploycore.errors import ConfigurationError, HealthCheckFailed


@pytest.fixture
def three(installation, create, publish):
    """An application with three releases; gives the deployments that made them."""
    create()
    made = []
    for content in ("one", "two", "three"):
        publish(content)
        made.append(installation.deploy("site"))
    return made


def test_a_rollback_activates_the_previous_release_without_the_host(
    installation, three, target, demo_sandbox
):
    before = len(demo_sandbox.requests)
    done = installation.roll_back("site", requested_by="ada")
    assert (target / "current" / "page").read_text() == "two"
    assert (done.kind, done.state, done.requested_by) == ("rollback", "healthy", "ada")
    assert (done.commit, done.subject) == (three[1].commit, three[1].subject)
    assert (done.release, done.previous) == (three[1].release, three[2].release)
    assert len(demo_sandbox.requests) == before
    assert list(done.seconds) == ["queued", "activating"]


def test_a_second_rollback_goes_to_an_earlier_release(installation, three, target):
    installation.roll_back("site")
    installation.roll_back("site")
    assert (target / "current" / "page").read_text() == "one"
    with pytest.raises(ConfigurationError, match="no release to roll back to"):
        installation.roll_back("site")
    assert (target / "current" / "page").read_text() == "one"


@pytest.mark.parametrize("name", ["release", "commit"])
def test_a_release_can_be_selected_by_name_or_commit(installation, three, target, name):
    installation.roll_back("site", to=getattr(three[0], name))
    assert (target / "current" / "page").read_text() == "one"
    installation.roll_back("site", to=getattr(three[2], name))
    assert (target / "current" / "page").read_text() == "three"


def test_an_unknown_or_live_release_is_rejected(installation, three):
    for to, why in (("nope", "does not exist"), (three[2].release, "is already live"), ("", "not")):
        with pytest.raises(ConfigurationError, match=why):
            installation.roll_back("site", to=to)
    assert len(installation.store.deployments.list("site")) == 3


def test_an_ambiguous_commit_prefix_is_rejected_and_its_matches_are_listed(
    installation, three, target, home
):
    prefix = "abcdef0"
    commits = [f"{prefix}{number}".ljust(40, "0") for number in range(2)]
    with closing(sqlite3.connect(home / "deploycore.db")) as connection, connection:
        for record, commit in zip(three[:2], commits, strict=True):
            connection.execute(
                'UPDATE deployments SET "commit" = ? WHERE id = ?', (commit, record.id)
            )
    with pytest.raises(ConfigurationError, match="is ambiguous: releases of 2 commits") as caught:
        installation.roll_back("site", to=prefix)
    for record, commit in zip(three[:2], commits, strict=True):
        assert f"{record.release} ({commit})" in caught.value.hint
    assert three[2].release not in caught.value.hint
    assert (target / "current" / "page").read_text() == "three"
    installation.roll_back("site", to=commits[0][:8])
    assert (target / "current" / "page").read_text() == "one"


def test_an_incomplete_name_or_commit_suggests_the_release(installation, three):
    for text in (three[0].commit[:5], three[0].release[:-1]):
        with pytest.raises(ConfigurationError, match="does not exist") as caught:
            installation.roll_back("site", to=text)
        assert three[0].release in caught.value.hint


def test_without_a_deployment_there_is_nothing_to_roll_back_to(installation, create, publish):
    create()
    with pytest.raises(ConfigurationError, match="no release to roll back to") as caught:
        installation.roll_back("site")
    assert caught.value.hint == "Make the first release: deploycore deploy site"
    first = installation.deploy("site")
    with pytest.raises(ConfigurationError, match="no release to roll back to") as caught:
        installation.roll_back("site")
    assert "Push another commit, then deploy it: deploycore deploy site" in caught.value.hint
    publish("two")
    installation.deploy("site")
    assert installation.roll_back("site").release == first.release


def test_an_unknown_directory_cannot_be_activated(installation, three, target):
    (target / "releases" / "foreign").mkdir()
    with pytest.raises(
        ConfigurationError, match="'foreign' of site is not known to have worked"
    ) as caught:
        installation.roll_back("site", to="foreign")
    assert "deploycore releases site" in caught.value.hint
    listed = {each.name: each for each in installation.releases("site")}
    assert listed.pop("foreign").deployment is None
    good = next(each for each in listed.values() if not each.is_live)
    assert installation.roll_back("site", to=good.name).release == good.name


def test_steps_and_health_checks_apply_to_rollbacks(installation, create, publish, target):
    """The release that is gone back to no longer works: the live one stays, both are kept."""
    create(health_check={"shell": 'test "$(cat page)" != "$(cat ../../broken)"', "retries": 0})
    (target / "releases").mkdir(parents=True)
    (target / "broken").write_text("")
    for content in ("one", "two"):
        publish(content)
        installation.deploy("site")
    (target / "broken").write_text("one")
    with pytest.raises(HealthCheckFailed):
        installation.roll_back("site")
    assert (target / "current" / "page").read_text() == "two"
    assert len(os.listdir(target / "releases")) == 2
    assert installation.store.deployments.list("site")[0].state == "rolled_back"


def test_releases_are_listed_with_their_details(installation, three, target):
    installation.roll_back("site")
    found = installation.releases("site")
    assert [each.name for each in found] == [each.release for each in reversed(three)]
    assert [each.is_live for each in found] == [False, True, False]
    assert [each.deployment.subject for each in found] == ["Three", "Two", "One"]
    assert all(each.path == target / "releases" / each.name for each in found)
