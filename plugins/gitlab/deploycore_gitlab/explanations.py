"""Map GitLab's error responses to errors that say what failed and what to do next.

The functions here have no side effects: they convert a request and its error response to an error.

Sources: https://docs.gitlab.com/api/rest/troubleshooting/ and
https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlencode

from deploycore import plugin_parts
from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from deploycore.http import ErrorAnswer, quoted, retry_at
from deploycore.models import RepositoryId
from deploycore.times import for_people

from deploycore_gitlab.configuration import (
    API_SCOPE,
    GIT_SCOPE,
    AnyConfig,
    DeployTokenConfig,
    OAuthConfig,
    OAuthTokenConfig,
)

__all__ = [
    "NO_REPOSITORIES_HINT",
    "Action",
    "Question",
    "explain",
    "explain_git_refusal",
    "missing_api_scope",
]

NO_REPOSITORIES_HINT = (
    "The token is valid, but cannot access any project there. Check that namespace is the full "
    "path of the group, as in gitlab.com/<group>/<subgroup>, or a username; that the token's user "
    "is a member there; and that a project or group token belongs to the right project or group."
)

Action = plugin_parts.Action | Literal["report deployment"]
"""The task, if it is more than reading."""

WRITE_SCOPE = "api"
"""The scope for webhooks, statuses and deployments; it also allows everything else."""


@dataclass(frozen=True)
class _Task:
    """The name of an action, and the scopes and role that it needs.

    Attributes:
        words: The operation as text, up to the name of the project.
        role: The lowest role in the project that is enough.
        permissions: The permissions of a fine-grained token.
    """

    words: str
    role: str
    permissions: str


_TASKS: Mapping[Action, _Task] = {
    "register webhook": _Task(
        "register a webhook for", "Maintainer", "Webhook: Read, Create and Update"
    ),
    "list webhooks": _Task("list the webhooks of", "Maintainer", "Webhook: Read"),
    "remove webhook": _Task("remove a webhook of", "Maintainer", "Webhook: Delete"),
    "add deploy key": _Task("add a deploy key to", "Maintainer", "Deploy Key: Read and Create"),
    "list deploy keys": _Task("list the deploy keys of", "Maintainer", "Deploy Key: Read"),
    "remove deploy key": _Task("remove a deploy key of", "Maintainer", "Deploy Key: Delete"),
    "report status": _Task("report a status to", "Developer", "Commit Status: Create"),
    "report deployment": _Task(
        "report a deployment to", "Developer", "Deployment: Read, Create and Update"
    ),
}
_OF_PROTECTED: Mapping[Action, str] = {
    "report status": " (on a protected branch one that may push or merge)",
    "report deployment": " (for a protected environment one that may deploy to it)",
}
_TRANSITION = re.compile(r"Cannot transition status via :\w+ from :(\w+)")


@dataclass(frozen=True)
class Question:
    """A request to GitLab, and the kind of its credentials.

    Attributes:
        namespace: The owner of the projects; ``None`` if the request was about something else.
        branch: A branch of the repository by its exact name.
        action: The operation on the repository.
        commit: The commit, if the request was about one.
    """

    config: AnyConfig
    namespace: str | None = None
    repository: RepositoryId | None = None
    branch: str | None = None
    action: Action = "read"
    commit: str | None = None

    @property
    def task(self) -> _Task | None:
        return _TASKS.get(self.action)

    @property
    def doing(self) -> str:
        return f"{self.task.words if self.task else 'read'} {self.subject}"

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
    """Explain an error response.

    Args:
        now: The current time, for ``Retry-After`` in seconds (default: that of the clock).

    Returns:
        The error to raise; ``None`` if the response has no special meaning for GitLab. A
        ``NotFound`` has the detail ``branch`` if only the branch does not exist. A
        ``PermissionDenied`` has the detail ``fine_grained`` for a token of that kind. The error for
        a status that cannot be changed has the detail ``present_state``.
    """
    said = _said(answer)
    match answer.status:
        case 400 if question.task is not None:
            return _refused_report(question, answer, said)
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
        case 409 if question.action == "report status":
            return _busy(question)
        case 422 if question.action == "register webhook":
            return _refused_webhook(question, answer)
        case 429:
            return _rate_limited(answer, question, now or datetime.now(UTC))
        case _:
            return None


def missing_api_scope(question: Question, granted: list[str]) -> PermissionDenied:
    """Return the error for a valid token whose scopes do not allow access to the API."""
    return _missing_scope(question, ["api", API_SCOPE], granted, to="list projects")


def explain_git_refusal(config: AnyConfig, status: int | None, message: str) -> str | None:
    """Explain what to do if GitLab's git server rejects a request; ``None`` if there is no advice.

    Source: https://docs.gitlab.com/topics/git/troubleshooting_git/
    """
    if isinstance(config, DeployTokenConfig):
        field, scope_hint = "deploy_token", f"a new deploy token with the scope {GIT_SCOPE}"
    else:
        field, scope_hint = "token", f"a new token with the scopes {API_SCOPE} and {GIT_SCOPE}"
    match status:
        case 401 if field == "deploy_token":
            return (
                "GitLab does not accept the deploy token here: check deploy_token_username and "
                "deploy_token, that it has not expired or been revoked, that it was created for "
                f"this project or a group around it, and that it has the scope {GIT_SCOPE}."
            )
        case 401:
            return (
                "GitLab does not accept the token for git: it may be wrong, expired, revoked, lack "
                f"the scope {GIT_SCOPE}, or belong to another project or group."
            )
        case 403 if "banned" in message.lower() or message.strip().lower() == "forbidden":
            return (
                "GitLab has blocked this machine's IP address after too many wrong"
                " credentials: correct them, then wait an hour."
            )
        case 403:
            return (
                f"Make {scope_hint}, or give its user at least the role Reporter in the project: "
                f"the {field} is valid, but does not allow fetching."
            )
        case 404:
            return (
                f"Check the project's full path; GitLab also answers 'not found' if the {field} "
                "does not allow reading the project."
            )
        case 429:
            return "GitLab's rate limit is exceeded. Try again in a minute."
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
    is_oauth = isinstance(question.config, OAuthTokenConfig | OAuthConfig)
    kind = "OAuth token" if is_oauth else "access token"
    return AuthenticationFailed(
        f"GitLab at {question.config.url} says that the {kind} {what}{quoted(said)}.",
        hint=_check_token(question.config),
        **question.details,
    )


def _check_token(config: AnyConfig) -> str:
    if isinstance(config, OAuthConfig):
        return f"Sign in again: deploycore provider authorize {config.name}"
    if isinstance(config, OAuthTokenConfig):
        return (
            "Check the token: OAuth tokens expire after two hours. For permanent access, use"
            f" mode access-token. {_make_one(config)}"
        )
    return (
        "Check token and url: the token may be incomplete, expired, revoked, or from another"
        " GitLab. "
        f"{_make_one(config)}"
    )


def _make_one(config: AnyConfig, task: _Task | None = None) -> str:
    scopes = config.scopes if task is None else (WRITE_SCOPE,)
    if isinstance(config, OAuthConfig):
        wanted = " ".join(dict.fromkeys([*config.oauth_scopes.split(), *scopes]))
        return (
            f"Add {' and '.join(scopes)} to the OAuth application and to oauth_scopes:"
            f" deploycore provider edit {config.name} --oauth-scopes '{wanted}'. Then sign in"
            f" again: deploycore provider authorize {config.name}"
        )
    query = urlencode({"name": "deploycore", "scopes": ",".join(scopes)}, safe=",")
    made = (
        f"Create a token with {' and '.join(scopes)} at "
        f"{config.url}/-/user_settings/personal_access_tokens?{query}, or in the settings of the "
        "group or project, under Access tokens"
    )
    if task is None:
        return f"{made}."
    return f"{made}, with the role {task.role}.{_of_deploy_tokens(config)}"


def _of_deploy_tokens(config: AnyConfig) -> str:
    if not isinstance(config, DeployTokenConfig):
        return ""
    return " Set it as the field token: GitLab accepts deploy tokens for git only."


def _missing_scope(
    question: Question, scopes: list[str], granted: list[str] | None = None, *, to: str = ""
) -> PermissionDenied:
    if question.task is not None:
        scopes = [WRITE_SCOPE]
    wanted = API_SCOPE if API_SCOPE in scopes else " or ".join(scopes)
    return PermissionDenied(
        f"The token may not {to or question.doing}: it lacks the scope {wanted}.",
        hint="The scopes of a token cannot be changed."
        f" {_make_one(question.config, question.task)}",
        missing_scopes=[wanted] if wanted in scopes else scopes,
        granted_scopes=granted,
        **question.details,
    )


def _missing_permission(question: Question, said: str) -> PermissionDenied:
    """Return the error for a missing permission of a fine-grained token; GitLab's message names it.

    Source: https://docs.gitlab.com/auth/tokens/fine_grained_access_tokens_rest/
    """
    asked = "listing asks for Project: Read and Branch: Read, cloning for Code: Download"
    classic = " and ".join(question.config.scopes)
    if question.task is not None:
        asked, classic = f"this asks for {question.task.permissions}", WRITE_SCOPE
    return PermissionDenied(
        f"The fine-grained token may not {question.doing}{quoted(said)}.",
        hint="Create a fine-grained token with the named permission for the group or project:"
        f" {asked}. Or create a classic token with {classic}.",
        fine_grained=True,
        **question.details,
    )


def _no_access(question: Question, said: str) -> PermissionDenied:
    if question.task is not None:
        return _no_role(question, question.task, said)
    return PermissionDenied(
        f"GitLab denies this token access to {question.subject}{quoted(said)}.",
        hint="Ask a maintainer of the project or an owner of the group to give the token's user at"
        " least the role Reporter there: reading a private project's code needs it.",
        **question.details,
    )


def _no_role(question: Question, task: _Task, said: str) -> PermissionDenied:
    protected = "" if task.role == "Maintainer" else _OF_PROTECTED[question.action]
    return PermissionDenied(
        f"GitLab denies this token permission to {question.doing}{quoted(said)}.",
        hint=f"Give the token's user at least the role {task.role} in the project{protected}, and "
        f"the token the scope {WRITE_SCOPE}. For a token of a project or group, choose both when "
        f"you create it.{_of_deploy_tokens(question.config)}",
        **question.details,
    )


def _refused_webhook(question: Question, answer: ErrorAnswer) -> ProviderError:
    """Quote GitLab's message about a webhook with secrets masked, because the request had them."""
    try:
        said = _said(replace(answer, json=json.loads(answer.text)))
    except (ValueError, RecursionError):
        said = ""
    return ProviderError(
        f"GitLab refuses the webhook for {question.subject}{quoted(said)}.",
        hint="Use an https address that GitLab can reach. An administrator has to allow"
        " addresses in GitLab's own network: Admin > Settings > Network > Outbound requests. "
        "gitlab.com allows at most 100 webhooks for a project.",
        **question.details,
    )


