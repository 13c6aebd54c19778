"""Map GitHub's error responses to errors that say what failed and what to do next.

GitHub sends many facts in headers: the permission that would have been enough, the end of a rate
limit, the page to authorize a token for single sign-on. For hidden objects, it responds with 'Not
Found'. The functions here have no side effects: they convert a request and its error response to an
error.

Sources:
https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
    RateLimited,
)
from deploycore.http import ErrorAnswer, quoted, retry_at
from deploycore.models import RepositoryId
from deploycore.times import for_people
from deploycore_github.configuration import (
    CLASSIC,
    INSTALLATION,
    OAUTH,
    UNMARKED,
    AnyConfig,
    AppConfig,
    DeviceConfig,
    TokenConfig,
)
from deploycore_github.tasks import READING, REGISTERING_WEBHOOK, Task

__all__ = ["NO_REPOSITORIES_HINT", "Question", "explain", "explain_git_refusal", "suspended"]

NO_REPOSITORIES_HINT = (
    "The credentials are valid, but cannot access any repository. Check the owner; for a "
    "fine-grained token its resource owner and repository access, and whether an organization"
    " still has to approve it; for a classic token the scope repo and, in organizations with"
    " single sign-on, its authorisation (Configure SSO); for a GitHub App the repositories that "
    "its installation was given."
)

_NO_COMMIT = ("No commit found for SHA", "No ref found for")
_REMEDIES = {
    "already exists": "Another webhook with this address exists: remove it in the "
    "settings of the repository, under Webhooks, then register again.",
    "cannot have more than": "Remove an unused webhook, in the settings of the "
    "repository under Webhooks: GitHub allows 20 for each kind of event.",
    "key is already in use": "GitHub accepts a deploy key for one repository only. Create a key for"
    " each application: deploycore key create APPLICATION",
    "maximum number of statuses": "GitHub keeps at most 1,000 statuses of a commit under one"
    " name: push a new commit.",
}
_PARTS = ("resource", "field", "code")


@dataclass(frozen=True)
class Question:
    """A request to GitHub, and its credentials.

    Attributes:
        owner: The owner; ``None`` if the request was about the credentials themselves.
        repository: The repository; ``None`` if the request was about all repositories.
        task: The requested task.
        commit: The commit, if the request was about one.
    """

    config: AnyConfig
    owner: str | None = None
    repository: RepositoryId | None = None
    task: Task = READING
    commit: str | None = None

    @property
    def subject(self) -> str:
        if self.repository is not None:
            return f"the repository {self.repository}"
        if self.owner is not None:
            return f"the repositories of {self.owner}"
        return "the account and its repositories"

    @property
    def whose(self) -> str:
        """The name of the credentials in messages."""
        if isinstance(self.config, AppConfig):
            return f"the GitHub App {self.config.app_id}"
        return f"the {self.config.kind.title}"

    @property
    def details(self) -> dict[str, str | None]:
        return {
            "mode": self.config.mode,
            "owner": self.owner,
            "repository": None if self.repository is None else str(self.repository),
        } | ({} if self.commit is None else {"commit": self.commit})


def explain(
    answer: ErrorAnswer, question: Question, *, now: datetime | None = None
) -> ProviderError | None:
    """Explain an error response.

    Args:
        now: The current time, for ``Retry-After`` in seconds (default: that of the clock).

    Returns:
        The error to raise; ``None`` if the response has no special meaning for GitHub.
    """
    if limited := _rate_limited(answer, question, now or datetime.now(UTC)):
        return limited
    match answer.status:
        case 401:
            return _wrong_credentials(answer, question)
        case 403:
            return (
                _single_sign_on(answer, question)
                or _suspended(answer, question)
                or _missing_permission(answer, question)
                or _denied(answer, question)
            )
        case 404:
            return _hidden_by_scopes(answer, question) or _unknown(answer, question)
        case 422 if answer.path.endswith("/access_tokens"):
            return _not_granted(answer, question)
        case 422 if question.task is not READING:
            return _not_valid(answer, question)
        case _:
            return None


def explain_git_refusal(config: AnyConfig, status: int | None, message: str) -> str | None:
    """Explain what to do if GitHub's git server rejects a request; ``None`` if unknown."""
    question = Question(config)
    if status == 401:
        return _check_credentials(question)
    if status == 403 and "SSO" in message:
        return _authorise(config)
    if status == 403:
        # 'Write access to repository not granted' is also the message for reading.
        return f"{_grant(question)} An organization may also refuse this kind of token."
    if status == 404:
        return (
            "Check the owner and the name of the repository. GitHub also answers 'not found'"
            f" if the credentials cannot read it. {_give_access(question)}"
        )
    if status is not None and 300 <= status < 400:
        return "The repository was renamed or moved: use its new name."
    if status == 429:
        return "GitHub's rate limit is exceeded. Try again in a few minutes."
    return None


