"""What tests/slow.txt lists exists, and is listed once."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LISTED = [
    line
    for line in (ROOT / "tests" / "slow.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def is_there(line: str) -> bool:
    """Whether the file, or the function that it may inherit from the contract kit, exists."""
    path, *names = line.split("::")
    if not (ROOT / path).is_file():
        return False
    places = [ROOT / path, *(ROOT / "deploycore/testing/contract").glob("*.py")]
    pattern = rf"def {re.escape(names[-1])}\b" if names else ""
    return any(re.search(pattern, place.read_text()) for place in places)


def test_each_listed_test_exists():
    assert [line for line in LISTED if not is_there(line)] == []


def test_no_test_is_listed_twice():
    files = {line for line in LISTED if "::" not in line}
    assert len(set(LISTED)) == len(LISTED)
    assert [line for line in LISTED if "::" in line and line.partition("::")[0] in files] == []
