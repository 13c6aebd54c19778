"""The errors of a client's requests, with the provider's explanations."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from deploycore.errors import (
    DeploycoreError,
    ProviderError,
    ProviderUnavailable,
    UnexpectedAnswer,
)
from deploycore.http.answers import Answer, ErrorAnswer, Failure, error_for_status
from deploycore.http.origin import path_of
from deploycore.redaction import Redactor

__all__ = ["Explain", "Failures"]

_SHOWN_CHARACTERS = 2000

Explain = Callable[[ErrorAnswer], DeploycoreError | None]


class Failures(NamedTuple):
    """Creates errors from responses, and for requests without a response.

    Attributes:
        host: The host of the API.
        redactor: Masks secrets.
        explain: The provider's explanation of error responses, if it has one.
    """

    host: str
    redactor: Redactor
    explain: Explain | None

    def refusal(self, method: str, answer: Answer) -> DeploycoreError:
        """Return the error for a response with status 400 or higher."""
        explained = self.explained(method, answer)
        return explained or error_for_status(
            answer, self.redactor.mask(self._what(method, answer.url))
        )

    def explained(self, method: str, answer: Answer) -> DeploycoreError | None:
        """Return the provider's error for an error response, if it has one."""
        if self.explain is None:
            return None
        text = self.redactor.mask(answer.body.decode("utf-8", "replace"))
        return self.explain(
            ErrorAnswer(
                status=answer.status,
                method=method,
                path=path_of(answer.url),
                headers=answer.headers,
                text=text[:_SHOWN_CHARACTERS],
                json=_json_or_none(answer.body),
            )
        )

    def unreachable(self, method: str, target: str, failure: Failure) -> ProviderError:
        """Return the error for a request that got no response."""
        if failure.unexpected:
            return self.unexpected(method, target, failure.reason)
        return ProviderUnavailable(
            self.redactor.mask(f"{self._what(method, target)} failed: {failure.reason}."),
            hint=failure.hint or "Check the address and the network, then try again.",
        )

    def unexpected(self, method: str, target: str, why: str) -> UnexpectedAnswer:
        """Return the error for a response that cannot be used."""
        place = self._what(method, target)
        return UnexpectedAnswer(
            self.redactor.mask(f"The answer to {place} cannot be used: {why}."),
            hint="Check the provider's address. If it is right, try again later, or upgrade the"
            " provider's plugin: the host's API may have changed.",
        )

    def _what(self, method: str, url: str) -> str:
        return f"{method} {path_of(url)} on {self.host}"


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
