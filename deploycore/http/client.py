"""The client itself: one request tried persistently, redirects and pages on one origin."""

from __future__ import annotations

import copy
import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self
from urllib.parse import quote, unquote, urlencode, urljoin

import requests
from pydantic import SecretStr

from deploycore.credentials.keeper import TokenKeeper, TokenSource
from deploycore.errors import (
    ConfigurationError,
    RateLimited,
)
from deploycore.http.answers import (
    Answer,
    Failure,
    next_link,
    retry_after,
)
from deploycore.http.authorisation import Authorisation, HttpAuth
from deploycore.http.deprecation import Deprecation, Deprecations
from deploycore.http.failures import Explain, Failures
from deploycore.http.origin import Origin, host_of, path_of
from deploycore.http.settings import HttpSettings
from deploycore.http.transport import Transport
from deploycore.redaction import Redactor
from deploycore.tokens import RenewableAuth, Token
from deploycore.version import __version__

__all__ = ["HttpClient"]

logger = logging.getLogger(__name__)

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_LIMITING = frozenset({403, 429})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MOST = 5

Parameters = Mapping[str, str | int]


@dataclass(frozen=True)
class _Form:
    """A body of form fields."""

    fields: Mapping[str, str]


class HttpClient:
    """One provider's connection to its API: bound to one origin and one authorisation.

    Safe to use from several threads at once.

    Args:
        base_url: What paths are relative to, such as ``https://api.example.com/2.0``.
        auth: How requests are authorised; ``None`` for anonymous access.
        redactor: Masks the provider's secrets in messages.
        settings: Timeouts, retries and limits.
        user_agent: By default deploycore and its version.
        subject: Whose client it is, for the log: ``provider work``.
        tokens: Where tokens are held that are obtained and renewed; by default in this client.

    Raises:
        ConfigurationError: The base URL is not an http or https URL, holds user information, or
            would send credentials in the clear to another machine.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: HttpAuth | RenewableAuth | None = None,
        redactor: Redactor | None = None,
        settings: HttpSettings | None = None,
        user_agent: str | None = None,
        subject: str = "",
        tokens: TokenSource | None = None,
    ) -> None:
        self._origin = Origin.of_api(base_url, with_credentials=auth is not None)
        self._base = base_url.rstrip("/") + "/"
        self._settings = settings or HttpSettings()
        self._redactor = redactor or Redactor()
        self._deprecations = Deprecations(subject, self._redactor.mask)
        self._explain: Explain | None = None
        self._headers: Mapping[str, str] = {}
        self._repeated = _IDEMPOTENT
        self._transport = Transport(self._settings, user_agent or f"deploycore/{__version__}")
        self._clock: Callable[[], float] = time.monotonic
        self._sleep: Callable[[float], object] = self._transport.closed.wait
        self._random: Callable[[], float] = random.random
        self._tokens = tokens or TokenSource()
        self._authorisation = self._authorisation_by(auth)

    def explaining(self, explain: Explain) -> HttpClient:
        """A client on the same connections that shows error answers to ``explain`` first.

        Args:
            explain: Gets the answer once retries are over; the error that it returns is
                raised. Where it returns ``None`` the general mapping applies. An answer that
                may be a rate limit (403, 429) it gets at once: where it says by
                ``RateLimited.retry_at`` when to try again, that is obeyed as ``Retry-After`` is.
        """
        other = copy.copy(self)
        other._explain = explain
        return other

    def authorised_by(self, auth: HttpAuth | RenewableAuth) -> HttpClient:
        """A client on the same origin and connections that proves otherwise who sends.

        For hosts where one credential only serves to get another, such as a token that lasts
        an hour. What ``auth`` puts into the header is masked in messages from then on.

        Raises:
            ConfigurationError: The base URL would take credentials in the clear elsewhere.
        """
        Origin.of_api(self._base, with_credentials=True)
        other = copy.copy(self)
        other._authorisation = self._authorisation_by(auth)
        return other

    def token(self) -> Token:
        """The present token of a client that is authorized by a
        :class:`~deploycore.tokens.RenewableAuth`, obtained or renewed first where that is due. For
        ``clone_url``, where git takes the same token.

        Raises:
            ConfigurationError: The client is authorized by something else.
            ProviderError: The host issues none.
        """
        keeper = self._authorisation.auth
        if not isinstance(keeper, TokenKeeper):
            raise ConfigurationError(
                "This client is not authorized by a token that is obtained from the host.",
                hint="Return a RenewableAuth from the configuration's api_auth.",
            )
        token = keeper.token()
        self._redactor.learn(token.value)
        return token

    def with_headers(self, headers: Mapping[str, str]) -> HttpClient:
        """A client on the same connections that sends these headers too, such as ``Accept``."""
        other = copy.copy(self)
        other._headers = {**self._headers, **headers}
        return other

    def repeating(self, method: str) -> HttpClient:
        """A client on the same connections that tries this method again as it does ``GET``.

        For a ``POST`` that does no harm when the host gets it twice.
        """
        other = copy.copy(self)
        other._repeated = self._repeated | {method.upper()}
        return other

    def get_json(self, url: str, *, params: Parameters | None = None) -> Any:
        """GET a path below the base URL, or an absolute URL on the same origin.

        Args:
            url: A path is joined to the base URL; an absolute URL is used as it is.
            params: Added to the query.

        Returns:
            The decoded JSON; ``None`` for an answer without content (204).

        Raises:
            AuthenticationFailed: Status 401.
            PermissionDenied: Status 403.
            NotFound: Status 404 or 410.
            RateLimited: Status 429, when retries are used up or the wait is too long.
            ProviderUnavailable: No connection, a timeout, or status 5xx, after retries.
            UnexpectedAnswer: No JSON, too large, a redirect or link to another origin.
            ProviderError: Any other status of 400 or more.
        """
        return self._json("GET", url, params, None)

    def send_json(
        self, method: str, url: str, *, body: Any = None, params: Parameters | None = None
    ) -> Any:
        """Send a JSON body, or none, and decode the answer.

        ``PUT`` and ``DELETE`` are retried, as they may be repeated (RFC 9110, 9.2.2);
        ``POST`` and ``PATCH`` are not, except what :meth:`repeating` names.

        Args:
            body: What JSON can hold, and secrets as ``SecretStr``: they are sent as they are, and
                masked in whatever is said of the request and its answer.

        Returns, Raises:
            As :meth:`get_json`.
        """
        revealed, secrets = _revealed(body)
        client = self._masking(secrets) if secrets else self
        return client._json(method.upper(), url, params, revealed)

    def send_form(self, url: str, fields: Mapping[str, str | SecretStr]) -> Any:
        """POST fields as a form and decode the JSON answer, as OAuth's token endpoints want it
        (RFC 6749, 4.1.3). It is not repeated, but for what :meth:`repeating` names.

        Args:
            fields: Secrets as ``SecretStr``; see :meth:`send_json`.

        Returns, Raises:
            As :meth:`get_json`.
        """
        revealed, secrets = _revealed(fields)
        client = self._masking(secrets) if secrets else self
        return client._json("POST", url, None, _Form(revealed))

    def get_with_headers(
        self, url: str, *, params: Parameters | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """GET as :meth:`get_json` does, with the answer's headers, whose names are in any case.

        For hosts that tell there what the body does not have, such as the scopes of a token.

        Raises:
            ProviderError: As :meth:`get_json`.
        """
        answer = self._accepted("GET", url, params, None)
        return self._decoded("GET", answer), answer.headers

    def sibling(self, base_url: str, *, auth: HttpAuth | None = None) -> HttpClient:
        """A client of another server of the same host, such as its authorization server.

        It has the same limits, retries and redaction, connections of its own, which close with
        this client's, and no authorization of this client's.

        Raises:
            ConfigurationError: As for a new client.
        """
        # The client certificate goes where credentials go, and to the same origin.
        shown = auth is not None or self._origin.covers(base_url)
        return self._sibling(base_url, auth=auth, with_certificate=shown)

    def local_time(self, at: datetime) -> datetime:
        """A time of the host's clock by this machine's, as far as answers have told the
        difference. For hosts that say at which time a token expires, not in how many seconds."""
        return at - timedelta(seconds=self.clock_offset or 0)

    def pages(
        self,
        url: str,
        *,
        params: Parameters | None = None,
        next_url: Callable[[Any], str | None],
    ) -> Iterator[Any]:
        """Follow a chain of pages one after another, each when it is wanted.

        Args:
            params: For the first page; links bring their own.
            next_url: Reads the link to the next page from a decoded page; ``None`` or an
                empty text ends the chain.

        Raises:
            UnexpectedAnswer: A link comes a second time or leads to another origin, or
                there are more than ``pages_most`` pages.
            ProviderError: As :meth:`get_json`.
        """
        return self._chain(url, params, lambda _, page: next_url(page))

    def linked_pages(self, url: str, *, params: Parameters | None = None) -> Iterator[Any]:
        """Follow the ``Link`` headers of pages (RFC 8288, relation ``next``), one after another.

        Args:
            params: For the first page; links bring their own.

        Raises:
            UnexpectedAnswer, ProviderError: As :meth:`pages`.
        """
        return self._chain(url, params, lambda answer, _: self._linked(answer))

    def close(self) -> None:
        """Close the connections. Requests that are under way in other threads end with an error;
        none is tried again."""
        self._transport.close()

    @property
    def clock_offset(self) -> float | None:
        """How many seconds the host's clock is before ours; ``None`` until it has answered."""
        return self._transport.host_clock.offset

    @property
    def deprecations(self) -> tuple[Deprecation, ...]:
        """The endpoints that the host called deprecated so far."""
        return self._deprecations.met

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _sibling(
        self, base_url: str, *, auth: HttpAuth | None = None, with_certificate: bool
    ) -> HttpClient:
        settings = self._settings
        if not with_certificate:
            settings = replace(settings, client_certificate=None, client_key=None)
        other = HttpClient(base_url, auth=auth, redactor=self._redactor, settings=settings)
        self._transport.closes_too(other._transport)
        return other

    def _authorisation_by(self, auth: HttpAuth | RenewableAuth | None) -> Authorisation:
        if isinstance(auth, RenewableAuth):
            server = auth.server
            issuer = self._sibling(server, with_certificate=True) if server else copy.copy(self)
            issuer._authorisation = Authorisation(None)
            auth = self._tokens.keeper(auth, lambda: issuer)
        return Authorisation(auth, self._redactor.learn)

    def _masking(self, secrets: Iterable[SecretStr]) -> HttpClient:
        other = copy.copy(self)
        other._redactor = self._redactor.extended(secrets)
        return other

    def _chain(
        self,
        url: str,
        params: Parameters | None,
        next_url: Callable[[Answer, Any], str | None],
    ) -> Iterator[Any]:
        seen: set[int] = set()
        link: str | None = url
        wrong = partial(self._failures.unexpected, "GET")
        while link:
            # Hashes bound the memory of a long chain; 64 bits don't collide in 100,000 links.
            if hash(link) in seen:
                raise wrong(link, "the link to the next page is a loop")
            if len(seen) >= self._settings.pages_most:
                raise wrong(link, f"there are more than {len(seen)} pages")
            seen.add(hash(link))
            answer = self._accepted("GET", link, params, None)
            params = None
            page = self._decoded("GET", answer)
            yield page
            following: object = next_url(answer, page)
            if following is not None and not isinstance(following, str):
                raise wrong(answer.url, "its link to the next page is not text")
            link = following

    def _linked(self, answer: Answer) -> str | None:
        try:
            return next_link(answer.headers, answer.url)
        except ValueError as error:
            wrong = str(error)
        raise self._failures.unexpected("GET", answer.url, wrong)

    def _json(self, method: str, url: str, params: Parameters | None, body: Any) -> Any:
        return self._decoded(method, self._accepted(method, url, params, body))

    def _accepted(self, method: str, url: str, params: Parameters | None, body: Any) -> Answer:
        answer = self._request(method, url, params, body)
        if answer.status >= 400:
            raise self._failures.refusal(method, answer)
        return answer

    def _decoded(self, method: str, answer: Answer) -> Any:
        if answer.status == 204 or (method == "HEAD" and not answer.body):
            return None
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            pass
        kind = answer.headers.get("Content-Type", "").partition(";")[0] or "no content type"
        what = f"{kind}, {len(answer.body)} bytes"
        if method == "GET":  # other answers may hold a new secret, which nothing can mask yet
            start = self._redactor.mask(answer.body[:200].decode("utf-8", "replace"))[:60]
            what += f", begins {start!r}"
        raise self._failures.unexpected(method, answer.url, f"it is not valid JSON ({what})")

    def _request(self, method: str, url: str, params: Parameters | None, body: Any) -> Answer:
        """Send a request, again where that may help, and follow redirects on the origin."""
        target = _with_parameters(self._absolute(method, url), params)
        deadline = self._clock() + self._settings.total_timeout
        for _ in range(_REDIRECTS_MOST + 1):
            answer = self._persistently(method, target, body, deadline)
            if answer.status not in _REDIRECTS:
                if 300 <= answer.status < 400:
                    what = f"its status {answer.status} is not valid for this request"
                    raise self._failures.unexpected(method, target, what)
                return answer
            target = self._redirected(method, target, answer)
        raise self._failures.unexpected(method, target, f"more than {_REDIRECTS_MOST} redirects")

    def _persistently(self, method: str, target: str, body: Any, deadline: float) -> Answer:
        tries = 1 + (self._settings.retries if method in self._repeated else 0)
        outcome: Answer | Failure
        for number in range(1, tries + 1):
            started = self._clock()
            outcome = self._authorised(method, target, body, deadline)
            self._log(method, target, outcome, number, self._clock() - started)
            if isinstance(outcome, Answer):
                self._deprecations.note(method, target, outcome.headers)
            retry_at = self._retry_at(method, outcome)
            if not (outcome.worth_retrying or retry_at) or number == tries:
                break
            wait = self._wait_before(number, outcome, retry_at)
            if wait is None or self._clock() + wait > deadline:
                break
            self._sleep(wait)
        if isinstance(outcome, Failure):
            raise self._failures.unreachable(method, target, outcome)
        return outcome

    def _authorised(self, method: str, target: str, body: Any, deadline: float) -> Answer | Failure:
        """Send a request; once more with a renewed token where the host rejects the present one.
        What was rejected so was not processed, whatever its method (RFC 9110, 15.5.2)."""
        auth = self._authorisation.of_one_try()
        outcome = self._once(method, target, body, deadline, auth)
        if isinstance(outcome, Answer) and outcome.status == 401 and auth.can_be_renewed():
            outcome = self._once(method, target, body, deadline, self._authorisation)
        return outcome

    def _once(
        self, method: str, target: str, body: Any, deadline: float, auth: Authorisation
    ) -> Answer | Failure:
        remaining = deadline - self._clock()
        if remaining <= 0:
            return Failure("the time for it is used up", worth_retrying=False)
        content = {"data": body.fields} if isinstance(body, _Form) else {"json": body}
        request = requests.Request(method, target, headers=self._headers, auth=auth, **content)
        return self._transport.send(request, remaining)

    def _retry_at(self, method: str, outcome: Answer | Failure) -> datetime | None:
        """When the host says to try again, in its own way that the provider knows."""
        if isinstance(outcome, Answer) and outcome.status in _LIMITING:
            explained = self._failures.explained(method, outcome)
            return explained.retry_at if isinstance(explained, RateLimited) else None
        return None

    def _wait_before(
        self, number: int, outcome: Answer | Failure, retry_at: datetime | None
    ) -> float | None:
        """Seconds until the next try: full jitter, or what the host asks; ``None``: too long."""
        asked, now = None, datetime.now(UTC)
        if retry_at is not None:
            asked = max(0.0, (retry_at - now).total_seconds())
        elif isinstance(outcome, Answer):
            asked = retry_after(outcome.headers, now)
        if asked is not None:
            return asked if asked <= self._settings.retry_after_most else None
        most = min(self._settings.backoff_most, self._settings.backoff_first * 2.0 ** (number - 1))
        return most * self._random()

    def _absolute(self, method: str, url: str) -> str:
        if "://" not in url.partition("?")[0] and not url.startswith("//"):
            path = url.lstrip("/")
            segments = unquote(path.partition("?")[0]).split("/")
            if ".." in segments or "." in segments:
                raise ConfigurationError(
                    self._redactor.mask(f"The path {path!r} is outside the API's address."),
                    hint="Check the names of the owner, the repository and the branch.",
                )
            return self._base + path
        if not self._origin.covers(url):
            what = f"it links to another origin ({host_of(url)}), which is not followed"
            raise self._failures.unexpected(method, self._base, what)
        return url

    def _redirected(self, method: str, target: str, answer: Answer) -> str:
        location = answer.headers.get("Location", "")
        if not location:
            raise self._failures.unexpected(method, target, "it redirects without an address")
        if method not in ("GET", "HEAD"):
            raise self._failures.unexpected(
                method, target, "it is a redirect, which only GET may follow"
            )
        try:
            place = urljoin(target, location)
        except ValueError:
            place = location  # malformed: refused as such
        return self._absolute(method, place)

    @property
    def _failures(self) -> Failures:
        return Failures(self._origin.host, self._redactor, self._explain)

    def _log(
        self, method: str, target: str, outcome: Answer | Failure, number: int, seconds: float
    ) -> None:
        result = outcome.status if isinstance(outcome, Answer) else outcome.reason
        path = self._redactor.mask(path_of(target))
        logger.debug("%s %s: %s, %.0f ms, try %d", method, path, result, seconds * 1000, number)


def _with_parameters(url: str, parameters: Parameters | None) -> str:
    if not parameters:
        return url
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}{urlencode(parameters, quote_via=quote)}"


def _revealed(body: Any) -> tuple[Any, list[SecretStr]]:
    """A body with its secrets as they are to be sent, and those secrets."""
    if isinstance(body, SecretStr):
        return body.get_secret_value(), [body]
    if isinstance(body, Mapping):
        parts = {key: _revealed(value) for key, value in body.items()}
        found = [secret for _, secrets in parts.values() for secret in secrets]
        return {key: value for key, (value, _) in parts.items()}, found
    return body, []
