"""The colors of a line that a program printed for a terminal, without its control characters.

Of the escape sequences (ECMA-48), only colors and styles (SGR) are kept, as names. All others are
dropped: a log must not move a cursor, set a title, or write to a clipboard. ``static/log.js`` does
the same for lines that come later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Segment", "parse_colors", "plain_text"]

_SEQUENCE = re.compile(
    r"\x1b\[([0-?]*)[ -/]*([@-~])"  # CSI
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC and other strings
    r"|\x1b[ -/]*[0-~]?"
)
# C0 without the tab, DEL, C1, and characters that change the order of others or break lines.
_DROPPED = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
_PARAMETERS_MOST = 64
_SIXTEEN = (
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0),
    (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
    (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0),
    (92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255),
)  # fmt: skip
_STYLES = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_ENDS = {
    21: ("bold",),
    22: ("bold", "dim"),
    23: ("italic",),
    24: ("underline",),
    27: ("inverse",),
    29: ("strike",),
}


@dataclass(frozen=True)
class Segment:
    """A part of a line in one style.

    Attributes:
        classes: Names of the style: ``fg-0`` to ``fg-15``, ``bg-0`` to ``bg-15``, ``bold``,
            ``dim``, ``italic``, ``underline`` and ``strike``.
    """

    text: str
    classes: tuple[str, ...]


def plain_text(line: str) -> str:
    """Return a line without colors and control characters."""
    return _DROPPED.sub("", _SEQUENCE.sub("", line))


def parse_colors(line: str) -> list[Segment]:
    """Return the parts of a line, each with its style; none is empty."""
    if "\x1b" not in line:
        text = _DROPPED.sub("", line)
        return [Segment(text, ())] if text else []
    style, found, start = _Style(), list[Segment](), 0
    for sequence in _SEQUENCE.finditer(line):
        found += _segment(line[start : sequence.start()], style)
        start = sequence.end()
        if sequence[2] == "m":
            style.apply(sequence[1])
    return [*found, *_segment(line[start:], style)]


def _segment(text: str, style: _Style) -> Iterator[Segment]:
    shown = _DROPPED.sub("", text)
    if shown:
        yield Segment(shown, style.classes)


class _Style:
    """The style at a position in a line."""

    def __init__(self) -> None:
        self._colors: dict[str, int] = {}
        self._styles: set[str] = set()

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the style."""
        colors = self._colors
        if "inverse" in self._styles:
            colors = {"bg": colors.get("fg", 7), "fg": colors.get("bg", 0)}
        names = (each for each in _STYLES.values() if each in self._styles and each != "inverse")
        return (
            *(f"{ground}-{colors[ground]}" for ground in ("fg", "bg") if ground in colors),
            *names,
        )

    def apply(self, parameters: str) -> None:
        """Apply the parameters of a sequence."""
        codes = [
            int(each) if len(each) < 6 and each.isdigit() else 0
            for each in re.split("[;:]", parameters)[:_PARAMETERS_MOST]
        ]
        place = 0
        while place < len(codes):
            code = codes[place]
            place += 1
            if code in (38, 48):
                place = self._set_extended("fg" if code == 38 else "bg", codes, place)
            else:
                self._set(code)

    def _set(self, code: int) -> None:
        if code == 0:
            self._colors.clear()
            self._styles.clear()
        elif code in _STYLES:
            self._styles.add(_STYLES[code])
        elif code in _ENDS:
            self._styles.difference_update(_ENDS[code])
        elif code in (39, 49):
            self._colors.pop("fg" if code == 39 else "bg", None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            self._colors["fg"] = code - 30 if code < 90 else code - 82
        elif 40 <= code <= 47 or 100 <= code <= 107:
            self._colors["bg"] = code - 40 if code < 100 else code - 92

    def _set_extended(self, ground: str, codes: Sequence[int], place: int) -> int:
        """Set one of 256 colors (``5;n``) or any color (``2;r;g;b``), as the nearest of sixteen."""
        kind = codes[place] if place < len(codes) else 0
        if kind == 5 and place + 1 < len(codes):
            self._colors[ground] = _nearest(_rgb(min(codes[place + 1], 255)))
            return place + 2
        if kind == 2 and place + 3 < len(codes):
            red, green, blue = (min(each, 255) for each in codes[place + 1 : place + 4])
            self._colors[ground] = _nearest((red, green, blue))
            return place + 4
        return len(codes)


def _rgb(number: int) -> tuple[int, int, int]:
    """Return one of 256 colors: sixteen, a cube of 216, and shades of gray."""
    if number < 16:
        return _SIXTEEN[number]
    if number >= 232:
        shade = 8 + 10 * (number - 232)
        return shade, shade, shade
    levels = (0, 95, 135, 175, 215, 255)
    red, rest = divmod(number - 16, 36)
    return levels[red], levels[rest // 6], levels[rest % 6]


def _nearest(color: tuple[int, int, int]) -> int:
    def distance(number: int) -> int:
        return sum((a - b) ** 2 for a, b in zip(_SIXTEEN[number], color, strict=True))

    return min(range(16), key=distance)
