"""``python -m deploycore_bitbucket.sandbox``: run the sandbox until Ctrl-C.

Its credentials are created at each start, and are valid only for this sandbox. So the command can
print them.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterable

from pydantic import SecretStr

from deploycore.models import CloneUrl, GitCredential
from deploycore_bitbucket.sandbox.sandbox import Sandbox

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit code: 0 after Ctrl-C, 1 if the port cannot be used.
    """
    options = _parser().parse_args(arguments)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    sandbox = Sandbox(
        port=options.port, app_passwords=options.app_passwords, latency=options.latency
    ).with_demo_content()
    sandbox.listed_repositories("acme", options.repositories)
    try:
        sandbox.start()
    except OSError as error:
        print(f"The sandbox cannot listen on port {options.port}: {error.strerror}. "
              "Choose another by --port.", file=sys.stderr)  # fmt: skip
        return 1
    with sandbox:
        print("\n".join(_introduction(sandbox)), flush=True)
        stopped.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploycore_bitbucket.sandbox",
        description="Run a sandbox of Bitbucket Cloud on this machine until Ctrl-C.",
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, for any free one")
    parser.add_argument(
        "--app-passwords",
        choices=("working", "removed"),
        default="working",
        help="removed: refuse them as Bitbucket does since July 2026",
    )
    parser.add_argument(
        "--repositories", type=int, default=0, help="so many more, empty, in workspace acme"
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds for each answer")
    return parser


def _introduction(sandbox: Sandbox) -> Iterable[str]:
    yield f"The Bitbucket sandbox runs at {sandbox.url} (Ctrl-C ends it)."
    for connection in sandbox.connections:
        yield f"\n{connection.title}:"
        for field, value in connection.settings.items():
            text = value.get_secret_value() if isinstance(value, SecretStr) else value
            yield f"  {field}: {text}"
    yield "\nClone with git:"
    for credential in sandbox.credentials:
        git = GitCredential(username=credential.git_username, password=credential.secret)
        joined = CloneUrl(url=f"{sandbox.git_url}/acme/shop.git", credential=git).reveal_joined()
        yield f"  git clone {joined}"


if __name__ == "__main__":
    sys.exit(main())
