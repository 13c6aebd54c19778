"""What commands print: tables for people, JSON for machines, errors for both.

Names, branches and messages come from servers that may be hostile, so nothing of them
reaches a terminal before its control characters are made visible.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deploycore.cli.streams import command_output
from deploycore.errors import DeploycoreError
from deploycore.printable import printable

__all__ = [
    "printable",
    "say",
    "say_aside",
    "show_error",
    "show_json",
    "show_json_array",
    "show_json_line",
    "show_table",
]

_WIDE = 10_000
_lock = threading.Lock()


def say(text: str) -> None:
    """Print a line for a person to standard output."""
    output = command_output()
    text = "\n".join(map(printable, text.split("\n")))
    print(_encodable(text, output.encoding), file=output)


def say_aside(text: str) -> None:
    """Print a line for a person to standard error, beside what a command was asked for."""
    print(_encodable(printable(text), sys.stderr.encoding), file=sys.stderr)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Print a table for a person; ``empty`` is said where there are no rows."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        encoding = command_output().encoding
        table.add_row(*(Text(_encodable(printable(cell), encoding)) for cell in row))
    if not table.row_count:
        say(empty)
        return
    console = Console(file=command_output(), highlight=False)
    if not console.is_terminal:
        console.width = min(_WIDE, console.measure(table, options=_unbounded(console)).maximum)
    console.print(table)


def show_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(value, indent=2), file=command_output())


def show_json_line(value: Mapping[str, Any]) -> None:
    """Print one JSON object of a stream, on a line of its own, at once."""
    line = json.dumps(value) + "\n"
    with _lock:  # several deployments may tell at once, each from a thread of its own
        command_output().write(line)
        command_output().flush()


def show_json_array(items: Iterable[Mapping[str, Any]]) -> None:
    """Print a JSON array, each item as it arrives, in memory for one item."""
    separator, output = "[\n  ", command_output()
    for item in items:
        print(separator + json.dumps(item), end="", file=output)
        separator = ",\n  "
    print("[]" if separator.startswith("[") else "\n]", file=output)


def show_error(error: DeploycoreError, *, as_json: bool) -> None:
    """Print an error to standard error: a sentence and the next step, or a JSON object."""
    if as_json:
        print(json.dumps({"error": error.as_dict()}), file=sys.stderr)
        return
    text = f"Error: {printable(str(error))}"
    if error.hint:
        text += f"\n  Next: {printable(error.hint)}"
    print(_encodable(text, sys.stderr.encoding), file=sys.stderr)


def _encodable(text: str, encoding: str | None) -> str:
    """The text with what a terminal of this encoding can't show as escapes."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _unbounded(console: Any) -> Any:
    return console.options.update(width=_WIDE, max_width=_WIDE)
