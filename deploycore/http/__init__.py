"""The HTTP client that every provider uses, so that authors write paths and mappings.

It keeps connections, times out, retries what may be retried, honours rate limits, bounds
answers, stays on one origin with its credentials, and turns failures into typed errors.
"""

from deploycore.http.answers import ErrorAnswer, retry_after
from deploycore.http.authorisation import BasicAuth, BearerAuth, HeaderAuth, HttpAuth
from deploycore.http.client import HttpClient
from deploycore.http.decoding import AnswerModel, IncompleteItem, parse_answer, parse_items
from deploycore.http.deprecation import Deprecation
from deploycore.http.settings import HttpSettings

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
    "parse_answer",
    "parse_items",
    "retry_after",
]
