"""Fixtures for tests of several packages."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from deploycore import Installation, Settings
from deploycore.provider.background import calls_left_behind
from deploycore.provider.observers import installed_observers
from tests.copied_databases import Copies
from tests.distributions import write_distribution
from tests.network import write_certificate
from tests.postgresql import Server, running_server, why_not
from tests.ssh_server import Sshd, forked_ssh_process
from tests.ssh_server import why_not as why_no_sshd

InstallDistribution = Callable[..., None]


@functools.cache
def may_write_everywhere() -> bool:
    """Whether file modes do not restrict this process."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o500)
        return os.access(directory, os.W_OK)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that do not work for root; see ``markers`` in ``pyproject.toml``."""
    marker = item.get_closest_marker("unprivileged")
    if marker is not None and marker.kwargs.get("only") and may_write_everywhere():
        pytest.skip("root may write everywhere")


@pytest.fixture
def install_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InstallDistribution]:
    """Install a distribution: ``install_distribution(name, kind, source, **options)``."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def install(name: str, kind: str, source: str, **options: str) -> None:
        write_distribution(site, name, kind, source, **options)
        importlib.invalidate_caches()

    yield install
    for module in set(sys.modules) - before:
        if str(site) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]
    installed_observers.cache_clear()


@pytest.fixture
def upgrade(tmp_path: Path) -> Callable[[str, str], None]:
    """Install another version of a distribution, which the next process sees: ``upgrade(module,
    source)``."""

    def install(module: str, source: str) -> None:
        sys.modules.pop(module, None)
        shutil.rmtree(tmp_path / "site" / "__pycache__", ignore_errors=True)
        (tmp_path / "site" / f"{module}.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()

    return install


@pytest.fixture
def until_the_end(tmp_path: Path) -> Iterator[str]:
    """An expression that does not return before the end of the test."""
    over = tmp_path / "the-test-is-over"
    yield f"__import__('tests.distributions').distributions.sleep_until({str(over)!r})"
    over.touch()
    ends = time.monotonic() + 60
    while calls_left_behind():  # such a call has output of this process go elsewhere
        assert time.monotonic() < ends
        time.sleep(0.002)


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a database. It is a copy, because creating a database takes long."""
    shared = tmp_path_factory.getbasetemp()
    if shared.name.startswith("popen-"):  # one of several processes of pytest-xdist
        shared = shared.parent
    made = shared / "empty-home"
    with FileLock(shared / "empty-home.lock"):
        if not made.exists():
            making = str(shared / "unfinished-home")
            with Installation(Settings.from_environment({"DEPLOYCORE_HOME": making})) as opened:
                opened.store.list_providers()
            os.rename(making, made)
    # Each process has its own: some tests open it, which makes files in it for a moment.
    return shutil.copytree(made, tmp_path_factory.mktemp("template") / "home")


@pytest.fixture
def home(tmp_path: Path, empty_home: Path) -> Path:
    """An empty data directory for this test."""
    return shutil.copytree(empty_home, tmp_path / "home")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A PostgreSQL server of this test process."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with running_server() as server:
        yield server


@pytest.fixture
def postgresql(postgresql_server: Server) -> Iterator[str]:
    """The address of a new, empty database on that server."""
    with postgresql_server.database() as address:
        yield address


@pytest.fixture(scope="session")
def postgresql_template(
    postgresql_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a database on that server with empty tables."""
    home = tmp_path_factory.mktemp("template") / "home"
    with postgresql_server.database() as address:
        environ = {"DEPLOYCORE_HOME": str(home), "DEPLOYCORE_DATABASE_URL": address}
        with Installation(Settings.from_environment(environ)) as installation:
            installation.store.list_providers()
        yield address


@pytest.fixture(scope="session")
def postgresql_copies(postgresql_server: Server, postgresql_template: str) -> Iterator[Copies]:
    """Databases on that server with empty tables, each of which many tests use."""
    copies = Copies(postgresql_server, postgresql_template)
    yield copies
    copies.close()


@pytest.fixture
def made_postgresql(postgresql_copies: Copies) -> Iterator[str]:
    """The address of a database on that server with empty tables."""
    with postgresql_copies.lend() as address:
        yield address


@pytest.fixture
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a self-signed certificate for ``localhost``, and its key."""
    directory = tmp_path_factory.mktemp("certificate")
    return write_certificate(directory / "certificate.pem", "localhost")


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An OpenSSH server of this test process, with git; see ``tests.ssh_server``."""
    reason = why_no_sshd()
    if reason:
        pytest.skip(f"no sshd: {reason}")
    running = Sshd(tmp_path_factory.mktemp("sshd"))
    yield running
    running.stop()


@pytest.fixture(params=["here", "in a process"])
def ssh_runs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the test's first SSH connection is held: in this process, or in a prepared one."""
    if request.param == "here":
        yield
        return
    with forked_ssh_process(monkeypatch):
        yield
