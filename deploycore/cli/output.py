"""Output of commands: tables for people, JSON for programs, errors for both.

Names, branches and messages come from servers that may be hostile, so control characters in them
are escaped before they reach a terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from deploycore.cli.streams import command_output
from deploycore.cli.tables import Cell, Column, Paint, Style, record_lines, table_lines
from deploycore.errors import DeploycoreError
from deploycore.text.printable import printable

__all__ = [
    "Column",
    "has_colors",
    "printable",
    "say",
    "say_aside",
    "say_state",
    "show_error",
    "show_json",
    "show_json_array",
    "show_json_line",
    "show_record",
    "show_table",
]

_LOOKS: Mapping[Style, str] = {"heading": "1", "good": "32", "bad": "31", "doubtful": "33"}
_lock = threading.Lock()


def say(text: str) -> None:
    """Print a line of text to standard output."""
    output = command_output()
    text = "\n".join(map(printable, text.split("\n")))
    # Flushed, because the next line may take a while, for example in a log that is followed.
    print(_encodable(text, output.encoding), file=output, flush=True)


def say_aside(text: str) -> None:
    """Print a line of text to standard error, apart from the command's result."""
    # Flushed, because the person may have to act on it, for example on an address for a sign-in.
    print(_encodable(printable(text), sys.stderr.encoding), file=sys.stderr, flush=True)


def show_table(
    columns: Sequence[Column | str], rows: Iterable[Sequence[Cell]], *, empty: str
) -> None:
    """Print a table.

    At a terminal the table fits its width. Elsewhere nothing is wrapped, cut or left out.

    Args:
        columns: A plain string is an essential column, whose values stay on one line.
        rows: The cells of each row.
        empty: The text to print if there are no rows.
    """
    shown = [[_printable_cell(cell) for cell in row] for row in rows]
    if not shown:
        say(empty)
        return
    heads = [Column(each) if isinstance(each, str) else each for each in columns]
    _print_lines(table_lines(heads, shown, width=_width(), paint=_paint_for(command_output())))


def show_record(fields: Iterable[tuple[Column, Cell]], *, indent: str = "") -> None:
    """Print one record, a field per line, within the width of a terminal."""
    shown = [(column, _printable_cell(cell)) for column, cell in fields]
    paint = _paint_for(command_output())
    _print_lines(record_lines(shown, width=_width(), paint=paint, indent=indent))


def show_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(_json(value, indent=2), file=command_output(), flush=True)


def show_json_line(value: Mapping[str, Any]) -> None:
    """Print one JSON object on its own line, and flush it."""
    line = _json(value) + "\n"
    with _lock:  # several deployments may print at once, each in its own thread
        command_output().write(line)
        command_output().flush()


def show_json_array(items: Iterable[Mapping[str, Any]]) -> None:
    """Print a JSON array item by item, without keeping the items in memory."""
    separator, output = "[\n  ", command_output()
    for item in items:
        print(separator + _json(item), end="", file=output)
        separator = ",\n  "
    print("[]" if separator.startswith("[") else "\n]", file=output)


def show_error(error: DeploycoreError, *, as_json: bool, application: str | None = None) -> None:
    """Print an error and its hint to standard error, as text or as a JSON object.

    Args:
        application: The application that the error is about, if there are several.
    """
    error.add_context(application=application)
    if as_json:
        print(_json({"error": error.as_dict()}), file=sys.stderr)
        return
    about = f"{printable(application)}: " if application else ""
    text = f"{_paint_for(sys.stderr)('bad', 'Error:')} {about}{printable(str(error))}"
    if error.hint:
        text += f"\n  Next: {printable(error.hint)}"
    print(_encodable(text, sys.stderr.encoding), file=sys.stderr)


def say_state(subject: str, state: str, style: Style) -> None:
    """Print ``subject: state``, the state in the color of a style."""
    output = command_output()
    state = _paint_for(output)(style, printable(state))
    print(f"{_encodable(printable(subject), output.encoding)}: {state}", file=output, flush=True)


def has_colors(stream: TextIO) -> bool:
    """Whether to color output to a stream: see https://no-color.org and https://force-color.org.

    A terminal that is ``dumb`` or unknown gets no colors.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _json(value: Mapping[str, Any], indent: int | None = None) -> str:
    import json  # help needs none

    return json.dumps(value, indent=indent)


def _paint_for(stream: TextIO) -> Paint:
    if not has_colors(stream):
        return lambda style, text: text
    return lambda style, text: f"\x1b[{_LOOKS[style]}m{text}\x1b[0m"


def _width() -> int | None:
    """Return the terminal's width; ``None`` if standard output is not a terminal."""
    return shutil.get_terminal_size().columns if command_output().isatty() else None


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=command_output())


def _printable_cell(cell: Cell) -> Cell:
    encoding = command_output().encoding
    if isinstance(cell, str):
        return _encodable(printable(cell), encoding)
    return [_encodable(printable(paragraph), encoding) for paragraph in cell]


def _encodable(text: str, encoding: str | None) -> str:
    """Escape the characters that an encoding cannot express."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
