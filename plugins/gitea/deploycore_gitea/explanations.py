"""Map error responses of Gitea and Forgejo to errors that say what failed and what to do next.

The functions here have no side effects: they convert a request and its error response to an error.
Error responses have the body ``{"message": …, "url": …}``. The message is for people, so only the
list of scopes is read from it. If the status alone is not clear, the message is quoted.

Sources: https://docs.gitea.com/development/oauth2-provider#scopes and
https://forgejo.org/docs/latest/user/token-scope/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    NotFound,
    PermissionDenied,
    ProviderError,
)
from deploycore.http import ErrorAnswer, quoted
from deploycore.models import RepositoryId
from deploycore.plugin_parts import Action

from deploycore_gitea.configuration import (
    READ_REPOSITORY,
    READ_USER,
    WRITE_REPOSITORY,
    AnyConfig,
    BasicConfig,
    OAuthConfig,
    TokenConfig,
)

__all__ = [
    "NO_REPOSITORIES_HINT",
    "Action",
    "Question",
    "explain",
    "explain_git_refusal",
    "missing_scopes",
]

NO_REPOSITORIES_HINT = (
    "The credentials are valid, but cannot access any repository of the owner. Check the"
    " owner's name (see the address, <url>/<owner>), that the account has read access to a "
    "repository there, and that the token was created for all repositories and not for public ones "
    f"only. A token without {READ_USER} cannot tell an owner that does not exist from one without "
    "repositories."
)

# Gitea up to 1.25 and Forgejo: 'required scope(s): [read:user]'; later: 'required scope(s),
# required=[read:user], token scope=…'.
_REQUIRED = r"required scope\(s\)(?:: |, required=)\[([^\]]*)\]"
_PUBLIC_ONLY = r"(?i)limited to public|public[- ]only"
_SECOND_FACTOR = r"(?i)\bOTP\b|two-factor|security key|WebAuthn|personal access token"
_NOT_SIGNED_IN = r"(?i)only signed in user|token is required"
_WEBHOOKS_OFF = r"(?i)webhooks disabled"


class _Task(NamedTuple):
    """The texts of errors about an operation other than reading.

    Attributes:
        what: The text after "may not".
        role: The people who may do it, as text.
    """

    what: str
    role: str


_ADMINISTRATOR = (
    "Only administrators of the repository can manage webhooks. Ask one to give the account "
    "administrator access, in the repository's settings under Collaborators."
)

_KEY_ADMINISTRATOR = (
    "Only administrators of the repository can manage deploy keys. Ask one to give the account "
    "administrator access, in the repository's settings under Collaborators, or to add the key."
)

_TASKS: dict[Action, _Task] = {
    "list webhooks": _Task("list the webhooks of", _ADMINISTRATOR),
    "register webhook": _Task("register a webhook for", _ADMINISTRATOR),
    "remove webhook": _Task("remove a webhook from", _ADMINISTRATOR),
    "list deploy keys": _Task("list the deploy keys of", _KEY_ADMINISTRATOR),
    "add deploy key": _Task("add a deploy key to", _KEY_ADMINISTRATOR),
    "remove deploy key": _Task("remove a deploy key from", _KEY_ADMINISTRATOR),
    "report status": _Task(
        "report a status to",
        "Give the account write access to the repository, in its settings under Collaborators.",
    ),
}


class Question(NamedTuple):
    """A request, and its credentials.

    Attributes:
        owner: The owner; ``None`` if the request was about the user.
        repository: The repository; ``None`` if the request was about a whole owner.
        action: The requested operation.
    """

    config: AnyConfig
    owner: str | None = None
    repository: RepositoryId | None = None
    action: Action = "read"

    @property
    def task(self) -> _Task | None:
        return _TASKS.get(self.action)

    @property
    def what(self) -> str:
        """Return the text after "may not"."""
        return f"{self.task.what if self.task else 'read'} {self.subject}"

    @property
    def scopes(self) -> str:
        """The scopes that a token needs for the operation."""
        return f"{WRITE_REPOSITORY if self.task else READ_REPOSITORY} and {READ_USER}"

    @property
    def subject(self) -> str:
        if self.repository is not None:
            return f"the repository {self.repository}"
        if self.owner is not None:
            return f"the repositories of {self.owner!r}"
        return "the user"

    @property
    def details(self) -> dict[str, str | None]:
        return {
            "mode": self.config.mode,
            "owner": self.owner,
            "repository": None if self.repository is None else str(self.repository),
        }


def explain(answer: ErrorAnswer, question: Question) -> ProviderError | None:
    """Explain an error response; ``None`` keeps the client's own error.

    It returns ``None`` for 429: neither program limits requests, but a proxy in front of it may.
    """
    said = _said(answer)
    match answer.status:
        case 401:
            return _wrong_credentials(said, question)
        case 403 if re.search(_NOT_SIGNED_IN, said):
            return _wrong_credentials(said, question)
        case 403:
            return _denied(said, question)
        case 404:
            return _unknown(answer, question)
        case 422 if question.action == "register webhook":
            return _not_taken(said, question)
        case _:
            return None


def missing_scopes(error: DeploycoreError) -> list[str]:
    """The scopes that a token lacks, if that is the reason of the error."""
    found = error.details.get("missing_scopes")
    return found if isinstance(found, list) else []


def explain_git_refusal(config: AnyConfig, status: int | None, message: str) -> str | None:
    """Explain what to do if the git server rejects a request; ``None`` if there is no advice."""
    if status == 401 or re.search(_SECOND_FACTOR, message):
        return _check_credentials(config, message)
    if status == 403 and "HTTP protocol" in message:
        return "This server does not offer git over HTTPS; ask its administrator to allow it."
    if status == 403 and isinstance(config, TokenConfig):
        return (
            f"Check that the token has the scope {READ_REPOSITORY} and was created for all "
            f"repositories, not for public ones only: {config.tokens_page}"
        )
    if status == 403:
        return "Check in a browser that the account is active and can read the repository."
    if status == 404:
        return (
            "Check the names of the owner and the repository. The server also answers 'not found' "
            "if the account cannot read the repository."
        )
    if status == 429:
        return "A proxy in front of the server limits requests. Try again later."
    return None


def _wrong_credentials(said: str, question: Question) -> AuthenticationFailed:
    config = question.config
    what = (
        f"the username {config.username!r} with this password"
        if isinstance(config, BasicConfig)
        else "the token"
    )
    return AuthenticationFailed(
        f"{config.url} does not accept {what}{quoted(said)}.",
        hint=_check_credentials(config, said),
        **question.details,
    )


def _check_credentials(config: AnyConfig, said: str) -> str:
    if isinstance(config, OAuthConfig):
        return f"Sign in again: deploycore provider authorize {config.name}"
    if isinstance(config, TokenConfig):
        return (
            "Check that the token is complete, was created on this server and has not been "
            f"deleted: {config.tokens_page}"
        )
    use_a_token = (
        f"create a token with {READ_REPOSITORY} and {READ_USER} at {config.tokens_page} and "
        "configure the provider again in mode token."
    )
    if re.search(_SECOND_FACTOR, said):
        return (
            f"The account has two-factor authentication, so a password is not enough: {use_a_token}"
        )
    return (
        "Check username and password. With two-factor authentication, with an account of "
        "another sign-in service, or where the server has turned passwords off, a password does"
        f" not work: {use_a_token}"
    )


def _denied(said: str, question: Question) -> PermissionDenied:
    config = question.config
    required = re.search(_REQUIRED, said)
    if required:
        missing = [scope for scope in re.split(r"[\s,]+", required[1]) if scope]
        scopes = ", ".join(missing)
        more = [scope for scope in missing if scope not in question.scopes]
        wanted = " and ".join([question.scopes, *more])
        hint = (
            f"Create a new token with {wanted} at {config.tokens_page}. Scopes of a token cannot be"
            " changed later."
        )
        if isinstance(config, OAuthConfig):
            needed = [*config.oauth_scopes.split(), *wanted.split(" and ")]
            hint = (
                f"Add {wanted} to oauth_scopes: deploycore provider edit {config.name}"
                f" --oauth-scopes '{' '.join(dict.fromkeys(needed))}'. Then sign in again:"
                f" deploycore provider authorize {config.name}"
            )
        return PermissionDenied(
            f"The token may not {question.what}: it lacks the scope {scopes}.",
            hint=hint,
            missing_scopes=missing,
            **question.details,
        )
    if re.search(_PUBLIC_ONLY, said):
        return PermissionDenied(
            f"The token may not {question.what}: it has access to public repositories only.",
            hint="Create a new token with access to all repositories (public, private and limited) "
            f"at {config.tokens_page}.",
            **question.details,
        )
    if question.task is not None:
        return _not_entitled(said, question, question.task)
    return PermissionDenied(
        f"{config.url} denies these credentials access to {question.subject}{quoted(said)}.",
        hint="Sign in with a browser, and check that the account is active and has read access."
        f" A token needs the scope {READ_REPOSITORY}.",
        **question.details,
    )


def _not_entitled(said: str, question: Question, task: _Task) -> PermissionDenied:
    if re.search(_WEBHOOKS_OFF, said):
        hint = "This server has webhooks turned off: ask its administrator, or let deploycore poll."
    elif not isinstance(question.config, BasicConfig):
        hint = f"{task.role} A token also needs the scope {WRITE_REPOSITORY}."
    else:
        hint = task.role
    return PermissionDenied(
        f"The account may not {question.what}{quoted(said)}.", hint=hint, **question.details
    )


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
            hint="Use the names in its address, <url>/<owner>/<repository>, and check that the"
            " account has read access: the server gives the same answer for both.",
            **question.details,
        )
    if question.owner is not None:
        return NotFound(
            f"User or organization {question.owner!r} was not found, or these credentials cannot"
            " see it.",
            hint="Use the name in the address, <url>/<owner>, not the display name.",
            **question.details,
        )
    return NotFound(
        f"No Gitea or Forgejo was found at {question.config.url}: {answer.path} does not exist.",
        hint="Use the address that a browser shows on the start page, with its path, if it has one:"
        " https://git.example.com or https://example.com/git.",
        **question.details,
    )


def _said(answer: ErrorAnswer) -> str:
    message = answer.json.get("message") if isinstance(answer.json, Mapping) else None
    return message if isinstance(message, str) else ""
