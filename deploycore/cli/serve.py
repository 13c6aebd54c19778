"""``deploycore serve``: run the server with webhooks, the REST API, metrics and the dashboard."""

from __future__ import annotations

import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import deploycore
from deploycore.cli.options import Lease, PerProvider
from deploycore.cli.output import say
from deploycore.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from deploycore.installation import Installation
    from deploycore.worker import Worker

__all__ = ["register"]

_PACKAGES = {
    "anyio",
    "argon2",
    "authlib",
    "httptools",
    "jinja2",
    "joserfc",
    "prometheus_client",
    "starlette",
    "uvicorn",
}


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command()(serve)


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: any free port.")
    ] = 8080,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            min=0,
            max=64,
            help="Maximum number of deployments at once in this process; 0 for none, for example"
            " if 'deploycore worker' runs.",
        ),
    ] = 2,
    behind_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-proxy",
            help="Trust X-Forwarded-For, X-Forwarded-Proto and X-Request-ID. Use it only if"
            " clients can reach the server through your proxy alone.",
        ),
    ] = False,
    metrics_open: Annotated[
        bool, typer.Option("--metrics-open", help="Serve metrics without a token.")
    ] = False,
    body_limit: Annotated[
        int,
        typer.Option(
            "--body-limit",
            metavar="KIB",
            min=1,
            max=1024 * 1024,
            help="Maximum size of a request's body, in KiB.",
        ),
    ] = 1024,
    replay_window: Annotated[
        int,
        typer.Option(
            "--replay-window",
            metavar="HOURS",
            min=1,
            max=24 * 365,
            help="Maximum hours between now and a delivery's own timestamp.",
        ),
    ] = 24,
    drain: Annotated[
        int,
        typer.Option(
            "--drain",
            metavar="SECONDS",
            min=0,
            max=86_400,
            help="Seconds to let running deployments finish at shutdown.",
        ),
    ] = 60,
    targets: Annotated[
        Path | None,
        typer.Option(
            "--targets",
            metavar="DIRECTORY",
            help="Directory that the dashboard suggests for new applications (default: next to the"
            " newest application).",
        ),
    ] = None,
    lease: Lease = None,
    per_provider: PerProvider = None,
) -> None:
    """Run the server until SIGTERM or Ctrl-C: dashboard, webhooks, REST API, metrics.

    While there is no administrator, it prints a one-time link that creates one.
    The server stores webhook deliveries in the database, and a worker deploys them. It does not
    support TLS: put a reverse proxy in front of it.
    """
    try:
        from deploycore.server.accounts.openid_settings import OpenIdSettings
        from deploycore.server.options import ServerOptions
        from deploycore.server.serving import serve as run

        openid = OpenIdSettings.from_environment()
        if openid is not None:
            from deploycore.server.accounts.openid import Issuer  # noqa: F401  it needs packages
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _PACKAGES:
            raise
    else:
        missing = ""
    if missing:
        from deploycore.distribution import install_command

        raise ConfigurationError(
            f"The server needs the Python package {missing!r}, which is not installed.",
            hint=f"Install the extra where deploycore is installed: {install_command('server')}",
        )
    _log_to_standard_error()
    options = ServerOptions(
        body_bytes_most=body_limit * 1024,
        replay_window=timedelta(hours=replay_window),
        metrics_open=metrics_open,
        behind_proxy=behind_proxy,
        targets=None if targets is None else targets.expanduser().absolute(),
        openid=openid,
    )
    from deploycore.cli.service_watchdog import telling_watchdog

    with deploycore.Installation() as installation, telling_watchdog():
        run(
            installation,
            options,
            host=host,
            port=port,
            worker=_worker(installation, workers, lease, per_provider),
            drain=drain,
            on_started=partial(_tell, installation.settings.public_url),
        )


def _worker(
    installation: Installation, threads: int, lease: float | None, per_provider: int | None
) -> Worker | None:
    if not threads:
        return None
    from deploycore.worker import Worker

    return Worker(installation, threads=threads, lease=lease, per_provider=per_provider)


def _tell(public_url: str | None, url: str, link: SecretStr | None) -> None:
    say(f"deploycore serves at {url} (stop it with Ctrl-C).")
    if link is not None:
        say("There is no administrator yet. Open this link within an hour to create one:")
        say(f"{public_url or url}/sign-in/link/{link.get_secret_value()}")
    sys.stdout.flush()


def _log_to_standard_error() -> None:
    import logging  # takes longer than to print help

    from deploycore.cli.process_log import log_to_standard_error
    from deploycore.server.edge import RequestIdFilter

    log_to_standard_error(RequestIdFilter(), extra_format="%(request_id)s ")
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # any client can cause its warnings
