"""Parts for checking a sandbox against a published API description, for all hosts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from hashlib import blake2b
from pathlib import Path
from typing import Any

from deploycore.testing.host import Exchange

__all__ = [
    "Response",
    "Undescribed",
    "check_parameters",
    "fits",
    "once_for_equal_exchanges",
    "path_of_description",
    "reasons",
]

_VERDICTS_MOST = 20_000
_PORT = re.compile(rb"(?<=127\.0\.0\.1:)\d+")


class Undescribed(Exception):
    """An undeclared part that openapi-core accepts."""


@dataclass(frozen=True)
class Response:
    """A response in the form of openapi-core."""

    data: bytes
    status_code: int
    content_type: str
    headers: dict[str, str]


def path_of_description(variable: str, beside_the_repository: str) -> Path | None:
    """Where a description lies on this machine, ``None`` if it doesn't."""
    root = Path(__file__).parent.parent
    path = Path(os.environ.get(variable) or root / beside_the_repository)
    return path if path.is_file() else None


def check_parameters(
    paths: Mapping[str, Any], path: str, method: str, query: Mapping[str, str], general: set[str]
) -> None:
    """Check for undeclared parameters, such as misspelled ones, because openapi-core accepts them.

    Args:
        paths: The paths of the description.
        path: The path of the request, in the form of the description.
        general: Parameters that every path takes.
    """
    template = next(known for known in paths if fits(path, known))
    declared = {
        parameter["name"]
        for place in (paths[template], paths[template][method.lower()])
        for parameter in place.get("parameters", ())
        if parameter["in"] == "query"
    }
    unknown = query.keys() - declared - general
    if unknown:
        raise Undescribed(f"undeclared parameters {sorted(unknown)}")


def fits(path: str, template: str) -> bool:
    """Whether a path is one of a template."""
    parts, expected = path.split("/"), template.split("/")
    pairs = zip(parts, expected, strict=False)
    return len(parts) == len(expected) and all(
        wanted.startswith("{") or part == wanted for part, wanted in pairs
    )


def reasons(error: BaseException) -> Iterator[str]:
    """Return the text of an error of openapi-core, and that of its cause."""
    yield str(error) or type(error).__name__
    cause = error.__cause__
    yield from (reason.message for reason in getattr(cause, "schema_errors", ()))


def once_for_equal_exchanges(
    find: Callable[[Any, Exchange], str],
) -> Callable[[Any, Exchange], str]:
    """Check an exchange only once, because sandboxes repeat the same exchanges, which differ only
    in the port."""

    @wraps(find)
    def found(description: Any, exchange: Exchange) -> str:
        verdicts: dict[bytes, str] = vars(description).setdefault("verdicts", {})
        key = _digest(exchange)
        verdict = verdicts.get(key)
        if verdict is None:
            if len(verdicts) >= _VERDICTS_MOST:
                verdicts.clear()
            verdict = verdicts[key] = find(description, exchange)
        return verdict

    return found


def _digest(exchange: Exchange) -> bytes:
    """Return everything that identifies an exchange, without the port."""
    request, answer = exchange.request, exchange.answer
    headers = [sorted(each.headers.items()) for each in (request, answer)]
    body = answer.body if isinstance(answer.body, bytes) else b""
    told = repr((request.method, request.target, headers, answer.status, answer.exemption))
    digest = blake2b(_PORT.sub(b"", told.encode()))
    for part in (request.body, body):
        digest.update(b"%d " % len(part))
        digest.update(_PORT.sub(b"", part))
    return digest.digest()
