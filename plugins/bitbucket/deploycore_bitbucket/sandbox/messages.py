"""Bitbucket's error responses: the error object, and the messages that several addresses share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from deploycore.testing.messages import Answer, Refusal, Request, json_answer

__all__ = ["NO_REPOSITORY", "decoded", "error_answer", "invalid", "refuse"]

NO_REPOSITORY = (
    "You may not have access to this repository or it no longer exists in this workspace. "
    "If you think this repository exists and you have access, make sure you are authenticated."
)


def error_answer(status: int, message: str, **more: Any) -> Answer:
    """Bitbucket's error object.

    Args:
        more: Further fields of the inner object, such as ``detail``.

    Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#standardized-error-responses
    """
    return json_answer({"type": "error", "error": {"message": message, **more}}, status)


def refuse(status: int, message: str, **more: Any) -> Refusal:
    """Return an error response with Bitbucket's error object, to raise."""
    return Refusal(error_answer(status, message, **more))


def invalid(wrong: Mapping[str, str]) -> Refusal:
    """Return an error response that names each invalid field, to raise."""
    message = "; ".join(f"{field}: {said}" for field, said in wrong.items())
    return refuse(400, message, fields={field: [said] for field, said in wrong.items()})


def decoded(request: Request) -> Mapping[str, Any]:
    """Return the JSON object in the request's body.

    Raises:
        Refusal: The body is not a JSON object (400).
    """
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise refuse(400, "Bad request")
    return body