def suspended(question: Question) -> PermissionDenied:
    """Return the error for an installation that its account has suspended."""
    page = question.config.installation_page if isinstance(question.config, AppConfig) else ""
    return PermissionDenied(
        f"The installation of {question.whose} is suspended.",
        hint=f"Ask the owner of the account to unsuspend it: {page}",
        **question.details,
    )


def _rate_limited(answer: ErrorAnswer, question: Question, now: datetime) -> RateLimited | None:
    """Return the error for a rate limit. The primary limit has its end in seconds since 1970, the
    secondary limit in ``Retry-After`` or only in the message."""
    if answer.status not in (403, 429):
        return None
    ends = _limit_ends(answer.headers, now)
    said = _said(answer).lower()
    in_words = "rate limit" in said or "abuse detection" in said
    if not in_words and answer.status == 403 and _is_denial(answer, said):
        return None  # it may be the last response of the hour
    if ends is None and answer.status != 429 and not in_words:
        return None
    limit = answer.headers.get("X-RateLimit-Limit", "")
    hints = ["Wait at least a minute, then try again."]
    if ends is not None:
        hints = [f"Try again after {for_people(ends)}."]
    if limit.isdecimal() and "secondary" not in said:
        hints.append(f"The limit of these credentials is {limit} requests per hour.")
    else:
        hints.append("GitHub limits concurrent requests: run fewer deployments at once.")
    return RateLimited(
        f"GitHub's rate limit is exceeded, for the request to {question.task.what}"
        f" {question.subject}.",
        retry_at=ends,
        hint=" ".join(hints),
        **question.details,
    )


def _is_denial(answer: ErrorAnswer, said: str) -> bool:
    """Whether a 403 response says that a permission is missing."""
    about_rights = ("not accessible by", "suspended", "saml", "must have")
    return "X-GitHub-SSO" in answer.headers or any(words in said for words in about_rights)


