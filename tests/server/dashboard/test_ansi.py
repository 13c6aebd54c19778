"""Colors of log lines: the result has only names of styles, whatever a program printed."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploycore.text import ansi
from deploycore.text.ansi import Segment, parse_colors, plain_text

CLASSES = re.compile(r"(fg|bg)-([0-9]|1[0-5])|bold|dim|italic|underline|strike")


def styled(line: str) -> list[tuple[str, str]]:
    return [(each.text, " ".join(each.classes)) for each in parse_colors(line)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plain", [("plain", "")]),
        ("", []),
        ("\x1b[31mred\x1b[0m.", [("red", "fg-1"), (".", "")]),
        ("\x1b[1;92mok\x1b[22;39m.", [("ok", "fg-10 bold"), (".", "")]),
        ("\x1b[44mback\x1b[49m.", [("back", "bg-4"), (".", "")]),
        ("\x1b[3;4;9mall\x1b[23;24;29m.", [("all", "italic underline strike"), (".", "")]),
        ("\x1b[31;7mturned\x1b[27m.", [("turned", "fg-0 bg-1"), (".", "fg-1")]),
        ("\x1b[38;5;196mred", [("red", "fg-9")]),
        ("\x1b[38;2;0;255;0;1mgreen", [("green", "fg-10 bold")]),
        ("\x1b[38;5;244mgray", [("gray", "fg-8")]),
        ("\x1b[mreset", [("reset", "")]),
        ("a\tb", [("a\tb", "")]),
    ],
)
def test_colors_become_classes(line, expected):
    assert styled(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "a\x1b[2Jb",  # clears a screen
        "a\x1b[1;1Hb",  # moves the cursor
        "a\x1b]0;title\x07b",
        "a\x1b]52;c;c2VjcmV0\x1b\\b",  # writes to a clipboard
        "a\x1bPq#0\x1b\\b",
        "a\x1b(Bb",
        "a\x1b7b",
        "a\x07\x08\x00\x7f\x9b\x85b",
        "a\u202eb\u2066",  # turns the direction of text
        "a\u2028b",
    ],
)
def test_all_other_control_sequences_are_removed(line):
    assert not any(classes for _, classes in styled(line))
    assert plain_text(line) == "ab"


@pytest.mark.parametrize(
    "line", ["\x1b[", "\x1b[31", "\x1b]0;never ended", "\x1b", "\x1b[38;5m", "\x1b[38;2;1mx"]
)
def test_a_truncated_sequence_is_harmless(line):
    assert all("\x1b" not in each.text for each in parse_colors(line))


@given(st.text(st.sampled_from("\x1b[]0123456789;:mHJ\x07\\ab<>&\"'\u202e\x9b"), max_size=80))
@example("\x1b[" + "9" * 5000 + "m")
@example("\x1b[1m" * 1000)
def test_any_output_yields_only_known_classes_and_no_control_characters(line):
    for each in parse_colors(line):
        assert isinstance(each, Segment)
        assert each.text
        assert not re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e]", each.text)
        assert all(CLASSES.fullmatch(name) for name in each.classes)
    assert plain_text(line) == "".join(each.text for each in parse_colors(line))


def test_the_script_reads_lines_by_the_same_patterns():
    script = (files("deploycore.server.dashboard") / "static" / "log.js").read_text()
    sequence = re.search(r"const SEQUENCE = /(.+)/g;", script).group(1).replace(r"\/", "/")
    assert sequence == ansi._SEQUENCE.pattern
    dropped = re.search(r"const DROPPED = /(.+)/g;", script).group(1)
    assert re.compile(dropped).pattern.encode().decode("unicode_escape") == ansi._DROPPED.pattern
    colors = re.search(r"const SIXTEEN = \[(.+?)\n\];", script, re.DOTALL).group(1)
    assert tuple(map(int, re.findall(r"\d+", colors))) == tuple(
        part for color in ansi._SIXTEEN for part in color
    )