def _refused_report(question: Question, answer: ErrorAnswer, said: str) -> ProviderError | None:
    """Return the error for a status that exists already, or a deployment of an unknown commit."""
    if transition := _TRANSITION.match(said):
        return ProviderError(
            f"GitLab does not change the status {transition[1]!r} of commit {question.commit} in "
            f"{question.subject} to the new one.",
            hint="No action is needed: the next deployment of the commit has a new status.",
            present_state=transition[1],
            **question.details,
        )
    message = answer.json.get("message") if isinstance(answer.json, Mapping) else None
    if isinstance(message, Mapping) and {"sha", "ref"} & set(message):
        return _unknown_commit(question)
    return None


def _busy(question: Question) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"GitLab is busy with another status of commit {question.commit} in {question.subject}.",
        hint="Try again in a minute.",
        **question.details,
    )


def _unknown(question: Question, said: str) -> NotFound | None:
    if question.repository is not None:
        return _unknown_in_repository(question, question.repository, said)
    if question.namespace is None:
        return None
    return NotFound(
        f"Group or user {question.namespace!r} was not found, or this token cannot see it.",
        hint="Use the full path in its address, as in gitlab.com/<group>/<subgroup>, not its"
        " display name. GitLab gives the same answer if the token's user is not a member,"
        " and for the old path of a renamed group.",
        **question.details,
    )


