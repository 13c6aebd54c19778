"""From GitLab's refusals to errors that say what happened and what to do next.

The functions here are pure: an answer and the question in, an error out.

Sources: https://docs.gitlab.com/api/rest/troubleshooting/ and
https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
    RateLimited,
)
from deploycore.http import ErrorAnswer, retry_after
from deploycore.models import RepositoryId

from deploycore_gitlab.configuration import (
    API_SCOPE,
    GIT_SCOPE,
    AnyConfig,
    DeployTokenConfig,
    OAuthTokenConfig,
)

__all__ = [
    "NO_REPOSITORIES_HINT",
    "Question",
    "explain",
    "explain_git_refusal",
    "missing_api_scope",
]

NO_REPOSITORIES_HINT = (
    "The connection works, but this token sees no project there. Check that namespace is the full "
    "path of the group, as in gitlab.com/<group>/<subgroup>, or a username; that the token's user "
    "is a member there; and that a project or group token belongs to the right project or group."
)

_SHOWN_CHARACTERS = 300
_LATEST_SECOND = 253_402_300_799  # the last one of the year 9999


@dataclass(frozen=True)
class Question:
    """What was asked of GitLab, and with which kind of credentials.

    Attributes:
        namespace: Whose projects; ``None`` where another question was asked.
        branch: A branch of the repository by its exact name.
    """

    config: AnyConfig
    namespace: str | None = None
    repository: RepositoryId | None = None
    branch: str | None = None

    @property
    def subject(self) -> str:
        if self.repository is not None:
            return f"the project {self.repository}"
        if self.namespace is not None:
            return f"the projects of {self.namespace}"
        return "the account"

    @property
    def details(self) -> dict[str, str | None]:
        return {
            "mode": self.config.mode,
            "namespace": self.namespace,
            "repository": None if self.repository is None else str(self.repository),
        }


def explain(
    answer: ErrorAnswer, question: Question, *, now: datetime | None = None
) -> ProviderError | None:
    """What a refusal means.

    Args:
        now: The present, for ``Retry-After`` in seconds; by default the clock's.

    Returns:
        An error to raise; ``None`` where GitLab has no meaning of its own for the answer. A
        ``NotFound`` has the detail ``branch`` where only the branch is not there, and a
        ``PermissionDenied`` the detail ``fine_grained`` for a token of that kind.
    """
    said = _said(answer)
    match answer.status:
        case 400:
            return _invalid_name(question, said)
        case 401:
            return _refused_token(question, said)
        case 403 if _code(answer) == "insufficient_granular_scope":
            return _missing_permission(question, said)
        case 403:
            scopes = _scopes(answer)
            return _missing_scope(question, scopes) if scopes else _no_access(question, said)
        case 404:
            return _unknown(question, said)
        case 429:
            return _rate_limited(answer, question, now or datetime.now(UTC))
        case _:
            return None


def missing_api_scope(question: Question, granted: list[str]) -> PermissionDenied:
    """For a token that is right, and whose scopes don't open the API."""
    return _missing_scope(question, ["api", API_SCOPE], granted, to="list projects")


def explain_git_refusal(config: AnyConfig, status: int | None, message: str) -> str | None:
    """What to do about a refusal by GitLab's git server; ``None`` if there is nothing to say.

    Source: https://docs.gitlab.com/topics/git/troubleshooting_git/
    """
    if isinstance(config, DeployTokenConfig):
        field, scope_hint = "deploy_token", f"a new deploy token with the scope {GIT_SCOPE}"
    else:
        field, scope_hint = "token", f"a new token with the scopes {API_SCOPE} and {GIT_SCOPE}"
    match status:
        case 401 if field == "deploy_token":
            return (
                "GitLab does not take the deploy token here: check deploy_token_username and "
                "deploy_token, that it has not expired or been revoked, that it was made for this "
                f"project or a group around it, and that it has the scope {GIT_SCOPE}."
            )
        case 401:
            return (
                "GitLab does not take the token for git: it may be wrong, expired, revoked, lack "
                f"the scope {GIT_SCOPE}, or be one of another project or group."
            )
        case 403 if "banned" in message.lower() or message.strip().lower() == "forbidden":
            return "GitLab has banned this address for a while, after too many wrong credentials."
        case 403:
            return (
                f"Make {scope_hint}, or give its user at least the role Reporter in the project: "
                f"the {field} is right but may not fetch."
            )
        case 404:
            return (
                "Check the project's full path; GitLab also answers 'not found' for a project "
                f"that the {field} may not see."
            )
        case 429:
            return "GitLab asks for fewer requests; try again in a minute."
        case _:
            return None


