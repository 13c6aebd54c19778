"""There is a warning for each step that seems to be meant for a shell, and for no other step."""

from __future__ import annotations

import pytest

from deploycore.applications.application import parse_application
from deploycore.applications.shell_words import shell_warnings

BASE = {"name": "shop", "provider": "work", "repository": "acme/shop", "ref": "main"}


def warnings(step, **more) -> list[str]:
    steps = {"build": ["make", step]} if step is not None else {}
    application = parse_application({**BASE, "target": "/srv/shop", "steps": steps, **more})
    return list(shell_warnings(application))


@pytest.mark.parametrize(
    ("step", "word"),
    [
        ("echo a && echo b", "'&&'"),
        ("make || true", "'||'"),
        ("cat list | sort", "'|'"),
        ("date > BUILT", "'>'"),
        ("date >BUILT", "'>BUILT'"),
        ("make 2>/dev/null", "'2>/dev/null'"),
        ("make 2>&1", "'2>&1'"),
        ("sort < list", "'<'"),
        ("npm ci; npm run build", "'ci;'"),
        ("npm ci ; npm run build", "';'"),
        ("server &", "'&'"),
        ("echo $HOME", "'$HOME'"),
        ("cp a ${TARGET}/b", "'${TARGET}/b'"),
        ("echo $(date)", "'$(date)'"),
        ("echo `date`", "'`date`'"),
        ("ls ~/bin", "'~/bin'"),
        ("rm -rf dist/*", "'dist/*'"),
        ("cd web", "'cd'"),
        ("source .venv/bin/activate", "'source'"),
        ("export A=b", "'export'"),
        ("NODE_ENV=production npm ci", "NODE_ENV=…"),
        (["echo", "'a'"], "\"'a'\""),
        ({"run": "echo a && echo b"}, "'&&'"),
        ({"run": ["echo", "a", "&&", "echo"]}, "'&&'"),
    ],
)
def test_shell_syntax_in_plain_commands_is_reported(step, word):
    (warning,) = warnings(step)
    assert warning.startswith("steps/build/1: ")
    assert word in warning
    assert "shell" in warning


@pytest.mark.parametrize(
    "step",
    [
        "npm run build",
        {"shell": "echo a && echo b > c; $X"},
        ["sh", "-c", "echo $HOME && date"],
        "sh -c 'echo $HOME && date'",
        "/bin/bash -ec 'a; b'",
        "echo 'a && b'",
        "grep -r 'foo$' .",
        "awk '{ print $1 }' list",
        "find . -name *.pyc",
        "curl https://acme.example/?a=1&b=2",
        "pip install foo==1.0",
        "psql -c 'select 1;' shop",
    ],
)
def test_valid_plain_commands_are_not_reported(step):
    assert warnings(step) == []


def test_health_check_commands_are_checked():
    (warning,) = warnings(None, health_check={"run": "curl -f $URL"})
    assert warning.startswith("health_check: '$URL'")