def _unknown_in_repository(question: Question, repository: RepositoryId, said: str) -> NotFound:
    lower = said.lower()
    if question.branch is not None and "branch not found" in lower:
        return _unknown_branch(question, repository)
    if question.commit is not None and "commit not found" in lower:
        return _unknown_commit(question)
    if "repository not found" in lower:
        return NotFound(
            f"The project {repository} has no repository that this token can read.",
            hint="Turn the repository on in Settings > General > Visibility, or give the token's"
            " user access.",
            **question.details,
        )
    return NotFound(
        f"Project {repository} was not found, or this token cannot read it.",
        hint="Use the path in its address, <group>/<subgroup>/<project>, and check that the"
        " token's user is a member: GitLab gives the same answer for both. If all projects "
        "are missing, a proxy before GitLab may decode %2F in addresses.",
        **question.details,
    )


def _invalid_name(question: Question, said: str) -> NotFound | None:
    """Return the error for a name that git does not allow: a branch with it cannot exist."""
    if question.repository is None or question.branch is None or "refname is invalid" not in said:
        return None
    return _unknown_branch(question, question.repository)


def _unknown_branch(question: Question, repository: RepositoryId) -> NotFound:
    return NotFound(
        f"The project {repository} has no branch {question.branch!r}.",
        hint="",  # only the plugin sees this error, and lists no branch
        branch=question.branch,
        **question.details,
    )