def _refused_token(question: Question, said: str) -> AuthenticationFailed:
    lower = said.lower()
    if "expired" in lower:
        what = "has expired"
    elif "revoked" in lower:
        what = "was revoked"
    else:
        what = "is not accepted"
    kind = "OAuth token" if isinstance(question.config, OAuthTokenConfig) else "access token"
    return AuthenticationFailed(
        f"GitLab at {question.config.url} says that the {kind} {what}{_quoted(said)}.",
        hint=_check_token(question.config),
        **question.details,
    )


def _check_token(config: AnyConfig) -> str:
    if isinstance(config, OAuthTokenConfig):
        return (
            "Check token: OAuth tokens end after two hours. For what is to last, use mode "
            f"access-token. {_make_one(config)}"
        )
    return (
        "Check token and url: the token may be cut, expired, revoked, or of another GitLab. "
        f"{_make_one(config)}"
    )


def _make_one(config: AnyConfig) -> str:
    scopes = ",".join(config.scopes)
    query = urlencode({"name": "deploycore", "scopes": scopes}, safe=",")
    return (
        f"Make a token with {' and '.join(config.scopes)} at "
        f"{config.url}/-/user_settings/personal_access_tokens?{query}, or in the settings of the "
        "group or project, under Access tokens."
    )


def _missing_scope(
    question: Question, scopes: list[str], granted: list[str] | None = None, *, to: str = ""
) -> PermissionDenied:
    wanted = API_SCOPE if API_SCOPE in scopes else " or ".join(scopes)
    return PermissionDenied(
        f"The token may not {to or f'read {question.subject}'}: it lacks the scope {wanted}.",
        hint=f"The scopes of a token can't be changed. {_make_one(question.config)}",
        missing_scopes=[wanted] if wanted in scopes else scopes,
        granted_scopes=granted,
        **question.details,
    )


def _missing_permission(question: Question, said: str) -> PermissionDenied:
    """A fine-grained token's; GitLab says in its own words which one.

    Source: https://docs.gitlab.com/auth/tokens/fine_grained_access_tokens_rest/
    """
    return PermissionDenied(
        f"The fine-grained token may not read {question.subject}{_quoted(said)}.",
        hint="Make a fine-grained token with the permission that is named, for the right group or "
        "project: listing asks for Project: Read and Branch: Read, cloning for Code: Download. "
        f"Or a classic one, with {' and '.join(question.config.scopes)}.",
        fine_grained=True,
        **question.details,
    )


def _no_access(question: Question, said: str) -> PermissionDenied:
    return PermissionDenied(
        f"GitLab denies this token access to {question.subject}{_quoted(said)}.",
        hint="To read a private project's code, the token's user needs at least the role Reporter "
        "there; ask a maintainer of the project or an owner of the group.",
        **question.details,
    )


def _unknown(question: Question, said: str) -> NotFound | None:
    if question.repository is not None:
        return _unknown_in_repository(question, question.repository, said)
    if question.namespace is None:
        return None
    return NotFound(
        f"There is no group or user {question.namespace!r}, or this token may not see it.",
        hint="Give the full path that stands in its address, as in gitlab.com/<group>/<subgroup>, "
        "not its display name. GitLab answers the same where the token's user is no member, and "
        "for the old path of a group that was renamed.",
        **question.details,
    )


