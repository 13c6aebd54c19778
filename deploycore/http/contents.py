"""The query parameters and the body of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from pydantic import SecretStr

__all__ = ["Form", "Parameters", "revealed", "with_parameters"]

Parameters = Mapping[str, str | int]


class Form(NamedTuple):
    """A body of form fields."""

    fields: Mapping[str, str]


def with_parameters(url: str, parameters: Parameters | None) -> str:
    """Return a URL with parameters added to its query."""
    if not parameters:
        return url
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}{urlencode(parameters, quote_via=quote)}"


def revealed(body: Any) -> tuple[Any, list[SecretStr]]:
    """Return a body with the values of its secrets, and these secrets."""
    if isinstance(body, SecretStr):
        return body.get_secret_value(), [body]
    if isinstance(body, Mapping):
        parts = {key: revealed(value) for key, value in body.items()}
        found = [secret for _, secrets in parts.values() for secret in secrets]
        return {key: value for key, (value, _) in parts.items()}, found
    return body, []
