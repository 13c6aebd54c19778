"""Commands with names that do not exist."""

from __future__ import annotations

import pytest

from deploycore.errors import ConfigurationError
from tests.forked import run


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("app edit shop --branch main", "There is no application 'shop'."),
        ("app remove shop --yes", "There is no application 'shop'."),
        ("deploy shop", "There is no application 'shop'."),
        ("provider test work", "There is no provider 'work'."),
        ("provider edit work --workspace acme", "There is no provider 'work'."),
        ("provider remove work --yes", "There is no provider 'work'."),
        ("provider add work --kind nope", "No plugin for providers of kind 'nope' is installed"),
        ("plugin check nope", "No plugin for providers of kind 'nope' is installed"),
        (
            "app create shop --provider work --repository acme/shop --branch main --target /srv",
            "There is no provider 'work'.",
        ),
    ],
)
def test_an_unknown_name_is_reported_with_the_next_step(tmp_path, line, message):
    environment = {"DEPLOYCORE_HOME": str(tmp_path / "home")}
    done = run("deploycore", line.split(), environment=environment, directory=tmp_path)
    assert (done.returncode, done.stdout) == (ConfigurationError.exit_code, "")
    assert done.stderr.startswith(f"Error: {message}")
    assert "  Next: " in done.stderr
