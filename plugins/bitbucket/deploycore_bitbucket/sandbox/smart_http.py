"""Who may fetch and push over HTTP: the git addresses, ``/{workspace}/{repository}.git``.

Sources: https://git-scm.com/docs/http-protocol, and for what Bitbucket answers
https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/
"""

from __future__ import annotations

from dataclasses import dataclass

from deploycore.errors import NotFound
from deploycore_bitbucket.sandbox.authentication import (
    LACKING_SCOPE,
    AppPasswords,
    Need,
    demand_basic,
    git_credential,
    grants,
)
from deploycore_bitbucket.sandbox.git import GitStore, Service
from deploycore_bitbucket.sandbox.messages import Answer, Refusal, Request, text_answer
from deploycore_bitbucket.sandbox.rest import NO_REPOSITORY
from deploycore_bitbucket.sandbox.state import Credential, Repository, State

__all__ = ["SmartHttp"]

TO_FETCH = Need(new="read:repository:bitbucket", old="repository")
TO_PUSH = Need(new="write:repository:bitbucket", old="repository:write")


@dataclass(frozen=True)
class SmartHttp:
    """Answers git clients."""

    state: State
    git: GitStore
    app_passwords: AppPasswords

    def answer(self, request: Request) -> Answer:
        """The answer to a request, a refusal included; outside of what OpenAPI describes."""
        try:
            return self._route(request)
        except Refusal as refusal:
            return refusal.answer

    def _route(self, request: Request) -> Answer:
        match request.method, *request.segments:
            case "GET", workspace, slug, "info", "refs":
                service = request.query.get("service", "")
                repository = self._permitted(request, workspace, slug, service)
                return self.git.advertise(repository, service)
            case "POST", workspace, slug, "git-upload-pack" | "git-receive-pack" as service:
                repository = self._permitted(request, workspace, slug, service)
                return self.git.exchange(repository, service, request.body)
            case _:
                raise _text_refusal(404, "Not found")

    def _permitted(
        self, request: Request, workspace: str, slug: str, service: Service
    ) -> Repository:
        if service not in ("git-upload-pack", "git-receive-pack"):
            raise _text_refusal(403, "Please upgrade your git client")
        credential = git_credential(
            self.state, request.headers.get("authorization"), app_passwords=self.app_passwords
        )
        repository = self._find(workspace, slug.removesuffix(".git"))
        pushes = service == "git-receive-pack"
        if credential is None and (repository.private or pushes):
            raise Refusal(demand_basic())
        if not self.state.may_read(credential, repository):
            raise _text_refusal(404, NO_REPOSITORY)
        _demand_git_scope(credential, TO_PUSH if pushes else TO_FETCH)
        return repository

    def _find(self, workspace: str, slug: str) -> Repository:
        try:
            found = self.state.repository(self.state.workspace(workspace).slug, slug)
        except NotFound:
            found = None
        if found is None:
            raise _text_refusal(404, NO_REPOSITORY)
        return found


def _demand_git_scope(credential: Credential | None, need: Need) -> None:
    if credential is not None and not grants(credential, need.scope_for(credential)):
        raise _text_refusal(403, LACKING_SCOPE)


def _text_refusal(status: int, message: str) -> Refusal:
    return Refusal(text_answer(message + "\n", status))
