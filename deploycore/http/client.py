"""The HTTP client: retries, redirects within one origin, and pages."""

from __future__ import annotations

import copy
import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self
from urllib.parse import unquote, urljoin

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
)
from deploycore.http.authorisation import Authorisation, HttpAuth
from deploycore.http.connections import Connections
from deploycore.http.contents import Form, Parameters, revealed, with_parameters
from deploycore.http.deprecation import Deprecation, Deprecations
from deploycore.http.failures import Explain, Failures
from deploycore.http.origin import Origin, host_of, path_of
from deploycore.http.retries import seconds_before_retry
from deploycore.http.settings import HttpSettings
from deploycore.redaction import Redactor
from deploycore.tokens import RenewableAuth, Token
from deploycore.version import __version__

__all__ = ["HttpClient"]

logger = logging.getLogger(__name__)

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_LIMITING = frozenset({403, 429})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MOST = 5


class HttpClient:
    """A client for the API of one provider, with one origin and one authorization.

    It is safe to use from several threads at once.

    Args:
        base_url: The URL that paths are relative to, such as ``https://api.example.com/2.0``.
        auth: How requests are authorized; ``None`` for anonymous access.
        redactor: Masks the provider's secrets in messages.
        settings: Timeouts, retries and limits.
        user_agent: The ``User-Agent`` header (default: deploycore and its version).
        subject: The name of the provider for log lines, such as ``provider work``.
        tokens: Stores tokens that are obtained and renewed (default: in the memory of this client).

    Raises:
        ConfigurationError: The base URL is not an http or https URL, has user information, or would
            send credentials unencrypted to another machine.
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
        self._transport = Connections(self._settings, user_agent or f"deploycore/{__version__}")
        self._clock: Callable[[], float] = time.monotonic
        self._sleep: Callable[[float], object] = self._transport.closed.wait
        self._random: Callable[[], float] = random.random
        self._tokens = tokens or TokenSource()
        self._authorisation = self._authorisation_by(auth)

    def explaining(self, explain: Explain) -> HttpClient:
        """Return a client with the same connections that passes error responses to ``explain``.

        Args:
            explain: Receives an error response after all retries, and returns the error to raise;
                ``None`` for the client's own error. For 403 and 429, which may be rate limits, it
                is also called before each retry. If it then returns a ``RateLimited`` with
                ``retry_at``, the client waits until that time, as for ``Retry-After``.
        """
        other = copy.copy(self)
        other._explain = explain
        return other

    def authorised_by(self, auth: HttpAuth | RenewableAuth) -> HttpClient:
        """Return a client with the same origin and connections, but with another authorization.

        Use it if the host exchanges a credential for a token, for example one that lasts an hour.
        The client masks the header of ``auth`` in messages.

        Raises:
            ConfigurationError: The base URL would send credentials unencrypted to another machine.
        """
        Origin.of_api(self._base, with_credentials=True)
        other = copy.copy(self)
        other._authorisation = self._authorisation_by(auth)
        return other

    def token(self) -> Token:
        """Return the current token of a client with a :class:`~deploycore.tokens.RenewableAuth`.

        If there is no token, or it expires soon, the client first obtains or renews it. Use this in
        ``clone_url`` if git accepts the same token.

        Raises:
            ConfigurationError: The client has another authorization.
            ProviderError: The host did not issue a token.
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
        """Return a client with the same connections that also sends these headers, such as
        ``Accept``."""
        other = copy.copy(self)
        other._headers = {**self._headers, **headers}
        return other

    def repeating(self, method: str) -> HttpClient:
        """Return a client with the same connections that also retries requests of this method.

        Use it for a ``POST`` that does no harm if the host receives it twice.
        """
        other = copy.copy(self)
        other._repeated = self._repeated | {method.upper()}
        return other

    def get_json(self, url: str, *, params: Parameters | None = None) -> Any:
        """Send a GET request and decode the JSON response.

        Args:
            url: A path below the base URL, or an absolute URL with the same origin.
            params: Parameters to add to the query.

        Returns:
            The decoded JSON; ``None`` for a response without content (204).

        Raises:
            AuthenticationFailed: Status 401.
            PermissionDenied: Status 403.
            NotFound: Status 404 or 410.
            RateLimited: Status 429, if there are no more retries or the wait would be too long.
            ProviderUnavailable: No connection, a timeout, or status 5xx, after all retries.
            UnexpectedAnswer: The response is not JSON or too large, or it leads to another origin.
            ProviderError: Any other status of 400 or higher.
        """
        return self._json("GET", url, params, None)

    def send_json(
        self, method: str, url: str, *, body: Any = None, params: Parameters | None = None
    ) -> Any:
        """Send a request with a JSON body, or without a body, and decode the JSON response.

        ``PUT`` and ``DELETE`` are retried, because they are idempotent (RFC 9110, 9.2.2). ``POST``
        and ``PATCH`` are not, except for the methods named with :meth:`repeating`.

        Args:
            method: The method.
            url: As in :meth:`get_json`.
            body: Values that JSON can represent, and secrets as ``SecretStr``. The client sends the
                value of a secret, and masks it in errors and logs of this request.
            params: Parameters to add to the query.

        Returns, Raises:
            As :meth:`get_json`.
        """
        content, secrets = revealed(body)
        client = self._masking(secrets) if secrets else self
        return client._json(method.upper(), url, params, content)

    def send_form(self, url: str, fields: Mapping[str, str | SecretStr]) -> Any:
        """Send form fields with POST and decode the JSON response, as for OAuth (RFC 6749, 4.1.3).

        The request is not retried, unless the client was created with :meth:`repeating`.

        Args:
            url: As in :meth:`get_json`.
            fields: The fields. For secrets as ``SecretStr``, see :meth:`send_json`.

        Returns, Raises:
            As :meth:`get_json`.
        """
        content, secrets = revealed(fields)
        client = self._masking(secrets) if secrets else self
        return client._json("POST", url, None, Form(content))

    def get_with_headers(
        self, url: str, *, params: Parameters | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """Send a GET request like :meth:`get_json`, and return the decoded JSON and the headers.

        Use it if the host reports something only in a header, such as the scopes of a token. The
        names of the headers are case-insensitive.

        Raises:
            ProviderError: As :meth:`get_json`.
        """
        answer = self._accepted("GET", url, params, None)
        return self._decoded("GET", answer), answer.headers

    def sibling(self, base_url: str, *, auth: HttpAuth | None = None) -> HttpClient:
        """Return a client for another server of the same host, such as its authorization server.

        It has the same limits, retries and redaction, but connections of its own, which are closed
        together with this client's. It does not have this client's authorization.

        Raises:
            ConfigurationError: As for a new client.
        """
        # Send the client certificate only to this origin, or to a server that gets credentials.
        shown = auth is not None or self._origin.covers(base_url)
        return self._sibling(base_url, auth=auth, with_certificate=shown)

    def local_time(self, at: datetime) -> datetime:
        """Convert a time of the host's clock to this machine's clock.

        The difference between the clocks is known from earlier responses. Use this if a host
        reports the time at which a token expires, and not a number of seconds.
        """
        return at - timedelta(seconds=self.clock_offset or 0)

    def pages(
        self,
        url: str,
        *,
        params: Parameters | None = None,
        next_url: Callable[[Any], str | None],
    ) -> Iterator[Any]:
        """Yield decoded pages, following the links from page to page. A page is requested when
        needed.

        Args:
            url: The first page, as in :meth:`get_json`.
            params: Parameters for the first page. Links contain their own.
            next_url: Returns the link to the next page from a decoded page; ``None`` or an empty
                string ends the listing.

        Raises:
            UnexpectedAnswer: A link repeats or leads to another origin, or there are more than
                ``pages_most`` pages.
            ProviderError: As :meth:`get_json`.
        """
        return self._chain(url, params, lambda _, page: next_url(page))

    def linked_pages(self, url: str, *, params: Parameters | None = None) -> Iterator[Any]:
        """Yield decoded pages, following their ``Link`` headers (RFC 8288, relation ``next``).

        Args:
            url: The first page, as in :meth:`get_json`.
            params: Parameters for the first page. Links contain their own.

        Raises:
            UnexpectedAnswer, ProviderError: As :meth:`pages`.
        """
        return self._chain(url, params, lambda answer, _: self._linked(answer))

    def close(self) -> None:
        """Close the connections. Requests in other threads fail, and are not retried."""
        self._transport.close()

    @property
    def clock_offset(self) -> float | None:
        """The seconds that the host's clock is ahead; ``None`` before its first response."""
        return self._transport.host_clock.offset

    @property
    def deprecations(self) -> tuple[Deprecation, ...]:
        """The endpoints that the host has reported as deprecated so far."""
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
            # Hashes limit the memory for long listings; 64 bits do not collide in 100,000 links.
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
        if method == "GET":  # other responses may contain a new secret, which is not masked yet
            start = self._redactor.mask(answer.body[:200].decode("utf-8", "replace"))[:60]
            what += f", begins {start!r}"
        raise self._failures.unexpected(method, answer.url, f"it is not valid JSON ({what})")

    def _request(self, method: str, url: str, params: Parameters | None, body: Any) -> Answer:
        """Send a request, retry it where that may help, and follow redirects within the origin."""
        target = with_parameters(self._absolute(method, url), params)
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
            wait = seconds_before_retry(
                number, outcome, retry_at, self._settings, jitter=self._random()
            )
            if wait is None or self._clock() + wait > deadline:
                break
            self._sleep(wait)
        if isinstance(outcome, Failure):
            raise self._failures.unreachable(method, target, outcome)
        return outcome

    def _authorised(self, method: str, target: str, body: Any, deadline: float) -> Answer | Failure:
        """Send a request. If the host rejects the token, send it again once with a renewed token.

        This is safe for every method, because the host has not processed the rejected request (RFC
        9110, 15.5.2).
        """
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
        content = {"data": body.fields} if isinstance(body, Form) else {"json": body}
        return self._transport.send(
            method, target, remaining, headers=self._headers, auth=auth, content=content
        )

    def _retry_at(self, method: str, outcome: Answer | Failure) -> datetime | None:
        """Return when to try again, according to the provider's ``explain``."""
        if isinstance(outcome, Answer) and outcome.status in _LIMITING:
            explained = self._failures.explained(method, outcome)
            return explained.retry_at if isinstance(explained, RateLimited) else None
        return None

    def _absolute(self, method: str, url: str) -> str:
        if "://" not in url.partition("?")[0] and not url.startswith("//"):
            path = url.lstrip("/")
            segments = unquote(path.partition("?")[0]).split("/")
            if ".." in segments or "." in segments:
                raise ConfigurationError(
                    self._redactor.mask(f"The path {path!r} leads outside the API's base URL."),
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
            place = location  # malformed, so _absolute rejects it
        return self._absolute(method, place)

    @property
    def _failures(self) -> Failures:
        return Failures(self._origin.host, self._redactor, self._explain)

    def _log(
        self, method: str, target: str, outcome: Answer | Failure, number: int, seconds: float
    ) -> None:
        if not logger.isEnabledFor(logging.DEBUG):
            return  # masking takes longer than everything else here
        result = outcome.status if isinstance(outcome, Answer) else outcome.reason
        path = self._redactor.mask(path_of(target))
        logger.debug("%s %s: %s, %.0f ms, try %d", method, path, result, seconds * 1000, number)
