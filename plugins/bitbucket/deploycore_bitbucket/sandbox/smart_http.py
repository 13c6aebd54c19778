"""Who may fetch and push over HTTP: the git addresses, ``/{workspace}/{repository}.git``.

Source: https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/
"""

from __future__ import annotations

from dataclasses import dataclass

from deploycore.errors import NotFound
from deploycore.testing.git_http import text_refusal
from deploycore.testing.messages import Refusal, Request
from deploycore.testing.repositories import Service
from deploycore_bitbucket.sandbox.authentication import (
    LACKING_SCOPE,
    AppPasswords,
    Need,
    demand_basic,
    git_credential,
    grants,
)
from deploycore_bitbucket.sandbox.rest import NO_REPOSITORY
from deploycore_bitbucket.sandbox.state import Credential, Repository, State, User

__all__ = ["GitAccess", "Pushed"]

TO_FETCH = Need(new=("read:repository:bitbucket",), old=("repository",))
TO_PUSH = Need(new=("write:repository:bitbucket",), old=("repository:write",))


@dataclass(frozen=True)
class Pushed:
    """A repository that somebody pushes to, so that it can be told who."""

    repository: Repository
    actor: User | None

    @property
    def full_name(self) -> str:
        return self.repository.full_name

    @property
    def default_branch(self) -> str:
        return self.repository.default_branch


@dataclass(frozen=True)
class GitAccess:
    """Bitbucket's rule for git clients."""

    state: State
    app_passwords: AppPasswords

    def permit(self, request: Request, name: str, service: Service) -> Repository | Pushed:
        """The repository that a request may use.

        Raises:
            Refusal: It may not, or there is none.
        """
        credential = git_credential(
            self.state, request.headers.get("authorization"), app_passwords=self.app_passwords
        )
        repository = self._find(name)
        pushes = service == "git-receive-pack"
        if credential is None and (repository.private or pushes):
            raise Refusal(demand_basic())
        if not self.state.may_read(credential, repository):
            raise text_refusal(404, NO_REPOSITORY)
        _demand_git_scope(credential, TO_PUSH if pushes else TO_FETCH)
        return Pushed(repository, credential.user) if pushes and credential else repository

    def _find(self, name: str) -> Repository:
        workspace, _, slug = name.partition("/")
        try:
            found = self.state.repository(self.state.workspace(workspace).slug, slug)
        except NotFound:
            found = None
        if found is None:
            raise text_refusal(404, NO_REPOSITORY)
        return found


def _demand_git_scope(credential: Credential | None, need: Need) -> None:
    if credential is None:
        return
    if not all(grants(credential, scope) for scope in need.scopes_for(credential)):
        raise text_refusal(403, LACKING_SCOPE)
