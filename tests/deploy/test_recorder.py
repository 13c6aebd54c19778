"""What a deployment tells of itself, free of secrets that are only known while it runs."""

from __future__ import annotations

from types import SimpleNamespace

from pydantic import SecretStr

from deploycore.deploy.recorder import Recorder


def test_a_secret_that_a_provider_learns_while_it_works_is_masked():
    learned = [SecretStr("hunter2-configured")]
    told = []
    record = SimpleNamespace(id=1, application="site", state="fetching", seconds={})
    recorder = Recorder(record, None, None, [told.append])
    recorder.hide(lambda: learned)
    recorder.note("hunter2-configured hunter2-of-this-hour")
    learned.append(SecretStr("hunter2-of-this-hour"))
    recorder.note("hunter2-configured hunter2-of-this-hour")
    assert [event.text for event in told] == ["******** hunter2-of-this-hour", "******** ********"]
