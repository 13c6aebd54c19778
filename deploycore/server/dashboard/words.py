"""Values for people: times, durations, sizes and states. These are the templates' filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from deploycore.deployment_records import state_name
from deploycore.server.dashboard.addresses import is_web_address
from deploycore.server.dashboard.operation_names import operation_name
from deploycore.text.labels import label_from
from deploycore.text.printable import printable

__all__ = ["FILTERS"]

_ADDRESS = re.compile(r"(?<!such as )(?<!default: )(https://[^\s<>]+)")
_EXAMPLE = re.compile(r"//[^/]*\bexample(\.|$|/)")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_MONTH, _YEAR = 30 * _DAY, 365 * _DAY
_UNITS = ((_YEAR, "y"), (_MONTH, "mo"), (_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"))


def when(value: str | datetime | None) -> datetime | None:
    """Return a time of an operation's response, in UTC."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value).astimezone(UTC)


def ago(at: datetime, now: datetime | None = None) -> str:
    """Return a time relative to now: ``5 min ago``, ``in 3 d``. ``dashboard.js`` does the same."""
    distance = ((now or datetime.now(UTC)) - at).total_seconds()
    size = abs(distance)
    for seconds, unit in _UNITS:
        if size >= seconds:
            text = f"{int(size // seconds)} {unit}"
            return f"{text} ago" if distance > 0 else f"in {text}"
    return "just now" if distance >= 0 else "in a moment"


def duration(seconds: float | None) -> str:
    """Return a duration: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(count: int | None) -> str:
    """Return a number of bytes: ``12 B``, ``3.4 MB``."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def state(name: str) -> str:
    """Return a state as shown: ``rolled_back`` is "Rolled back"."""
    return state_name(name).replace("_", " ").capitalize()


def reason(code: str) -> str:
    """Return the code of an error as shown: ``rate_limited`` is "rate limited"."""
    return state_name(code).replace("_", " ")


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 commit``, ``1,200 commits``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def shown(text: object, most: int = 200) -> str:
    """Return a text from outside: control characters are escaped, and a very long text is cut."""
    found = str(text)
    return printable(found if len(found) <= most else f"{found[:most]}…")


def spans(text: str) -> Markup:
    """Return a text whose parts in backticks are code."""
    parts = (
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(text.split("`"))
    )
    return Markup("").join(parts)


def linked(text: str) -> Markup:
    """Return a text of a plugin whose web addresses are links, but for examples and defaults."""
    parts = []
    for number, part in enumerate(_ADDRESS.split(text)):
        address = part.rstrip(".,;:)")
        if number % 2 and not _EXAMPLE.search(address) and is_web_address(address):
            link = Markup('<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>')
            parts += [link.format(address, address), escape(part[len(address) :])]
        else:
            parts.append(escape(part))
    return Markup("").join(parts)


def short(text: str | None, most: int = 160) -> str:
    """Return a text that committers and git hosts send, cut where it is very long."""
    if not text:
        return ""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def took(deployment: Mapping[str, Any]) -> float | None:
    """Return the seconds from a deployment's start to its end; ``None`` while it runs."""
    began = when(deployment["started_at"] or deployment["requested_at"])
    ended = when(deployment["finished_at"])
    return None if began is None or ended is None else (ended - began).total_seconds()


FILTERS: Mapping[str, Callable[..., Any]] = {
    "when": when,
    "ago": ago,
    "duration": duration,
    "seconds": duration,
    "size": size,
    "state": state,
    "reason": reason,
    "operation": operation_name,
    "count": count,
    "shown": shown,
    "spans": spans,
    "took": took,
    "short": short,
    "label": label_from,
    "linked": linked,
}
"""The filters of templates by name, beyond those of Jinja."""
