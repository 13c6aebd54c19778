"""Bitbucket's refusals: its error object, and the messages that several addresses share."""

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
    """A refusal with Bitbucket's error object, to raise."""
    return Refusal(error_answer(status, message, **more))


def invalid(wrong: Mapping[str, str]) -> Refusal:
    """A refusal that says what is wrong with each field, to raise."""
    message = "; ".join(f"{field}: {said}" for field, said in wrong.items())
    return refuse(400, message, fields={field: [said] for field, said in wrong.items()})


def decoded(request: Request) -> Mapping[str, Any]:
    """The JSON object that was sent.

    Raises:
        Refusal: 400, there is none.
    """
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise refuse(400, "Bad request")
    return body
