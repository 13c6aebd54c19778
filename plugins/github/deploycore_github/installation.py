"""The tokens of one installation of a GitHub App, which deploycore obtains and renews."""

from __future__ import annotations

from functools import partial

from pydantic import SecretStr

from deploycore.http import HttpClient, parse_answer
from deploycore.tokens import RenewableAuth, Token
from deploycore_github import explanations
from deploycore_github.answers import InstallationTokenAnswer
from deploycore_github.app_auth import AppAuth
from deploycore_github.configuration import AppConfig
from deploycore_github.explanations import Question
from deploycore_github.tasks import Task

__all__ = ["installation_path", "installation_token"]


def installation_token(config: AppConfig, task: Task) -> RenewableAuth:
    """Authorize requests with the installation's token, which is valid for an hour and only for one
    task: a token for reading cannot write. deploycore obtains it, and renews it before it expires.

    Source: https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app
    """
    explain = partial(explanations.explain, question=Question(config, task=task))
    path = f"{installation_path(config)}/access_tokens"
    body = {"permissions": dict(task.permissions)}

    def obtain(http: HttpClient, held: Token | None) -> Token:
        app = http.authorised_by(AppAuth(config.app_id, config.private_key))
        answer = app.explaining(explain).repeating("POST").send_json("POST", path, body=body)
        given = parse_answer(InstallationTokenAnswer, answer, what="an installation token")
        return Token(value=SecretStr(given.token), expires_at=http.local_time(given.expires_at))

    return RenewableAuth(obtain, key=task.name)


def installation_path(config: AppConfig) -> str:
    """The API path of the installation."""
    return f"app/installations/{config.installation_id}"
