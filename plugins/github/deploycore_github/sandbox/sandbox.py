"""A sandbox of GitHub, for the demo, ``deploycore sandbox`` and the conformance kit.

Its addresses are those of GitHub Enterprise Server. Its error responses are GitHub's: 'Not Found'
for hidden objects, the missing permission or scope in a header, and no response without a
``User-Agent``.

Sources: https://docs.github.com/en/rest and, for what its git server says, GitHub's own answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deploycore.models import is_commit_hash
from deploycore.testing.host import Route
from deploycore.testing.messages import Answer, Request, json_answer
from deploycore.testing.pull_requests import PullRequest, PullRequestChange
from deploycore.testing.repositories import RefUpdate
from deploycore.testing.sandbox import Repository
from deploycore.testing.scenarios import Arranged, Scenario
from deploycore.testing.webhooks import DeliveryRules, Event, Hook, ShownDeployment
from deploycore_github.sandbox import deploy_keys, events
from deploycore_github.sandbox.hooks import HooksApi, shape
from deploycore_github.sandbox.host import BY_APP, GitHubHost
from deploycore_github.sandbox.permissions import (
    ADMINISTRATION,
    API,
    CONTENTS,
    DEPLOYMENTS,
    HOOKS,
    METADATA,
    PULLS,
    READ,
    STATUSES,
)
from deploycore_github.sandbox.pulls import PullsApi
from deploycore_github.sandbox.reports import Deployment, DeploymentsApi, StatusesApi

__all__ = ["GitHubSandbox"]


class GitHubSandbox(GitHubHost):
    """GitHub's API, as far as the provider uses it.

    ``ada`` is a user, ``guild`` an organization that she belongs to.

    Attributes:
        hooks: The API of webhooks.
    """

    WEBHOOK_RULES = DeliveryRules(timeout=10.0)

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        super().__init__(port=port, latency=latency)
        self._gone: set[str] = set()
        self.hooks = HooksApi(self.webhooks, self._ping)
        self._statuses = StatusesApi(self._has_commit, self.show_status)
        self._deployments = DeploymentsApi(self._commit_of)
        self._pulls = PullsApi(
            self.pull_requests,
            find=self.named,
            branches=self.git.branches,
            describe=self._repository_json,
            refuse=self.refused,
            actor=self.OWNER,
        )

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Repositories have no name for people besides the one in the address."""
        self._pulls.clear()
        return tuple(replace(arranged, name="") for arranged in super().arrange(scenario))

    # Events, and their webhooks.

    def push_events(self, repository: Repository, updates: Sequence[RefUpdate]) -> Iterable[Event]:
        """Return one event for each branch and tag, within GitHub's limits."""
        with self.git.commits(repository) as read:
            return [
                events.push(
                    repository,
                    update,
                    actor=self.OWNER,
                    describe=self._repository_json,
                    read=read,
                )
                for update in events.reported(updates)
            ]

    def webhook_headers(self, hook: Hook, body: bytes) -> Mapping[str, str]:
        return events.proof(hook, body)

    def deployments(self, owner: str, slug: str, commit: str) -> Sequence[ShownDeployment]:
        """Return the deployments of a commit, the oldest first."""
        return self._deployments.shown(f"{owner}/{slug}", commit)

    def delete(self, repository: Repository) -> None:
        """Hide a repository permanently, for example a fork."""
        self._gone.add(repository.full_name)

    def find(self, owner: str, slug: str) -> Repository | None:
        return None if f"{owner}/{slug}" in self._gone else super().find(owner, slug)

    def readable(self, row: Repository) -> bool:
        return row.full_name not in self._gone and super().readable(row)

    def _ping(self, hook: Hook, told: Mapping[str, Any]) -> None:
        repository = self._repository_json(self.existing(*hook.repository.split("/")))
        self.webhooks.send(hook, events.ping(hook, told, repository, self.OWNER))

    def pull_request_changed(self, change: PullRequestChange) -> None:
        self._pulls.changed(change)
        super().pull_request_changed(change)

    def pull_request_events(
        self, change: PullRequestChange, repository: Repository, source: Repository | None
    ) -> Iterable[Event]:
        event = events.pull_request(
            change, repository, source, actor=self.OWNER, describe=self._repository_json
        )
        return [event]

    def _commit_of(self, repository: Repository, ref: str) -> str | None:
        if self._has_commit(repository, ref):
            return ref
        return self.git.branches(repository).get(ref)

    def _has_commit(self, repository: Repository, commit: str) -> bool:
        return is_commit_hash(commit) and self.git.has_commit(repository, commit)

    # The API.

    def routes(self) -> Mapping[str, Route]:
        given: Mapping[str, Route] = {
            "GET /user": self._user,
            "GET /user/repos": self._own_repositories,
            "GET /user/orgs": self._organisations,
            "GET /orgs/{org}/repos": self._organisation_repositories,
            "GET /organizations/{number}/repos": self._numbered_organisation,
            "GET /users/{username}/repos": self._user_repositories,
            "GET /user/{number}/repos": self._numbered_user,
            "GET /installation/repositories": self._installation_repositories,
            "GET /app/installations/{number}": self.app_installation,
            "POST /app/installations/{number}/access_tokens": self.app_token,
            "GET /repos/{owner}/{slug}": self._repository,
            "GET /repos/{owner}/{slug}/branches": self._branches,
            "GET /repos/{owner}/{slug}/branches/{branch*}": self._branch,
            "GET /repos/{owner}/{slug}/tags": self._tags,
            "GET /repositories/{number}/tags": self._numbered_tags,
            "GET /repos/{owner}/{slug}/hooks": self._list_hooks,
            "POST /repos/{owner}/{slug}/hooks": self._add_hook,
            "GET /repos/{owner}/{slug}/hooks/{id}": self._get_hook,
            "PATCH /repos/{owner}/{slug}/hooks/{id}": self._change_hook,
            "DELETE /repos/{owner}/{slug}/hooks/{id}": self._remove_hook,
            "GET /repos/{owner}/{slug}/keys": self._list_keys,
            "POST /repos/{owner}/{slug}/keys": self._add_key,
            "DELETE /repos/{owner}/{slug}/keys/{id}": self._remove_key,
            "GET /repositories/{number}/keys": self._numbered_keys,
            "POST /repos/{owner}/{slug}/statuses/{sha}": self._add_status,
            "GET /repos/{owner}/{slug}/deployments": self._list_deployments,
            "POST /repos/{owner}/{slug}/deployments": self._add_deployment,
            "POST /repos/{owner}/{slug}/deployments/{id}/statuses": self._add_deployment_status,
            "GET /repos/{owner}/{slug}/pulls": self._list_pulls,
            "POST /repos/{owner}/{slug}/pulls": self._open_pull,
            "GET /repos/{owner}/{slug}/pulls/{number}": self._get_pull,
            "PATCH /repos/{owner}/{slug}/pulls/{number}": self._edit_pull,
            "GET /repos/{owner}/{slug}/pulls/{number}/merge": self._is_merged,
            "PUT /repos/{owner}/{slug}/pulls/{number}/merge": self._merge_pull,
            "GET /repositories/{number}/pulls": self._numbered_pulls,
            "GET /repositories/{number}/hooks": self._numbered_hooks,
            "GET /repositories/{number}": self._numbered_repository,
            "GET /repositories/{number}/branches": self._numbered_branches,
            "GET /repositories/{number}/branches/{branch*}": self._numbered_branch,
        }
        oauth = self.oauth.routes(
            token="/login/oauth/access_token",  # noqa: S106
            device="/login/device/code",
        )
        api = {address.replace(" ", f" {API}"): route for address, route in given.items()}
        return {**oauth, **api}

    def _user(self, request: Request) -> Answer:
        caller = self.caller(request)
        if caller.mode == "app":
            raise self.refused(403, BY_APP)
        account = self._account_json(caller.username)
        return json_answer({**account, "name": caller.username.title()})

    def _own_repositories(self, request: Request) -> Answer:
        caller = self._reader(request, METADATA)
        if caller.mode == "app":
            raise self.refused(403, BY_APP)
        affiliation = request.query.get("affiliation", "owner,collaborator,organization_member")
        owners = [self.OWNER] if "owner" in affiliation.split(",") else []
        owners += self.OWNERS if "organization_member" in affiliation else []
        rows = [row for owner in owners for row in self._visible(caller, self.owned(owner))]
        return self._page(request, rows, self._repository_json, f"{API}/user/repos")

    def _organisations(self, request: Request) -> Answer:
        caller = self.caller(request)
        if caller.mode == "app":
            raise self.refused(403, BY_APP)
        return self._page(request, self.OWNERS, self._account_json, f"{API}/user/orgs")

    def _organisation_repositories(self, request: Request, org: str) -> Answer:
        caller = self.caller(request)
        if org not in self.OWNERS:
            raise self.refused(404, "Not Found")
        rows = self._visible(caller, self.owned(org))
        here = f"{API}/organizations/{self._number(org)}/repos"
        return self._page(request, rows, self._repository_json, here)

    def _numbered_organisation(self, request: Request, number: str) -> Answer:
        return self._organisation_repositories(request, self._owner(number))

    def _user_repositories(self, request: Request, username: str) -> Answer:
        """List public repositories, for every caller, also those of organizations."""
        self.caller(request)
        rows = [row for row in self.owned(username) if not row.private]
        here = f"{API}/user/{self._number(username)}/repos"
        return self._page(request, rows, self._repository_json, here)

    def _numbered_user(self, request: Request, number: str) -> Answer:
        return self._user_repositories(request, self._owner(number))

    def _installation_repositories(self, request: Request) -> Answer:
        caller = self._reader(request, METADATA)
        if caller.mode != "app":
            raise self.refused(403, "You must authenticate with an installation access token.")
        rows = self.owned(self.OWNER)

        def body(items: list[Any]) -> dict[str, Any]:
            return {"total_count": len(rows), "repositories": items}

        here = f"{API}/installation/repositories"
        return self._page(request, rows, self._repository_json, here, body)

    def _repository(self, request: Request, owner: str, slug: str) -> Answer:
        return json_answer(self._repository_json(self._readable(request, owner, slug, METADATA)))

    def _numbered_repository(self, request: Request, number: str) -> Answer:
        row = self._by_number(request, number)
        return self._repository(request, row.owner, row.slug)

    def _branches(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._readable(request, owner, slug, READ)
        here = f"{API}/repositories/{row.number}/branches"
        return self._page(request, self.branches(row), self._branch_json, here)

    def _numbered_branches(self, request: Request, number: str) -> Answer:
        row = self._by_number(request, number)
        return self._branches(request, row.owner, row.slug)

    def _branch(self, request: Request, owner: str, slug: str, branch: str) -> Answer:
        """Return a branch. GitHub redirects from ``master`` to the default branch if there is no
        ``master``."""
        row = self._readable(request, owner, slug, READ)
        known = dict(self.branches(row))
        if branch in known:
            return json_answer(self._branch_json((branch, known[branch])))
        if branch == "master" and row.default_branch in known:
            raise self._moved(request, f"{row.number}/branches/{row.default_branch}")
        raise self.refused(404, "Branch not found")

    def _numbered_branch(self, request: Request, number: str, branch: str) -> Answer:
        row = self._by_number(request, number)
        return self._branch(request, row.owner, row.slug, branch)

    def _tags(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._readable(request, owner, slug, READ)
        rows = sorted(self.git.tags(row).items(), reverse=True)

        def render(tag: tuple[str, str]) -> dict[str, Any]:
            name, commit = tag
            return {"name": name, "commit": {"sha": commit}, "node_id": f"REF_{name}"}

        return self._page(request, rows, render, f"{API}/repositories/{row.number}/tags")

    def _numbered_tags(self, request: Request, number: str) -> Answer:
        row = self._by_number(request, number)
        return self._tags(request, row.owner, row.slug)

    def _list_hooks(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._changeable(request, owner, slug, HOOKS, level="read")
        here = f"{API}/repositories/{row.number}/hooks"
        hooks = self.webhooks.of(row.full_name)
        return self._page(request, hooks, lambda hook: shape(hook, request.origin), here)

    def _numbered_hooks(self, request: Request, number: str) -> Answer:
        row = self._by_number(request, number)
        return self._list_hooks(request, row.owner, row.slug)

    def _add_hook(self, request: Request, owner: str, slug: str) -> Answer:
        return self.hooks.add(request, self._changeable(request, owner, slug, HOOKS))

    def _get_hook(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        row = self._changeable(request, owner, slug, HOOKS, level="read")
        return json_answer(shape(self._hook(row, id), request.origin))

    def _change_hook(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        row = self._changeable(request, owner, slug, HOOKS)
        return self.hooks.change(request, self._hook(row, id))

    def _remove_hook(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        row = self._changeable(request, owner, slug, HOOKS)
        return self.hooks.remove(self._hook(row, id))

    def _hook(self, repository: Repository, id: str) -> Hook:
        found = self.hooks.find(repository, id)
        if found is None:
            raise self.refused(404, "Not Found")
        return found

    def _list_keys(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._changeable(request, owner, slug, ADMINISTRATION, level="read")
        here = f"{API}/repositories/{row.number}/keys"
        return self._page(request, self.deploy_keys.of(row.full_name), deploy_keys.shape, here)

    def _numbered_keys(self, request: Request, number: str) -> Answer:
        row = self._by_number(request, number)
        return self._list_keys(request, row.owner, row.slug)

    def _add_key(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._changeable(request, owner, slug, ADMINISTRATION)
        return deploy_keys.add(request, self.deploy_keys, row)

    def _remove_key(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        row = self._changeable(request, owner, slug, ADMINISTRATION)
        found = self.deploy_keys.find(row.full_name, id)
        if found is None:
            raise self.refused(404, "Not Found")
        self.deploy_keys.remove(found)
        return Answer(204, {})

    def _list_pulls(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._changeable(request, owner, slug, PULLS, level="read")
        here = f"{API}/repositories/{row.number}/pulls"

        def render(found: PullRequest) -> dict[str, Any]:
            return self._pulls.shape(found, request, alone=False)

        return self._page(request, self._pulls.listed(request, row), render, here)

    def _numbered_pulls(self, request: Request, number: str) -> Answer:
        row = self._by_number(request, number)
        return self._list_pulls(request, row.owner, row.slug)

    def _open_pull(self, request: Request, owner: str, slug: str) -> Answer:
        opened = self._pulls.open(request, self._changeable(request, owner, slug, PULLS))
        return json_answer(self._pulls.shape(opened, request), 201)

    def _get_pull(self, request: Request, owner: str, slug: str, number: str) -> Answer:
        row = self._changeable(request, owner, slug, PULLS, level="read")
        return json_answer(self._pulls.shape(self._pulls.found(row, number), request))

    def _edit_pull(self, request: Request, owner: str, slug: str, number: str) -> Answer:
        found = self._pulls.found(self._changeable(request, owner, slug, PULLS), number)
        return json_answer(self._pulls.shape(self._pulls.edit(request, found), request))

    def _is_merged(self, request: Request, owner: str, slug: str, number: str) -> Answer:
        row = self._changeable(request, owner, slug, PULLS, level="read")
        return self._pulls.merged(self._pulls.found(row, number))

    def _merge_pull(self, request: Request, owner: str, slug: str, number: str) -> Answer:
        """Merge a pull request. This requires the permission to write contents, not the one for
        pull requests."""
        self._reader(request, f"{CONTENTS}=write")
        return self._pulls.merge(
            request, self._pulls.found(self._readable(request, owner, slug, READ), number)
        )

    def _add_status(self, request: Request, owner: str, slug: str, sha: str) -> Answer:
        return self._statuses.add(request, self._changeable(request, owner, slug, STATUSES), sha)

    def _list_deployments(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._changeable(request, owner, slug, DEPLOYMENTS, level="read")
        rows = self._deployments.of(row, request.query)

        def render(found: Deployment) -> dict[str, Any]:
            return found.shape(request)

        return self._page(request, rows, render, f"{API}/repositories/{row.number}/deployments")

    def _add_deployment(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._changeable(request, owner, slug, DEPLOYMENTS)
        return self._deployments.add(request, row)

    def _add_deployment_status(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        row = self._changeable(request, owner, slug, DEPLOYMENTS)
        added = self._deployments.add_status(request, row, id)
        if added is None:
            raise self.refused(404, "Not Found")
        return added
