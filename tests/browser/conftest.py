"""Chromium in front of a server that runs as people run it: ``deploycore serve``.

A test fails if its page writes to the console, sends a request to another origin, or raises an
error.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploycore import Installation, Settings
from deploycore.cli.sandbox import provider_name
from tests.distributions import write_distribution
from tests.forked import ForkedProcess

_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser")
"""The first that is there is used: without the windows of a desktop, which nobody sees, a page
takes a third of the processor time."""

_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
PASSWORD = "correct horse battery staple"
PATIENCE = 60_000
"""Milliseconds to wait for a page's content. The limit is for hangs, not for slow machines."""


_running = ExitStack()
_started = {}


@pytest.fixture(scope="module")
def chromium():
    """A Chromium for all tests of this directory that run one after the other."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip("no chromium: install Debian's package chromium-headless-shell")
    if "chromium" not in _started:
        driver = _running.enter_context(playwright.sync_playwright())
        browser = driver.chromium.launch(executable_path=program, args=_OPTIONS)
        _running.callback(browser.close)
        _started["chromium"] = browser
    return _started["chromium"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem):
    """Close Chromium before tests of other directories: while Playwright runs, an event loop runs
    in this thread, and they could not start one."""
    yield
    if nextitem is None or not nextitem.path.is_relative_to(Path(__file__).parent):
        _started.clear()
        _running.close()


@pytest.fixture
def visit(chromium):
    """Opens a page in a new browser: ``visit(site)``, or ``visit(site, java_script=False)``.

    ``may_fail`` allows the page to report failed requests, for example when the server is stopped.
    ``may_ask`` has the addresses of hosts that a link leads to.
    """
    contexts, problems = [], []

    def open_page(site, *, java_script=True, dark=False, width=1280, may_fail=False, may_ask=()):
        context = chromium.new_context(
            base_url=site.url,
            java_script_enabled=java_script,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",  # what turns while a page waits is drawn 60 times a second
            viewport={"width": width, "height": 900},
        )
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        contexts.append(context)
        page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
        allowed = {site.url, *may_ask}
        page.on("request", lambda request: _note_foreign(request, allowed, problems))
        if not may_fail:
            page.on("console", lambda message: _note_message(message, page, problems))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def _note_foreign(request, allowed, problems) -> None:
    address = urlsplit(request.url)
    if address.scheme in ("http", "https") and f"http://{address.netloc}" not in allowed:
        problems.append(f"asked {request.url}")


def _note_message(message, page, problems) -> None:
    # A page whose answer is an error is told in the console, and is no fault of the page.
    if message.type in ("error", "warning") and "the server responded with a status of" not in (
        message.text
    ):
        problems.append(f"{page.url}: {message.text}")


class Site:
    """An installation with a sandbox and a server.

    Attributes:
        sandbox: Bitbucket's sandbox with its demo content, in this process.
        url: The server's address.
        link: The address that signs in the first administrator.
    """

    def __init__(self, directory: Path, home: Path, sandbox) -> None:
        self.directory = directory
        self.home = home
        self.sandbox = sandbox
        self.url = self.link = ""
        self._process: ForkedProcess | None = None
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DEPLOYCORE_", "PYTHONDONTWRITEBYTECODE"))
        } | {"DEPLOYCORE_HOME": str(home)}

    def install(self, name: str, kind: str, source: str) -> None:
        """Install a plugin for the server."""
        place = self.directory / "site"
        place.mkdir(exist_ok=True)
        write_distribution(place, name, kind, source)
        self._environment["PYTHONPATH"] = str(place)

    def start(self, *arguments: str) -> None:
        """Start the server, on the previous port if it ran before."""
        port = str(urlsplit(self.url).port or 0) if self.url else "0"
        self.log = self.directory / "server.log"
        with self.log.open("ab") as log:
            self._process = self._started(port, arguments, log)
        self.url = self._process.line().split()[3]

    def _started(self, port, arguments, log) -> ForkedProcess:
        return ForkedProcess(
            [sys.executable, "-m", "deploycore", "serve", "--port", port, *arguments],
            env=self._environment,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def sign_in_link(self) -> str:
        """The address of the one-time link, which a server without users prints."""
        while True:
            found = re.search(r"https?://\S+/sign-in/link/\S+", self._process.line())
            if found:
                return found[0]

    def stop(self) -> None:
        """Stop the server as a service manager does."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.communicate()
        assert "Traceback" not in self.log.read_text()

    def installation(self) -> Installation:
        """Open the installation in this process."""
        return Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(self.home)}))

    def connection(self, mode: str = "api-token"):
        """One of the sandbox's ways to sign in."""
        return next(each for each in self.sandbox.connections if each.settings["mode"] == mode)

    def add_provider(self, mode: str = "api-token") -> str:
        """Add a provider with one of the sandbox's ways to sign in; return its name."""
        connection = self.connection(mode)
        settings = dict(connection.settings)
        name = provider_name(connection)
        with self.installation() as opened:
            secrets = {k: v for k, v in settings.items() if not isinstance(v, str)}
            plain = {k: v for k, v in settings.items() if isinstance(v, str)}
            opened.add_provider(name, "bitbucket", plain, secrets)
        return name


@pytest.fixture
def new_site(tmp_path, empty_home, demo_sandbox) -> Iterator[Site]:
    """A site with an empty data directory, whose server is not started yet."""
    home = shutil.copytree(empty_home, tmp_path / "home")
    site = Site(tmp_path, home, demo_sandbox)
    yield site
    site.stop()


@pytest.fixture
def site(new_site) -> Site:
    """A site with a running server, without a signed-in user. Its applications belong in its
    directory."""
    new_site.start("--targets", str(new_site.directory))
    new_site.link = new_site.sign_in_link()
    return new_site


def sign_in(page, site) -> None:
    """Sign in as the first administrator, with the one-time link."""
    page.goto(site.link)
    name = page.get_by_label("Name")
    if name.count():
        name.fill("ada")
        for field in page.locator("input[type=password]").all():
            field.fill(PASSWORD)
    page.locator("main button").click()
    page.get_by_role("button", name="Sign out").wait_for()
