"""``deploycore --server URL COMMAND`` if no server responds."""

from __future__ import annotations

import pytest

from deploycore.errors import ProviderUnavailable
from tests.forked import run


@pytest.mark.parametrize(
    ("line", "request_line"),
    [
        ("app show shop", "GET /api/v1/applications/shop"),
        ("repos work", "GET /api/v1/providers/work/repositories"),
        ("deploy shop", "GET /api/v1/applications/shop"),
        ("deployments", "GET /api/v1/deployments"),
        ("doctor", "GET /api/v1/doctor"),
        ("provider list", "GET /api/v1/providers"),
    ],
)
def test_each_type_of_command_reports_the_failed_request(tmp_path, line, request_line):
    environment = {
        "DEPLOYCORE_HOME": str(tmp_path / "home"),
        "DEPLOYCORE_CONFIG_HOME": str(tmp_path / "config"),
        "DEPLOYCORE_TOKEN": "given",
    }
    arguments = ["--server", "http://127.0.0.1:9", *line.split()]
    done = run("tests.cli.unwaiting", arguments, environment=environment, directory=tmp_path)
    assert (done.returncode, done.stdout) == (ProviderUnavailable.exit_code, "")
    assert f"{request_line} on 127.0.0.1 failed: Connection refused." in done.stderr
    assert not (tmp_path / "home").exists()
