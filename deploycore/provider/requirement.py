"""Check which version of deploycore a plugin requires, from the metadata of its distribution.

pip checks this when it installs a plugin. This check, before the import, reports the required
version if pip was told not to check, or if deploycore was downgraded later.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint

from deploycore.version import __version__

__all__ = ["needed_release", "required_deploycore"]

_REQUIREMENT = re.compile(
    r"deploycore(?![\w.-])\s*(?:\[[^\]]*\])?\s*\(?\s*([^;()]*)\)?\s*(;.*)?", re.IGNORECASE
)
_LEAST = re.compile(r">=\s*(\d+(?:\.\d+)*)")
_NUMBERS = re.compile(r"\d+(?:\.\d+)*")


def required_deploycore(point: EntryPoint) -> str:
    """Return the versions of deploycore that a plugin requires, such as ``>=0.2,<1``.

    The result is empty if it requires none, or if its metadata cannot be read.
    """
    try:
        found = (point.dist.requires if point.dist else None) or []
    except Exception:  # unusual metadata is no reason to reject the plugin
        return ""
    for each in found:
        match = _REQUIREMENT.fullmatch(each.strip())
        if match and "extra" not in (match[2] or ""):
            return match[1].strip()
    return ""


def needed_release(point: EntryPoint, version: str = __version__) -> str:
    """Return a plugin's requirement, such as ``deploycore>=0.2,<1``, if this deploycore is too old.

    Args:
        version: The version of this deploycore. A pre-release counts as its release: 0.2.0rc1 is
            like 0.2.0.

    Returns:
        The requirement; empty if this deploycore is new enough.
    """
    required = required_deploycore(point)
    present = _numbers(version)
    is_old = any(_numbers(least) > present for least in _LEAST.findall(required))
    return f"deploycore{required}" if is_old else ""


def _numbers(version: str) -> tuple[int, ...]:
    match = _NUMBERS.match(version)
    numbers = [int(each) for each in match[0].split(".")] if match else []
    while numbers and not numbers[-1]:  # 1.0 is 1
        numbers.pop()
    return tuple(numbers)
