"""Parse the bodies of requests, and reject invalid ones, like GitHub."""

from __future__ import annotations

import json
from typing import Any

from deploycore.testing.messages import Refusal, Request, json_answer

__all__ = ["DOCUMENTATION", "body_of", "invalid", "unprocessable"]

DOCUMENTATION = "https://docs.github.com/rest"


def body_of(request: Request) -> dict[str, Any]:
    """Return the JSON object in the request's body.

    Raises:
        Refusal: The body is not a JSON object (400).
    """
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        said = {"message": "Problems parsing JSON", "documentation_url": DOCUMENTATION}
        raise Refusal(json_answer({**said, "status": "400"}, 400))
    return body


def unprocessable(message: str, **more: Any) -> Refusal:
    """Return an error response with status 422, to raise."""
    body = {"message": message, "documentation_url": DOCUMENTATION, "status": "422", **more}
    return Refusal(json_answer(body, 422))


def invalid(resource: str, message: str, *, field: str = "") -> Refusal:
    """Return an error response about one field, to raise."""
    error = {"resource": resource, "code": "custom", "message": message}
    return unprocessable(
        "Validation Failed", errors=[{**error, "field": field} if field else error]
    )
