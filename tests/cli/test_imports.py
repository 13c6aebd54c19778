"""Commands import what they need, and help needs nearly nothing.

The tests check the names of imported modules. ``benchmarks/start_up.py`` measures the time.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploycore import Installation, RepositoryId
from deploycore.applications.application import Application
from deploycore.cli.completion_table import PARAMETERS
from deploycore.cli.sandbox import load_sandbox
from deploycore.settings import Settings
from deploycore.store import ProviderRecord, Store

_PLUGINS = [
    "deploycore_bitbucket",
    "deploycore_bitbucket_datacenter",
    "deploycore_git",
    "deploycore_gitea",
    "deploycore_github",
    "deploycore_gitlab",
]

_HELP_ONLY = """
import contextlib, io, json, sys
from deploycore.cli.dispatch import application_of
found = {}
for command in json.loads(sys.argv[1]):
    words = command.split()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        application_of(words[:1])(args=[*words, "--help"], prog_name="deploycore")
    assert "Usage: deploycore " + command in printed.getvalue(), command
    found[command] = sorted(sys.modules)
print(json.dumps(found))
"""
"""Prints what is imported once the help of each of these commands has been printed, in turn."""

_ONE_COMMAND = """
import contextlib, io, json, sys
from deploycore.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
"""

_COMMAND_THAT_SUCCEEDS = """
import contextlib, io, json, sys
from deploycore.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main(sys.argv[1:])
    except SystemExit as ended:
        assert not ended.code, ended.code
print(json.dumps(sorted(sys.modules)))
"""

_SERVER = """
import json, sys
from deploycore import Installation
from deploycore.server.accounts.openid_settings import OpenIdSettings
from deploycore.server.app import create_application
from deploycore.server.openapi import openapi_document
from deploycore.server.options import ServerOptions
settings = OpenIdSettings("https://issuer.test", "x")
found = []
with Installation() as installation:
    for openid in (None, settings):
        create_application(installation, ServerOptions(openid=openid))
        found.append(sorted(sys.modules))
assert not openapi_document.cache_info().currsize
print(json.dumps(found))
"""

_NEVER_FOR_HELP = {
    "alembic",
    "cryptography",
    "dulwich",
    "logging",
    "pluggy",
    "pydantic",
    "requests",
    "rich",
    "sqlalchemy",
    "urllib3",
}
_NEVER_WITHOUT_FETCHING = {"alembic", "cryptography", "dulwich", "requests", "rich", "urllib3"}
_NEVER_FOR_DEPLOYMENTS = {"alembic", "asyncio", "filelock", "sqlalchemy", "typer"}
_NEVER_FOR_LISTINGS = _NEVER_FOR_HELP - {"logging"} | {"asyncio", "filelock", "importlib.metadata"}
_LAZY_PACKAGES = (
    "deploycore",
    *(f"deploycore.{name}" for name in ("deploy", "git", "http", "store")),
)


def run(code: str, *arguments: str, home: object) -> str:
    environment = os.environ | {"DEPLOYCORE_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout


def test_help_does_not_import_the_engine(tmp_path):
    imported = json.loads(run(_HELP_ONLY, json.dumps(list(PARAMETERS)), home=tmp_path))
    assert list(imported) == list(PARAMETERS)
    for command, modules in imported.items():
        assert not _NEVER_FOR_HELP.intersection(modules), command


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The data directory of an installation whose database is up to date."""
    found = tmp_path_factory.mktemp("home")
    run(_ONE_COMMAND, "app", "list", home=found)
    return found


@pytest.fixture(scope="module")
def filled_home(home):
    """The data directory of an installation with an application that was deployed."""
    with Store(Settings.from_environment({"DEPLOYCORE_HOME": str(home)})) as store:
        at = datetime.now(UTC)
        store.add_provider(ProviderRecord("x", "x", settings={}, secrets={}, created_at=at))
        values = {"name": "site", "provider": "x", "repository": "x/x", "ref": "x"}
        values["target"] = home / "site"
        store.add_application(Application.model_validate(values))
        store.deployments.request("site", ref="x", requested_by="", kind="deploy", home=str(home))
    return home


@pytest.mark.parametrize("command", ["app show site", "rollback site"])
def test_a_command_without_fetch_imports_neither_git_nor_http(home, command):
    imported = json.loads(run(_ONE_COMMAND, *command.split(), home=home))
    assert "sqlite3" in imported  # the command has got as far as the database
    assert not _NEVER_WITHOUT_FETCHING.intersection(imported)


