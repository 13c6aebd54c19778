"""An installation without problems, which tests damage in one place, and the findings about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycore import Installation, Settings
from deploycore.doctor import Finding, diagnose

SHOWN_NOWHERE = "made-up-secret-77aa0c1e"


class Diagnosis:
    """All findings."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings

    def of(self, subject: str, level: str | None = None) -> list[Finding]:
        """Return the findings about a subject, by the start of its name."""
        return [
            each
            for each in self.findings
            if each.subject.startswith(subject) and level in (None, each.level)
        ]

    def only(self, level: str) -> Finding:
        """Return the only finding of a level."""
        (found,) = (each for each in self.findings if each.level == level)
        return found


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def settings(home) -> Settings:
    return Settings.from_environment({"DEPLOYCORE_HOME": str(home)})


@pytest.fixture
def installation(settings):
    with Installation(settings) as opened:
        yield opened


@pytest.fixture
def look(settings):
    """Check the installation. Every problem must have a next step and contain no secret."""

    def run(*, given: Settings | None = None, offline: bool = True) -> Diagnosis:
        found = list(diagnose(lambda: given or settings, offline=offline))
        for each in found:
            assert each.message.endswith("."), each
            assert bool(each.hint) == (each.level != "ok"), each
            assert bool(each.exit_code) == (each.level == "problem"), each
            assert "Traceback" not in each.message
        assert SHOWN_NOWHERE not in repr(found)
        return Diagnosis(found)

    return run


@pytest.fixture
def provider(installation, demo_sandbox) -> str:
    """A provider that works."""
    connection = next(c for c in demo_sandbox.connections if c.settings["mode"] == "access-token")
    settings = dict(connection.settings)
    installation.add_provider("work", "bitbucket", settings, {"token": settings.pop("token")})
    return "work"


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "live"


@pytest.fixture
def application(installation, provider, demo_sandbox, target) -> str:
    """An application that was never deployed."""
    demo_sandbox.publish("acme", "site", "main", {"page": b"one"}, "One")
    installation.add_application(
        "site", provider=provider, repository="acme/site", ref="main", target=target
    )
    return "site"
