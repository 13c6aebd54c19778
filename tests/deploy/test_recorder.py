"""A deployment's messages contain no secrets, including those that become known while it runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from deploycore.deploy.recorder import Recorder
from deploycore.errors import StepFailed


def test_a_secret_learned_by_a_provider_at_run_time_is_masked():
    learned = [SecretStr("hunter2-configured")]
    told = []
    record = SimpleNamespace(id=1, application="site", state="fetching", seconds={})
    recorder = Recorder(record, None, None, [told.append])
    recorder.hide(lambda: learned)
    recorder.note("hunter2-configured hunter2-of-this-hour")
    learned.append(SecretStr("hunter2-of-this-hour"))
    recorder.note("hunter2-configured hunter2-of-this-hour")
    assert [event.text for event in told] == ["******** hunter2-of-this-hour", "******** ********"]


@pytest.mark.parametrize(
    ("pattern", "stored"),
    [("https://x/{commit}", {"commit_url": "https://x/1a2b"}), ("https://x/\0{commit}", {})],
)
def test_a_commit_link_that_cannot_be_stored_does_not_fail_the_deployment(pattern, stored):
    written = {}
    record = SimpleNamespace(id=1, application="site", state="resolving", seconds={}, error_code="")

    def advance(number, state, *, error, seconds, **known):
        written.update(known)
        return record

    store = SimpleNamespace(deployments=SimpleNamespace(advance=advance))
    recorder = Recorder(record, store, None, [], {"commit_url": pattern})
    recorder._advance("fetching", None, commit="1a2b")
    assert written == {"commit": "1a2b", **stored}


def test_the_next_step_after_an_error_is_only_in_the_log_and_masked():
    told, logged = [], []
    record = SimpleNamespace(
        id=1, application="site", state="building", seconds={}, error_code=None, is_finished=True,
        commit=None, release=None, finished_at=None,
    )  # fmt: skip
    store = SimpleNamespace(deployments=SimpleNamespace(advance=lambda *a, **b: record))
    lifecycle = SimpleNamespace(changed=lambda record: None, finished=lambda record, error: None)
    recorder = Recorder(record, store, lifecycle, [told.append], write_hint=logged.append)
    recorder.hide(lambda: [SecretStr("hunter2-of-this-hour")])
    recorder._described = lambda: record
    recorder.finish("failed", StepFailed("It failed.", hint="Replace hunter2-of-this-hour."))
    assert [(event.kind, event.text) for event in told] == [("state", "It failed.")]
    assert [(event.kind, event.text) for event in logged] == [("hint", "Replace ********.")]
