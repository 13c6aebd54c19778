"""The OAuth device flow (RFC 8628): show a code, and poll until a person has entered it."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    ProviderError,
    ProviderUnavailable,
    UnexpectedAnswer,
)
from deploycore.http.client import HttpClient
from deploycore.http.decoding import parse_answer
from deploycore.http.grants import ask_token_endpoint, read_token
from deploycore.tokens import DeviceFlow, Token

__all__ = ["DeviceCode", "DevicePolling", "request_device_code", "wait_for_device"]

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_HINT = "Check the client ID, and that the host lets this client use the device flow."
_SLOWER_BY = 5.0  # seconds; RFC 8628, 3.5
_LEAST_INTERVAL = 0.5


class _DeviceAnswer(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, defer_build=True)

    device_code: SecretStr = Field(min_length=1)
    user_code: str = Field(min_length=1, max_length=100)
    verification_uri: str | None = None
    verification_url: str | None = None  # the name in early drafts
    expires_in: float = Field(gt=0, allow_inf_nan=False)
    interval: float = Field(default=5, ge=0, allow_inf_nan=False)


@dataclass(frozen=True)
class DeviceCode:
    """The code that a person enters, and the code that the program polls with.

    Attributes:
        user_code: The code that the person enters.
        verification_uri: The address of the page to enter it at.
        expires_in: Seconds until both codes expire.
        interval: Seconds between two polls.
        device_code: The code that the program polls with.
    """

    user_code: str
    verification_uri: str
    expires_in: float
    interval: float
    device_code: SecretStr


class _NotYet(ProviderError):
    """The person has not entered the code yet."""

    def __init__(self, *, slow_down: bool) -> None:
        super().__init__("The code was not entered yet.")
        self.slow_down = slow_down


def request_device_code(http: HttpClient, flow: DeviceFlow) -> DeviceCode:
    """Start the device flow (RFC 8628, 3.1).

    Args:
        http: A client of the authorization server, without authorization.

    Raises:
        AuthenticationFailed: The server does not know the client, or does not allow it this flow.
        UnexpectedAnswer, ProviderError: As ``HttpClient.send_form``.
    """
    fields = {"scope": flow.scope} if flow.scope else {}
    answer = ask_token_endpoint(http, flow.device_path, flow.client_id, None, fields, hint=_HINT)
    given = parse_answer(_DeviceAnswer, answer, what="a device code")
    address = given.verification_uri or given.verification_url
    if not address:
        raise UnexpectedAnswer(
            "The host gave a code, but no address to enter it at.", hint="Check the host's address."
        )
    return DeviceCode(
        user_code=given.user_code,
        verification_uri=address,
        expires_in=given.expires_in,
        interval=max(given.interval, _LEAST_INTERVAL),
        device_code=given.device_code,
    )


def wait_for_device(
    http: HttpClient,
    flow: DeviceFlow,
    code: DeviceCode,
    *,
    seconds: float,
    sleep: Callable[[float], object],
    now: Callable[[], float],
) -> Token:
    """Poll until the person has entered the code (RFC 8628, 3.4 and 3.5).

    Args:
        seconds: The maximum time to poll.
        sleep: Waits for a number of seconds.
        now: Returns the seconds of a monotonic clock.

    Raises:
        AuthenticationFailed: The person denied the request, or the time is over.
        ProviderError: As ``HttpClient.send_form``, except for short connection failures.
    """
    interval = code.interval
    ends = now() + min(seconds, code.expires_in)
    while now() + interval < ends:
        sleep(interval)
        try:
            return _poll(http, flow, code)
        except _NotYet as error:
            interval += _SLOWER_BY if error.slow_down else 0
        except ProviderUnavailable:
            interval *= 2  # RFC 8628, 3.5
    raise _too_late()


class DevicePolling:
    """Polls for a caller that asks whenever it likes, and no more often than the host allows.

    Args:
        flow: The flow.
        code: The code that the person enters.
        now: Returns the seconds of a monotonic clock.
    """

    def __init__(self, flow: DeviceFlow, code: DeviceCode, now: Callable[[], float]) -> None:
        self._flow = flow
        self._code = code
        self._now = now
        self._interval = code.interval
        self._next_at = now() + code.interval
        self._ends_at = now() + code.expires_in

    def poll(self, http: HttpClient) -> Token | None:
        """Return the token; ``None`` if the person has not entered the code yet.

        Raises:
            AuthenticationFailed: The person denied the request, or the time is over.
            ProviderError: As ``HttpClient.send_form``, except for short connection failures.
        """
        now = self._now()
        if now >= self._ends_at:
            raise _too_late()
        if now < self._next_at:
            return None
        try:
            return _poll(http, self._flow, self._code)
        except _NotYet as error:
            self._interval += _SLOWER_BY if error.slow_down else 0
        except ProviderUnavailable:
            self._interval *= 2  # RFC 8628, 3.5
        self._next_at = self._now() + self._interval
        return None


def _poll(http: HttpClient, flow: DeviceFlow, code: DeviceCode) -> Token:
    fields: dict[str, str | SecretStr] = {
        "grant_type": GRANT,
        "device_code": code.device_code,
    }
    answer = ask_token_endpoint(
        http, flow.token_path, flow.client_id, None, fields, hint=_HINT, explain=_not_yet
    )
    return read_token(answer)


def _too_late() -> AuthenticationFailed:
    return AuthenticationFailed(
        "The code was not entered in time.", hint="Sign in again, and enter the new code."
    )


def _not_yet(code: str) -> DeploycoreError | None:
    if code in ("authorization_pending", "slow_down"):
        return _NotYet(slow_down=code == "slow_down")
    if code == "access_denied":
        return AuthenticationFailed(
            "The request for authorization was denied.",
            hint="Sign in again, and allow the access.",
        )
    if code == "expired_token":
        return _too_late()
    return None
