"""A server without workers warns before credentials expire."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

from deploycore.server.serving import _without_worker


def test_a_server_without_workers_warns_too(installation, caplog):
    ends = datetime.now(UTC) + timedelta(days=5)
    installation.store.note_expiry("work", ends)
    deadline = time.monotonic() + 60
    with caplog.at_level(logging.WARNING), _without_worker(installation):
        while installation.store.get_provider("work").expiry_warned is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert "the credentials of provider work expire in 5 days" in caplog.text
