"""The HTTP client for providers.

It keeps connections open, limits the time and size of requests, retries them where that is safe,
obeys rate limits, sends credentials only to one origin, and converts failures to typed errors.
"""

from __future__ import annotations

from deploycore.lazy import lazy_exports

TYPE_CHECKING = False  # type checkers treat this as true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deploycore.http.answers import ErrorAnswer, quoted, retry_after, retry_at
    from deploycore.http.authorisation import BasicAuth, BearerAuth, HeaderAuth, HttpAuth
    from deploycore.http.client import HttpClient
    from deploycore.http.decoding import (
        AnswerModel,
        IncompleteItem,
        OrNone,
        parse_answer,
        parse_items,
    )
    from deploycore.http.deprecation import Deprecation
    from deploycore.http.settings import HttpSettings
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "deploycore.http.answers": ("ErrorAnswer", "quoted", "retry_after", "retry_at"),
            "deploycore.http.authorisation": ("BasicAuth", "BearerAuth", "HeaderAuth", "HttpAuth"),
            "deploycore.http.client": ("HttpClient",),
            "deploycore.http.decoding": (
                "AnswerModel",
                "IncompleteItem",
                "OrNone",
                "parse_answer",
                "parse_items",
            ),
            "deploycore.http.deprecation": ("Deprecation",),
            "deploycore.http.settings": ("HttpSettings",),
        },
    )

__all__ = [
    "AnswerModel",
    "BasicAuth",
    "BearerAuth",
    "Deprecation",
    "ErrorAnswer",
    "HeaderAuth",
    "HttpAuth",
    "HttpClient",
    "HttpSettings",
    "IncompleteItem",
    "OrNone",
    "parse_answer",
    "parse_items",
    "quoted",
    "retry_after",
    "retry_at",
]
