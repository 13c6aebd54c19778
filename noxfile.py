"""Tasks for contributors: ``nox -s test``, ``test-all``, ``check`` or ``docs``."""

from __future__ import annotations

from pathlib import Path

import nox

VERSIONS = ["3.11", "3.12", "3.13", "3.14"]
PLUGINS = sorted(
    str(path.parent)
    for path in Path("plugins").glob("[!_]*/pyproject.toml")
    if path.parent.name != "audit"  # it would watch all tests; they import it from its directory
)

nox.options.sessions = ["check", "test"]
nox.options.error_on_missing_interpreters = False
nox.options.default_venv_backend = "uv|virtualenv"  # uv is optional, and quicker
nox.options.reuse_venv = "yes"


def install(session: nox.Session) -> None:
    """Install the core with its development tools, and all plugins."""
    editable = [argument for plugin in PLUGINS for argument in ("-e", plugin)]
    session.install("-q", "-e", ".[dev]", *editable)


@nox.session(python=VERSIONS)
def test(session: nox.Session) -> None:
    """Run the fast tests."""
    install(session)
    session.run("pytest", "-n", "auto", "-m", "not slow", *session.posargs)


@nox.session(name="test-all", python=VERSIONS)
def test_all(session: nox.Session) -> None:
    """Run all tests."""
    install(session)
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session
def check(session: nox.Session) -> None:
    """Check style, types and imports between packages."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/; a link that leads nowhere is an error."""
    install(session)
    session.run("sphinx-build", "-n", "-W", "--keep-going", "docs", "site", *session.posargs)
