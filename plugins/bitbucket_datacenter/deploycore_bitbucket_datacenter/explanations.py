"""Map error responses of Bitbucket Data Center to errors that say what failed and what to do next.

The functions here have no side effects: they convert a request and its error response to an error.
Error responses have the body ``{"errors": [{"context", "message", "exceptionName"}]}``. The status
401 has two meanings: the credentials are wrong, or they are valid but lack a permission. They are
distinguished by the name of the exception, and by the header ``X-AUSERNAME``, which only responses
to valid credentials have.

Source: https://developer.atlassian.com/server/bitbucket/rest/ (errors), and reports of users of
version 10 about Basic authentication.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
)
from deploycore.http import ErrorAnswer, quoted
from deploycore.models import RepositoryId
from deploycore.plugin_parts import Action

from deploycore_bitbucket_datacenter.configuration import (
    REPOSITORY_ADMIN,
    REPOSITORY_READ,
    AccessTokenConfig,
    AnyConfig,
    PasswordConfig,
)

__all__ = [
    "NO_REPOSITORIES_HINT",
    "Action",
    "Question",
    "explain",
    "explain_git_refusal",
    "hidden",
    "no_commit",
    "no_server",
    "no_ssh",
]

NO_REPOSITORIES_HINT = (
    "The credentials are valid, but cannot access any repository. Check the project key (see the"
    " address, <url>/projects/<KEY>), that the account has read access to a repository there, and"
    f" that the token has the permission {REPOSITORY_READ}."
)

NOT_PERMITTED = "AuthorisationException"
_BASIC_IS_OFF = re.compile(r"basic authentication has been disabled", re.IGNORECASE)
_CAPTCHA = re.compile(r"captcha", re.IGNORECASE)


@dataclass(frozen=True)
class _Task:
    """The texts of errors about an operation other than reading.

    Attributes:
        what: The text after "may not".
        permission: The permission that a token or the account needs for it.
    """

    what: str
    permission: str


_TASKS: dict[Action, _Task] = {
    "list webhooks": _Task("list the webhooks of", REPOSITORY_ADMIN),
    "register webhook": _Task("register a webhook for", REPOSITORY_ADMIN),
    "remove webhook": _Task("remove a webhook from", REPOSITORY_ADMIN),
    "list deploy keys": _Task("list the access keys of", REPOSITORY_ADMIN),
    "add deploy key": _Task("add an access key to", REPOSITORY_ADMIN),
    "remove deploy key": _Task("remove an access key from", REPOSITORY_ADMIN),
    "report status": _Task("report a build status to", REPOSITORY_READ),
}


@dataclass(frozen=True)
class Question:
    """A request, and its credentials.

    Attributes:
        project: The project; ``None`` if the request was about everything that the credentials can
            read.
        repository: The repository; ``None`` if the request was about a whole project.
        action: The requested operation.
    """

    config: AnyConfig
    project: str | None = None
    repository: RepositoryId | None = None
    action: Action = "read"

    @property
    def what(self) -> str:
        """Return the text after "may not"."""
        task = _TASKS.get(self.action)
        return f"{task.what if task else 'read'} {self.subject}"

    @property
    def permission(self) -> str:
        """The permission that a token needs for the operation, as the form for a new token names
        it."""
        task = _TASKS.get(self.action)
        return task.permission if task else REPOSITORY_READ

    @property
    def subject(self) -> str:
        if self.repository is not None:
            return f"the repository {self.repository}"
        if self.project is not None:
            return f"the repositories of the project {self.project!r}"
        return "repositories"

    @property
    def details(self) -> dict[str, str | None]:
        return {
            "mode": self.config.mode,
            "project": self.project,
            "repository": None if self.repository is None else str(self.repository),
        }


def explain(answer: ErrorAnswer, question: Question) -> ProviderError | None:
    """Explain an error response; ``None`` keeps the client's own error.

    It returns ``None`` for 429, because the client handles ``Retry-After``.
    """
    said = _said(answer)
    match answer.status:
        case 401 if _is_not_permitted(answer, question):
            return _denied(said, question)
        case 401:
            return _wrong_credentials(said, question)
        case 403 if _BASIC_IS_OFF.search(said):
            return _basic_is_off(question)
        case 403 if _CAPTCHA.search(said):
            return _wrong_credentials(said, question)
        case 403:
            return _denied(said, question)
        case 404:
            return _unknown(answer, question)
        case 400 if question.action == "register webhook":
            return _not_taken(said, question)
        case _:
            return None


def explain_git_refusal(config: AnyConfig, status: int | None, message: str) -> str | None:
    """Explain what to do if the git server rejects a request; ``None`` if there is no advice."""
    if _BASIC_IS_OFF.search(message):
        return _without_basic(config)
    if status == 401 or _CAPTCHA.search(message):
        return _check_credentials(config, message)
    if status == 403:
        return (
            f"Check that {_who(config)} has the permission {REPOSITORY_READ} for the repository,"
            " and that the server allows git over HTTP."
        )
    if status == 404:
        return (
            "Check the project key and the repository's slug. The server also answers 'not found'"
            f" if {_who(config)} cannot read the repository."
        )
    if status == 429:
        return "The server limits requests. Try again later, or ask its administrator."
    return None


def hidden(question: Question) -> NotFound:
    """Return the error for a repository that these credentials cannot read, although they can read
    others."""
    return NotFound(
        f"Repository {question.repository} was not found, or these credentials cannot read it.",
        hint=f"Give {_who(question.config)} the permission {REPOSITORY_READ} for it, or check the"
        " names in its address: <url>/projects/<PROJECT>/repos/<SLUG>.",
        **question.details,
    )


def no_commit(repository: RepositoryId, commit: str) -> NotFound:
    """Return the error for a commit that does not exist any more."""
    return NotFound(
        f"The repository {repository} has no commit {commit}.",
        hint="A forced push may have removed it. Deploy the newest commit.",
        repository=str(repository),
        commit=commit,
    )


def no_ssh(repository: RepositoryId) -> NotFound:
    """Return the error for a repository without a link for SSH."""
    return NotFound(
        f"The server names no SSH address for the repository {repository}.",
        hint="Ask the server's administrator to turn on SSH, or clone over HTTPS: deploycore"
        " provider edit NAME --unset ssh-private-key",
        repository=str(repository),
    )


def no_server(config: AnyConfig, version: str | None) -> NotFound:
    """Return the error for an address that does not have the expected REST API.

    Args:
        version: The version of the server at the address; ``None`` if there is none.
    """
    if version is None:
        return NotFound(
            f"No Bitbucket Data Center was found at {config.url}.",
            hint="Use the base URL that a browser shows on the start page, with its context path,"
            " such as https://git.example.com/bitbucket.",
            url=config.url,
        )
    return NotFound(
        f"Bitbucket {version} at {config.url} lacks a part of the REST API that deploycore uses.",
        hint="Upgrade Bitbucket to version 7.21 or later.",
        url=config.url,
        version=version,
    )


def _is_not_permitted(answer: ErrorAnswer, question: Question) -> bool:
    """Whether 401 means that the credentials are valid but lack a permission.

    Only responses to valid credentials have ``X-AUSERNAME``. Without it, the name of the exception
    decides. An exception are requests that every signed-in user may send: for them, 401 means wrong
    credentials.
    """
    if not _exception(answer).endswith(NOT_PERMITTED):
        return False
    if _header(answer, "X-AUSERNAME"):
        return True
    return question.project is not None or question.repository is not None


def _wrong_credentials(said: str, question: Question) -> AuthenticationFailed:
    config = question.config
    what = (
        f"the username {config.username!r} with this password"
        if isinstance(config, PasswordConfig)
        else "the token"
    )
    return AuthenticationFailed(
        f"{config.url} does not accept {what}{quoted(said)}.",
        hint=_check_credentials(config, said),
        **question.details,
    )


def _check_credentials(config: AnyConfig, said: str) -> str:
    if _CAPTCHA.search(said):
        return (
            "Sign in once with a browser and solve the CAPTCHA: the server demands one after"
            f" several failed attempts: {config.url}/login"
        )
    if isinstance(config, PasswordConfig):
        return (
            "Check the username and the password. If they are right, the server may have Basic"
            f" authentication turned off: {_use_a_token(config)}"
        )
    if isinstance(config, AccessTokenConfig):
        return (
            "Check that the token is complete, has not expired or been deleted, and that no proxy"
            " removes the Authorization header: see HTTP access tokens in the settings of the"
            " project or repository."
        )
    return (
        "Check that the token is complete, has not expired or been deleted, and that no proxy"
        f" removes the Authorization header: {config.tokens_page}"
    )


def _basic_is_off(question: Question) -> AuthenticationFailed:
    config = question.config
    return AuthenticationFailed(
        f"{config.url} does not accept passwords: Basic authentication is turned off.",
        hint=_without_basic(config),
        **question.details,
    )


def _without_basic(config: AnyConfig) -> str:
    if isinstance(config, PasswordConfig):
        step = _use_a_token(config)
        return step[0].upper() + step[1:]
    return f"Remove the username: deploycore provider edit {config.name} --unset username"


def _use_a_token(config: AnyConfig) -> str:
    return (
        f"create an HTTP access token with {REPOSITORY_READ} at {config.tokens_page} and configure"
        " the provider again in mode personal-token."
    )


def _denied(said: str, question: Question) -> PermissionDenied:
    config = question.config
    who = _who(config)
    hint = (
        f"Give {who} the permission {question.permission}{_where(question)}. A token can do no more"
        " than the account that made it."
    )
    is_of_one = isinstance(config, AccessTokenConfig) and config.repository is None
    if is_of_one and question.repository is None:
        hint += (
            " The token of a repository cannot list others: name that repository with"
            f" deploycore provider edit {config.name} --repository PROJECT/SLUG"
        )
    return PermissionDenied(
        f"{who[0].upper()}{who[1:]} may not {question.what}{quoted(said)}.",
        hint=hint,
        **question.details,
    )


def _where(question: Question) -> str:
    if question.repository is not None:
        return f" for {question.repository} or its project"
    return f" in the project {question.project}" if question.project else ""


def _who(config: AnyConfig) -> str:
    return "the account" if isinstance(config, PasswordConfig) else "the token"


def _not_taken(said: str, question: Question) -> ProviderError:
    return ProviderError(
        f"{question.config.url} refuses to {question.what}{quoted(said)}.",
        hint="Use a complete webhook address that begins with http:// or https://.",
        **question.details,
    )


def _unknown(answer: ErrorAnswer, question: Question) -> NotFound:
    if question.repository is not None:
        return NotFound(
            f"Repository {question.repository} was not found, or these credentials cannot read it.",
            hint="Use the project key and the slug in its address,"
            " <url>/projects/<PROJECT>/repos/<SLUG>.",
            **question.details,
        )
    if question.project is not None:
        return NotFound(
            f"Project {question.project!r} was not found, or these credentials cannot see it.",
            hint="Use the key in its address, <url>/projects/<KEY>, not its name; ~<user> for the"
            " repositories of a person.",
            **question.details,
        )
    return no_server(question.config, None)


def _errors(answer: ErrorAnswer) -> list[Mapping[str, object]]:
    found = answer.json.get("errors") if isinstance(answer.json, Mapping) else None
    rows = found if isinstance(found, list) else []
    return [row for row in rows if isinstance(row, Mapping)]


def _said(answer: ErrorAnswer) -> str:
    """The message of the first error."""
    for row in _errors(answer):
        message = row.get("message")
        if isinstance(message, str):
            return message
    return answer.text if answer.status == 403 and _BASIC_IS_OFF.search(answer.text) else ""


def _exception(answer: ErrorAnswer) -> str:
    for row in _errors(answer):
        name = row.get("exceptionName")
        if isinstance(name, str):
            return name
    return ""


def _header(answer: ErrorAnswer, name: str) -> str:
    wanted = name.lower()
    return next((value for key, value in answer.headers.items() if key.lower() == wanted), "")
