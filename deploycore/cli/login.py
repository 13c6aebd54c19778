"""``deploycore login`` and ``logout``: which servers the commands may use with --server."""

from __future__ import annotations

from typing import Annotated

import typer

from deploycore.cli.output import say
from deploycore.errors import ConfigurationError, UnexpectedAnswer

__all__ = ["register"]

Server = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="Address of the server, such as https://deploy.example.com."
    ),
]


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.command()(login)
    application.command()(logout)


def login(
    server: Server,
    from_stdin: Annotated[
        bool, typer.Option("--stdin", help="Read the token from standard input.")
    ] = False,
) -> None:
    """Sign in to a deploycore server, to run commands there with --server.

    Asks for an API token of the server at the terminal, unless you add --stdin. An administrator
    creates tokens in the dashboard, or with deploycore token add on the server's machine. The
    server checks the token. It is then stored in a file that only you can read.
    """
    from deploycore.cli.fields import read_secret
    from deploycore.remote import Logins, RemoteServer
    from deploycore.remote.server import server_url

    url = server_url(server)
    token = read_secret("token", from_stdin=from_stdin)
    with RemoteServer(url, token) as opened:
        found = opened.ask("GET", "/applications")
    if not isinstance(found, dict) or "items" not in found:
        raise UnexpectedAnswer(
            f"There is no deploycore server at {url}.", hint="Check the address.", server=url
        )
    path = Logins().keep(url, token)
    say(f"You are signed in to {url}. The token is stored in {path}.")
    say(f"  List its applications: deploycore --server {url} app list")


def logout(server: Server) -> None:
    """Remove the stored token of a server. It stays valid until the server removes it."""
    from deploycore.remote import Logins
    from deploycore.remote.server import server_url

    url = server_url(server)
    if not Logins().drop(url):
        raise ConfigurationError(f"You are not signed in to {url}.", hint="Check the address.")
    say(f"The token for {url} is removed from this machine.")
