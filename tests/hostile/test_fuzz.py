"""A few seconds of the fuzzer, with the same seed each time. Run the fuzzer alone for longer
tests."""

from __future__ import annotations

import time

from tests.hostile.fuzz import fuzzing

SECONDS = 5
CASES_LEAST = 50


def test_fuzz_cases_of_a_fixed_seed_violate_no_guarantee():
    began, number = time.monotonic(), 0
    with fuzzing() as fuzzer:
        while time.monotonic() - began < SECONDS:
            fuzzer.run(1, number)
            number += 1
    assert number > CASES_LEAST
    for how in ("bytes", "sealed bytes", "parts", "delta", "tree"):
        assert any(outcome.startswith(f"{how}: ") for outcome in fuzzer.outcomes)
    assert any(outcome.endswith("written") for outcome in fuzzer.outcomes)
