"""Layout of tables and records as lines of text, for a terminal's width or for a pipe.

Values that people copy are never broken. If a table is too wide, its least important columns are
left out. If the essential columns do not fit either, each row becomes a block of lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from deploycore.records import record

__all__ = ["Cell", "Column", "Paint", "Style", "record_lines", "table_lines"]

Style = Literal["heading", "good", "bad", "doubtful"]
Paint = Callable[[Style, str], str]
"""Color a text in a style, if the output has colors."""

Cell = str | Sequence[str]
"""The text of a cell, or its paragraphs."""

_GAP = "  "
_PROSE_LEAST, _PROSE_MOST = 24, 60
"""A column of prose has at least 24 cells, or up to 60 if it has a long word."""

_STATES: Mapping[str, Style] = {
    **dict.fromkeys(("healthy", "live", "ok", "ready"), "good"),
    **dict.fromkeys(("failed", "rolled_back", "problem", "broken"), "bad"),
    **dict.fromkeys(("canceled", "superseded", "warning", "unknown"), "doubtful"),
}


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        title: The heading.
        drop: The order in which columns are left out of a table that is too wide: 1 first, then 2,
            and so on; 0 never.
        is_prose: Whether the text may be wrapped between words. Other columns keep each value on
            one line.
        style: ``state`` to color known states, or the style of all cells.
    """

    title: str
    drop: int = 0
    is_prose: bool = False
    style: Style | Literal["state"] | None = None

    def style_of(self, cell: Cell) -> Style | None:
        """Return the style of one cell."""
        if self.style != "state":
            return self.style
        return _STATES.get(cell) if isinstance(cell, str) else None


@record
class _Measured:
    """A column with its widths in terminal cells."""

    index: int
    column: Column
    natural: int
    least: int
    is_empty: bool


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, width: int | None, paint: Paint
) -> Iterator[str]:
    """Lay out a table.

    Args:
        columns: The columns.
        rows: The cells of each row.
        width: The terminal's width in cells; ``None`` to wrap nothing and leave nothing out.
        paint: Colors a text.
    """
    measured = [_measure(index, column, rows) for index, column in enumerate(columns)]
    kept = measured if width is None else _fitting(measured, width)
    if kept is None and measured[-1].column.is_prose:
        # A long word in the last column may exceed the width: the terminal wraps it.
        least = min(measured[-1].least, _PROSE_LEAST)
        kept = _fitting([*measured[:-1], replace(measured[-1], least=least)], width or 0)
    if kept is None:
        yield from _blocks(columns, rows, width or 0, paint)
        return
    widths = _widths(kept, width)
    yield from _row_lines([(each.column.title, "heading") for each in kept], kept, widths, paint)
    for row in rows:
        cells = [(row[each.index], each.column.style_of(row[each.index])) for each in kept]
        yield from _row_lines(cells, kept, widths, paint)


def record_lines(
    fields: Sequence[tuple[Column, Cell]], *, width: int | None, paint: Paint, indent: str = ""
) -> Iterator[str]:
    """Lay out one record, a field per line. A value that does not fit moves to the next line.

    Args:
        fields: Each field's column, whose title is the field's name, and its value.
        width: As for ``table_lines``.
        paint: Colors a text.
        indent: The beginning of each line.
    """
    margin = max((_cells(column.title) for column, _ in fields), default=0)
    room = None if width is None else width - len(indent) - margin - len(_GAP)
    for column, cell in fields:
        lines = list(_prose(cell, room) if column.is_prose else _paragraphs(cell))
        name = _padded(column.title, margin, "heading", paint)
        style = column.style_of(cell)
        if room is not None and lines and _cells(lines[0]) > room:
            yield f"{indent}{name}".rstrip()
            yield from (_painted(line, style, paint) for line in lines)
            continue
        for line in lines or [""]:
            yield f"{indent}{name}{_GAP}{_painted(line, style, paint)}".rstrip()
            name = " " * margin


def _blocks(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int, paint: Paint
) -> Iterator[str]:
    for number, row in enumerate(rows):
        if number:
            yield ""
        fields = [(column, cell) for column, cell in zip(columns, row, strict=True) if cell]
        yield from record_lines(fields, width=width, paint=paint)


