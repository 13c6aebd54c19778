"""What the sandbox's tests share: one with a person and two workspaces, and clients for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from urllib.parse import quote

import pytest
import requests


@pytest.fixture
def sandbox(make_sandbox):
    """Running, with user ada, her workspace ada and the team acme, and nothing in them."""
    made = make_sandbox()
    _people(made)
    return made


@pytest.fixture
def make_populated(make_sandbox):
    """As ``sandbox``, with options: ``make_populated(rate_budget=3)``."""

    def make(**options):
        made = make_sandbox(**options)
        _people(made)
        return made

    return make


def _people(sandbox):
    ada = sandbox.add_user("ada", "ada@example.com", "Ada Lovelace")
    sandbox.add_workspace("ada", "Ada Lovelace", members=[ada])
    sandbox.add_workspace("acme", "Acme Corporation", members=[ada])


@pytest.fixture
def ada(sandbox):
    return sandbox.add_user("ada", "ada@example.com", "Ada Lovelace")


@pytest.fixture
def session():
    """A client with keep-alive that ignores the machine's proxies and netrc."""
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


@pytest.fixture
def get(sandbox, session):
    """``get("/user", credential)``: a GET below the API's address."""

    def ask(path, credential=None, /, **params):
        return session.get(
            sandbox.api_url + path, params=params, headers=authorization(credential), timeout=10
        )

    return ask


@pytest.fixture
def authorization_for():
    return authorization


def authorization(credential, username=None):
    """The header that a credential's mode asks for."""
    if credential is None:
        return {}
    secret = credential.secret.get_secret_value()
    if credential.mode == "access-token" and username is None:
        return {"Authorization": f"Bearer {secret}"}
    by_mode = {"app-password": "username", "api-token": "email"}
    name = username or getattr(credential.user, by_mode[credential.mode])
    basic = requests.auth._basic_auth_str(name.encode(), secret.encode())
    return {"Authorization": basic}


@pytest.fixture
def git(tmp_path):
    """Runs git without the user's configuration; skips the test if git is not installed."""
    if shutil.which("git") is None:
        pytest.skip("stock git is not installed")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "NO_PROXY": "127.0.0.1",
    }
    people = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]

    def run(*arguments, at=tmp_path):
        return subprocess.run(
            ["git", *people, *arguments],
            cwd=at,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def joined_url(sandbox):
    """``joined_url(credential, "acme/shop")``: the form ``http://user:secret@host/…``."""

    def join(credential, full_name, username=None):
        secret = quote(credential.secret.get_secret_value(), safe="")
        user = quote(username or credential.git_username, safe="")
        return f"{sandbox.git_url.replace('//', f'//{user}:{secret}@')}/{full_name}.git"

    return join


@pytest.fixture(params=["app-password", "api-token", "access-token"])
def credential(request, sandbox, ada):
    """One of each mode, for workspace acme, with every scope that there is by default."""
    match request.param:
        case "app-password":
            return sandbox.add_app_password(ada)
        case "api-token":
            return sandbox.add_api_token(ada)
        case _:
            return sandbox.add_access_token("acme")
