"""Access tokens of a repository, which Bitbucket may refuse the list of the workspace."""

from __future__ import annotations

import pytest
from deploycore_bitbucket.sandbox import Sandbox

from deploycore.errors import ConfigurationError, NotFound, PermissionDenied
from deploycore.models import RepositoryId, RepositoryQuery

SHOP = RepositoryId(owner="acme", slug="shop")


@pytest.fixture
def sandbox():
    with Sandbox() as running:
        ada = running.add_user("ada")
        running.add_workspace("acme", members=[ada])
        running.add_workspace("other", members=[ada])
        running.add_repository("acme", "shop", files={"README.md": b"# Shop\n"})
        running.add_repository("acme", "secret")
        yield running


@pytest.fixture
def connect(sandbox, provider):
    """Opens the plugin with a token for the repository shop only:
    ``connect(repository="acme/shop")``."""

    def connect(**changes):
        token = sandbox.add_access_token("acme", "shop", may_list=False)
        addresses = {"api_url": sandbox.api_url, "git_url": sandbox.git_url}
        values = {"token": token.secret, "workspace": "acme", **addresses, **changes}
        return provider("access-token", **values)

    return connect


def test_access_to_the_named_repository_verifies_the_token(connect):
    assert connect(repository="acme/shop").authenticate().username == "acme"
    assert connect(repository="shop").authenticate().username == "acme"


def test_only_the_named_repository_is_listed(connect):
    opened = connect(repository="acme/shop")
    assert [each.id for each in opened.list_repos()] == [SHOP]
    assert [each.id for each in opened.list_repos(RepositoryQuery(owner="acme"))] == [SHOP]
    assert [each.name for each in opened.list_branches(SHOP)] == ["main"]
    assert [each.username for each in opened.list_owners()] == ["acme"]


def test_another_workspace_cannot_be_listed_and_causes_no_request(connect, sandbox):
    opened, before = connect(repository="acme/shop"), sandbox.request_count
    with pytest.raises(PermissionDenied, match="repository acme/shop cannot list") as caught:
        list(opened.list_repos(RepositoryQuery(owner="other")))
    assert "access token of the workspace" in caught.value.hint
    assert sandbox.request_count == before
    of_workspace = sandbox.add_access_token("other")
    token = connect(token=of_workspace.secret, workspace="other")
    assert list(token.list_repos(RepositoryQuery(owner="other"))) == []


@pytest.mark.parametrize("call", ["authenticate", "list_repos"])
def test_without_a_repository_name_the_next_step_is_suggested(connect, call):
    opened = connect()
    with pytest.raises(PermissionDenied, match="cannot list the repositories") as caught:
        list(getattr(opened, call)())
    assert "deploycore provider edit work --repository WORKSPACE/SLUG" in caught.value.hint
    assert list(getattr(connect(repository="acme/shop"), call)())


def test_a_repository_outside_the_token_is_not_found(connect):
    with pytest.raises(NotFound):
        connect(repository="acme/secret").authenticate()


@pytest.mark.parametrize("repository", ["other/shop", "acme/shop/x", "a b", "/", ""])
def test_an_invalid_repository_is_rejected(connect, repository):
    with pytest.raises(ConfigurationError):
        connect(repository=repository)