def _unknown_in_repository(question: Question, repository: RepositoryId, said: str) -> NotFound:
    lower = said.lower()
    if question.branch is not None and "branch not found" in lower:
        return _unknown_branch(question, repository)
    if "repository not found" in lower:
        return NotFound(
            f"The project {repository} has no repository that this token may see.",
            hint="Its repository may be switched off in Settings > General > Visibility.",
            **question.details,
        )
    return NotFound(
        f"There is no project {repository}, or this token may not see it.",
        hint="Give the path that stands in its address, <group>/<subgroup>/<project>, and check "
        "that the token's user is a member: GitLab answers the same for both. If all projects "
        "are missing, a proxy before GitLab may decode %2F in addresses.",
        **question.details,
    )


def _invalid_name(question: Question, said: str) -> NotFound | None:
    """GitLab's word for a name that git does not allow: there can be no such branch."""
    if question.repository is None or question.branch is None or "refname is invalid" not in said:
        return None
    return _unknown_branch(question, question.repository)


def _unknown_branch(question: Question, repository: RepositoryId) -> NotFound:
    return NotFound(
        f"The project {repository} has no branch {question.branch!r}.",
        hint="See which branches there are: deploycore branches.",
        branch=question.branch,
        **question.details,
    )


def _rate_limited(answer: ErrorAnswer, question: Question, now: datetime) -> RateLimited:
    retry_at = _retry_at(answer.headers, now)
    when = (
        f"Try again after {retry_at:%Y-%m-%d %H:%M:%S %Z}."
        if retry_at
        else "Try again later: GitLab did not say when. Most of its limits are for a minute."
    )
    limit = answer.headers.get("RateLimit-Limit", "")
    known = f" The limit is {limit} requests a minute." if limit.isdigit() else ""
    return RateLimited(
        f"GitLab asks for fewer requests: a rate limit is exceeded, for {question.subject}.",
        retry_at=retry_at,
        hint=f"{when}{known}",
        **question.details,
    )


def _retry_at(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """From ``Retry-After``, or else from ``RateLimit-Reset``, which is in seconds since 1970."""
    seconds = retry_after(headers, now)
    if seconds is not None:
        return now + timedelta(seconds=seconds)
    reset = headers.get("RateLimit-Reset", "")
    if not (reset.isascii() and reset.isdigit() and int(reset[:13]) <= _LATEST_SECOND):
        return None
    return datetime.fromtimestamp(int(reset), UTC)


def _scopes(answer: ErrorAnswer) -> list[str]:
    """Those of which one was asked for, where a refusal is about scopes."""
    challenge = answer.headers.get("WWW-Authenticate", "")
    if _code(answer) != "insufficient_scope" and "insufficient_scope" not in challenge:
        return []
    named = re.search(r'\bscope="([^"]*)"', challenge)
    body = answer.json if isinstance(answer.json, Mapping) else {}
    scope = body.get("scope") or (named[1] if named else "")
    return scope.split() if isinstance(scope, str) and scope.split() else [API_SCOPE]


def _code(answer: ErrorAnswer) -> object:
    """The error's code (RFC 6750, 3.1), where the body has one."""
    return answer.json.get("error") if isinstance(answer.json, Mapping) else None


def _said(answer: ErrorAnswer) -> str:
    """GitLab's own words: ``message``, ``error_description`` or ``error``, or the text."""
    body = answer.json
    if not isinstance(body, Mapping):
        return answer.text.strip()
    message = body.get("message")
    if isinstance(message, Mapping):
        message = message.get("error")
    words = (message, body.get("error_description"), body.get("error"))
    return next((word for word in words if isinstance(word, str) and word), "")


def _quoted(said: str) -> str:
    """The words in parentheses; none rather than a part of many, which may cut a secret."""
    return f" ({said})" if said and len(said) <= _SHOWN_CHARACTERS and "<" not in said else ""
