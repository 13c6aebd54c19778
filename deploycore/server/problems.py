"""Errors as HTTP problem details (RFC 9457), with a code and the next step.

They never contain a traceback. Of an unexpected error they say only that it occurred.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from deploycore import errors
from deploycore.errors import DeploycoreError, RateLimited, StoreError

__all__ = ["Refusal", "json_response", "problem_of", "refused_by", "status_of"]

STATUSES: Mapping[type[DeploycoreError], int] = {
    DeploycoreError: 500,
    errors.ConfigurationError: 422,
    errors.PluginError: 502,
    errors.ProviderError: 502,
    errors.NotFound: 404,
    errors.RateLimited: 503,
    errors.ProviderUnavailable: 503,
    errors.GitError: 502,
    errors.DeployError: 409,
    StoreError: 503,
}
"""The status of each class of errors; the nearest base class is used."""

_RETRY_SECONDS = 30
MEDIA_TYPE = "application/problem+json"


class Refusal(Exception):
    """An error response.

    Args:
        status: The status of the response.
        code: The code of the error, for programs.
        message: One sentence for people.
        hint: The next step.
        details: Additional fields for programs.
        headers: Additional headers of the response.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.details = dict(details or {})
        self.headers = dict(headers or {})


def status_of(error: DeploycoreError) -> int:
    """Return the status for an error, by its class."""
    return next(STATUSES[each] for each in type(error).__mro__ if each in STATUSES)


def refused_by(error: DeploycoreError, *, status: int | None = None) -> Refusal:
    """Return the error response for an error.

    Args:
        status: The status, instead of that of the error's class.
    """
    status = status or status_of(error)
    headers = {"Retry-After": str(_seconds_until_retry(error))} if status == 503 else {}
    return Refusal(
        status,
        error.code,
        error.message,
        hint=error.hint,
        details=error.details,
        headers=headers,
    )


def problem_of(refusal: Refusal) -> Response:
    """Return the response for a rejected request."""
    content = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.message,
        "code": refusal.code,
        "message": refusal.message,
        "hint": refusal.hint,
        "details": refusal.details,
    }
    return json_response(
        content, status=refusal.status, media_type=MEDIA_TYPE, headers=refusal.headers
    )


def json_response(
    content: Any,
    *,
    status: int = 200,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a JSON response in ASCII, so that every text can be sent."""
    return Response(
        json.dumps(content, separators=(",", ":")), status, headers, media_type=media_type
    )


def _seconds_until_retry(error: DeploycoreError) -> int:
    if isinstance(error, RateLimited) and error.retry_at is not None:
        return max(1, round((error.retry_at - datetime.now(UTC)).total_seconds()))
    return _RETRY_SECONDS