def _limit_ends(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Return when the limit ends. The time of the reset is used only if no requests remain."""
    spent = headers.get("X-RateLimit-Remaining") == "0"
    return retry_at(headers, now, reset="X-RateLimit-Reset" if spent else "")


def _wrong_credentials(answer: ErrorAnswer, question: Question) -> AuthenticationFailed:
    return AuthenticationFailed(
        f"GitHub at {question.config.url} does not accept {question.whose}{_quoted(answer)}.",
        hint=_check_credentials(question, _said(answer)),
        **question.details,
    )


def _check_credentials(question: Question, said: str = "") -> str:
    config = question.config
    if isinstance(config, DeviceConfig):
        return f"Sign in again: deploycore provider authorize {config.name}"
    if isinstance(config, TokenConfig):
        where = f": {config.url}/{config.kind.page}" if config.kind.page else ""
        lasting = (
            " An installation token ends after an hour: mode app gets new ones by itself."
            if config.kind is INSTALLATION
            else ""
        )
        return (
            "Check that the token is complete, that it was created at "
            f"{config.url}, and that it has not expired or been revoked{where}.{lasting}"
        )
    if "claim" in said:
        return (
            "Correct this machine's clock: GitHub accepts what the app signs for a few"
            " minutes only."
        )
    return (
        "Check that app_id is that of the app, that private_key is one of its keys and was not "
        f"deleted, and that the app is registered at {config.url}."
    )


def _single_sign_on(answer: ErrorAnswer, question: Question) -> PermissionDenied | None:
    header = answer.headers.get("X-GitHub-SSO", "")
    if not header.startswith("required") and "SAML" not in _said(answer):
        return None
    found = re.search(r"url=(\S+)", header)
    # A link is shown only if it leads to the configured GitHub.
    page = found[1] if found and found[1].startswith(f"{question.config.url}/") else ""
    return PermissionDenied(
        f"The organization requires single sign-on (SAML), and {question.whose} is not"
        f" authorized for it: it may not {question.task.what} {question.subject}.",
        hint=f"Open {page} in a browser and authorize the token."
        if page
        else _authorise(question.config),
        **question.details,
    )


def _authorise(config: AnyConfig) -> str:
    if isinstance(config, AppConfig):
        return "Sign in to the organization's single sign-on once, then install the app again."
    page = config.kind.page or "settings/applications"
    return (
        "Authorize the token for the organization that requires single sign-on (Configure SSO at "
        f"{config.url}/{page})."
    )


def _suspended(answer: ErrorAnswer, question: Question) -> PermissionDenied | None:
    return suspended(question) if "suspended" in _said(answer).lower() else None


def _missing_permission(answer: ErrorAnswer, question: Question) -> PermissionDenied | None:
    """Return the error for a missing permission. The header has all sufficient permissions for
    fine-grained tokens and apps, or scopes for classic tokens, whose own scopes are in another
    header."""
    permissions = answer.headers.get("X-Accepted-GitHub-Permissions", "")
    scopes = _names(answer.headers.get("X-Accepted-OAuth-Scopes", ""))
    if "not accessible by" not in _said(answer) and not _lacks_scope(answer):
        return None
    needed = permissions or " or ".join(scopes) or question.task.box
    return _lacking(answer, question, needed)


def _hidden_by_scopes(answer: ErrorAnswer, question: Question) -> PermissionDenied | None:
    """Return the error for 'Not Found', which tokens with scopes also get for existing objects if
    they lack a scope."""
    if question.task is READING or not _lacks_scope(answer):
        return None
    scopes = _names(answer.headers.get("X-Accepted-OAuth-Scopes", ""))
    return _lacking(answer, question, " or ".join(scopes))


def _lacks_scope(answer: ErrorAnswer) -> bool:
    scopes = _names(answer.headers.get("X-Accepted-OAuth-Scopes", ""))
    granted = _names(answer.headers.get("X-OAuth-Scopes", ""))
    return bool(scopes) and not set(scopes) & set(granted)


def _lacking(answer: ErrorAnswer, question: Question, needed: str) -> PermissionDenied:
    whose = question.whose
    return PermissionDenied(
        f"{whose[0].upper()}{whose[1:]} may not {question.task.what} {question.subject}: it lacks "
        f"{needed}.",
        hint=f"{_grant(question)} {question.task.role}".strip(),
        needed=needed,
        granted=list(_names(answer.headers.get("X-OAuth-Scopes", ""))) or None,
        **question.details,
    )


def _grant(question: Question) -> str:
    """The permissions to select, with their names on GitHub's page."""
    config, task = question.config, question.task
    if isinstance(config, AppConfig):
        return (
            f"Give the app the repository permission {task.box} (Metadata comes with it), and let "
            f"the installation accept that: {config.installation_page}"
        )
    if isinstance(config, DeviceConfig):
        return (
            f"An OAuth App needs {_minimum(question)} in oauth_scopes (deploycore provider edit"
            f" {config.name} --oauth-scopes SCOPES), and a GitHub App the permission"
            f" {task.box}. Then sign in again: deploycore provider authorize {config.name}"
        )
    if config.kind is CLASSIC:
        return f"Give the token {_minimum(question)}: {config.url}/{CLASSIC.page}"
    if not config.kind.page:
        return f"Create the token with {_minimum(question)}."
    classic = f" or, if it is a classic one, the scope {task.scope}"
    return (
        f"Give the token the repository permission {task.box} (Metadata comes with it)"
        f"{classic if config.kind is UNMARKED else ''}: {config.url}/{config.kind.page}"
    )


def _not_granted(answer: ErrorAnswer, question: Question) -> PermissionDenied:
    return PermissionDenied(
        f"The installation of {question.whose} lacks the permission "
        f"{question.task.box}{_quoted(answer)}.",
        hint=_grant(question),
        **question.details,
    )


def _denied(answer: ErrorAnswer, question: Question) -> PermissionDenied:
    return PermissionDenied(
        f"GitHub does not let {question.whose} {question.task.what} "
        f"{question.subject}{_quoted(answer)}.",
        hint="Ask an owner of the organization or repository: it may allow only some kinds of"
        f" tokens, or only some IP addresses. This takes {_minimum(question)}. "
        f"{question.task.role}".strip(),
        **question.details,
    )


def _minimum(question: Question) -> str:
    task = question.task
    config = question.config
    if not isinstance(config, AppConfig) and config.kind in (CLASSIC, OAUTH):
        return f"the scope {task.scope}{'' if task is READING else ' (repo includes it)'}"
    return f"the repository permission {task.box}"


def _not_valid(answer: ErrorAnswer, question: Question) -> ProviderError:
    """Return the error for a failed validation. For a commit that does not exist, GitHub responds
    with this status and not with 'Not Found'."""
    task, said = question.task, _said(answer)
    if question.commit is not None and said.startswith(_NO_COMMIT):
        return NotFound(
            f"The repository {question.repository} has no commit {question.commit}.",
            hint="A forced push may have removed it. Deploy the newest commit.",
            **question.details,
        )
    complaints = "; ".join(_complaints(answer))
    found = (hint for words, hint in _REMEDIES.items() if words in f"{said} {complaints}".lower())
    unknown = (
        "Upgrade deploycore-github. If you have the newest release, report this to its author."
    )
    if task is REGISTERING_WEBHOOK:
        unknown = "Use an address that the internet can reach, or use polling."
    return ProviderError(
        f"GitHub refuses to {task.what} {question.subject}{_quoted(answer, complaints)}.",
        hint=next(found, unknown),
        **question.details,
    )


def _complaints(answer: ErrorAnswer) -> Iterator[str]:
    """Return GitHub's messages about single fields, which are a list of objects or texts, or one
    text."""
    errors = _body(answer).get("errors")
    for error in errors if isinstance(errors, list) else [errors]:
        if isinstance(error, str):
            yield error
        elif isinstance(error, Mapping):
            parts = [error.get("message")] if error.get("message") else [*map(error.get, _PARTS)]
            yield " ".join(str(part) for part in parts if part)


def _unknown(answer: ErrorAnswer, question: Question) -> ProviderError | None:
    config = question.config
    if isinstance(config, AppConfig) and "/app/installations/" in answer.path:
        return AuthenticationFailed(
            f"GitHub at {config.url} has no installation {config.installation_id} of"
            f" {question.whose}{_quoted(answer)}.",
            hint="Check app_id, and installation_id: the number at the end of the installation's "
            "address. It changes when the app is installed again.",
            **question.details,
        )
    if question.repository is not None:
        return NotFound(
            f"Repository {question.repository} was not found, or these credentials cannot read it.",
            hint="Check its owner and name: GitHub gives the same answer for a hidden repository. "
            f"{_give_access(question, answer.headers)} {question.task.role}".strip(),
            **question.details,
        )
    if question.owner is not None:
        return NotFound(
            f"User or organization {question.owner!r} was not found on {config.url}.",
            hint=f"Use the name in its address: {config.url}/<owner>.",
            **question.details,
        )
    return None


def _give_access(question: Question, headers: Mapping[str, str] | None = None) -> str:
    config = question.config
    if isinstance(config, AppConfig):
        return f"Check that the installation includes it: {config.installation_page}"
    if config.kind in (CLASSIC, OAUTH):
        granted = _names((headers or {}).get("X-OAuth-Scopes", ""))
        is_told = headers is not None and "X-OAuth-Scopes" in headers
        if is_told and "repo" not in granted and question.task is READING:
            page = f": {config.url}/{config.kind.page}" if config.kind.page else "."
            return (
                "The token lacks the scope repo, without which private repositories are "
                f"hidden{page}"
            )
        return f"Check that the account can read it, and that the token has {_minimum(question)}."
    return (
        "Check that its owner is the token's resource owner, and that the token gives access to it."
    )


def _body(answer: ErrorAnswer) -> Mapping[str, Any]:
    """Return GitHub's message. It is read from ``text``, in which secrets are masked, and not from
    ``json``."""
    try:
        body = json.loads(answer.text)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, Mapping) else {}


def _said(answer: ErrorAnswer) -> str:
    message = _body(answer).get("message")
    return " ".join(message.split()) if isinstance(message, str) else ""


def _quoted(answer: ErrorAnswer, more: str = "") -> str:
    said = ": ".join(filter(None, (_said(answer).rstrip("."), more.rstrip("."))))
    return quoted(said)


def _names(header: str) -> tuple[str, ...]:
    return tuple(name for each in header.split(",") if (name := each.strip()))