@pytest.fixture(scope="module")
def deployed_home(empty_home, tmp_path_factory):
    """The data directory of an installation with an application that was deployed twice."""
    found = tmp_path_factory.mktemp("deployed")
    target = tmp_path_factory.mktemp("live") / "site"
    shutil.copy2(empty_home / "deploycore.db", found)
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(found)})
    with load_sandbox("gitea")[1].demo() as sandbox, Installation(settings) as installation:
        (connection, *_) = sandbox.connections
        given = dict(connection.settings)
        secrets = {name: given.pop(name) for name in [*given] if not isinstance(given[name], str)}
        installation.add_provider("host", "gitea", given, secrets)
        repository = RepositoryId(owner=connection.owner, slug="site")
        for version in (b"1", b"2"):
            sandbox.publish(connection.owner, "site", "main", {"page": version}, "Another page")
            if version == b"1":
                installation.add_application(
                    "site",
                    provider="host",
                    repository=repository,
                    ref="main",
                    target=target,
                )
            installation.deploy("site")
        yield found


@pytest.mark.parametrize("command", ["deploy site", "deploy site --force", "rollback site"])
def test_deployments_and_rollbacks_do_not_import_sqlalchemy(deployed_home, command):
    imported = json.loads(run(_COMMAND_THAT_SUCCEEDS, *command.split(), home=deployed_home))
    assert "sqlite3" in imported
    assert not _NEVER_FOR_DEPLOYMENTS.intersection(imported)
    if command.startswith("rollback"):  # without observers, it needs nothing of the contract
        assert not _NEVER_WITHOUT_FETCHING.intersection(imported)
        assert not {"deploycore.events", "pluggy"}.intersection(imported)


def test_the_first_commands_of_a_user_do_not_import_sqlalchemy(deployed_home, tmp_path):
    secrets, application = tmp_path / "secrets", "--provider host --repository ada/site --ref main"
    secrets.write_text("secret-token")
    commands = [
        f"provider add other --kind gitea --mode token --url https://git.example.com --owner ada"
        f" --no-verify --token-file {secrets}",
        f"app create other {application} --offline --target {tmp_path / 'other'}",
        "app show site",
        "show site",
        "provider show other",
    ]
    for command in commands:
        imported = json.loads(run(_COMMAND_THAT_SUCCEEDS, *command.split(), home=deployed_home))
        assert "sqlite3" in imported
        assert not {"alembic", "sqlalchemy"}.intersection(imported), command


@pytest.mark.parametrize(
    "command", ["provider list", "app list", "deployments", "releases site", "logs site", "logs 1"]
)
def test_a_listing_imports_neither_sqlalchemy_nor_pydantic(filled_home, command):
    imported = json.loads(run(_ONE_COMMAND, *command.split(), home=filled_home))
    assert "sqlite3" in imported  # the command has got as far as the database
    assert not _NEVER_FOR_LISTINGS.intersection(imported)


def test_a_clone_does_not_import_the_database(filled_home):
    imported = json.loads(run(_ONE_COMMAND, "clone", "x", "x/x", "new", home=filled_home))
    assert "sqlite3" in imported  # the command has got as far as the database
    assert not {"sqlalchemy", "asyncio", "typer"}.intersection(imported)


def test_fetching_imports_no_process_or_application_modules(tmp_path):
    code = (
        "import json, sys, deploycore.git.run, deploycore.provider.handle, deploycore.installation"
    )
    code += "; deploycore.installation.Installation; print(json.dumps(sorted(sys.modules)))"
    imported = json.loads(run(code, home=tmp_path))
    unwanted = {
        "deploycore.applications.application",
        "deploycore.provider.isolation",
        "multiprocessing",
        "sqlalchemy",
    }
    assert not unwanted.intersection(imported)


def test_a_clone_without_api_calls_imports_neither_requests_nor_export_code(
    tmp_path,
):
    code = (
        "import json, sys, deploycore.git.run, deploycore.git.wire.http_client,"
        " deploycore.provider.handle, deploycore.git.repositories.repository;"
        "from deploycore.http import HttpClient;"
        "client = HttpClient('https://git.example.com'); client.close();"
        "print(json.dumps(sorted(sys.modules)))"
    )
    imported = json.loads(run(code, home=tmp_path))
    assert "urllib3" in imported
    unwanted = {
        "charset_normalizer",
        "ctypes",
        "deploycore.events",
        "deploycore.git.checkout.changes",
        "deploycore.git.lfs.client",
        "deploycore.git.repositories.cached_repository",
        "deploycore.git.repositories.comparison",
        "deploycore.models.listed",
        "deploycore.models.queries",
        "dulwich.index",
        "html",
        "requests",
    }
    assert not unwanted.intersection(imported)


