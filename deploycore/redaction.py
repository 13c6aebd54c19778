"""Masking secrets in text that leaves the process: errors, logs, captured output.

The last line of defence: code should never put a secret into text in the first place.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from pydantic import BaseModel, SecretStr

__all__ = ["MASK", "Redactor", "secrets_in"]

MASK = "********"
SHORTEST_MASKED = 4
"""Shorter values are not masked: hiding every ``a`` of a log hides nothing and breaks it."""


def secrets_in(model: BaseModel) -> list[SecretStr]:
    """Every non-empty ``SecretStr`` among a model's fields, nested models included."""
    found: list[SecretStr] = []
    for field in type(model).model_fields:
        value = getattr(model, field)
        if isinstance(value, SecretStr) and value.get_secret_value():
            found.append(value)
        elif isinstance(value, BaseModel):
            found.extend(secrets_in(value))
    return found


class Redactor:
    """Replaces known secrets in text, in the encodings in which they travel.

    Covers each secret as it is, percent-encoded, and base64-encoded, alone or as the tail of
    a longer text such as ``user:secret`` in a Basic authorisation header (RFC 7617).

    Args:
        secrets: The values to mask. Values under four characters are ignored.
    """

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        forms: set[str] = set()
        for secret in secrets:
            value = secret.get_secret_value()
            if len(value) >= SHORTEST_MASKED:
                forms.update(_forms(value))
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def mask(self, text: str) -> str:
        """The text with every known secret replaced by eight asterisks."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def __repr__(self) -> str:
        return "Redactor()"


def _forms(value: str) -> Iterable[str]:
    yield value
    yield quote(value, safe="")
    yield quote(value)
    yield quote_plus(value)
    yield repr(value)[1:-1]
    yield from _base64_forms(value.encode())


def _base64_forms(value: bytes) -> Iterable[str]:
    """The characters that ``value`` alone decides, at each of the three base64 alignments."""
    for offset in range(3):
        padded = base64.b64encode(b"\0" * offset + value).decode()
        start = (offset * 8 + 5) // 6
        whole_sextets = (offset + len(value)) * 8 // 6
        stable = padded[start:whole_sextets]
        if len(stable) >= SHORTEST_MASKED:
            yield stable
            yield stable.replace("+", "-").replace("/", "_")
