"""Responses from Atlassian's examples, and the models that they are converted to."""

from __future__ import annotations

import pytest
from deploycore.errors import UnexpectedAnswer
from deploycore.http import parse_answer
from deploycore.models import (
    Branch,
    CloneLink,
    Owner,
    PullRequest,
    Repository,
    RepositoryId,
    Tag,
)

from deploycore_bitbucket_datacenter.answers import (
    BranchAnswer,
    ProjectAnswer,
    PullRequestAnswer,
    RepositoryAnswer,
    TagAnswer,
)

URL = "https://git.example.com/bitbucket"
COMMIT = "8d51122def5632836d1cb1026e879069e10a1e13"

PROJECT = {
    "key": "PRJ",
    "id": 1,
    "name": "My Cool Project",
    "description": "The description for my cool project.",
    "public": False,
    "type": "NORMAL",
    "links": {"self": [{"href": f"{URL}/projects/PRJ"}]},
}
REPOSITORY = {
    "slug": "my-repo",
    "id": 17,
    "name": "My repo",
    "hierarchyId": "e3c939f9ef4a7fae272e",
    "scmId": "git",
    "state": "AVAILABLE",
    "statusMessage": "Available",
    "forkable": True,
    "project": PROJECT,
    "public": False,
    "archived": False,
    "links": {
        "clone": [
            {
                "href": "https://jcitizen@git.example.com/bitbucket/scm/prj/my-repo.git",
                "name": "http",
            },
            {"href": "ssh://git@git.example.com:7999/prj/my-repo.git", "name": "ssh"},
        ],
        "self": [{"href": f"{URL}/projects/PRJ/repos/my-repo/browse"}],
    },
}
MY_REPO = Repository(
    name="My repo",
    slug="my-repo",
    url=f"{URL}/projects/PRJ/repos/my-repo/browse",
    commit_url=f"{URL}/projects/PRJ/repos/my-repo/commits/{{commit}}",
    owner=Owner(username="PRJ", display_name="My Cool Project"),
    default_branch=None,
    private=True,
    clone_links=(
        CloneLink(name="https", href="https://git.example.com/bitbucket/scm/prj/my-repo.git"),
        CloneLink(name="ssh", href="ssh://git@git.example.com:7999/prj/my-repo.git"),
    ),
    host_id="17",
    archived=False,
)
PULL_REQUEST = {
    "id": 101,
    "version": 1,
    "title": "Talking Nerdy",
    "state": "OPEN",
    "open": True,
    "closed": False,
    "createdDate": 1359075920,
    "fromRef": {
        "id": "refs/heads/feature/ABC-123",
        "displayId": "feature/ABC-123",
        "latestCommit": COMMIT,
        "repository": {**REPOSITORY, "project": {"key": "~JCITIZEN"}},
    },
    "toRef": {"id": "refs/heads/main", "displayId": "main", "repository": REPOSITORY},
}


def repository(**changes):
    answer = parse_answer(RepositoryAnswer, {**REPOSITORY, **changes}, what="a repository")
    return answer.repository(URL)


def test_a_repository_as_documented():
    assert repository() == MY_REPO


def test_the_default_branch_is_read_if_the_response_contains_it():
    assert repository(defaultBranch="refs/heads/trunk").default_branch == "trunk"
    assert repository(defaultBranch="trunk").default_branch == "trunk"


def test_a_personal_repository_has_personal_page_urls():
    found = repository(project={"key": "~ada", "type": "PERSONAL"})
    assert found.url == f"{URL}/users/ada/repos/my-repo/browse"
    assert found.owner == Owner(username="~ada")


@pytest.mark.parametrize(
    ("changes", "private"),
    [
        ({"public": True}, False),
        ({"project": {**PROJECT, "public": True}}, False),
        ({}, True),
        ({"public": None}, True),
    ],
)
def test_a_repository_of_a_public_project_is_public(changes, private):
    assert repository(**changes).private is private


@pytest.mark.parametrize("links", [None, {}, {"clone": None}, {"clone": []}, "nonsense"])
def test_without_links_the_clone_url_is_built(links):
    assert repository(links=links).clone_links == (
        CloneLink(name="https", href=f"{URL}/scm/prj/my-repo.git"),
    )


def test_fields_that_deploycore_does_not_need_can_be_missing():
    least = {"slug": "my-repo", "project": {"key": "PRJ"}}
    found = parse_answer(RepositoryAnswer, least, what="a repository").repository(URL)
    assert (found.name, found.host_id, found.archived) == ("my-repo", None, None)


@pytest.mark.parametrize("changes", [{"slug": ""}, {"slug": 7}, {"project": {}}, {"id": "17"}])
def test_a_repository_without_names_is_unexpected(changes):
    with pytest.raises(UnexpectedAnswer):
        repository(**changes)


def test_branches_and_tags_have_the_names_of_their_refs():
    row = {"id": "refs/heads/a/b", "displayId": "a/b", "latestCommit": COMMIT}
    assert parse_answer(BranchAnswer, row, what="").branch() == Branch(name="a/b", commit=COMMIT)
    row = {"id": "refs/tags/v1.0", "displayId": "v1.0", "latestCommit": COMMIT, "hash": "9" * 40}
    assert parse_answer(TagAnswer, row, what="").tag() == Tag(name="v1.0", commit=COMMIT)


def test_a_project_is_an_owner():
    found = parse_answer(ProjectAnswer, PROJECT, what="").owner()
    assert found == Owner(username="PRJ", display_name="My Cool Project")


def pull_request(**changes):
    return parse_answer(PullRequestAnswer, {**PULL_REQUEST, **changes}, what="").pull_request()


def test_a_pull_request_as_documented():
    assert pull_request() == PullRequest(
        number=101,
        state="open",
        title="Talking Nerdy",
        source=RepositoryId(owner="~JCITIZEN", slug="my-repo"),
        source_branch="feature/ABC-123",
        target_branch="main",
        commit=COMMIT,
    )


@pytest.mark.parametrize(
    ("state", "wanted"), [("OPEN", "open"), ("MERGED", "merged"), ("DECLINED", "declined")]
)
def test_each_state_of_a_pull_request_is_mapped(state, wanted):
    assert pull_request(state=state).state == wanted


def test_a_pull_request_with_a_deleted_fork_has_no_source():
    found = pull_request(fromRef={"id": "refs/heads/x", "latestCommit": COMMIT})
    assert (found.source, found.source_branch) == (None, "x")


def test_a_pull_request_in_an_unknown_state_is_unexpected():
    with pytest.raises(UnexpectedAnswer):
        pull_request(state="REOPENED")
