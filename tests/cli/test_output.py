"""Output at a terminal contains no control characters from hosts or plugins."""

from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycore.cli import dispatch
from deploycore.cli.output import printable, say, show_error, show_json_array, show_table
from deploycore.errors import NotFound

HOSTILE = "\x1b]0;owned\x07\x1b[2Jname\r\n\u202egnp.exe\x9b31m"


@given(st.text())
def test_printable_text_contains_no_control_or_bidi_characters(text):
    shown = printable(text)
    assert all(character.isprintable() or character.isspace() for character in shown)
    assert not set(shown) & set("\x1b\x07\x9b\r\n\t\u202e\u2028\u2029\u2066")


def test_ordinary_names_are_not_changed():
    assert printable("Ünïcode / ação 名前 ✓") == "Ünïcode / ação 名前 ✓"


def test_a_table_escapes_hostile_names(capsys):
    show_table(["NAME"], [[HOSTILE], ["[red]markup[/red]"]], empty="none")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b]0;owned" in shown
    assert "[red]markup[/red]" in shown


def test_a_table_in_a_pipe_is_never_truncated_or_wrapped(capsys):
    long = "x" * 500
    show_table(["A", "B"], [[long, "end"]], empty="none")
    assert f"{long}  end" in capsys.readouterr().out


def test_an_empty_table_says_so(capsys):
    show_table(["A"], [], empty="Nothing here.")
    assert capsys.readouterr().out == "Nothing here.\n"


def test_printed_text_keeps_line_breaks_and_escapes_other_characters(capsys):
    say("one\ntwo\x1b[0m")
    assert capsys.readouterr().out == "one\ntwo\\x1b[0m\n"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_json_array_is_valid_at_any_length(capsys, count):
    show_json_array({"name": HOSTILE, "n": n} for n in range(count))
    shown = capsys.readouterr().out
    assert json.loads(shown) == [{"name": HOSTILE, "n": n} for n in range(count)]
    assert "\x1b" not in shown


def test_json_items_are_printed_as_they_arrive(capsys):
    def items():
        yield {"n": 1}
        assert '"n": 1' in capsys.readouterr().out
        yield {"n": 2}

    show_json_array(items())


def test_text_errors_show_the_next_step(capsys):
    show_error(NotFound(f"No {HOSTILE}.", hint="Look again."), as_json=False)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "\x1b" not in shown.err
    assert shown.err.startswith("Error: No \\x1b]0;owned")
    assert shown.err.endswith("\n  Next: Look again.\n")


def test_json_errors_contain_all_details(capsys):
    show_error(NotFound("No.", hint="Look.", repository="a/b"), as_json=True)
    error = json.loads(capsys.readouterr().err)["error"]
    assert error == {
        "code": "not_found",
        "message": "No.",
        "hint": "Look.",
        "details": {"repository": "a/b"},
    }


def test_a_terminal_limited_to_ascii_gets_escapes(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    say("naïve 名")
    stream.flush()
    assert stream.buffer.getvalue() == b"na\\xefve \\u540d\n"


def test_an_unexpected_error_shows_its_type_and_location_but_no_text(monkeypatch, capsys):
    def fail(commands, *, is_remote):
        raise LookupError("hunter2-secret")

    monkeypatch.setattr(dispatch, "application_of", fail)
    assert dispatch._run(["doctor"], []) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "Error: deploycore stopped because of an unexpected error: LookupError in"
        " tests.cli.test_output, line "
    )
    assert "Next: " in said
    assert "hunter2" not in said