def test_a_clone_over_ssh_imports_no_http_code(tmp_path):
    pytest.importorskip("asyncssh")
    code = (
        "import json, sys, deploycore.git.run, deploycore.git.wire.ssh_client,"
        " deploycore.provider.handle, deploycore.git.repositories.repository;"
        "from deploycore.ssh.library import require_extra; require_extra();"
        "import deploycore.ssh.session; from deploycore.git.wire.address import is_address;"
        "assert is_address('ssh://git@git.example.com:2222/ada/site.git');"
        "print(json.dumps(sorted(sys.modules)))"
    )
    imported = json.loads(run(code, home=tmp_path))
    assert not {"urllib3", "requests", "http.client", "dulwich.index"}.intersection(imported)


@pytest.mark.parametrize("plugin", _PLUGINS)
def test_a_provider_that_only_makes_clone_urls_imports_no_events_nor_answers(plugin, tmp_path):
    pytest.importorskip(plugin)
    code = f"import json, sys, {plugin}; print(json.dumps(sorted(sys.modules)))"
    imported = json.loads(run(code, home=tmp_path))
    own = {f"{plugin}.{name}" for name in ("answers", "deploy_keys", "statuses", "webhooks")}
    unwanted = {"deploycore.events", "deploycore.models.listed", "deploycore.models.queries"}
    assert not (own | unwanted).intersection(imported)


def test_the_installed_distributions_are_searched_once(tmp_path):
    code = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda event, a: opened.append(str(a[0])) if event == 'open' else None)\n"
        "from deploycore.cli import main\n"
        "import atexit; atexit.register(lambda: print('\\n'.join(opened)))\n"
        "sys.argv[1:] = ['plugins']; main()"
    )
    read = [each for each in run(code, home=tmp_path).splitlines() if "entry_points.txt" in each]
    counts = Counter(read)
    assert counts
    for path, count in counts.items():  # those that name deploycore are parsed, once
        is_parsed = os.path.exists(path) and "deploycore." in Path(path).read_text()
        assert count == 1 + is_parsed, path


def test_models_are_built_on_first_use(tmp_path):
    code = (
        "from deploycore.models import Branch, RepositoryId, Tag;"
        "RepositoryId(owner='ada', slug='site');"
        "print([each.__pydantic_complete__ for each in (RepositoryId, Branch, Tag)])"
    )
    assert run(code, home=tmp_path).strip() == "[True, False, False]"


def test_the_import_of_asyncssh_runs_no_program(tmp_path):
    pytest.importorskip("asyncssh")
    code = (
        "import sys; started = []\n"
        "sys.addaudithook(lambda event, _: started.append(event)"
        " if event in ('subprocess.Popen', 'os.system', 'os.posix_spawn') else None)\n"
        "import ctypes.util; find = ctypes.util.find_library\n"
        "from deploycore.ssh.library import require_extra; require_extra()\n"
        "import asyncssh; assert ctypes.util.find_library is find; print(started)"
    )
    assert run(code, home=tmp_path).strip() == "[]"


def test_unused_parts_of_asyncssh_are_not_imported(tmp_path):
    pytest.importorskip("asyncssh")
    code = (
        "import json, sys; from deploycore.ssh.library import require_extra; require_extra();"
        "imported = sorted(sys.modules); import cryptography.x509;"
        "print(json.dumps(imported))"
    )
    imported = json.loads(run(code, home=tmp_path))
    assert "asyncssh.connection" in imported
    assert not {"asyncssh.crypto.x509", "asyncssh.gss_unix", "cryptography.x509"} & {*imported}


@pytest.mark.parametrize("package", _LAZY_PACKAGES)
def test_a_lazily_importing_package_exposes_all_of_its_public_names(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        module.nonsense  # noqa: B018


def test_a_server_makes_what_few_use_when_it_is_used(tmp_path):
    plain, with_issuer = json.loads(run(_SERVER, home=tmp_path))
    assert not {"authlib", "joserfc"}.intersection(plain)
    assert {"authlib", "joserfc"} <= set(with_issuer)
