"""Distributions as pip would leave them, written to a temporary directory on ``sys.path``."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploycore.observers import installed_observers

InstallDistribution = Callable[..., None]

GOOD_PROVIDER = """
import itertools
from pydantic import SecretStr
from deploycore.configuration import ProviderConfig
from deploycore.http import BearerAuth
from deploycore.hookspecs import hookimpl
from deploycore.models import Account, Branch, CloneUrl, GitCredential, Owner, Repository

class AcmeConfig(ProviderConfig):
    token: SecretStr

    @property
    def api_base_url(self):
        return "https://api.acme.example/v1"

    @property
    def api_auth(self):
        return BearerAuth(self.token)

class AcmeProvider:
    Config = AcmeConfig
    API_VERSION = 1

    def __init__(self, config, http):
        self.config = config

    @hookimpl
    def authenticate(self):
        return Account(username="ada")

    @hookimpl
    def list_repos(self, query):
        for number in range(3):
            yield Repository(
                name=f"Repository {number}",
                slug=f"repository-{number}",
                url="https://acme.example/r",
                owner=Owner(username="ada"),
            )

    @hookimpl
    def list_branches(self, repository, query):
        yield Branch(name="main", commit="1" * 40)

    @hookimpl
    def clone_url(self, repository):
        credential = GitCredential(username="git", password=self.config.token)
        return CloneUrl(url=f"https://acme.example/{repository}.git", credential=credential)
"""


@pytest.fixture
def install_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InstallDistribution]:
    """Install a distribution: ``install_distribution(name, kind, source, **options)``."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def install(
        name: str,
        kind: str,
        source: str,
        *,
        target: str = "AcmeProvider",
        group: str = "deploycore.providers",
        version: str = "1.0",
    ) -> None:
        module = name.replace("-", "_")
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        metadata = site / f"{module}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        reference = f"{module}:{target}" if target else module
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{kind} = {reference}\n")
        importlib.invalidate_caches()

    yield install
    for module in set(sys.modules) - before:
        if str(site) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]
    installed_observers.cache_clear()


@pytest.fixture
def good_provider() -> str:
    """The source of a provider that fulfils the contract."""
    return GOOD_PROVIDER
