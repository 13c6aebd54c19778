"""Steps, shared paths and health checks: a release that works goes live, others are rolled back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from deploycore_bitbucket.sandbox import Submodule, Symlink
from pydantic import SecretStr

from deploycore.deploy.activation import typed_error
from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    DeployError,
    HealthCheckFailed,
    LimitExceeded,
    StepFailed,
    UnsafeRepository,
)
from deploycore.git import Cancellation

NOTE = 'echo "$STAGE $(cat page) $PWD" >> "$NOTES"'


def note(stage: str) -> dict[str, str]:
    return {"shell": NOTE.replace("$STAGE", stage)}


@pytest.fixture
def notes(tmp_path) -> Path:
    return tmp_path / "notes"


def states(installation, name: str = "site") -> list[str]:
    return [record.state for record in installation.store.deployments.list(name)]


def test_steps_run_in_order_in_the_new_release_with_its_variables(
    installation, create, target, notes
):
    steps = {stage: [note(stage)] for stage in ("after_activate", "build", "before_activate")}
    create(steps=steps, environment={"NOTES": str(notes)})
    done = installation.deploy("site")
    release = target / "releases" / done.release
    assert notes.read_text().splitlines() == [
        f"{stage} one {release}" for stage in ("build", "before_activate", "after_activate")
    ]
    assert list(done.seconds)[-2:] == ["building", "activating"]


def test_steps_receive_details_of_the_deployment(installation, create, publish, target, notes):
    create(
        environment={"NOTES": str(notes)},
        steps={"build": [{"shell": "env | grep ^DEPLOYCORE_ | sort > $NOTES"}]},
    )
    commit = publish("two")
    done = installation.deploy("site")
    *told, step = notes.read_text().splitlines()
    assert step.startswith("DEPLOYCORE_STEP_ID=")
    assert told == [
        "DEPLOYCORE_APPLICATION=site",
        f"DEPLOYCORE_COMMIT={commit}",
        "DEPLOYCORE_REF=main",
        f"DEPLOYCORE_RELEASE={target / 'releases' / done.release}",
    ]


@pytest.mark.parametrize("stage", ["build", "before_activate"])
def test_a_failed_step_before_the_switch_keeps_the_live_release(
    installation, create, publish, target, stage
):
    create(steps={stage: [{"shell": "grep -q one page"}]})
    first = installation.deploy("site")
    publish("two")
    with pytest.raises(StepFailed) as caught:
        installation.deploy("site")
    assert caught.value.details["application"] == "site"
    assert (target / "current" / "page").read_text() == "one"
    assert os.listdir(target / "releases") == [first.release]
    assert states(installation) == ["failed", "healthy"]


def test_a_failure_after_the_switch_restores_the_previous_release(
    installation, create, publish, target, notes
):
    """And its own steps run again, so that whoever serves it notices."""
    create(
        environment={"NOTES": str(notes)},
        steps={"after_activate": [note("after"), {"shell": "grep -q one page"}]},
    )
    first = installation.deploy("site")
    publish("two")
    with pytest.raises(StepFailed):
        installation.deploy("site")
    assert (target / "current" / "page").read_text() == "one"
    assert os.listdir(target / "releases") == [first.release]
    assert states(installation) == ["rolled_back", "healthy"]
    assert [line.split()[1] for line in notes.read_text().splitlines()] == ["one", "two", "one"]
    record = installation.store.deployments.list("site")[0]
    assert (record.previous, record.error_code) == (first.release, "step_failed")


def test_a_failed_health_check_restores_the_previous_release(installation, create, publish, target):
    create(health_check={"shell": "grep -q one page", "retries": 1, "interval": 0.01})
    installation.deploy("site")
    publish("two")
    with pytest.raises(HealthCheckFailed):
        installation.deploy("site")
    assert (target / "current" / "page").read_text() == "one"
    assert states(installation) == ["rolled_back", "healthy"]
    publish("one again")
    installation.deploy("site")
    assert (target / "current" / "page").read_text() == "one again"


def test_a_failed_first_deployment_leaves_no_live_release(installation, create, target):
    create(health_check={"run": ["false"], "retries": 0})
    with pytest.raises(HealthCheckFailed):
        installation.deploy("site")
    assert not os.path.lexists(target / "current")
    assert os.listdir(target / "releases") == []
    assert states(installation) == ["failed"]


def test_cancellation_during_verification_restores_the_previous_release(
    installation, create, publish, target
):
    create(steps={"after_activate": [{"shell": "grep -q one page || sleep 20"}]})
    installation.deploy("site")
    publish("two")
    cancellation = Cancellation()

    def cancel(event):
        if event.text.startswith("after_activate"):
            cancellation.cancel()

    with pytest.raises(Cancelled):
        installation.deploy("site", listener=cancel, cancellation=cancellation)
    assert (target / "current" / "page").read_text() == "one"
    assert states(installation) == ["cancelled", "healthy"]


def test_shared_paths_survive_releases(installation, create, publish, target):
    create(shared={"directories": ["uploads", "var/log"], "files": [".env"]}, keep=2)
    installation.deploy("site")
    (target / "current" / "uploads" / "photo").write_text("kept")
    (target / "shared" / ".env").write_text("A=1")
    for content in ("two", "three", "four"):
        publish(content)
        installation.deploy("site")
    assert (target / "current" / "uploads" / "photo").read_text() == "kept"
    assert (target / "current" / ".env").read_text() == "A=1"
    assert os.readlink(target / "current" / "var" / "log") == "../../../shared/var/log"
    assert len(os.listdir(target / "releases")) == 2


def test_shared_paths_start_with_the_content_of_the_repository(
    installation, create, publish, target
):
    publish("one", **{"config.ini": b"from git", "data/seed": b"1"})
    create(shared={"directories": ["data"], "files": ["config.ini"]})
    publish("one", **{"config.ini": b"from git", "data/seed": b"1"})
    installation.deploy("site")
    assert (target / "shared" / "config.ini").read_text() == "from git"
    (target / "shared" / "config.ini").write_text("changed here")
    publish("two", **{"config.ini": b"changed in git", "data/seed": b"2"})
    installation.deploy("site")
    assert (target / "current" / "config.ini").read_text() == "changed here"
    assert (target / "current" / "data" / "seed").read_text() == "1"


def test_shared_paths_can_be_created_before_the_first_deployment(installation, create, target):
    (target / "shared").mkdir(parents=True)
    (target / "shared" / ".env").write_text("A=1")
    create(shared={"files": [".env"]})
    installation.deploy("site")
    assert (target / "current" / ".env").read_text() == "A=1"


def test_a_shared_path_of_the_wrong_kind_fails_before_the_switch(installation, create, target):
    (target / "shared" / "data").mkdir(parents=True)
    create(shared={"files": ["data"]})
    with pytest.raises(DeployError, match="is not a file") as caught:
        installation.deploy("site")
    assert not os.path.lexists(target / "current")
    assert "Move it away" in caught.value.hint
    assert "shared/directories" in caught.value.hint
    (target / "shared" / "data").rename(target / "shared" / "data-of-before")
    assert installation.deploy("site").state == "healthy"


def test_links_from_the_repository_to_shared_paths_are_not_followed(
    installation, create, demo_sandbox, target
):
    create(shared={"directories": ["a/b"]})
    files = {"a": Symlink("c"), "c/x": b"1", "page": b"one"}
    demo_sandbox.commit("acme", "site", "main", files, "Link")
    with pytest.raises(UnsafeRepository, match="a link at a") as caught:
        installation.deploy("site")
    assert not (target / "shared" / "a").exists()
    assert "Remove the link from the repository" in caught.value.hint
    demo_sandbox.commit("acme", "site", "main", {"a/x": b"1", "page": b"one"}, "No link")
    assert installation.deploy("site").state == "healthy"


def test_a_release_contains_the_allowed_links(installation, create, demo_sandbox, target):
    create(links={"allow": ["test/data"]})
    files = {"test/data/passwd": Symlink("/etc/passwd"), "page": b"one"}
    demo_sandbox.commit("acme", "site", "main", files, "Link")
    installation.deploy("site")
    assert os.readlink(target / "current" / "test" / "data" / "passwd") == "/etc/passwd"


@pytest.mark.parametrize("links", ["refuse", "write-as-files"])
def test_a_link_at_a_shared_path_is_replaced_for_any_destination(
    installation, create, demo_sandbox, target, links
):
    create(shared={"directories": ["storage"]}, links=links)
    files = {"storage": Symlink("/mnt/storage"), "page": b"one"}
    demo_sandbox.commit("acme", "site", "main", files, "Link")
    installation.deploy("site")
    assert os.readlink(target / "current" / "storage") == "../../shared/storage"
    assert os.listdir(target / "shared" / "storage") == []


def test_the_submodule_limit_is_a_field_of_the_application(
    installation, create, demo_sandbox, target
):
    create(submodules=True, limits={"submodules": 0})
    modules = b'[submodule "lib"]\npath = lib\nurl = ../lib.git\n'
    files = {"lib": Submodule("1" * 40), ".gitmodules": modules}
    demo_sandbox.commit("acme", "site", "main", files, "Submodule")
    with pytest.raises(LimitExceeded) as caught:
        installation.deploy("site")
    assert "limits: {submodules: NUMBER}" in caught.value.hint


def test_an_omitted_submodule_is_noted_in_the_log(installation, create, demo_sandbox):
    create(submodules=True)
    demo_sandbox.commit("acme", "site", "main", {"lib": Submodule("1" * 40)}, "Submodule")
    told = []
    installation.deploy("site", listener=lambda event: told.append(event.text))
    assert [text for text in told if "submodule 'lib' is left out" in text]


def test_pruning_keeps_the_live_and_the_previous_release(installation, create, publish, target):
    create(keep=2)
    made = []
    for content in ("one", "two", "three", "four"):
        publish(content)
        made.append(installation.deploy("site").release)
    assert sorted(os.listdir(target / "releases")) == sorted(made[-2:])
    installation.roll_back("site")
    publish("five")
    newest = installation.deploy("site")
    assert set(os.listdir(target / "releases")) >= {newest.release, newest.previous}
    assert newest.previous == made[-2]


def test_a_missing_secret_fails_the_deployment_before_the_fetch(
    installation, create, target, demo_sandbox
):
    create(environment={"TOKEN": {"secret": "env:NOT_THERE_AT_ALL"}})
    before = len(demo_sandbox.requests)
    with pytest.raises(ConfigurationError, match="NOT_THERE_AT_ALL"):
        installation.deploy("site")
    assert len(demo_sandbox.requests) == before
    assert states(installation) == ["failed"]


def test_a_stored_secret_is_passed_to_steps_but_never_logged(installation, create, home, notes):
    create(
        environment={"TOKEN": {"secret": "stored"}, "NOTES": str(notes)},
        steps={"build": [{"shell": 'echo "$TOKEN" > "$NOTES"; echo "it is $TOKEN"'}]},
    )
    with pytest.raises(ConfigurationError, match="TOKEN of site has no stored value") as caught:
        installation.deploy("site")
    assert caught.value.hint == "Store it: deploycore app secret site TOKEN"
    installation.keep_application_secret("site", "TOKEN", SecretStr("s3cret-of-the-site"))
    seen = []
    done = installation.deploy("site", listener=seen.append)
    assert notes.read_text() == "s3cret-of-the-site\n"
    assert "it is ********" in [event.text for event in seen if event.kind == "output"]
    kept = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert not any(b"s3cret-of-the-site" in content for content in kept)
    lines = list(installation.engine.logs.read("site", done.id))
    assert "it is ********" in [line.text for line in lines if line.kind == "output"]


def test_a_release_removed_by_a_step_is_reported_and_the_live_one_stays(
    installation, create, publish, target
):
    create(steps={"build": [{"shell": '! grep -q two page || rm -rf "$PWD"'}]})
    live = installation.deploy("site")
    publish("two")
    with pytest.raises(DeployError, match="was removed during the deployment") as caught:
        installation.deploy("site")
    assert "Correct the step that removes it" in caught.value.hint
    assert (target / "current").resolve().name == live.release
    publish("three")
    assert installation.deploy("site").state == "healthy"


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), "cancelled", "The deployment was interrupted."),
        (SystemExit(1), "cancelled", "The deployment was interrupted."),
        (
            LookupError("of-a-row"),
            "error",
            "deploycore stopped because of an unexpected error: LookupError.",
        ),
    ],
)
def test_an_unexpected_error_is_recorded_without_its_text(raised, code, said):
    error = typed_error(raised)
    assert (error.code, error.message) == (code, said)
    assert ("Report it" in error.hint) == (code == "error")
    assert typed_error(error) is error
