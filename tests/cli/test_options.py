"""Values of options that several commands share."""

from __future__ import annotations

from datetime import timedelta

import pytest

from deploycore.cli.options import parse_duration
from deploycore.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        (" 30m ", timedelta(minutes=30)),
        ("45s", timedelta(seconds=45)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text, expected):
    assert parse_duration(text, "--expires") == expected


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1 d", "1.5h", "1y"])
def test_an_invalid_duration_is_rejected_with_an_example(text):
    with pytest.raises(ConfigurationError, match="is not a duration") as caught:
        parse_duration(text, "--expires")
    assert "--expires 90d" in caught.value.hint
