"""Distributions in the form in which pip installs them, written to a directory for ``sys.path``."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

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


def write_distribution(
    site: Path,
    name: str,
    kind: str,
    source: str,
    *,
    target: str = "AcmeProvider",
    group: str = "deploycore.providers",
    version: str = "1.0",
    requires: str = "",
) -> None:
    """Write a distribution of one module and one entry point."""
    module = name.replace("-", "_")
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(textwrap.dedent(source))
    metadata = site / f"{module}-{version}.dist-info"
    metadata.mkdir()
    required = f"Requires-Dist: {requires}\n" if requires else ""
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}"
    )
    reference = f"{module}:{target}" if target else module
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{kind} = {reference}\n")


def sleep_until(path: str) -> None:
    """Do what a plugin that hangs does, in the tests' own process.

    It ends when the file exists, or when the test's directory is removed.
    """
    while Path(path).parent.exists() and not Path(path).exists():
        time.sleep(0.01)