def _measure(index: int, column: Column, rows: Sequence[Sequence[Cell]]) -> _Measured:
    title = _cells(column.title)
    lines = [line for row in rows for line in _paragraphs(row[index])]
    natural = max([title, *map(_cells, lines)])
    least = natural
    if column.is_prose:
        longest = max((_cells(word) for line in lines for word in line.split(" ")), default=0)
        least = min(natural, max(title, _PROSE_LEAST, min(longest, _PROSE_MOST)))
    return _Measured(index, column, natural, least, is_empty=not any(lines))


def _fitting(measured: Sequence[_Measured], width: int) -> list[_Measured] | None:
    """Return the most important columns that fit; ``None`` if the essential ones do not fit."""
    kept, dropped = list(measured), list[_Measured]()
    while _total(kept) > width:
        less = [each for each in kept if each.is_empty or each.column.drop]
        if not less or len(kept) == 1:
            return None
        dropped.append(min(less, key=lambda each: (not each.is_empty, each.column.drop)))
        kept.remove(dropped[-1])
    for each in reversed(dropped):  # dropping one wide column may leave room for others
        if _total([*kept, each]) <= width:
            kept.append(each)
    return sorted(kept, key=lambda each: each.index)


def _total(columns: Sequence[_Measured]) -> int:
    return sum(each.least for each in columns) + len(_GAP) * (len(columns) - 1)


def _widths(kept: Sequence[_Measured], width: int | None) -> list[int]:
    """Return each column's width: what it needs, as far as there is room."""
    if width is None:
        return [each.natural for each in kept]
    widths = [each.least for each in kept]
    spare = width - _total(kept)
    order = sorted(range(len(kept)), key=lambda number: kept[number].natural)
    for done, number in enumerate(order):
        more = min(kept[number].natural - widths[number], spare // (len(order) - done))
        widths[number] += more
        spare -= more
    for number in order:
        more = min(kept[number].natural - widths[number], spare)
        widths[number] += more
        spare -= more
    return widths


def _row_lines(
    cells: Iterable[tuple[Cell, Style | None]],
    kept: Sequence[_Measured],
    widths: Sequence[int],
    paint: Paint,
) -> Iterator[str]:
    """Lay out one row: as many lines as its longest cell has."""
    last = len(kept) - 1
    columns = []
    for number, (cell, style) in enumerate(cells):
        width = widths[number]
        lines = list(_paragraphs(cell))
        if kept[number].column.is_prose:
            lines = _prose(cell, width, folds=number < last)
        columns.append((lines, style, width))
    for line in range(max(len(lines) for lines, _, _ in columns)):
        yield _GAP.join(
            _padded(lines[line] if line < len(lines) else "", width, style, paint)
            for lines, style, width in columns
        ).rstrip()


def _prose(cell: Cell, width: int | None, *, folds: bool = False) -> list[str]:
    """Wrap a text between words.

    Args:
        folds: Whether to break a word that is too long. Otherwise it stays whole, so that it can
            be copied, and the terminal wraps it.
    """
    if width is None:
        return list(_paragraphs(cell))
    lines = []
    for paragraph in _paragraphs(cell):
        line = ""
        for word in _words(paragraph, width if folds else None):
            longer = f"{line} {word}" if line else word
            if line and _cells(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _words(text: str, most: int | None) -> Iterator[str]:
    for word in text.split(" "):
        if most is not None and _cells(word) > most:
            from rich.cells import chop_cells

            yield from chop_cells(word, most)
        else:
            yield word


def _paragraphs(cell: Cell) -> Sequence[str]:
    return [cell] if isinstance(cell, str) else cell


def _painted(text: str, style: Style | None, paint: Paint) -> str:
    return paint(style, text) if style and text else text


def _padded(text: str, width: int, style: Style | None, paint: Paint) -> str:
    return _painted(text, style, paint) + " " * (width - _cells(text))


def _cells(text: str) -> int:
    """Count the terminal cells of a text: letters of some scripts take two, accents none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # imported only when needed, because the import is slow

    return cell_len(text)
