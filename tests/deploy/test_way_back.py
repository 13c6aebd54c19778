"""Deploying again keeps the possible rollbacks: a live commit is skipped, and copies do not
count."""

from __future__ import annotations

import shutil

import pytest
from pydantic import SecretStr

from deploycore.deploy import DeployRequest
from deploycore.errors import ConfigurationError, StepFailed


def page(target) -> str:
    return (target / "current" / "page").read_text()


def releases(installation) -> list[str]:
    return [each.name for each in installation.releases("site")]


@pytest.fixture
def good_then_bad(installation, create, publish):
    """Deployments of two commits: ``one`` worked, ``two`` is bad though nothing noticed."""
    create(keep=2)
    good = installation.deploy("site")
    publish("two")
    return good, installation.deploy("site")


def test_a_live_commit_is_neither_fetched_nor_written_again(
    installation, good_then_bad, demo_sandbox, monkeypatch
):

    monkeypatch.setattr("deploycore.git.export", None)  # nothing may be written
    before = releases(installation)
    for _ in range(3):
        done = installation.deploy("site")
        assert (done.state, done.commit) == ("skipped", good_then_bad[1].commit)
    assert releases(installation) == before


@pytest.mark.parametrize("copies", [1, 5])
def test_after_repeated_deployments_a_rollback_selects_the_other_commit(
    installation, good_then_bad, target, copies
):
    good, bad = good_then_bad
    for _ in range(copies):
        last = installation.deploy("site", force=True)
    # The live one, the one before it, which may be in use, and the way back.
    assert len(releases(installation)) == 3
    done = installation.roll_back("site")
    assert (done.release, done.commit) == (good.release, good.commit)
    assert (done.previous, done.previous_commit) == (last.release, bad.commit)
    assert page(target) == "one"
    with pytest.raises(ConfigurationError) as caught:
        installation.roll_back("site")
    assert "no release to roll back to" in caught.value.message
    assert "--to RELEASE" in caught.value.hint


def test_only_a_person_can_redeploy_a_rolled_back_commit(
    installation, good_then_bad, target, publish
):
    installation.roll_back("site")
    skipped = installation.deploy("site", automatic=True)
    assert (skipped.state, skipped.commit) == ("skipped", good_then_bad[1].commit)
    log = [each.text for each in installation.engine.logs.read("site", skipped.id)]
    assert any("was rolled back from" in each for each in log)
    assert page(target) == "one"
    assert installation.deploy("site").state == "healthy"
    assert page(target) == "two"
    # From now on it is a commit like others again, for a rollback and for what comes by itself.
    publish("three")
    assert installation.deploy("site", automatic=True).state == "healthy"
    installation.roll_back("site")
    assert page(target) == "two"


def test_a_push_of_another_commit_is_deployed_after_a_rollback(
    installation, good_then_bad, target, publish
):
    installation.roll_back("site")
    publish("three")
    assert installation.deploy("site", automatic=True).state == "healthy"
    installation.roll_back("site")
    assert page(target) == "one"  # and not the bad one


@pytest.mark.parametrize("damage", ["gone", "emptied", "link"])
def test_an_incomplete_live_release_is_deployed_again(installation, good_then_bad, target, damage):
    live = (target / "current").resolve()
    if damage == "gone":
        shutil.rmtree(live)
    elif damage == "emptied":
        (live / "page").unlink()
    else:
        (target / "current").unlink()
    assert installation.deploy("site").state == "healthy"
    assert page(target) == "two"


def test_a_live_release_that_never_succeeded_is_deployed_again(installation, create, target):
    create()
    done = installation.deploy("site")
    with installation.store._database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE deployments SET state = 'failed' WHERE id = {done.id}")
    assert installation.deploy("site").state == "healthy"


def test_a_changed_definition_or_stored_secret_triggers_a_deployment(installation, create):
    create(environment={"KEY": {"secret": "stored"}})
    installation.keep_application_secret("site", "KEY", SecretStr("made-up-secret-one"))
    assert [installation.deploy("site").state for _ in range(2)] == ["healthy", "skipped"]
    installation.keep_application_secret("site", "KEY", SecretStr("made-up-secret-two"))
    assert [installation.deploy("site").state for _ in range(2)] == ["healthy", "skipped"]
    # Reuse says how files are written, not what they are.
    assert installation.deploy("site", reuse="hard-link").state == "skipped"


def test_the_old_option_is_deprecated_and_has_no_effect(installation, good_then_bad):
    with pytest.warns(DeprecationWarning, match="only_if_changed"):
        done = installation.deploy("site", only_if_changed=False)
    assert done.state == "skipped"


def test_force_applies_to_deployments_of_several_applications(installation, good_then_bad):
    (skipped,) = installation.engine.deploy_many(["site"])
    (forced,) = installation.engine.deploy_many(["site"], DeployRequest(force=True))
    assert (skipped.deployment.state, forced.deployment.state) == ("skipped", "healthy")


SECRETS = {"KEY": {"secret": "env:ONLY_THE_WORKER_HAS"}, "OTHER": "plain"}


@pytest.fixture
def two_with_secret(installation, create, publish, monkeypatch):
    """Deploys two commits of an application with a secret, which is then gone from here."""

    def make(**fields):
        monkeypatch.setenv("ONLY_THE_WORKER_HAS", "made-up-secret-of-the-worker")
        create(environment=SECRETS, **fields)
        installation.deploy("site")
        publish("two")
        installation.deploy("site")
        monkeypatch.delenv("ONLY_THE_WORKER_HAS")

    return make


@pytest.mark.parametrize(
    "steps",
    [{}, {"build": ["true"]}, {"before_activate": ["true"]}],
    ids=["none", "build", "before_activate"],
)
def test_a_rollback_does_not_require_secrets_of_steps_it_skips(
    installation, two_with_secret, target, steps
):
    two_with_secret(steps=steps)
    done = installation.roll_back("site")
    assert page(target) == "one"
    log = [each.text for each in installation.engine.logs.read("site", done.id)]
    assert not any("KEY" in each for each in log)


def test_a_rollback_without_a_secret_of_its_steps_succeeds_with_a_warning(
    installation, two_with_secret, target, tmp_path
):
    seen = tmp_path / "seen"
    two_with_secret(steps={"after_activate": [{"shell": f"echo ${{KEY-unset}}-$OTHER > {seen}"}]})
    done = installation.roll_back("site")
    assert (page(target), seen.read_text()) == ("one", "unset-plain\n")
    log = [each.text for each in installation.engine.logs.read("site", done.id)]
    assert any("without the variable KEY" in each for each in log)


def test_a_step_that_fails_due_to_a_missing_secret_is_explained(
    installation, two_with_secret, target
):
    two_with_secret(steps={"after_activate": [{"shell": 'test -n "$KEY"'}]})
    with pytest.raises(StepFailed) as caught:
        installation.roll_back("site")
    assert "could not be read: KEY" in caught.value.hint
    assert page(target) == "two"


def test_a_missing_secret_is_reported_before_anything_is_fetched(
    installation, two_with_secret, target, publish
):
    two_with_secret()
    publish("three")
    with pytest.raises(ConfigurationError, match="ONLY_THE_WORKER_HAS"):
        installation.deploy("site")
    assert list(installation.store.deployments.list("site")[0].seconds) == ["queued"]
    assert page(target) == "two"
