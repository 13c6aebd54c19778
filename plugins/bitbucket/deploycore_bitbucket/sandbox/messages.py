"""What Bitbucket answers when it refuses: its error object."""

from __future__ import annotations

from typing import Any

from deploycore.testing.messages import Answer, Refusal, json_answer

__all__ = ["error_answer", "refuse"]


def error_answer(status: int, message: str, **more: Any) -> Answer:
    """Bitbucket's error object.

    Args:
        more: Further fields of the inner object, such as ``detail``.

    Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#standardized-error-responses
    """
    return json_answer({"type": "error", "error": {"message": message, **more}}, status)


def refuse(status: int, message: str, **more: Any) -> Refusal:
    return Refusal(error_answer(status, message, **more))
