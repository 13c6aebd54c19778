"""Previews of pull requests are created, kept separate from their parents, and removed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deploycore import RepositoryId
from deploycore.deploy import Releases
from deploycore.errors import ConfigurationError, StoreError
from deploycore.events import PullRequestEvent
from deploycore.worker import Worker
from deploycore.worker import previews as module
from deploycore.worker.previews import handle, preview_of, remove_ended
from tests.worker.conftest import wait_for

SHOP = RepositoryId(owner="a", slug="b")
FORK = RepositoryId(owner="mallory", slug="b")


@pytest.fixture
def place(tmp_path):
    return tmp_path / "previews"


@pytest.fixture
def parent(installation, applications, place):
    """``one`` with previews: ``parent(limit=1)`` gives its record."""

    def parent(**more):
        definition = installation.store.get_application("one").definition
        values = definition.as_dict() | {
            "environment": {"TOKEN": {"secret": "stored"}, "MODE": "production"},
            "auto_deploy": {"previews": {"target": f"{place}/{{number}}-{{branch}}"} | more},
        }
        installation.apply([type(definition).model_validate(values)])
        return installation.store.get_application("one")

    return parent


def event(number=7, action="opened", **more):
    values = {
        "repository": SHOP,
        "source": SHOP,
        "source_branch": "topic",
        "target_branch": "main",
        "commit": "1" * 40,
        "actor": "ada",
    }
    return PullRequestEvent(number=number, action=action, **(values | more))


def names(installation):
    return [each.name for each in installation.store.list_applications()]


def deployed(target: Path) -> None:
    (target / "releases" / "r1").mkdir(parents=True)
    (target / "current").symlink_to("releases/r1")


def test_an_opened_pull_request_creates_an_application_and_a_trigger(installation, parent, place):
    assert handle(installation, parent(environment={"MODE": "preview"}), event()) == "made"
    record = installation.store.get_application("one-pr-7")
    made = record.definition
    assert (made.ref, made.repository, made.target) == (
        "refs/heads/topic",
        "a/b",
        place / "7-topic",
    )
    assert made.environment == {"MODE": "preview"}
    assert record.secrets == {}
    assert (made.auto_deploy.push, made.auto_deploy.poll, made.auto_deploy.previews) == (
        False,
        "off",
        None,
    )
    (trigger,) = installation.store.triggers.open("one-pr-7")
    assert (trigger.cause, trigger.commit, trigger.actor) == ("pull_request", "1" * 40, "ada")
    assert installation.store.triggers.open("one") == []


def test_a_preview_links_to_its_pull_request(installation, parent):
    handle(installation, parent(), event(number=12))
    assert installation.store.pull_request_of("one-pr-12") == 12
    assert installation.store.pull_request_of("one") is None


def test_an_update_only_creates_another_trigger(installation, parent):
    record = parent()
    handle(installation, record, event())
    before = installation.store.get_application("one-pr-7")
    assert handle(installation, record, event(action="updated")) == "made"
    assert installation.store.get_application("one-pr-7").revision == before.revision
    assert len(installation.store.triggers.open("one-pr-7")) == 2


@pytest.mark.parametrize("action", ["merged", "declined"])
def test_closing_a_pull_request_removes_the_application_and_its_directory(
    installation, parent, place, action
):
    record = parent()
    handle(installation, record, event())
    deployed(place / "7-topic")
    assert handle(installation, record, event(action=action)) == "ended"
    with Worker(installation, threads=1):
        wait_for(lambda: not installation.store.previews.list())
    assert names(installation) == ["one", "three", "two"]
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("action", ["merged", "declined"])
@pytest.mark.parametrize("is_removed", [True, False])
def test_an_update_after_the_end_restores_nothing(installation, parent, action, is_removed):
    record = parent()
    handle(installation, record, event())
    handle(installation, record, event(action=action))
    if is_removed:
        remove_ended(installation)
    assert handle(installation, record, event(action="updated")) == "ignored"
    remove_ended(installation)
    assert names(installation) == ["one", "three", "two"]


def test_a_pull_request_first_seen_as_merged_gets_no_preview(installation, parent):
    record = parent()
    assert handle(installation, record, event(action="merged")) == "ignored"
    assert handle(installation, record, event(action="opened")) == "ignored"
    assert names(installation) == ["one", "three", "two"]


def test_a_pull_request_with_another_target_branch_has_no_preview(installation, parent):
    record = parent()
    assert handle(installation, record, event(target_branch="next")) == "ignored"
    handle(installation, record, event())
    assert handle(installation, record, event(action="updated", target_branch="next")) == "ended"


def test_an_application_without_preview_settings_gets_no_previews(installation, applications):
    record = installation.store.get_application("one")
    assert handle(installation, record, event()) == "ignored"


def test_forks_get_no_previews_unless_they_are_allowed(installation, parent):
    assert handle(installation, parent(), event(source=FORK)) == "ignored"
    assert handle(installation, parent(forks=True), event(source=None)) == "ignored"
    assert names(installation) == ["one", "three", "two"]
    assert handle(installation, parent(forks=True), event(source=FORK)) == "made"
    made = installation.store.get_application("one-pr-7").definition
    assert made.repository == "mallory/b"
    assert not made.auto_deploy.report_status


def test_previews_of_forks_get_no_credentials_of_additional_providers(parent):
    record = parent(forks=True)
    named = record.definition.model_copy(update={"credentials": ("team",)})
    for opened, credentials in ((event(), ("team",)), (event(source=FORK), ())):
        made, _ = preview_of(named, named.auto_deploy.previews, opened)
        assert made.credentials == credentials


def test_the_number_of_previews_is_limited(installation, parent, caplog):
    record = parent(limit=1)
    assert handle(installation, record, event(1)) == "made"
    assert handle(installation, record, event(2)) == "refused"
    assert "limit" in caplog.text
    assert "Next: Close pull requests, or raise previews: {limit: NUMBER}" in caplog.text
    assert "Then push to the pull request again." in caplog.text
    assert handle(installation, record, event(1, action="updated")) == "made"
    handle(installation, record, event(1, action="merged"))
    assert handle(installation, record, event(2)) == "made"
    assert handle(installation, record, event(3)) == "refused"
    assert handle(installation, parent(limit=2), event(3, action="updated")) == "made"


@pytest.mark.parametrize(
    "branch",
    [
        "../../etc",
        "..",
        ".",
        "a/../../b",
        "/etc/passwd",
        "{number}/{application}",
        "-rf",
        "ä" * 300,
    ],
)
def test_no_branch_name_escapes_the_preview_directory(installation, parent, place, branch):
    record = parent()
    assert handle(installation, record, event(source_branch=branch)) == "made"
    made = installation.store.get_application("one-pr-7").definition
    assert made.target.parent == place
    assert made.target.name.startswith("7-")
    assert len(made.target.name) < 60
    assert made.ref == f"refs/heads/{branch}"


def test_a_branch_that_looks_like_a_hash_is_treated_as_a_branch(installation, parent):
    handle(installation, parent(), event(source_branch="1" * 40))
    assert installation.store.get_application("one-pr-7").definition.ref == f"refs/heads/{'1' * 40}"


def test_names_are_shortened_and_unique(installation, parent):
    record = parent(name="pr {number} of " + "x" * 100)
    handle(installation, record, event(1))
    handle(installation, record, event(2))
    made = [each for each in names(installation) if each.startswith("pr-")]
    assert len(made) == 2
    assert all(len(each) <= 63 for each in made)


def test_an_existing_application_is_never_replaced_by_a_preview(
    installation, parent, tmp_path, caplog
):
    record = parent(name="pr{number}")
    own = installation.store.get_application("two").definition
    mine = own.model_copy(update={"name": "pr7", "target": tmp_path / "mine"})
    installation.apply([mine])
    assert handle(installation, record, event()) == "refused"
    assert installation.store.get_application("pr7").definition == mine
    assert installation.store.previews.list() == []
    assert "Next: Change previews: {name: …} of the parent" in caplog.text
    assert handle(installation, parent(name="preview{number}"), event(action="updated")) == "made"


def test_a_target_in_use_is_rejected_and_leaves_nothing_behind(installation, parent, place):
    record = parent()
    own = installation.store.get_application("two").definition
    installation.apply([own.model_copy(update={"target": place / "7-topic"})])
    assert handle(installation, record, event()) == "refused"
    assert installation.store.previews.list() == []
    assert "one-pr-7" not in names(installation)


def test_a_directory_now_used_by_another_application_is_kept(installation, parent, place):
    record = parent()
    handle(installation, record, event())
    deployed(place / "7-topic")
    installation.remove_application("one-pr-7")
    own = installation.store.get_application("two").definition
    installation.apply([own.model_copy(update={"target": place / "7-topic"})])
    handle(installation, record, event(action="merged"))
    (failure,) = remove_ended(installation)
    assert "that of two" in failure
    assert "Next: Give two another target: deploycore app edit two --target" in failure
    assert (place / "7-topic" / "current").exists()
    installation.apply([own])
    assert remove_ended(installation) == frozenset()
    assert list(place.iterdir()) == []


def test_removing_a_preview_does_not_follow_a_linked_directory(
    installation, parent, place, tmp_path
):
    record = parent()
    handle(installation, record, event())
    deployed(tmp_path / "precious")
    place.mkdir()
    (place / "7-topic").symlink_to(tmp_path / "precious")
    handle(installation, record, event(action="merged"))
    assert remove_ended(installation) == frozenset()
    assert (tmp_path / "precious" / "current").exists()
    assert list(place.iterdir()) == []


def test_directories_below_a_link_are_not_removed(installation, parent, place, tmp_path):
    handle(installation, parent(), event())
    deployed(tmp_path / "elsewhere" / "7-topic")
    place.parent.mkdir(exist_ok=True)
    within = place / "more"
    record = installation.store.previews.list()[0]
    assert record.within == place
    handle(installation, parent(), event(action="declined"))
    place.mkdir()
    within.symlink_to(tmp_path / "elsewhere")
    moved = replace(record, target=within / "7-topic")
    with pytest.raises(ConfigurationError, match="leads out of") as caught:
        module._remove_target(moved, {})
    assert "Replace the links above" in caught.value.hint
    with pytest.raises(ConfigurationError, match="is not below") as caught:
        module._remove_target(replace(record, target=tmp_path / "elsewhere"), {})
    assert (tmp_path / "elsewhere" / "7-topic" / "current").exists()
    assert "Restore a backup of the database" in caught.value.hint
    within.unlink()
    deployed(within / "7-topic")
    module._remove_target(moved, {})
    assert list(within.iterdir()) == []
    deployed(record.target)
    module._remove_target(record, {})  # as the backup has it
    assert not record.target.exists()


def test_a_directory_with_foreign_files_is_kept(installation, parent, place):
    record = parent()
    handle(installation, record, event())
    (place / "7-topic").mkdir(parents=True)
    (place / "7-topic" / "thesis").touch()
    handle(installation, record, event(action="merged"))
    (failure,) = remove_ended(installation)
    assert "is not empty" in failure
    assert (place / "7-topic" / "thesis").exists()


def killed(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("place_of_failure", ["_remove_target", "_remove_application"])
@pytest.mark.parametrize(
    "error", [NotImplementedError("no"), OSError(1, "no"), StoreError("no"), ValueError("no")]
)
def test_a_preview_that_cannot_be_removed_does_not_block_other_removals(
    installation, parent, place, monkeypatch, error, place_of_failure
):
    record = parent()
    for number in (7, 8, 9):
        handle(installation, record, event(number))
        deployed(place / f"{number}-topic")
        handle(installation, record, event(number, action="merged"))
    real = getattr(module, place_of_failure)

    def fails(*arguments):
        subject = arguments[1] if isinstance(arguments[1], str) else arguments[0].name
        if subject == "one-pr-8":
            raise error
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, place_of_failure, fails)
        (failure,) = remove_ended(installation)
    assert "one-pr-8" in failure
    assert [path.name for path in place.iterdir()] == ["8-topic"]
    assert remove_ended(installation) == frozenset()
    assert list(place.iterdir()) == []


def test_a_removal_interrupted_by_a_crash_is_continued(installation, parent, place, monkeypatch):
    record = parent()
    handle(installation, record, event())
    deployed(place / "7-topic")
    handle(installation, record, event(action="declined"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_remove_target", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_ended(installation)
    assert "one-pr-7" not in names(installation)
    with pytest.raises(StoreError, match="being removed") as caught:
        handle(installation, record, event())
    assert "Try again in a minute" in caught.value.hint
    assert remove_ended(installation) == frozenset()
    assert list(place.iterdir()) == []
    assert handle(installation, record, event()) == "made"


def test_a_preview_reopened_before_its_removal_is_kept(installation, parent):
    record = parent()
    handle(installation, record, event())
    handle(installation, record, event(action="declined"))
    handle(installation, record, event())
    remove_ended(installation)
    assert "one-pr-7" in names(installation)


@pytest.fixture
def running(installation):
    """Has the preview of pull request 7 be deployed, by a process that is dead or not."""

    def running():
        record = installation.store.deployments.request("one-pr-7", ref="x")
        return installation.store.deployments.advance(record.id, "authenticating")

    return running


def test_a_preview_being_deployed_is_cancelled_and_removed_later(
    installation, parent, place, running
):
    record, releases = parent(), Releases(place / "7-topic")
    handle(installation, record, event())
    deployment = running()
    handle(installation, record, event(action="merged"))
    releases.prepare()
    with releases.locked():
        assert remove_ended(installation) == frozenset()
        assert installation.store.deployments.is_cancelled(deployment.id)
        assert "one-pr-7" in names(installation)
        installation.store.deployments.advance(deployment.id, "cancelled")
    assert remove_ended(installation) == frozenset()
    assert "one-pr-7" not in names(installation)


def test_a_preview_whose_deployment_died_is_removed(installation, parent, place, running):
    record = parent()
    handle(installation, record, event())
    deployed(place / "7-topic")
    running()
    handle(installation, record, event(action="merged"))
    assert remove_ended(installation) == frozenset()
    assert "one-pr-7" not in names(installation)
    assert list(place.iterdir()) == []


def test_a_preview_claimed_by_a_worker_is_removed_later(installation, parent):
    record = parent()
    handle(installation, record, event())
    installation.store.claims.take("one-pr-7", "somebody", lease=60)
    handle(installation, record, event(action="merged"))
    remove_ended(installation)
    assert "one-pr-7" in names(installation)
    assert [each.worker for each in installation.store.claims.list()] == ["somebody"]


@pytest.mark.parametrize("with_previews", [False, True])
def test_removing_a_parent_removes_previews_and_on_request_their_directories(
    installation, parent, place, with_previews
):
    handle(installation, parent(), event())
    deployed(place / "7-topic")
    done = installation.removals.remove("one", end_previews=with_previews)
    assert any(str(place / "7-topic") in each for each in done.remains) != with_previews
    assert remove_ended(installation) == frozenset()
    assert names(installation) == ["three", "two"]
    assert (list(place.iterdir()) == []) == with_previews


UNUSABLE = ["relative/{number}", "/a/../b/{number}", "//srv/{number}"]


@pytest.mark.parametrize("target", UNUSABLE)
def test_an_unusable_preview_target_is_rejected_before_it_is_stored(parent, place, target):
    with pytest.raises(
        ConfigurationError, match="auto_deploy/previews/target: should be"
    ) as caught:
        parent(target=target)
    assert "/srv/previews/{application}-{number}" in caught.value.hint
    parent(target=f"{place}/{{application}}-{{number}}")


def test_an_unusable_stored_preview_target_is_rejected(
    installation, parent, place, caplog, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(
            "deploycore.installation.installation.refuse_unusable_patterns", lambda given: None
        )
        for target in UNUSABLE:
            assert handle(installation, parent(target=target), event()) == "refused"
    assert caplog.text.count("no preview was created") == 3
    assert "would not be below //srv" in caplog.text
    assert "Next: Change auto_deploy/previews/target" in caplog.text
    fixed = parent(target=f"{place}/{{application}}-{{number}}")
    assert handle(installation, fixed, event()) == "made"


def test_a_preview_name_belongs_to_one_parent(installation, parent):
    handle(installation, parent(name="pr-{number}"), event())
    made = installation.store.get_application("pr-7").definition
    other = installation.store.get_application("two").definition
    place = {"within": Path("/"), "limit": 1, "opens": True}
    with pytest.raises(ConfigurationError, match="of one") as caught:
        installation.store.begin_preview(made, parent=other, number=7, **place)
    assert "Use {application} in previews: {name: …} of both applications" in caught.value.hint
    own = made.model_copy(update={"name": "two-pr-7", "target": Path("/two-7")})
    assert installation.store.begin_preview(own, parent=other, number=7, **place)
