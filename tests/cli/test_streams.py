"""Commands whose streams are closed, full, without a reader, or of another encoding."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from typer.main import get_command

from deploycore.cli import COMMANDS
from deploycore.cli.dispatch import application_of
from deploycore.cli.sandbox import provider_name

FULL = "No space left on device"
LEFT = os.open(os.devnull, os.O_RDONLY)
"""Stands for the writing end of a pipe that nobody reads."""

# Each with {clone} for a new directory. Without those that go on until they are told to end.
LINES = """
    --help
    --version
    nope
    app
    app list --nope
    provider list
    provider show work
    provider test work
    repos work
    branches work acme/shop
    clone work acme/shop {clone}
    app list
    app show shop
    deploy shop
    deploy shop other
    deploy shop --if-changed
    deploy nope
    deploy broken
    releases shop
    deployments
    show shop
    logs shop
    logs -f shop
    rollback shop
    rollback nope
    cancel 1
    recover
    worker --once
    apply {file}
    app secret shop STAGE --stdin
    export
    webhook register shop --by-hand
    webhook show shop
    webhook rotate shop
    webhook remove shop --keep-at-host
    token add ci --role read
    token list
    token remove ci
    cache list
    cache remove nope
    cache prune
    plugins
    plugin new acme --dir {plugin}
    doctor --offline
    app create more --provider work --repository acme/shop --branch main --target {more}
    app accept-repository shop
    app remove more
    provider add new --kind bitbucket
    provider remove nope
"""
LASTING = {"serve", "sandbox", "demo", "plugin check"}

# Runs command lines one after another in a process whose streams are what they are.
DRIVER = """
import json, os, sys
from deploycore.cli import main
lines, results = sys.argv[1:]
codes = []
for line in json.load(open(lines)):
    sys.stdin = None if sys.stdin is None else open(os.devnull)
    try:
        main(line)
    except SystemExit as ending:
        codes.append(ending.code)
    else:
        codes.append(None)
json.dump(codes, open(results, "w"))
"""


def commands(group=None, before=()):
    """All commands that do something, each as the words that name it."""
    group = group or get_command(application_of(COMMANDS))
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield " ".join((*before, name))


def test_every_command_is_among_those_that_are_tried():
    tried = [line.strip() for line in LINES.splitlines()]
    assert {
        name
        for name in commands()
        if name not in LASTING and not any(line.startswith(name) for line in tried)
    } == set()


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """A data directory and targets, as they are before each run."""
    from deploycore_bitbucket.sandbox import Sandbox

    place = tmp_path_factory.mktemp("streams")
    with Sandbox().start().with_demo_content() as sandbox:
        yield Place(place, sandbox)


class Place:
    """An installation that is made anew for each run."""

    def __init__(self, directory: Path, sandbox) -> None:
        self.directory = directory
        self.sandbox = sandbox
        sandbox.commit("acme", "shop", "main", {"a": b"ä"}, "Zażółć gęślą jaźń")
        connection = next(each for each in sandbox.connections if "token" in each.settings)
        self.name = provider_name(connection)
        self.settings = connection.settings
