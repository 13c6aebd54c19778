"""Deploy keys while the disk of the data directory is really full."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from deploycore.errors import StoreError
from tests.faults.full_disks import PAGE, full, small_disk
from tests.faults.test_deploy_key_refusals import (
    IS_WHOLE,
    OWNERS,
    attempt,
    check,
    make_good,
    prepare,
    scenario,
)

__all__ = ["scenario"]

#: SQLite needs some pages for its log, and others for the index of that. Each amount of space is
#: the end of another write.
FREE = range(0, 24 * PAGE, PAGE) if IS_WHOLE else [each * PAGE for each in (0, 9, 12, 16, 22)]


@pytest.fixture
def home(empty_home):
    """A data directory on a disk of its own."""
    made = Path(tempfile.mkdtemp(prefix="keys-"))
    try:
        with small_disk(made / "disk", "1m") as disk:
            yield shutil.copytree(empty_home, disk / "home")
    finally:
        shutil.rmtree(made)


@pytest.mark.parametrize("owner", OWNERS if IS_WHOLE else OWNERS[:1], ids=lambda each: each.noun)
@pytest.mark.parametrize("verb", ["create", "rotate", "remove"])
def test_a_full_disk_loses_no_key(scenario, owner, verb, caplog):
    prepare(scenario, owner, verb)
    for left in FREE:
        with full(scenario.home.parent, left), scenario.opened() as installation:
            _, error = attempt(lambda: getattr(scenario.keys(installation), verb)(owner))
        if error is not None:
            assert isinstance(error, StoreError)
            assert f"{scenario.home}/deploycore.db cannot be written: the disk is full" in str(
                error
            )
            assert "Free space on that disk, then try again" in error.hint
        assert error is not None or left
        check(scenario, owner, error=error, was_used=verb == "rotate", caplog=caplog)
        make_good(scenario, owner, verb)
    assert error is None
