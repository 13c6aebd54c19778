"""The values that a configuration accepts, and the credentials for each kind of request."""

from __future__ import annotations

import pytest
from deploycore.errors import ConfigurationError
from deploycore.models import RepositoryId
from pydantic import SecretStr

from deploycore_bitbucket_datacenter.addresses import repository_of

from .conftest import PASSWORD, TOKEN


def test_a_personal_token_is_sent_as_bearer_to_the_api_and_to_git(config):
    made = config("personal-token")
    assert made.api_auth.header()[1].get_secret_value() == f"Bearer {TOKEN}"
    assert made.git_credential.scheme == "bearer"
    assert made.git_credential.password.get_secret_value() == TOKEN


def test_a_personal_token_with_a_username_is_sent_to_git_with_it(config):
    credential = config("personal-token", username="ada").git_credential
    assert (credential.scheme, credential.username) == ("basic", "ada")
    assert credential.password.get_secret_value() == TOKEN


def test_a_project_token_is_never_sent_with_basic_authentication(config):
    made = config("access-token", project="WEB")
    assert made.api_auth.header()[1].get_secret_value() == f"Bearer {TOKEN}"
    assert made.git_credential.scheme == "bearer"


def test_a_password_is_sent_with_basic_authentication(config):
    made = config("password")
    assert made.api_auth.header()[1].get_secret_value().startswith("Basic ")
    assert (made.git_credential.scheme, made.git_credential.username) == ("basic", "ada")
    assert made.git_credential.password.get_secret_value() == PASSWORD


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://git.example.com", "https://git.example.com"),
        ("https://git.example.com:7990/", "https://git.example.com:7990"),
        (" https://example.com/bitbucket/ ", "https://example.com/bitbucket"),
        ("https://example.com/restful", "https://example.com/restful"),
    ],
)
def test_the_base_url_is_kept_with_its_context_path(config, url, kept):
    assert config(url=url).api_base_url == f"{kept}/rest"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://bitbucket.org", "kind of its own: bitbucket"),
        ("https://api.bitbucket.org/2.0", "kind of its own: bitbucket"),
        ("https://git.example.com/rest/api/latest", "without /rest"),
        ("https://git.example.com/bitbucket/scm", "without /rest, /scm"),
        ("https://git.example.com/projects/WEB/repos/shop", "/projects"),
        ("http://git.example.com", "https"),
    ],
)
def test_an_address_that_is_not_the_base_url_is_refused(config, url, said):
    with pytest.raises(ConfigurationError, match=said):
        config(url=url)


@pytest.mark.parametrize("project", ["WEB", "web", "~ada", "~ada.lovelace", "A_1"])
def test_a_project_key_or_a_personal_project_is_accepted(config, project):
    assert config(project=project).project == project


@pytest.mark.parametrize("project", ["", "~", "..", "a/b", "My Project", "https://x/projects/WEB"])
def test_an_invalid_project_key_is_rejected(config, project):
    with pytest.raises(ConfigurationError, match="project key"):
        config(project=project)


@pytest.mark.parametrize("mode", ["personal-token", "access-token"])
@pytest.mark.parametrize("prefix", ["ATBB", "ATATT", "ATCTT", "ghp_", "glpat-"])
def test_a_secret_of_another_host_is_refused(config, mode, prefix):
    with pytest.raises(ConfigurationError, match="not of Bitbucket Data Center") as caught:
        config(mode, token=SecretStr(f"{prefix}made-up-secret"))
    assert "made-up-secret" not in str(caught.value)


@pytest.mark.parametrize("password", ["", "  ", "a\nb"])
def test_an_impossible_password_is_rejected(config, password):
    with pytest.raises(ConfigurationError):
        config("password", password=SecretStr(password))


@pytest.mark.parametrize("username", ["", "a b", "a:b"])
def test_an_impossible_username_is_rejected(config, username):
    with pytest.raises(ConfigurationError):
        config("password", username=username)


@pytest.mark.parametrize(
    ("repository", "project"), [("WEB/shop", None), ("shop", "WEB"), ("web/shop", "WEB")]
)
def test_the_repository_of_a_token_can_be_named(config, repository, project):
    found = config("access-token", repository=repository, project=project).repository_id
    assert found in (RepositoryId.parse("WEB/shop"), RepositoryId.parse("web/shop"))


@pytest.mark.parametrize(
    ("repository", "project", "said"),
    [
        ("shop", None, "PROJECT/SLUG"),
        ("OPS/shop", "WEB", "not in the project WEB"),
        ("a/b/c", None, "not a repository"),
        ("WEB/..", None, "not a repository"),
        ("../shop", None, "not a repository"),
        ("https://x/scm/web/shop.git", None, "not a repository"),
    ],
)
def test_an_invalid_repository_is_rejected(config, repository, project, said):
    with pytest.raises(ConfigurationError, match=said):
        config("access-token", repository=repository, project=project)


@pytest.mark.parametrize("path", ["scm/web/.git", "scm/web/..", "scm/web/...git", "scm/../shop"])
def test_an_address_without_a_name_belongs_to_no_repository(path):
    assert repository_of(f"https://git.example.com/{path}") is None
