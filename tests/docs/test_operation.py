"""The commands in the pages for operators are run, and the service units are checked."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from deploycore import Installation
from tests.docs.pages import ROOT

OPERATE = ROOT / "docs/operate"


def commands(page: str, heading: str) -> list[str]:
    """The commands of the first console block below a heading."""
    text = (OPERATE / page).read_text().split(f"\n## {heading}\n")[1]
    block = re.search(r"```console\n(.*?)```", text, re.DOTALL)
    return [line.removeprefix("$ ") for line in block[1].splitlines()]


def run(lines, environment):
    """Type commands, as a person with other directories would."""
    return subprocess.run(
        ["bash", "-euc", "\n".join(lines)], capture_output=True, text=True, env=environment
    )


@pytest.mark.usefixtures("prepared_installation")
def test_a_restored_backup_contains_all_data(tmp_path, environment_of_commands):
    home, backups = tmp_path / "home", tmp_path / "backups"
    with Installation() as installation:
        before = installation.store.get_provider("work")

    def typed(heading, leave_out=()):
        lines = [
            line.replace("/var/lib/deploycore", str(home)).replace("/var/backups", str(backups))
            for line in commands("backup.md", heading)
            if line not in leave_out
        ]
        return run(lines, environment_of_commands)

    backups.mkdir()
    done = typed("Back up")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(home)
    # The sandbox's targets and hosts are not what this page is about.
    done = typed("Restore", leave_out=["deploycore doctor"])
    assert done.returncode == 0, done.stdout + done.stderr
    with Installation() as installation:
        assert installation.store.get_provider("work") == before
        with installation.open_provider("work") as provider:
            assert provider.authenticate().username


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("name", ["deploycore-serve", "deploycore-worker"])
def test_systemd_accepts_the_units(name, tmp_path):
    text = (OPERATE / "services.md").read_text()
    unit = re.search(rf"```ini\n# /etc/systemd/system/{name}\.service\n(.*?)```", text, re.DOTALL)
    program = tmp_path / "deploycore"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = tmp_path / f"{name}.service"
    file.write_text(
        unit[1]
        .replace("/opt/deploycore/bin/deploycore", str(program))
        .replace("User=deploy", "User=root")
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert name not in done.stderr, done.stderr
