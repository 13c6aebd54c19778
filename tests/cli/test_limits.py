"""The effects of ``--limit`` and ``--timeout`` of ``deploycore clone``, and the hints that name
them."""

from __future__ import annotations

import pytest

from deploycore.applications.application import Limits
from deploycore.cli.limits import limited, name_option
from deploycore.errors import LimitExceeded
from deploycore.git import GitSettings


def test_a_limit_or_timeout_changes_only_what_it_names():
    settings = GitSettings(total_timeout=50.0, max_files=10, max_objects=20)
    changed = limited(settings, Limits(files=11), 7.5)
    assert (changed.max_files, changed.total_timeout, changed.max_objects) == (11, 7.5, 20)
    assert limited(settings, Limits(), None) == settings


@pytest.mark.parametrize(
    ("limit", "option"), [("total_timeout", "--timeout SECONDS"), ("max_files", "--limit files=")]
)
def test_the_hint_names_the_option_that_raises_the_limit(limit, option):
    error = LimitExceeded("It is too much.", limit=limit)
    name_option(error)
    assert option in error.hint
