"""The log of a server or worker has the start and the end of each deployment."""

from __future__ import annotations

import logging
import re

import pytest
from pydantic import SecretStr

from deploycore.deploy.operator_log import log_end
from deploycore.errors import DeploycoreError, DeployError
from deploycore.redaction import Redactor
from deploycore.store.queue_records import PendingApplication
from deploycore.worker.processing import Slot, process_application


@pytest.fixture
def lines(caplog):
    """The lines since the last call, with their levels."""
    caplog.set_level(logging.INFO, "deploycore")

    def read() -> list[tuple[str, str]]:
        found = [
            (each.levelname, each.getMessage())
            for each in caplog.records
            if each.name in ("deploycore.deployments", "deploycore.worker.processing")
        ]
        caplog.clear()
        return found

    return read


def test_a_deployment_logs_its_start_and_its_end(installation, create, lines):
    create("site")
    done = installation.deploy("site", requested_by="ada")
    started, (level, ended) = lines()
    assert started == (
        "INFO",
        "deployment 1 of site started: deploy of main, requested by ada",
    )
    assert level == "INFO"
    assert re.fullmatch(
        rf"deployment 1 of site ended: state healthy, commit {done.commit},"
        rf" release {done.release}, duration \d+\.\d s",
        ended,
    )
    installation.deploy("site")  # which is live
    assert [text.partition(", ")[0] for _, text in lines()] == [
        "deployment 2 of site started: deploy of main",
        "deployment 2 of site ended: state skipped",
    ]


def test_errors_are_logged_with_the_next_step(installation, create, lines):
    create("site", ref="gone")
    with pytest.raises(DeploycoreError) as raised:
        installation.deploy("site")
    assert raised.value.details["application"] == "site"
    _, (level, ended) = lines()
    assert level == "ERROR"
    assert "of site ended: state failed, commit unknown, duration " in ended
    assert ended.endswith(f": {raised.value.message} Next: {raised.value.hint}")
    assert raised.value.hint


def test_rollbacks_and_automatic_rollbacks_are_logged(installation, create, publish, lines):
    create("site")
    installation.deploy("site")
    publish("two")
    installation.deploy("site")
    lines()
    installation.roll_back("site", requested_by="token ci")
    (_, started), (_, ended) = lines()
    assert started.startswith("deployment 3 of site started: rollback of ")
    assert "state healthy" in ended
    broken = {"shell": "exit 1"}
    definition = installation.store.get_application("site").definition
    changed = definition.as_dict() | {"health_check": broken | {"retries": 0}}
    installation.apply([type(definition).model_validate(changed)])
    with pytest.raises(DeployError):
        installation.deploy("site")
    *_, (level, ended) = lines()
    assert (level, "state rolled_back" in ended) == ("ERROR", True)


def test_a_deployment_interrupted_by_a_crash_is_logged_on_recovery(installation, create, lines):
    create("site")
    home = str(installation.settings.home)
    installation.store.deployments.request("site", ref="main", home=home)
    installation.recover()
    ((level, ended),) = lines()
    assert level == "WARNING"
    assert ended.startswith("deployment 1 of site ended: state canceled")


def test_an_error_without_a_deployment_record_is_logged_by_the_worker(
    installation, create, lines, target
):
    create("site")
    target.mkdir()
    (target / "releases").write_text("no directory")
    installation.store.triggers.add("site", cause="push", ref="main")
    slot = Slot(PendingApplication("site", "bitbucket", is_retried=False))
    process_application(installation, "site", slot, lambda event: None)
    (level, text), *_ = lines()
    assert level == "ERROR"
    assert text.startswith("site was not deployed: ")
    assert " Next: " in text


def test_a_secret_in_a_hint_is_masked(installation, create, lines):
    create("site")
    record = installation.deploy("site")
    lines()
    error = DeployError("It failed.", hint="Look at hunter2-of-a-hint.")
    log_end(record, error, Redactor([SecretStr("hunter2-of-a-hint")]))
    ((_, text),) = lines()
    assert text.endswith(": It failed. Next: Look at ********.")


def test_errors_of_several_applications_name_them(installation, create, target):
    create("site")
    create("blog", target=target.parent / "blog", ref="gone")
    (target.parent / "blog2").write_text("no directory")
    create("wiki", target=target.parent / "wiki")
    (target.parent / "wiki").write_text("no directory")
    outcomes = list(installation.engine.deploy_many(["site", "blog", "wiki"]))
    failed = {each.application: each.error for each in outcomes if each.error}
    assert set(failed) == {"blog", "wiki"}
    assert {name: error.details["application"] for name, error in failed.items()} == {
        "blog": "blog",
        "wiki": "wiki",
    }