def _unknown_commit(question: Question) -> NotFound:
    return NotFound(
        f"Commit {question.commit} of {question.subject} is on no branch or tag. Its branch may"
        " have been deleted.",
        hint="A forced push may have removed it. Deploy the newest commit.",
        commit=question.commit,
        **question.details,
    )


def _rate_limited(answer: ErrorAnswer, question: Question, now: datetime) -> RateLimited:
    ends = retry_at(answer.headers, now, reset="RateLimit-Reset")
    when = (
        f"Try again after {for_people(ends)}."
        if ends
        else "Try again in a few minutes: most of GitLab's limits are per minute."
    )
    limit = answer.headers.get("RateLimit-Limit", "")
    known = f" The limit is {limit} requests per minute." if limit.isdigit() else ""
    return RateLimited(
        f"GitLab's rate limit is exceeded, for {question.subject}.",
        retry_at=ends,
        hint=f"{when}{known}",
        **question.details,
    )


def _scopes(answer: ErrorAnswer) -> list[str]:
    """The scopes of which one is required, if the error is about scopes."""
    challenge = answer.headers.get("WWW-Authenticate", "")
    if _code(answer) != "insufficient_scope" and "insufficient_scope" not in challenge:
        return []
    named = re.search(r'\bscope="([^"]*)"', challenge)
    body = answer.json if isinstance(answer.json, Mapping) else {}
    scope = body.get("scope") or (named[1] if named else "")
    return scope.split() if isinstance(scope, str) and scope.split() else [API_SCOPE]


def _code(answer: ErrorAnswer) -> object:
    """The error's code (RFC 6750, 3.1), if the body has one."""
    return answer.json.get("error") if isinstance(answer.json, Mapping) else None


def _said(answer: ErrorAnswer) -> str:
    """GitLab's message: ``message``, ``error_description`` or ``error``, or the text."""
    body = answer.json
    if not isinstance(body, Mapping):
        return answer.text.strip()
    message = body.get("message")
    if isinstance(message, Mapping):
        message = message.get("error") or _first_problem(message)
    words = (message, body.get("error_description"), body.get("error"))
    return next((word for word in words if isinstance(word, str) and word), "")


def _first_problem(message: Mapping[str, object]) -> object:
    """Read the messages about a form's fields; ``base`` is for the whole form."""
    for field, problems in message.items():
        problem = problems[0] if isinstance(problems, list) and problems else None
        if isinstance(problem, str):
            return problem if field == "base" else f"{field} {problem}"
    return None
