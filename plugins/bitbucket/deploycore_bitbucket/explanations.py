"""Map Bitbucket's error responses to errors that say what failed and what to do next.

Bitbucket often sends the same response for different problems, and different responses for the same
problem. The reason depends on the kind of credentials and on the request. The functions here have
no side effects: they convert a request and its error response to an error.

Sources: the troubleshooting pages of https://support.atlassian.com/bitbucket-cloud/ and
https://developer.atlassian.com/cloud/bitbucket/rest/intro/#error-responses
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
    RateLimited,
    UnexpectedAnswer,
)
from deploycore.http import ErrorAnswer, retry_at
from deploycore.times import for_people
from deploycore_bitbucket.configuration import (
    API_TOKEN_PAGE,
    AccessTokenConfig,
    AnyConfig,
    ApiTokenConfig,
    AppPasswordConfig,
    OAuthClientConfig,
    OAuthUserConfig,
)
from deploycore_bitbucket.questions import Question, boxes, repository_scope

__all__ = [
    "NO_REPOSITORIES_HINT",
    "cannot_list",
    "explain",
    "explain_git_refusal",
]

NO_REPOSITORIES_HINT = (
    "The credentials are valid, but cannot access any repository in the workspace. Check the"
    " workspace slug (see bitbucket.org/<workspace>), that the account has at least read "
    "access to a repository there, and that the token has the scope to read repositories."
)

APP_PASSWORDS_ENDED = (
    "App passwords ended on Bitbucket Cloud on 2026-07-28. Create an API token with "
    f"read:repository:bitbucket and read:user:bitbucket at {API_TOKEN_PAGE} and configure the"
    " provider again in mode api-token, with the email address of your Atlassian account."
)

_OAUTH_CLIENTS = "Edit the OAuth client in the settings of the workspace, under OAuth clients,"

WRONG_MECHANISM = "not accessible by this authentication mechanism"
_OF_KEYS = ("list deploy keys", "add deploy key", "remove deploy key")


def explain(
    answer: ErrorAnswer, question: Question, *, now: datetime | None = None
) -> ProviderError | None:
    """Explain an error response.

    Args:
        now: The current time, for ``Retry-After`` in seconds (default: that of the clock).

    Returns:
        The error to raise; ``None`` if the response has no special meaning for Bitbucket.
    """
    said = _said(answer)
    if answer.status in (401, 403) and WRONG_MECHANISM in said.lower():
        return _wrong_mechanism(question)
    match answer.status:
        case 400 if question.task is not None:
            return _not_valid(answer, question)
        case 401:
            return _wrong_credentials(question)
        case 403:
            return _missing_scopes(answer, question) or _no_access(question)
        case 404:
            return _unknown(question, said)
        case 410:
            return _withdrawn(answer, question, said)
        case 429:
            return _rate_limited(answer, question, now or datetime.now(UTC))
        case _:
            return None


def explain_git_refusal(
    config: AnyConfig,
    status: int | None,
    message: str,
) -> str | None:
    """Explain what to do if Bitbucket's git server rejects a request; ``None`` if unknown.

    Git responds with 410 and ``CHANGE-3222`` to app passwords, which have ended, and often with 404
    to wrong credentials.
    """
    if status == 410 or "CHANGE-3222" in message:
        is_app_password = config.mode == "app-password"
        return (
            APP_PASSWORDS_ENDED
            if is_app_password
            else "Bitbucket no longer offers this address: upgrade deploycore-bitbucket."
        )
    if status == 429:
        return "Bitbucket allows 60,000 git requests in a rolling hour. Try again in an hour."
    if status == 404:
        return (
            "Check the workspace and repository slugs; Bitbucket also answers 'not found' if the "
            f"credentials cannot read the repository. {_check_credentials(config)}"
        )
    if status in (401, 403):
        return _check_credentials(config)
    return None


def _wrong_credentials(question: Question) -> AuthenticationFailed:
    config = question.config
    match config:
        case AppPasswordConfig():
            whose = f"the app password of the user {config.username!r}"
        case ApiTokenConfig():
            whose = f"the API token of {config.email}"
        case AccessTokenConfig():
            whose = f"the access token for the workspace {config.workspace!r}"
        case OAuthClientConfig() | OAuthUserConfig():
            whose = f"the access token of the OAuth client {config.client_id}"
    hint = _check_credentials(config)
    if question.task is not None:
        # Bitbucket also answers 401 to API tokens that have no scope for an address.
        hint += f" To {question.task.what} a repository, you need: {boxes(question, ())}."
    return AuthenticationFailed(
        f"Bitbucket does not accept {whose}.", hint=hint, **question.details
    )


def _check_credentials(config: AnyConfig) -> str:
    match config:
        case AppPasswordConfig():
            return (
                f"{APP_PASSWORDS_ENDED} On a server that still takes app passwords: check that "
                "username is the Bitbucket username (not the email address), and that the app "
                "password is complete, has not been revoked and can read repositories."
            )
        case ApiTokenConfig():
            return (
                "Check that email is the address of the Atlassian account (not the Bitbucket "
                "username), and that the token is complete, has not expired (after a year at the "
                "latest) or been revoked, and was created for Bitbucket with the scope "
                "read:repository:bitbucket: "
                f"{API_TOKEN_PAGE}"
            )
        case AccessTokenConfig():
            return (
                "Check that the token is complete, has not expired or been revoked, and has the "
                "permission Repositories: Read: in the settings of its repository, project or "
                "workspace, under Access tokens. A token from "
                f"{API_TOKEN_PAGE} is an API token: use mode api-token."
            )
        case OAuthClientConfig():
            return (
                "Check that the OAuth client still exists and has the permission Repositories: "
                "Read: in the settings of the workspace, under OAuth clients. To replace its "
                f"secret: deploycore provider rotate {config.name}"
            )
        case OAuthUserConfig():
            return (
                "Check that the account can read repositories, and that the OAuth client has the "
                "permission Repositories: Read. Then sign in again: deploycore provider authorize "
                f"{config.name}"
            )


def _wrong_mechanism(question: Question) -> PermissionDenied:
    if question.action in _OF_KEYS and question.task is not None:
        return PermissionDenied(
            f"Access tokens cannot {question.task.what} {question.subject}.",
            hint="Use an API token (mode api-token), or manage the key on the page Access keys in"
            " the settings of the repository.",
            **question.details,
        )
    return PermissionDenied(
        f"Credentials of this kind cannot read {question.subject} on Bitbucket "
        f"({question.config.mode}).",
        hint="Use an API token (mode api-token), or name a workspace or repository.",
        **question.details,
    )


def _not_valid(answer: ErrorAnswer, question: Question) -> ProviderError | None:
    """Name the invalid fields; their values may be secret and are not repeated."""
    fields = _error(answer).get("fields")
    if question.task is None or not isinstance(fields, Mapping):
        return None
    names = ", ".join(sorted(map(str, fields)))
    return ProviderError(
        f"Bitbucket refuses to {question.task.what} {question.subject}: {names} is not valid.",
        hint=(
            "Use a webhook address that the internet can reach."
            if question.action == "register webhook"
            else "Upgrade deploycore-bitbucket. If you have the newest release, report this to its"
            " author."
        ),
        **question.details,
    )


def _missing_scopes(answer: ErrorAnswer, question: Question) -> PermissionDenied | None:
    detail = _error(answer).get("detail")
    if not isinstance(detail, Mapping):
        return None
    granted = _names(detail.get("granted"))
    missing = [scope for scope in _names(detail.get("required")) if scope not in granted]
    if not missing:
        return None
    scopes = ", ".join(missing)
    what = question.task.what if question.task else "read"
    return PermissionDenied(
        f"The credentials may not {what} {question.subject}: they lack the scope {scopes}.",
        hint=_select_scopes(question, missing),
        missing_scopes=missing,
        granted_scopes=granted,
        **question.details,
    )


def _select_scopes(question: Question, scopes: list[str]) -> str:
    names = boxes(question, scopes)
    match question.config.mode:
        case "oauth-client" | "oauth-user":
            sign_in = f" Then sign in again: deploycore provider authorize {question.config.name}"
            again = sign_in if question.config.mode == "oauth-user" else ""
            return f"{_OAUTH_CLIENTS} and select: {names}.{again}"
        case "api-token":
            where = f"Create a new API token for the app Bitbucket at {API_TOKEN_PAGE}"
        case "access-token":
            where = (
                "Create a new access token in the settings of the repository, project or workspace"
            )
        case "app-password":
            where = "Create an app password"
    return f"{where} and select: {names}. Scopes of a token cannot be changed later."


def _no_access(question: Question) -> PermissionDenied:
    if question.task is not None:
        return PermissionDenied(
            f"The credentials may not {question.task.what} {question.subject}.",
            hint=f"{question.task.role} The credentials also need: {boxes(question, ())}.",
            **question.details,
        )
    if isinstance(question.config, AccessTokenConfig):
        if question.repository is None:
            return cannot_list(question)
        hint = (
            "Use a token of this repository, or of its project or workspace, with the permission"
            " Repositories: Read."
        )
    else:
        hint = (
            "Ask an administrator of the workspace for read access, and check that the "
            f"credentials may read repositories ({repository_scope(question.config.mode)})."
        )
    return PermissionDenied(
        f"Bitbucket denies these credentials access to {question.subject}.",
        hint=hint,
        **question.details,
    )


def cannot_list(question: Question) -> PermissionDenied:
    """Return the error for an access token that may not list the repositories of a workspace."""
    config = question.config
    if isinstance(config, AccessTokenConfig) and config.repository is not None:
        return PermissionDenied(
            f"The access token of the repository {config.repository_id} cannot list the"
            f" repositories of the workspace {question.workspace!r}.",
            hint="To list a workspace, use an API token or an access token of the workspace.",
            **question.details,
        )
    return PermissionDenied(
        f"This access token cannot list the repositories of {question.subject}: Bitbucket allows"
        " this to access tokens of a workspace or project, but not always to one of a repository.",
        hint=_name_repository(config.name),
        **question.details,
    )


def _name_repository(provider: str) -> str:
    return (
        "If it is the access token of a repository, name the repository: --repository"
        f" WORKSPACE/SLUG (for a stored provider: deploycore provider edit {provider} --repository"
        " WORKSPACE/SLUG). Otherwise, check that it has the permission Repositories: Read."
    )


def _unknown(question: Question, said: str) -> NotFound | None:
    if question.workspace is None:
        return None
    if question.repository is None or "no workspace with identifier" in said.lower():
        return _unknown_workspace(question, question.workspace)
    about_repository = "repository" in said.lower() and "commit" not in said.lower()
    if question.commit is not None and not about_repository:
        return NotFound(
            f"The repository {question.repository} has no commit {question.commit}.",
            hint="A forced push may have removed it. Deploy the newest commit.",
            **question.details,
        )
    return NotFound(
        f"Repository {question.repository} was not found, or these credentials cannot read it.",
        hint=(
            "Use the slugs in its address, bitbucket.org/<workspace>/<repository>, and check"
            " that the account or token has read access: Bitbucket gives the same answer for both."
        ),
        **question.details,
    )


def _unknown_workspace(question: Question, workspace: str) -> NotFound:
    config = question.config
    defaulted = isinstance(config, AppPasswordConfig) and config.workspace is None
    hint = (
        "Use the workspace's slug in its address, bitbucket.org/<workspace>, not its display name."
    )
    if defaulted and workspace == config.default_workspace:
        hint = f"No workspace was configured, so the username was used. {hint}"
    if isinstance(config, AccessTokenConfig) and config.repository is None:
        hint = f"{hint} {_name_repository(config.name)}"
    return NotFound(
        f"Workspace {workspace!r} was not found, or these credentials cannot read it.",
        hint=hint,
        **question.details,
    )


def _withdrawn(answer: ErrorAnswer, question: Question, said: str) -> ProviderError:
    if question.config.mode == "app-password" and (
        "CHANGE-3222" in said or "app password" in said.lower()
    ):
        return _wrong_credentials(question)
    announcement = _announcement(answer)
    return UnexpectedAnswer(
        f"Bitbucket no longer offers {answer.path}, which was requested for {question.subject}.",
        hint=(
            "Upgrade deploycore-bitbucket. If you have the newest release, report this to its"
            " author." + (f" Bitbucket's announcement: {announcement}" if announcement else "")
        ),
        **question.details,
    )


def _announcement(answer: ErrorAnswer) -> str | None:
    data = _error(answer).get("data")
    url = data.get("announcement_url") if isinstance(data, Mapping) else None
    return url if isinstance(url, str) else None


def _rate_limited(answer: ErrorAnswer, question: Question, now: datetime) -> RateLimited:
    ends = retry_at(answer.headers, now)
    when = f"Try again after {for_people(ends)}." if ends else _WITHIN_THE_HOUR
    limit = answer.headers.get("X-RateLimit-Limit")
    if limit:
        known = f"The limit of this token is {limit} requests in a rolling hour."
    elif question.config.mode == "access-token":
        known = (
            "The limit of a token is 1,000 requests in a rolling hour, more in large workspaces."
        )
    else:
        known = "The limit is 1,000 requests in a rolling hour for all programs of a user."
    return RateLimited(
        f"Bitbucket's rate limit is exceeded, for {question.subject}.",
        retry_at=ends,
        hint=f"{when} {known}",
        **question.details,
    )


_WITHIN_THE_HOUR = "Try again in an hour: Bitbucket did not say when."


def _error(answer: ErrorAnswer) -> Mapping[str, object]:
    error = answer.json.get("error") if isinstance(answer.json, Mapping) else None
    return error if isinstance(error, Mapping) else {}


def _said(answer: ErrorAnswer) -> str:
    """Read Bitbucket's message, which is JSON or plain text."""
    message = _error(answer).get("message")
    detail = _error(answer).get("detail")
    parts = [part for part in (message, detail) if isinstance(part, str)]
    return " ".join(parts) or answer.text


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
