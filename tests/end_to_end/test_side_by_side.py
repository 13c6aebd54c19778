"""Providers of one kind and of different kinds in one installation, broken plugins among them."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
from pydantic import SecretStr

from deploycore import Installation, Settings
from deploycore.cli.sandbox import load_sandbox
from deploycore.provider.entry_points import SANDBOX_GROUP, entry_points_by_name
from deploycore.redaction import Redactor

KINDS = list(entry_points_by_name(SANDBOX_GROUP))

PLUGIN = """
import time
from pydantic import Field, SecretStr
from deploycore.configuration import ProviderConfig
from deploycore.hookspecs import hookimpl
from deploycore.models import Account
{at_import}

class Config(ProviderConfig):
    token: SecretStr = Field(description="anything")

    @property
    def api_base_url(self):
        return "http://127.0.0.1:9"

    @property
    def api_auth(self):
        return None

class Provider:
    API_VERSION = 1
    Config = Config

    def __init__(self, config, http):
        pass

    @hookimpl
    def authenticate(self{argument}):
        {in_hook}

    @hookimpl
    def list_repos(self, query):
        return []

    @hookimpl
    def list_branches(self, repository, query):
        return []

    @hookimpl
    def clone_url(self, repository):
        return None
"""

BROKEN = {
    "broken-import": {"at_import": "import there_is_no_such_module"},
    "broken-signature": {"argument": ", account"},
    "broken-hook": {"in_hook": "raise ZeroDivisionError('by nothing')"},
    "hanging-import": {"at_import": "time.sleep(3600)"},
}


@pytest.fixture
def broken_plugins(tmp_path):
    """A directory for PYTHONPATH with a distribution for each kind of fault."""
    site = tmp_path / "site"
    site.mkdir()
    for kind, fault in BROKEN.items():
        package = kind.replace("-", "_")
        parts = {"at_import": "", "argument": "", "in_hook": "return Account(username='x')"}
        (site / f"{package}.py").write_text(PLUGIN.format(**parts | fault))
        metadata = site / f"{package}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: {kind}\nVersion: 1.0\n")
        points = f"[deploycore.providers]\n{kind} = {package}:Provider\n"
        (metadata / "entry_points.txt").write_text(points)
    return site


def test_two_providers_of_each_kind_deploy_despite_broken_plugins(shell, broken_plugins):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(shell.home)})
    names = [f"{kind}-{number}" for kind in KINDS for number in (1, 2)]
    with ExitStack() as running:
        installation = running.enter_context(Installation(settings))
        secrets = []
        for name in names:
            kind = name.rpartition("-")[0]
            sandbox = load_sandbox(kind)[1].demo()
            running.callback(sandbox.stop)
            connection = sandbox.connections[0]
            page = {"page": f"of {name}\n".encode()}
            sandbox.publish(connection.owner, name, "main", page, "Say who")
            plain, secret = {}, {}
            for field, value in connection.settings.items():
                (secret if isinstance(value, SecretStr) else plain)[field] = value
            if "repositories" in plain:  # a host without an API lists what is configured
                plain["repositories"] = f"{connection.owner}/{name}"
            secrets += secret.values()
            installation.add_provider(name, kind, plain, secret)
            repository, target = f"{connection.owner}/{name}", shell.directory / "live" / name
            installation.add_application(
                name, provider=name, repository=repository, ref="main", target=target
            )
        shell.succeed("deploy", "--all", "--json", PYTHONPATH=str(broken_plugins))
        for name in names:
            page = shell.directory / "live" / name / "current" / "page"
            assert page.read_text() == f"of {name}\n"
            with installation.open_provider(name) as provider:
                listed = [each.slug for each in provider.list_repos()]
            assert [slug for slug in listed if slug in names] == [name]
    mask = Redactor(secrets).mask
    assert all(mask(text) == text for text in shell.printed)


def test_each_broken_plugin_is_named_and_the_others_are_ready(shell, broken_plugins):
    said = shell.succeed("plugins", "--json", PYTHONPATH=str(broken_plugins))
    plugins = {each["kind"]: each for each in json.loads(said) if each["type"] == "provider"}
    assert [kind for kind in KINDS if plugins[kind]["ready"]] == KINDS
    problems = {kind: (plugins[kind]["problem"] or {}).get("message", "") for kind in BROKEN}
    assert "broken-import 1.0" in problems["broken-import"]
    assert "there_is_no_such_module" in problems["broken-import"]
    assert "authenticate(self, account) should be" in problems["broken-signature"]
    assert "hanging-import 1.0" in problems["hanging-import"]
    assert "did not end within" in problems["hanging-import"]


def test_a_hook_that_raises_is_named_with_its_plugin(shell, broken_plugins):
    installed = {"PYTHONPATH": str(broken_plugins)}
    arguments = ["provider", "add", "ill", "--kind", "broken-hook", "--token-stdin", "--no-verify"]
    shell.succeed(*arguments, given=f"{shell.made_up}\n", **installed)
    code, said = shell.fail("provider", "test", "ill", **installed)
    assert code == 10
    assert "broken-hook 1.0" in said
    assert "ZeroDivisionError: by nothing" in said
