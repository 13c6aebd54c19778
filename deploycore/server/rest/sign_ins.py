"""Sign in at a git host, for a provider that requires it."""

from __future__ import annotations

import time
from functools import partial
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.responses import Response

from deploycore.credentials.authorize import AuthorizationRequest, redirect_uri
from deploycore.errors import AuthenticationFailed, ConfigurationError, UnexpectedAnswer
from deploycore.http.device import DevicePolling
from deploycore.installation.sign_in import ProviderSignIn
from deploycore.server.api import PREFIX, Api, Call, answer
from deploycore.server.checking import checked
from deploycore.server.problems import Refusal
from deploycore.server.rest.operation import Operation
from deploycore.server.rest.provider_input import Proof
from deploycore.server.rest.provider_records import provider_record
from deploycore.server.rest.provider_views import SignInAnswer, SignInGiven, SignInView
from deploycore.server.sign_ins import Begun
from deploycore.tokens import DeviceFlow, Token

__all__ = ["OPERATIONS"]

_SIGN_IN = f"{PREFIX}/sign-ins/{{sign_in}}"
_PORT_BY_HAND = 8912  # no program listens there: the browser shows the address that it cannot open


def begin_sign_in(api: Api, call: Call) -> Response:
    """Start a sign-in at the git host of a provider.

    The person opens the address in a browser. If the way is "browser", the git host then sends the
    browser to the redirect address, with a response to finish the sign-in with. If it is "device",
    the person enters the code at the address. Finish the sign-in within ten minutes, with the same
    token.
    """
    given = checked(SignInGiven, call.body)
    record = provider_record(api, call.path["provider"])
    with api.installation.provider_changes.sign_in(record.name) as sign_in:
        flow = sign_in.flow
        if isinstance(flow, DeviceFlow):
            device = api.hosts.ask(partial(sign_in.begin_device, flow))
            _refuse_unsafe(device.verification_uri)
            polling = DevicePolling(flow, device, time.monotonic)
            begun = api.sign_ins.begin(
                record.name, call.actor, flow, device=device, polling=polling
            )
        else:
            by_hand = redirect_uri(flow.redirect_port or _PORT_BY_HAND)
            request = AuthorizationRequest.new(flow, given.redirect_uri or by_hand)
            _refuse_unsafe(request.address)
            begun = api.sign_ins.begin(record.name, call.actor, flow, request=request)
    location = f"{PREFIX}/sign-ins/{begun.id}"
    return answer(_view(begun), status=201, headers={"Location": location})


def get_sign_in(api: Api, call: Call) -> Response:
    """Get a sign-in that you have begun, until it is finished."""
    return answer(_view(api.sign_ins.get(call.path["sign_in"], call.actor)))


def finish_sign_in(api: Api, call: Call) -> Response:
    """Finish a sign-in. The token replaces the previous one only if the git host accepts it.

    If the way is "browser", send the response of the git host; it is accepted once. If it is
    "device", send no answer. If the person has not entered the code yet, the status is 202: wait
    for the interval, and send the request again.
    """
    given = checked(SignInAnswer, call.body)
    begun = api.sign_ins.get(call.path["sign_in"], call.actor, provider=call.path["provider"])
    if begun.polling is None:
        begun = api.sign_ins.take(begun.id, call.actor)
    if not begun.lock.acquire(blocking=False):
        return answer(_view(begun), status=202)  # another request is polling
    try:
        account = _finished(api, begun, given.answer)
    except AuthenticationFailed:
        api.sign_ins.forget(begun.id)
        raise
    finally:
        begun.lock.release()
    if account is None:
        return answer(_view(begun), status=202)
    api.sign_ins.forget(begun.id)
    api.directory.invalidate()
    return answer(_view(begun, account=account))


def _finished(api: Api, begun: Begun, response: SecretStr | None) -> str | None:
    """Store the token; returns who has signed in, or ``None`` if the code was not entered yet."""
    proof = Proof(api)

    def finish() -> None:
        with api.installation.provider_changes.sign_in(begun.provider) as sign_in:
            _refuse_other_flow(begun, sign_in)
            token = _token(begun, sign_in, response)
            if token is not None:
                sign_in.store(token, verify=proof.verify)

    proof.store(finish)
    return proof.account


def _token(begun: Begun, sign_in: ProviderSignIn, response: SecretStr | None) -> Token | None:
    if begun.polling is not None:
        return sign_in.poll_device(begun.polling)
    request = begun.request
    if response is None or request is None:
        raise ConfigurationError(
            "The sign-in needs the response of the git host.",
            hint="Send the whole address that the git host redirected to, in the field answer.",
            fields=["answer: is missing"],
        )
    return sign_in.exchange(request, request.read_pasted(response.get_secret_value()))


def _refuse_other_flow(begun: Begun, sign_in: ProviderSignIn) -> None:
    """Refuse to send a code to another server, or for another client, than it was issued for."""
    if sign_in.flow != begun.flow:
        raise Refusal(
            409,
            "conflict",
            f"The provider {begun.provider} was changed after the sign-in had begun.",
            hint="Sign in again.",
            details={"provider": begun.provider},
        )


def _refuse_unsafe(address: str) -> None:
    """Refuse an address that a browser would run, such as ``javascript:``."""
    parts = urlsplit(address)
    if parts.scheme not in ("https", "http") or not parts.hostname or not address.isprintable():
        raise UnexpectedAnswer(
            "The address to sign in at is not a web address.",
            hint="Check the provider's address. If it is right, tell the plugin's author.",
        )


def _view(begun: Begun, *, account: str | None = None) -> SignInView:
    request, device = begun.request, begun.device
    return SignInView(
        id=begun.id,
        provider=begun.provider,
        way="browser" if device is None else "device",
        address=request.address if request else device.verification_uri if device else "",
        user_code=device.user_code if device else None,
        redirect_uri=request.redirect_uri if request else None,
        expires_at=begun.expires_at,
        is_done=account is not None,
        account=account,
        interval=device.interval if device else 0,
    )


OPERATIONS = (
    Operation(
        "POST",
        f"{PREFIX}/providers/{{provider}}/sign-ins",
        "admin",
        begin_sign_in,
        {201: SignInView},
        body=SignInGiven,
        refusals=(502, 504),
    ),
    Operation("GET", _SIGN_IN, "admin", get_sign_in, {200: SignInView}),
    Operation(
        "POST",
        f"{PREFIX}/providers/{{provider}}/sign-ins/{{sign_in}}/finish",
        "admin",
        finish_sign_in,
        {200: SignInView, 202: SignInView},
        body=SignInAnswer,
        refusals=(409, 502, 504),
        changes_nothing_at=202,
    ),
)
