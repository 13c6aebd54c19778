"""GitLab's API and its rules for git, as far as the provider uses them.

Where the documentation has no answer, it follows GitLab's own code (``lib/api``,
``lib/gitlab/auth.rb``, ``app/controllers/repositories``). In one case it is stricter: GitLab allows
a token with only the scope ``read_api`` to fetch with git, which its documentation allows only for
``api``, ``read_repository`` and ``write_repository``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

from deploycore.models import is_commit_hash
from deploycore.testing.host import Route
from deploycore.testing.messages import (
    Answer,
    Refusal,
    Request,
    json_answer,
    text_answer,
    with_headers,
)
from deploycore.testing.pull_requests import PullRequestChange
from deploycore.testing.repositories import RefUpdate
from deploycore.testing.sandbox import Repository
from deploycore.testing.scenarios import Access, Arranged, Scenario
from deploycore.testing.webhooks import Event, Hook, ShownDeployment

from deploycore_gitlab.sandbox import deploy_keys, events, shapes
from deploycore_gitlab.sandbox.hooks import RULES, HooksApi, decoded, delivery_headers
from deploycore_gitlab.sandbox.host import (
    FOR_API,
    FOR_BRANCHES,
    FOR_NAMESPACES,
    FOR_PROJECTS,
    FOR_READING_REQUESTS,
    FOR_TAGS,
    FOR_USER,
    FOR_WRITING,
    GRANULAR,
    ROLES,
    DeployToken,
    GitLabHost,
    Role,
)
from deploycore_gitlab.sandbox.merge_requests import MergeRequestsApi
from deploycore_gitlab.sandbox.pages import branch_pages, keyset_pages, numbered_pages
from deploycore_gitlab.sandbox.reports import DeploymentsApi, changed_status

__all__ = ["DeployToken", "GitLabSandbox"]

# https://git-scm.com/docs/git-check-ref-format
INVALID_NAME = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(?:^|/)\.|\.lock(?:/|$)|^[/-]|[/.]$|^@$"
)


class GitLabSandbox(GitLabHost):
    """GitLab on 127.0.0.1, with a group, a user, and tokens of each mode.

    Attributes:
        SIGNS: Whether webhooks have signing tokens, as in GitLab 19.0 and later.
        PUSH_EVENT_HOOKS_LIMIT: The maximum number of branches, or of tags, of one push for which
            webhooks get events.
        archived: Projects that are archived. They can still be read.
        internal: Projects that every signed-in user may see.
    """

    SIGNS: ClassVar[bool] = True
    PUSH_EVENT_HOOKS_LIMIT: ClassVar[int] = 3
    WEBHOOK_RULES = RULES

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        super().__init__(port=port, latency=latency)
        self._hooks = HooksApi(self.webhooks, signs=self.SIGNS)
        self._deployments = DeploymentsApi()
        self._merge_requests_api = MergeRequestsApi(
            self.pull_requests, find=self._row, branches=self.git.branches, user=self.USER
        )
        self.archived: set[str] = set()
        self.internal: set[str] = set()

    # The API

    def routes(self) -> Mapping[str, Route]:
        api = f"GET {self.RELATIVE_URL}/api/v4"
        project = f"{self.RELATIVE_URL}/api/v4/projects/{{project}}"
        oauth = f"{self.RELATIVE_URL}/oauth"
        return {
            **self.oauth.routes(authorize=f"{oauth}/authorize", token=f"{oauth}/token"),
            f"GET {project}/hooks": self._list_hooks,
            f"POST {project}/hooks": self._add_hook,
            f"PUT {project}/hooks/{{number}}": self._change_hook,
            f"DELETE {project}/hooks/{{number}}": self._remove_hook,
            f"GET {project}/deploy_keys": self._list_keys,
            f"POST {project}/deploy_keys": self._add_key,
            f"DELETE {project}/deploy_keys/{{number}}": self._remove_key,
            f"POST {project}/statuses/{{commit}}": self._set_status,
            f"GET {project}/deployments": self._list_deployments,
            f"POST {project}/deployments": self._add_deployment,
            f"PUT {project}/deployments/{{number}}": self._change_deployment,
            f"GET {project}/merge_requests": self._list_merge_requests,
            f"POST {project}/merge_requests": self._open_merge_request,
            f"GET {project}/merge_requests/{{number}}": self._one_merge_request,
            f"PUT {project}/merge_requests/{{number}}": self._change_merge_request,
            f"PUT {project}/merge_requests/{{number}}/merge": self._accept_merge_request,
            f"{api}/user": self._user,
            f"{api}/personal_access_tokens/self": self._access_token,
            f"GET {self.RELATIVE_URL}/oauth/token/info": self._oauth_token,
            f"{api}/namespaces": self._namespaces,
            f"{api}/projects": self._projects,
            f"{api}/groups/{{group}}/projects": self._projects_of_group,
            f"{api}/users/{{user}}/projects": self._projects_of_user,
            f"{api}/projects/{{project}}": self._one_project,
            f"{api}/projects/{{project}}/repository/branches": self._branches,
            f"{api}/projects/{{project}}/repository/branches/{{name}}": self._branch,
            f"{api}/projects/{{project}}/repository/tags": self._tags,
            **{
                f"{method} /{{rest*}}": self._nothing for method in ("GET", "POST", "PUT", "DELETE")
            },
        }

    def _nothing(self, request: Request, rest: str) -> Answer:
        return json_answer({"error": "404 Not Found"}, 404)

    def _user(self, request: Request) -> Answer:
        self.caller(request, *FOR_USER)
        return json_answer(shapes.user(self.USER, self.root))

    def _access_token(self, request: Request) -> Answer:
        """Respond to classic tokens with any scopes."""
        caller = self.caller(request)
        if GRANULAR in caller.scopes:
            self.caller(request, "Personal Access Token: Read")
            return json_answer(shapes.access_token([GRANULAR], caller.expires_at))
        if caller.mode == "oauth-token":
            reason = "This endpoint requires token type to be a personal access token"
            raise self.refused(400, f"400 Bad request - {reason}")
        return json_answer(shapes.access_token(caller.scopes, caller.expires_at))

    def _oauth_token(self, request: Request) -> Answer:
        """Describe a token. This address is not part of the API: it accepts only OAuth tokens, and
        has other error messages."""
        shown = self.shown(request)
        if shown is None or shown.mode != "oauth-token" or shown.access is Access.EXPIRED:
            expired = shown is not None and shown.access is Access.EXPIRED
            said = f"The access token {'expired' if expired else 'is invalid'}"
            body = {"error": "invalid_token", "error_description": said, "state": "unauthorized"}
            challenge = (
                f'Bearer realm="Doorkeeper", error="invalid_token", error_description="{said}"'
            )
            raise Refusal(with_headers(json_answer(body, 401), {"WWW-Authenticate": challenge}))
        at = shown.expires_at
        seconds = 7200 if at is None else round((at - datetime.now(UTC)).total_seconds())
        return json_answer(shapes.oauth_token(shown.scopes, seconds))

    def _namespaces(self, request: Request) -> Answer:
        """List the user, and the groups that the user is a member of."""
        self.caller(request, *FOR_NAMESPACES)
        groups = [owner for owner in self.owners if owner != self.USER and self._is_member(owner)]
        return numbered_pages(
            request,
            [self.USER, *groups],
            lambda owner: shapes.namespace(owner, self.root, of_user=owner == self.USER),
            names={},
        )

    def _projects(self, request: Request) -> Answer:
        self.caller(request, *FOR_PROJECTS)
        membership = request.query.get("membership") == "true"
        rows = [
            row
            for owner in self.owners
            for row in self.owned(owner)
            if not membership or self._is_member(row.owner)
        ]
        return self._listed(request, rows)

    def _projects_of_user(self, request: Request, user: str) -> Answer:
        self.caller(request, *FOR_PROJECTS)
        if user != self.USER:
            raise self.refused(404, "404 User Not Found")
        return self._listed(request, self.owned(user) if user in self.owners else [])

    def _projects_of_group(self, request: Request, group: str) -> Answer:
        """Return numbered pages, even if the request asks for a keyset."""
        self.caller(request, *FOR_PROJECTS)
        below = request.query.get("include_subgroups") == "true"
        owners = [
            owner
            for owner in self.owners
            if owner == group or owner.startswith(f"{group}/")
            if owner != self.USER and (self._is_member(owner) or self.owned(owner))
        ]
        if not owners:
            raise self.refused(404, "404 Group Not Found")
        asked = [owner for owner in owners if below or owner == group]
        found = self._searched(request, [row for owner in asked for row in self.owned(owner)])
        rows = self._ordered(request, found)
        return numbered_pages(request, rows, self._project_json, names={"id": group})

    def _listed(self, request: Request, rows: Sequence[Repository]) -> Answer:
        found = self._searched(request, rows)
        if request.query.get("pagination") == "keyset":
            return keyset_pages(request, found, self._project_json)
        return numbered_pages(request, self._ordered(request, found), self._project_json, names={})

    def _ordered(self, request: Request, rows: Sequence[Repository]) -> Sequence[Repository]:
        """Sort by number, which is the order of creation and the default order."""
        descending = request.query.get("sort", "desc") == "desc"
        return sorted(rows, key=lambda row: row.number, reverse=descending)

    def _searched(self, request: Request, rows: Sequence[Repository]) -> Sequence[Repository]:
        """Search for every word in the name or path. Words with fewer than three letters must be
        the whole name."""
        words = request.query.get("search", "").lower().split()
        if not words:
            return rows
        long = [word for word in words if len(word) >= 3]
        if not long:
            whole = " ".join(words)
            return [row for row in rows if whole in (row.name.lower(), row.slug.lower())]
        return [
            row
            for row in rows
            if any(all(w in text.lower() for w in long) for text in (row.name, row.slug))
        ]

    def _one_project(self, request: Request, project: str) -> Answer:
        return json_answer(self._project_json(self._project(request, project)))

    def _branches(self, request: Request, project: str) -> Answer:
        row = self._project(request, project)
        rows = self.branches(row)
        search = request.query.get("search", "")
        searched = [each for each in rows if _lets_through(search, each[0])] if search else None
        with self.git.commits(row) as commit:
            return branch_pages(
                request,
                rows,
                lambda each: shapes.branch(row, each[0], commit(each[1]), self.root),
                names={"id": project},
                searched=searched,
            )

    def _branch(self, request: Request, project: str, name: str) -> Answer:
        row = self._project(request, project)
        if INVALID_NAME.search(name):
            raise self.refused(400, "The branch refname is invalid")
        found = dict(self.branches(row)).get(name)
        if found is None:
            raise self.refused(404, "404 Branch Not Found")
        with self.git.commits(row) as commit:
            return json_answer(shapes.branch(row, name, commit(found), self.root))

    def _tags(self, request: Request, project: str) -> Answer:
        row = self._project(request, project, FOR_TAGS)
        rows = sorted(self.git.tags(row).items(), reverse=True)
        search = request.query.get("search", "")
        rows = [each for each in rows if not search or _lets_through(search, each[0])]
        with self.git.commits(row) as commit:
            return numbered_pages(
                request,
                rows,
                lambda each: shapes.tag(row, each[0], commit(each[1]), self.root),
                names={"id": project},
            )

    # Webhooks, statuses and deployments

    def _list_hooks(self, request: Request, project: str) -> Answer:
        row = self._managed(request, project, (*FOR_API, "Webhook: Read"), "Maintainer")
        return self._hooks.page(request, row)

    def _add_hook(self, request: Request, project: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Webhook: Create"), "Maintainer")
        return self._hooks.add(request, row)

    def _change_hook(self, request: Request, project: str, number: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Webhook: Update"), "Maintainer")
        return self._hooks.change(request, row, number)

    def _remove_hook(self, request: Request, project: str, number: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Webhook: Delete"), "Maintainer")
        return self._hooks.remove(row, number)

    def _list_keys(self, request: Request, project: str) -> Answer:
        row = self._managed(request, project, (*FOR_API, "Deploy Key: Read"), "Maintainer")
        return deploy_keys.page(request, self.deploy_keys, row)

    def _add_key(self, request: Request, project: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Deploy Key: Create"), "Maintainer")
        return deploy_keys.add(request, self.deploy_keys, row)

    def _remove_key(self, request: Request, project: str, number: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Deploy Key: Delete"), "Maintainer")
        return deploy_keys.remove(self.deploy_keys, row, number)

    def _set_status(self, request: Request, project: str, commit: str) -> Answer:
        scopes = (*FOR_WRITING, "Commit Status: Create")
        row = self._managed(request, project, scopes, "Developer")
        if not (is_commit_hash(commit) and self.git.has_commit(row, commit)):
            raise self.refused(404, "404 Commit Not Found")
        body = decoded(request)
        ref = body.get("ref") or next((n for n, c in self.branches(row) if c == commit), None)
        if ref is None:
            raise self.refused(404, "404 References for commit Not Found")
        status = changed_status(body, self.statuses(row.owner, row.slug, commit))
        self.show_status(row, commit, status)
        return json_answer(shapes.commit_status(status, commit, str(ref), body), 201)

    def _list_deployments(self, request: Request, project: str) -> Answer:
        row = self._managed(request, project, (*FOR_API, "Deployment: Read"), "Reporter")
        return self._deployments.page(request, row)

    def _add_deployment(self, request: Request, project: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Deployment: Create"), "Developer")
        body = decoded(request)
        found = {
            field
            for field in ("sha", "ref")
            if self._resolves(row, str(body.get(field)), is_ref=field == "ref")
        }
        return self._deployments.add(request, row, frozenset(found))

    def _change_deployment(self, request: Request, project: str, number: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Deployment: Update"), "Developer")
        return self._deployments.change(request, row, number)

    def _list_merge_requests(self, request: Request, project: str) -> Answer:
        row = self._project(request, project, FOR_READING_REQUESTS)
        return numbered_pages(
            request,
            self._merge_requests_api.listed(request, row),
            lambda found: self._merge_requests_api.shape(found, row, self.root),
            names={"id": row.full_name},
        )

    def _open_merge_request(self, request: Request, project: str) -> Answer:
        scopes = (*FOR_WRITING, "Merge Request: Create")
        row = self._managed(request, project, scopes, "Developer")
        opened = self._merge_requests_api.open(request, row)
        into = self._row(opened.repository) or row
        return json_answer(self._merge_requests_api.shape(opened, into, self.root), 201)

    def _one_merge_request(self, request: Request, project: str, number: str) -> Answer:
        row = self._project(request, project, FOR_READING_REQUESTS)
        found = self._merge_requests_api.found(row, number)
        return json_answer(self._merge_requests_api.shape(found, row, self.root))

    def _change_merge_request(self, request: Request, project: str, number: str) -> Answer:
        scopes = (*FOR_WRITING, "Merge Request: Update")
        row = self._managed(request, project, scopes, "Developer")
        found = self._merge_requests_api.found(row, number)
        changed = self._merge_requests_api.change(request, found)
        return json_answer(self._merge_requests_api.shape(changed, row, self.root))

    def _accept_merge_request(self, request: Request, project: str, number: str) -> Answer:
        """Merge a merge request. Default branches are protected: only a Maintainer can merge into
        them."""
        row = self._project(request, project, (*FOR_WRITING, "Merge Request: Update"))
        found = self._merge_requests_api.found(row, number)
        protected = found.target_branch == row.default_branch
        role = self._roles[self.caller(request).secret.get_secret_value()]
        if ROLES.index(role) < ROLES.index("Maintainer" if protected else "Developer"):
            raise self.refused(401, "401 Unauthorized")
        merged = self._merge_requests_api.merge(request, found)
        return json_answer(self._merge_requests_api.shape(merged, row, self.root))

    def _resolves(self, row: Repository, name: str, *, is_ref: bool) -> bool:
        if is_commit_hash(name):
            return self.git.has_commit(row, name)
        return is_ref and (name in dict(self.branches(row)) or name in self.git.tags(row))

    def _managed(
        self, request: Request, project: str, scopes: Sequence[str], role: Role
    ) -> Repository:
        """Return a project in which the caller has a role or a higher one."""
        row = self._project(request, project, scopes)
        has = self._roles[self.caller(request).secret.get_secret_value()]
        if ROLES.index(has) < ROLES.index(role):
            raise self.refused(403, "403 Forbidden")
        return row

    def deployments(self, owner: str, slug: str, commit: str) -> Sequence[ShownDeployment]:
        """Return the deployments of a commit, the oldest first."""
        return self._deployments.shown(self.existing(owner, slug), commit)

    def push_events(self, repository: Repository, updates: Sequence[RefUpdate]) -> Sequence[Event]:
        """Return one event for each ref, or none if there are too many refs."""
        with self.git.commits(repository) as read:
            told = events.pushes(
                repository,
                updates,
                user=self.USER,
                read=read,
                root=self.root,
                limit=self.PUSH_EVENT_HOOKS_LIMIT,
            )
            return list(told)

    def webhook_headers(self, hook: Hook, body: bytes) -> Mapping[str, str]:
        return delivery_headers(hook, body, self.root)

    def pull_request_events(
        self, change: PullRequestChange, repository: Repository, source: Repository | None
    ) -> Sequence[Event]:
        with self.git.commits(source or repository) as read:
            told = events.merge_request(
                change, repository, source, user=self.USER, read=read, root=self.root
            )
        return [told]

    def _project(
        self, request: Request, project: str, scopes: Sequence[str] = FOR_BRANCHES
    ) -> Repository:
        """Find a project by its full path or its number. For readers, an old path redirects to the
        number."""
        self.caller(request, *scopes)
        moved = self.moved.get(project) if request.method == "GET" else None
        if moved is not None and self.readable(moved):
            place = request.target.replace(quote(project, safe=""), str(moved.number), 1)
            location = f"{request.origin}{place}"
            said = f"This resource has been moved permanently to {location}"
            redirect = with_headers(text_answer(said, 301), {"Location": location})
            raise Refusal(redirect)
        row = self._row(project)
        if row is None or not self.readable(row):
            raise self.refused(404, "404 Project Not Found")
        return row

    def _project_json(self, row: Repository) -> dict[str, Any]:
        visibility = "private" if row.private else "public"
        return shapes.project(
            row,
            self.root,
            empty=not self.branches(row),
            archived=row.full_name in self.archived,
            of_user=row.owner == self.USER,
            visibility="internal" if row.full_name in self.internal else visibility,
        )

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Create the content of a scenario, with nothing archived, internal, moved, merged or
        deployed."""
        self._deployments.clear()
        self.archived.clear()
        self.internal.clear()
        self.moved.clear()
        return super().arrange(scenario)


def _lets_through(search: str, name: str) -> bool:
    """Whether a search of branches finds a name: by any part, or with ``^``, ``$`` and ``*``."""
    pattern = re.escape(search.lower())
    if re.search(r"[\^$*]", search):
        pattern = pattern.replace(r"\^", "^", 1).replace(r"\*", ".*?").replace(r"\$", "$", 1)
    return re.search(pattern, name.lower()) is not None
