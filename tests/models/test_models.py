"""The models of the contract: they reject unknown fields, are frozen, and do not show secrets."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from deploycore.errors import ConfigurationError
from deploycore.models import (
    Branch,
    CloneUrl,
    GitCredential,
    Owner,
    Repository,
    RepositoryId,
    SshAddress,
    SshCredential,
)


def test_models_are_frozen_and_reject_unknown_fields():
    branch = Branch(name="main", commit="a" * 40)
    with pytest.raises(ValidationError, match="frozen"):
        branch.name = "other"
    with pytest.raises(ValidationError, match="Extra inputs"):
        Branch(name="main", commit="a" * 40, target="x")


@pytest.mark.parametrize("commit", ["a" * 40, "0" * 64])
def test_a_commit_is_a_full_hash(commit):
    assert Branch(name="main", commit=commit).commit == commit


@pytest.mark.parametrize("commit", ["", "a" * 12, "A" * 40, "g" * 40, "a" * 41, "a" * 40 + "\n"])
def test_a_commit_that_is_not_a_full_lower_case_hash_is_rejected(commit):
    with pytest.raises(ValidationError):
        Branch(name="main", commit=commit)


def test_a_repository_knows_its_id():
    repository = Repository(
        name="The Engine", slug="engine", url="https://host.example/e", owner=Owner(username="ada")
    )
    assert str(repository.id) == "ada/engine"


@pytest.mark.parametrize(
    ("text", "owner", "slug"),
    [("ada/engine", "ada", "engine"), (" group/sub/engine ", "group/sub", "engine")],
)
def test_an_id_is_parsed_from_text(text, owner, slug):
    assert RepositoryId.parse(text) == RepositoryId(owner=owner, slug=slug)


@pytest.mark.parametrize("text", ["engine", "/engine", "ada/", ""])
def test_an_incomplete_id_is_rejected(text):
    with pytest.raises(ValueError, match="owner/repository"):
        RepositoryId.parse(text)


@pytest.mark.parametrize(
    "url",
    [
        "https://ada@host.example/r.git",
        "https://ada:secret@host.example/r.git",
        "https://host.example/r.git?token=secret",
        "https://host.example/r.git#x",
        "ssh://git:secret@host.example/r.git",
        "ssh://git@host.example/r.git?token=secret",
        "ssh:///r.git",
        "git@host.example:r.git",
        "ext::sh -c true",
        "/srv/r.git",
        "https:///r.git",
    ],
)
def test_an_unclean_clone_url_is_rejected_and_not_shown(url):
    with pytest.raises(ValidationError) as caught:
        CloneUrl(url=url)
    assert "secret" not in str(caught.value)


def test_the_url_with_credentials_is_only_built_on_request_and_is_encoded():
    credential = GitCredential(username="ada@x", password=SecretStr("p@ss/w:rd#%"))
    clone_url = CloneUrl(url="https://host.example:8443/a/b.git", credential=credential)
    assert (
        clone_url.reveal_joined()
        == "https://ada%40x:p%40ss%2Fw%3Ard%23%25@host.example:8443/a/b.git"
    )
    assert "p@ss" not in repr(clone_url) + str(clone_url) + clone_url.model_dump_json()
    assert clone_url.without_credential() == CloneUrl(url=clone_url.url)
    assert clone_url.without_credential().reveal_joined() == clone_url.url


KEY = SshCredential(private_key=SecretStr("-----BEGIN secret"))
PASSWORD = GitCredential(username="ada", password=SecretStr("secret"))


@pytest.mark.parametrize("url", ["ssh://git@host.example:2222/ada/engine.git", "ssh://host/r.git"])
def test_an_ssh_clone_url_may_have_a_user_and_takes_a_key(url):
    clone_url = CloneUrl(url=url, credential=KEY)
    assert SshAddress(url=url).host_keys == ()
    assert clone_url.reveal_joined() == url
    assert "secret" not in repr(clone_url) + clone_url.model_dump_json()
    assert clone_url.without_credential() == CloneUrl(url=url)


@pytest.mark.parametrize(
    ("url", "credential"),
    [("ssh://git@host.example/r.git", PASSWORD), ("https://host.example/r.git", KEY)],
)
def test_a_clone_url_only_accepts_a_credential_for_its_scheme(url, credential):
    with pytest.raises(ValidationError, match="an ssh URL takes an SshCredential") as caught:
        CloneUrl(url=url, credential=credential)
    assert "secret" not in str(caught.value)


def test_an_ssh_credential_has_a_key_or_uses_the_agent():
    assert SshCredential(agent=True).private_key is None
    with pytest.raises(ValidationError, match="has a private key, or uses the agent"):
        SshCredential()


@pytest.mark.parametrize(
    "url",
    ["https://host.example/r.git", "ssh://git:secret@host.example/r.git", "ssh://", "git@h:r"],
)
def test_an_ssh_address_is_an_ssh_url_without_a_password(url):
    with pytest.raises(ValidationError) as caught:
        SshAddress(url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("owner", "slug", "path"),
    [
        ("ada", "engine", "ada/engine"),
        ("acme/web/ops", "shop", "acme/web/ops/shop"),
        ("größe & co/a?b", "c#d%25", "gr%C3%B6%C3%9Fe%20%26%20co/a%3Fb/c%23d%2525"),
        ("~ada", "a.b-c_d", "~ada/a.b-c_d"),
        ("{1f-2}", "...", "%7B1f-2%7D/..."),
    ],
)
def test_the_path_of_a_repository_keeps_its_segments(owner, slug, path):
    assert RepositoryId(owner=owner, slug=slug).path == path


@pytest.mark.parametrize(
    ("owner", "slug"), [("..", "shop"), ("acme/../x", "shop"), ("a//b", "shop"), ("acme", ".")]
)
def test_a_name_that_leads_elsewhere_has_no_path(owner, slug):
    with pytest.raises(ConfigurationError, match="is not a valid repository name"):
        _ = RepositoryId(owner=owner, slug=slug).path
    assert RepositoryId(owner="acme", slug="shop").path == "acme/shop"
