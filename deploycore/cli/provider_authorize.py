"""``deploycore provider authorize``: sign in to a git host that issues tokens to people."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

import deploycore
from deploycore.cli.options import AsJson, ProviderName, SignInSeconds, parse_duration
from deploycore.cli.output import say, say_aside, show_json
from deploycore.cli.waiting import telling_of_waits
from deploycore.errors import AuthenticationFailed, ConfigurationError

if TYPE_CHECKING:
    from deploycore.installation.sign_in import ProviderSignIn
    from deploycore.models import Account
    from deploycore.tokens import AuthorizationCode, DeviceFlow, Token

__all__ = ["ask_for_answer", "register", "say_authorized", "say_code", "too_late"]

_PORT_BY_HAND = 8912  # no program listens there: the browser shows the address that it cannot open


def register(commands: typer.Typer) -> None:
    """Add the command to the group ``provider``."""
    commands.command()(authorize)


def authorize(
    name: ProviderName,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            help="Port of the redirect address http://127.0.0.1:PORT/callback; 0 for any free port"
            " (default: the port that the plugin requires, or any free port).",
        ),
    ] = None,
    no_browser: Annotated[
        bool,
        typer.Option(
            "--no-browser",
            help="Use a browser on any machine, and paste the last address that it shows.",
        ),
    ] = False,
    timeout: SignInSeconds = "10m",
    as_json: AsJson = False,
) -> None:
    """Sign in to a git host with OAuth: deploycore provider authorize NAME

    deploycore prints an address to open in a browser, and waits for the answer on 127.0.0.1. If
    the host uses the device flow, deploycore prints a code to enter at the address instead. The
    new token replaces the previous one only if the host accepts it.
    """
    from deploycore.tokens import DeviceFlow

    seconds = parse_duration(timeout, "--timeout").total_seconds()
    accounts: list[Account] = []
    with (
        deploycore.Installation() as installation,
        telling_of_waits(),
        installation.provider_changes.sign_in(name) as sign_in,
    ):
        flow = sign_in.flow
        if isinstance(flow, DeviceFlow):
            token = _by_device(sign_in, flow, seconds)
        elif no_browser:
            token = _by_hand(sign_in, flow, _first(port, flow.redirect_port, _PORT_BY_HAND))
        else:
            token = _by_redirect(sign_in, flow, _first(port, flow.redirect_port, 0), seconds)
        sign_in.store(token, verify=lambda opened: accounts.append(opened.authenticate()))
    say_authorized(name, accounts[0].username, as_json=as_json)


def say_authorized(name: str, account: str, *, as_json: bool) -> None:
    """Print who has signed in."""
    if as_json:
        show_json({"provider": name, "account": account})
        return
    say(f"Provider {name} is authorized: signed in as {account}.")
    say(f"  List its repositories: deploycore repos {name}")


def ask_for_answer(address: str, redirect: str) -> str:
    """Ask a person to open an address, and to paste the address at which the browser ends.

    Args:
        redirect: The start of that last address.

    Raises:
        ConfigurationError: No address was given.
    """
    say_aside("Open this address in any browser, and allow the access:")
    say_aside(f"  {address}")
    say_aside(
        f"The browser then cannot open an address that begins with {redirect}. Copy the whole"
        " address."
    )
    # Typed without echo: the code is a secret until it is used.
    pasted = getpass.getpass("address: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not pasted.strip():
        raise ConfigurationError(
            "No address was given.",
            hint="Paste the address at the terminal, or send it to standard input.",
        )
    return pasted


def say_code(address: str, code: str) -> None:
    """Ask a person to enter a code at an address."""
    say_aside("Open this address in any browser:")
    say_aside(f"  {address}")
    say_aside(f"Enter this code, and allow the access: {code}")


def too_late(hint: str) -> AuthenticationFailed:
    """Return the error of a sign-in that took too long."""
    return AuthenticationFailed(
        "The sign-in was not completed within the time limit.", hint=f"Sign in again.{hint}"
    )


def _first(asked: int | None, registered: int | None, default: int) -> int:
    return next((each for each in (asked, registered) if each is not None), default)


def _by_redirect(
    sign_in: ProviderSignIn, flow: AuthorizationCode, port: int, seconds: float
) -> Token:
    from deploycore.credentials.authorize import AuthorizationRequest
    from deploycore.credentials.loopback import RedirectListener

    with RedirectListener(port) as listener:
        request = AuthorizationRequest.new(flow, listener.redirect_uri)
        say_aside("Open this address in a browser on this machine, and allow the access:")
        say_aside(f"  {request.address}")
        query = listener.wait(request.belongs, seconds)
    if query is None:
        raise too_late(" If the browser runs on another machine, add --no-browser.")
    return sign_in.exchange(request, request.read_query(query))


def _by_hand(sign_in: ProviderSignIn, flow: AuthorizationCode, port: int) -> Token:
    from deploycore.credentials.authorize import AuthorizationRequest, redirect_uri

    request = AuthorizationRequest.new(flow, redirect_uri(port))
    pasted = ask_for_answer(request.address, request.redirect_uri)
    return sign_in.exchange(request, request.read_pasted(pasted))


def _by_device(sign_in: ProviderSignIn, flow: DeviceFlow, seconds: float) -> Token:
    code = sign_in.begin_device(flow)
    say_code(code.verification_uri, code.user_code)
    return sign_in.wait_for_device(flow, code, seconds=seconds)
