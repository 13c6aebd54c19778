"""The cause of a deployment decides whether a commit that was rolled back from is deployed."""

from __future__ import annotations

import pytest

from deploycore.store.queue_records import PendingApplication
from deploycore.worker.processing import Slot, process_application


@pytest.mark.parametrize(
    ("causes", "force", "way"),
    [
        (["push"], False, (False, True)),
        (["poll", "push"], False, (False, True)),
        (["request"], False, (False, False)),
        (["push", "request"], False, (False, False)),
        (["request"], True, (True, False)),
    ],
)
def test_pushes_and_polls_are_automatic_and_requests_are_not(
    installation, deployments, add, causes, force, way
):
    for cause in causes:
        add(cause=cause, force=force)
    slot = Slot(PendingApplication("one", "fake", is_retried=False))
    process_application(installation, "one", slot, lambda event: None)
    assert deployments.ways == [way]
